"""The models that this node may run: found, read and verified."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from secondread.bundles.manifest import MANIFEST_NAME, Manifest, read_manifest, verify
from secondread.config.first_party import first_party_folder, first_party_root
from secondread.domain.network import ModelReference
from secondread.errors import ManifestError

__all__ = [
    "first_party_folder",
    "first_party_models",
    "load_model",
    "load_models",
]


def first_party_models() -> list[Path]:
    """The folders of the models that come with SecondRead, sorted by id."""
    root = first_party_root()
    return sorted(path.parent for path in root.glob(f"*/{MANIFEST_NAME}"))


def load_model(reference: ModelReference) -> Manifest:
    """Read one model package and compare every file with its digest.

    Raises:
        ManifestError: it is not sound, or is another model than the configuration says.
    """
    manifest = read_manifest(Path(reference.path))
    if manifest.id != reference.id:
        raise ManifestError(
            f"The folder '{reference.path}' holds the model '{manifest.id}', but the configuration "
            f"calls it '{reference.id}'. Correct 'id' or 'path' in [[models]]."
        )
    if manifest.research_only and reference.qualification != "RESEARCH":
        raise ManifestError(
            f"Model '{manifest.id}' is for research only, but the configuration says "
            f"'{reference.qualification}'. Set qualification = \"RESEARCH\" in [[models]]."
        )
    verify(manifest)
    return manifest


def load_models(references: Iterable[ModelReference]) -> Mapping[str, Manifest]:
    """Read and verify every model that is switched on; by id, in the order of the configuration.

    Raises:
        ManifestError: one of them is not sound.
    """
    return MappingProxyType({reference.id: load_model(reference) for reference in references})
