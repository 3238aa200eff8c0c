"""``secondread model monitor``: how the models do at work, and what needs a person."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from secondread.cli.options import ConfigOption, JsonOption
from secondread.errors import UsageError


def monitor_models(
    model: Annotated[
        str | None,
        typer.Argument(
            help="The id of a model. Default: all that are switched on.", show_default=False
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", help="Also write a page with pictures to this file.", show_default=False
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell how models do at work: refusals, drift, feedback, challengers, pauses."""
    from secondread.cli.monitor_page import page
    from secondread.cli.monitor_reading import name_models, watch
    from secondread.cli.monitor_story import document, tell
    from secondread.cli.output import print_json, print_line
    from secondread.cli.study import open_ledger
    from secondread.config.load import load

    settings, now = load(config), time.time()
    with open_ledger(settings) as ledger, ledger.read() as view:
        named = name_models(settings, view, model)
        found = [watch(settings, view, one, now) for one in named]
    if html is not None:
        _write(html, page(found, now))
    if as_json:
        print_json({"models": [document(one) for one in found]})
        return
    for number, one in enumerate(found):
        if number:
            print_line("")
        for line in tell(one):
            print_line(line)
    if html is not None:
        print_line("")
        print_line(f"Wrote '{html}'.")


def _write(path: Path, text: str) -> None:
    """Write the page; it is for whoever may read the ledger.

    Raises:
        UsageError: it cannot be written there.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"'{path}' cannot be written: {error.strerror}.") from None
