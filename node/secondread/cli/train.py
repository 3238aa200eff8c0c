"""``secondread train``: a model from a recipe, with its answers for cases it has not seen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from secondread.cli.export_progress import show_progress
from secondread.cli.options import JsonOption
from secondread.cli.output import print_json, print_note, print_table
from secondread.errors import NotFoundError, UsageError


def train(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a TOML file.", show_default=False)],
    data: Annotated[
        Path,
        typer.Option(
            "--data", help="The folder that the recipe's are relative to.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The run's folder.", show_default=False)],
    fold: Annotated[
        str, typer.Option("--fold", metavar="K|all", help="Which fold, counted from 0.")
    ] = "all",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint.", show_default=False)
    ] = False,
    threads: Annotated[
        int, typer.Option("--threads", min=1, help="Threads of the arithmetic.")
    ] = 1,
    as_json: JsonOption = False,
) -> None:
    """Train a model from a recipe, fold by fold; it can be resumed."""
    from secondread.learning.extra import require

    require(("nibabel",))
    from secondread.learning.recipe import read_recipe
    from secondread.learning.training.plan import Plan
    from secondread.learning.training.run import run

    if fold != "all" and not fold.isdecimal():
        raise UsageError(f"--fold is '{fold}', but must be a number from 0, or all.")
    if not data.is_dir():
        raise NotFoundError(f"There is no folder '{data}'; --data names where the images are.")
    folds = () if fold == "all" else (int(fold),)
    plan = Plan(read_recipe(recipe), data, out, folds, resume=resume, threads=threads)
    with show_progress(quiet=as_json) as report:
        results = run(plan, report)
    if as_json:
        print_json({"run": out, "folds": results})
        return
    names = list(dict.fromkeys(name for each in results for name in each.figures))
    rows = [
        (each.fold, each.trained, each.held_out, *(_show(each.figures, name) for name in names))
        for each in results
    ]
    print_table(("Fold", "Taught by", "Held out", *names), rows)
    print_note(f"Judge the run: secondread evaluate {out} --data {data}")


def _show(figures: Mapping[str, float], name: str) -> str:
    value = figures.get(name, math.nan)
    return "–" if math.isnan(value) else f"{value:.3f}"
