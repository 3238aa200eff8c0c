"""``secondread compare``: two runs of training over the same held-out cases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secondread.cli.evaluate import DrawsOption, SeedOption
from secondread.cli.options import JsonOption
from secondread.cli.output import print_json, print_line, print_note, print_table


def compare(
    run_a: Annotated[Path, typer.Argument(help="The folder of run A.", show_default=False)],
    run_b: Annotated[Path, typer.Argument(help="The folder of run B.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="A folder for report.html. Default: no report.", show_default=False
        ),
    ] = None,
    draws: DrawsOption = 2000,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Compare two runs case by case: differences, their intervals, and p values."""
    from secondread.learning.extra import require

    require()
    from secondread.learning.comparison import compare as judge
    from secondread.learning.comparison import describe
    from secondread.learning.intervals import Bootstrap
    from secondread.learning.predictions import read
    from secondread.learning.report.compared import COLUMNS, make_rows, write_report

    bootstrap = Bootstrap(draws=draws, seed=seed)
    comparison = judge(read(run_a), read(run_b), bootstrap)
    page = None
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        page = write_report(out, comparison, bootstrap)
    if as_json:
        print_json(describe(comparison) | {"report": page})
        return
    print_line(
        f"A: {comparison.names[0]}. B: {comparison.names[1]}. {comparison.cases} cases of "
        f"{comparison.subjects} subjects; left out: {comparison.only_first} of A alone, "
        f"{comparison.only_second} of B alone."
    )
    print_table(COLUMNS, make_rows(comparison))
    if page:
        print_note(f"The report is '{page}'.")
