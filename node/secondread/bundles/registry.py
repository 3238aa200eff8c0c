"""The models that this node may run: found, read and verified."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from secondread.bundles.manifest import MANIFEST_NAME, Manifest, read_manifest, verify
from secondread.bundles.signature import check_signature
from secondread.bundles.upstream import candidates, resolve
from secondread.config.first_party import first_party_folder, first_party_root
from secondread.domain.engine import Upstream
from secondread.domain.network import ModelReference
from secondread.domain.packages import PackageTerms
from secondread.errors import ManifestError

__all__ = [
    "first_party_folder",
    "first_party_models",
    "load_manifest",
    "load_model",
    "load_models",
]


def first_party_models() -> list[Path]:
    """The folders of the models that come with SecondRead, sorted by id."""
    root = first_party_root()
    return sorted(path.parent for path in root.glob(f"*/{MANIFEST_NAME}"))


_USUAL = PackageTerms()


def load_model(
    reference: ModelReference,
    terms: PackageTerms = _USUAL,
    others: Iterable[ModelReference] = (),
) -> Manifest:
    """Read one model package and all that it builds on, and compare every file with its digest.

    Args:
        reference: the entry of the configuration.
        terms: whose packages are taken.
        others: models of the configuration; what it builds on is looked for among them and among
            those that come with SecondRead.

    Raises:
        ManifestError: it is not sound, is another model than the configuration says, lacks the
            signature that the terms demand, or something that it builds on is missing or has
            changed.
        ConfigurationError: the file of a trusted key cannot be used.
    """
    manifest = read_manifest(Path(reference.path))
    if manifest.id != (reference.package or reference.id):
        raise ManifestError(
            f"The folder '{reference.path}' holds the model '{manifest.id}', but the configuration "
            f"calls it '{reference.package or reference.id}'. Correct 'id', 'package' or 'path' "
            "in [[models]]."
        )
    manifest = load_manifest(manifest, terms, others)
    if manifest.research_only and reference.qualification != "RESEARCH":
        raise ManifestError(
            f"Model '{manifest.id}' is for research only, but the configuration says "
            f"'{reference.qualification}'. Set qualification = \"RESEARCH\" in [[models]]."
        )
    # What the operator calls it names its jobs, so that two versions of one model can run at once.
    return replace(manifest, id=reference.id)


def load_manifest(
    manifest: Manifest,
    terms: PackageTerms = _USUAL,
    others: Iterable[ModelReference] = (),
) -> Manifest:
    """Verify a model and all that it builds on; gives the manifest with ``builds_on``.

    A model that builds on one for research only is for research only.

    Raises:
        ManifestError: as ``load_model``.
        ConfigurationError: the file of a trusted key cannot be used.
    """
    _verify(manifest, terms)
    if not manifest.upstream:
        return manifest
    folders = [*(Path(other.path) for other in others), *first_party_models()]
    found = resolve(manifest, candidates(folders), read_manifest)
    for upstream in found:
        _verify(upstream, terms)
    return replace(
        manifest,
        builds_on=tuple(
            Upstream(one.id, str(one.folder), one.digest, one.version) for one in found
        ),
        research_only=manifest.research_only or any(one.research_only for one in found),
    )


def _verify(manifest: Manifest, terms: PackageTerms) -> None:
    check_signature(manifest.folder, manifest.digest, terms)
    verify(manifest)


def load_models(
    references: Iterable[ModelReference], terms: PackageTerms = _USUAL
) -> Mapping[str, Manifest]:
    """Read and verify every model that is switched on; by id, in the order of the configuration.

    Raises:
        ManifestError: one of them is not sound.
        ConfigurationError: the file of a trusted key cannot be used.
    """
    named = tuple(references)
    return MappingProxyType({one.id: load_model(one, terms, named) for one in named})
