"""``secondread model import``: a package of somebody else, checked and put in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secondread.cli.model_find import packages_folder
from secondread.cli.options import ConfigOption, JsonOption
from secondread.errors import NotFoundError, UsageError

_DIGEST_DIGITS = 64


def import_model(
    source: Annotated[
        Path, typer.Argument(help="A package: its folder, or a .zip or .tar.gz of it.")
    ],
    digest: Annotated[
        str,
        typer.Option(
            "--digest",
            help="sha256 that its model.toml must have, 64 hex digits, as its maker told you.",
            show_default=False,
        ),
    ] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a model package into this node's data folder, after every check; nothing runs yet."""
    from secondread.bundles.archive import import_package
    from secondread.cli.output import print_json, print_line
    from secondread.config.load import load

    wanted = digest.strip().lower().removeprefix("sha256:")
    if wanted and (len(wanted) != _DIGEST_DIGITS or set(wanted) - set("0123456789abcdef")):
        raise UsageError("--digest is a sha256: 64 hex digits.")
    if not source.exists():
        raise NotFoundError(f"There is neither a file nor a folder '{source}'.")
    settings = load(config)
    # As the node itself makes it, where this comes before its first start.
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = import_package(source, packages_folder(settings), settings.packages, wanted)
    manifest = made.manifest
    if as_json:
        print_json(
            {
                "id": manifest.id,
                "version": manifest.version,
                "digest": manifest.digest,
                "signature": made.vouched,
                "folder": manifest.folder,
                "new": made.new,
            }
        )
        return
    done = "Imported" if made.new else "There was already"
    print_line(
        f"{done} {manifest.id} {manifest.version}, {made.vouched.sentence}; sha256 "
        f"{manifest.digest}."
    )
    print_line(f"To switch it on: secondread model enable {manifest.folder.name}")
