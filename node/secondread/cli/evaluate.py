"""``secondread evaluate``: what a run of training reached on cases that it had not seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secondread.cli.options import JsonOption
from secondread.cli.output import print_json, print_line, print_note, print_table

if TYPE_CHECKING:
    from secondread.learning.evaluation import Evaluation

DrawsOption = Annotated[
    int,
    typer.Option("--draws", min=100, max=100_000, help="Bootstrap draws of subjects."),
]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, help="The same seed gives the same intervals.")
]


def evaluate(
    run: Annotated[
        Path, typer.Argument(help="The folder that 'secondread train' wrote.", show_default=False)
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="The folder of the images: shows the worst cases, and finds copies across folds.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Where to write. Default: the run.", show_default=False),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            metavar="COLUMN",
            help="Split by this column; may be repeated. Default: those of the recipe.",
            show_default=False,
        ),
    ] = None,
    draws: DrawsOption = 2000,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Judge a run by its held-out cases; writes figures.json and report.html."""
    from secondread.learning.extra import require

    require()
    from secondread.learning.evaluation import Judging, describe, write_figures
    from secondread.learning.evaluation import evaluate as judge
    from secondread.learning.intervals import Bootstrap
    from secondread.learning.predictions import read
    from secondread.learning.report.evaluated import Places, write_report

    check_data(data)
    judging = Judging(bootstrap=Bootstrap(draws=draws, seed=seed), subgroups=tuple(by or ()))
    evaluation = judge(read(run), data, judging)
    folder = out or run
    folder.mkdir(parents=True, exist_ok=True)
    write_figures(folder, evaluation)
    page = write_report(evaluation, Places(run, data, folder))
    if as_json:
        print_json(describe(evaluation) | {"report": page})
        return
    _print(evaluation)
    print_note(f"The report is '{page}'.")


def check_data(data: Path | None) -> None:
    """Go no further where the data folder is named and not there."""
    from secondread.errors import NotFoundError

    if data is not None and not data.is_dir():
        raise NotFoundError(f"'{data}' is not a folder; --data names the folder of the images.")


def _print(evaluation: Evaluation) -> None:
    from secondread.learning.report.page import show_estimate

    predictions = evaluation.predictions
    print_line(
        f"{predictions.name}: {len(predictions.rows)} cases of {evaluation.subjects} subjects in "
        f"{evaluation.folds} folds"
    )
    rows = [(name, show_estimate(each)) for name, each in evaluation.figures.items()]
    print_table((predictions.task, f"value ({evaluation.bootstrap.level:.0%} interval)"), rows)
