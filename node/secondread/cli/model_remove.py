"""``secondread model remove``: an imported package that nothing needs any more."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from secondread.cli.model_find import (
    ModelArgument,
    find_package,
    imported_packages,
    packages_folder,
)
from secondread.cli.model_switch import recorded
from secondread.cli.options import ConfigOption, JsonOption
from secondread.cli.peer_edit import operator
from secondread.errors import ManifestError, UsageError

if TYPE_CHECKING:
    from secondread.config.settings import Settings


def remove_model(
    model: ModelArgument, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Delete an imported package that is switched off and that no other model builds on."""
    from secondread.bundles.manifest import read_manifest
    from secondread.cli.output import print_json, print_line
    from secondread.config.load import load

    settings = load(config)
    folder = find_package(settings, model).resolve()
    _check_imported(settings, folder)
    _check_off(settings, folder)
    _check_alone(settings, folder)
    try:
        manifest = read_manifest(folder)
        named, digest = f"{manifest.id} {manifest.version}", manifest.digest
    except ManifestError:
        # What is damaged may go, too.
        named, digest = folder.name, ""
    detail = {"model": folder.name, "sha256": digest, "by": operator()}
    with _taken_away(folder), recorded(settings, f"Package {named} was removed", detail):
        pass
    if as_json:
        print_json({"package": folder.name, "digest": digest, "folder": folder})
    else:
        print_line(f"Removed the package {named} and its folder.")


@contextmanager
def _taken_away(folder: Path) -> Iterator[None]:
    """Out of sight at once; put back, whole, where what follows fails."""
    aside = folder.with_name(f".removed-{folder.name}")
    folder.rename(aside)
    try:
        yield
    except BaseException:
        aside.rename(folder)
        raise
    shutil.rmtree(aside)


def _check_imported(settings: Settings, folder: Path) -> None:
    if folder not in {path.resolve() for path in imported_packages(settings)}:
        raise UsageError(
            f"'{folder.name}' was not imported, and is not removed: only packages in "
            f"'{packages_folder(settings)}' are. Models that come with SecondRead stay, and a "
            "folder of yours is for you to delete."
        )


def _check_off(settings: Settings, folder: Path) -> None:
    for row in settings.models:
        if Path(row.path).resolve() == folder:
            raise UsageError(
                f"'{folder.name}' is switched on as model '{row.id}'. Switch it off first: "
                f"secondread model disable {row.id}; then start the node anew."
            )


def _check_alone(settings: Settings, folder: Path) -> None:
    """Hold that no other package would lose what it builds on.

    Raises:
        UsageError: one would.
    """
    from secondread.bundles.manifest import MANIFEST_NAME, read_manifest
    from secondread.bundles.package import digest_of
    from secondread.bundles.registry import first_party_models

    digest = digest_of((folder / MANIFEST_NAME).read_bytes())
    switched_on = [Path(row.path).resolve() for row in settings.models]
    imported = [path.resolve() for path in imported_packages(settings)]
    builders = []
    for other in sorted({*switched_on, *imported, *first_party_models()} - {folder}):
        try:
            manifest = read_manifest(other)
        except ManifestError:
            continue
        if digest in {pin.sha256 for pin in manifest.upstream}:
            builders.append(f"'{manifest.id}' {manifest.version}")
    if builders:
        raise UsageError(
            f"'{folder.name}' stays, because {' and '.join(builders)} "
            f"{'build' if len(builders) > 1 else 'builds'} on it. Remove what builds on it first."
        )
