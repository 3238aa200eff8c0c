"""``secondread model card``: what a model says about itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secondread.cli.model_find import ModelArgument, find_package, load_if_any
from secondread.cli.options import ConfigOption, JsonOption
from secondread.errors import NotFoundError, UsageError


def show_card(
    model: ModelArgument,
    metadata: Annotated[
        bool,
        typer.Option(
            "--metadata", help="Print it as metadata.json of a MONAI bundle.", show_default=False
        ),
    ] = False,
    page: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Write it as one page of HTML.", show_default=False
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the card of a model: what it is for, how good it is, and where it fails."""
    from secondread.bundles.archive import CARD_NAME
    from secondread.bundles.manifest import read_manifest
    from secondread.bundles.metadata import monai_metadata
    from secondread.cli.output import print_json, print_line

    folder = find_package(load_if_any(config), model)
    manifest = read_manifest(folder)
    if metadata:
        print_json(monai_metadata(manifest))
        return
    try:
        text = (folder / CARD_NAME).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise NotFoundError(
            f"Model '{manifest.id}' has no card: there is no {CARD_NAME} in '{folder}'."
        ) from None
    # A card of somebody else does not get to drive the terminal.
    text = "".join(sign for sign in text if sign.isprintable() or sign in "\n\t")
    if page is not None:
        _write(page, text, folder, f"{manifest.id} {manifest.version}")
        if as_json:
            print_json({"id": manifest.id, "version": manifest.version, "path": page})
        else:
            print_line(f"Wrote '{page}'.")
    elif as_json:
        print_json({"id": manifest.id, "version": manifest.version, "card": text})
    else:
        print_line(text.rstrip("\n"))


def _write(page: Path, text: str, folder: Path, title: str) -> None:
    from secondread.cli.card_page import write_page

    try:
        with page.open("x", encoding="utf-8") as file:
            file.write(write_page(text, folder, title))
    except FileExistsError:
        raise UsageError(f"There is a file '{page}' already; it is not overwritten.") from None
    except OSError as error:
        raise UsageError(f"'{page}' cannot be written: {error.strerror}.") from None
