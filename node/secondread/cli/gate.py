"""``secondread gate``: the node's own checks, on anybody's results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secondread.cli.options import JsonOption
from secondread.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secondread.results.gate import Examination

EXIT_FAULTS = 1
EXIT_UNREADABLE = 2


def gate(
    files: Annotated[
        list[Path],
        typer.Argument(help="Segmentations, reports and other results; or folders with them."),
    ],
    source: Annotated[
        Path | None,
        typer.Option(
            "--source",
            help="A folder with the images that they were made from; references are looked up in "
            "it and among the files themselves.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Examine results as the node examines its own before they leave.

    Of each file it tells what the standard does not allow or a viewer would show wrongly, a line
    for each. Exit code 0 if there is nothing to tell, 1 if there is, 2 if a file cannot be
    examined. What lies in a folder and is no result, such as images, is left out.
    """
    from secondread.cli.output import print_json
    from secondread.results.gate import examine, read_sources

    paths = _list_files(files)
    sources = None
    if source is not None:
        sources = read_sources([*_list_files([source]), *paths])
    examined = [examine(path, sources) for path in paths]
    named = frozenset(files)
    found = [one for one in examined if one.is_result or one.path in named]
    if json:
        print_json(
            {
                "files": [
                    {
                        "path": one.path,
                        "kind": one.kind,
                        "readable": one.is_readable,
                        "faults": one.faults,
                    }
                    for one in found
                ]
            }
        )
    else:
        _print(found)
    if not all(one.is_readable for one in found):
        raise typer.Exit(EXIT_UNREADABLE)
    if any(one.faults for one in found):
        raise typer.Exit(EXIT_FAULTS)


def _list_files(given: Sequence[Path]) -> list[Path]:
    """The files, and those below the folders that look like DICOM."""
    from secondread.cli.send import find_dicom_files

    paths: list[Path] = []
    for path in given:
        if path.is_dir():
            found, _ = find_dicom_files(path)
            if not found:
                raise NotFoundError(f"There is no DICOM file in '{path}'.")
            paths.extend(found)
        elif path.exists():
            paths.append(path)
        else:
            raise NotFoundError(f"There is no file '{path}'.")
    return paths


def _print(found: Sequence[Examination]) -> None:
    from secondread.cli.output import print_line

    for one in found:
        if one.is_readable and not one.faults:
            print_line(f"{one.path}: {one.kind}: no fault found", style="green")
            continue
        print_line(f"{one.path}: {one.kind or 'cannot be read'}", style="bold")
        for fault in one.faults:
            print_line(f"  {fault}", style="" if one.is_readable else "red")
