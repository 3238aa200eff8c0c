"""Which package a person means: by its id, by id and version, or by its folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secondread.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from secondread.config.settings import Settings
    from secondread.domain.packages import PackageTerms

ModelArgument = Annotated[
    str, typer.Argument(help="The id of a model, its id and version, or a package's folder.")
]


class _Rank(Enum):
    """Which of several packages of one name is meant: the first of these that there is."""

    SWITCHED_ON = auto()
    IMPORTED = auto()
    BUILT_IN = auto()


def load_if_any(config: Path | None) -> Settings | None:
    """The configuration; None where there is none and nobody has named one."""
    from secondread.config.load import load
    from secondread.config.source import VARIABLE, find_path
    from secondread.errors import ConfigurationError

    try:
        find_path(config)
    except ConfigurationError:
        if config is not None or os.environ.get(VARIABLE):
            raise
        return None
    return load(config)


def terms_of(settings: Settings | None) -> PackageTerms:
    """What is asked of packages; where there is no configuration, what is usual."""
    from secondread.domain.packages import PackageTerms

    return PackageTerms() if settings is None else settings.packages


def packages_folder(settings: Settings) -> Path:
    """Where imported packages lie."""
    return settings.data_dir / "models"


def imported_packages(settings: Settings) -> list[Path]:
    """The folders of the imported packages, sorted by name."""
    from secondread.bundles.package import MANIFEST_NAME

    found = packages_folder(settings).glob(f"*/{MANIFEST_NAME}")
    return sorted(path.parent for path in found if not path.parent.name.startswith("."))


def find_package(settings: Settings | None, model: str) -> Path:
    """The folder of a package: first that which is switched on, then imported ones, then built-in.

    Raises:
        NotFoundError: there is none.
        UsageError: there are several versions of it.
    """
    from secondread.bundles.package import MANIFEST_NAME

    if (Path(model) / MANIFEST_NAME).is_file():
        return Path(model).absolute()
    places = tuple(_places(settings))
    for rank in _Rank:
        found = {folder for names, folder, of in places if model in names and of is rank}
        if len(found) > 1:
            versions = ", ".join(
                sorted(names[-1] for names, folder, _ in places if folder in found)
            )
            raise UsageError(f"There are several packages of '{model}'; name one: {versions}.")
        if found:
            return found.pop()
    known = ", ".join(sorted({names[0] for names, _, _ in places})) or "none"
    raise NotFoundError(f"There is neither a model nor a folder '{model}'; models: {known}.")


def _places(settings: Settings | None) -> Iterator[tuple[tuple[str, ...], Path, _Rank]]:
    """What each package is called, where it lies, and how it comes to be known."""
    from secondread.bundles.registry import first_party_models

    for reference in settings.models if settings else ():
        yield (reference.id,), Path(reference.path), _Rank.SWITCHED_ON
    imported = imported_packages(settings) if settings else []
    for folder in imported:
        yield (_said_by(folder)[0], folder.name), folder, _Rank.IMPORTED
    for folder in first_party_models():
        yield (folder.name, "-".join(_said_by(folder))), folder, _Rank.BUILT_IN


def _said_by(folder: Path) -> tuple[str, ...]:
    """Id and version of a package; of one that is damaged what its folder is called."""
    from secondread.bundles.manifest import read_manifest
    from secondread.errors import ManifestError

    try:
        manifest = read_manifest(folder)
    except ManifestError:
        return (folder.name,)
    return manifest.id, manifest.version
