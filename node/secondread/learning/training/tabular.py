"""A run of an estimator that learns from the columns of a table, and is kept as ONNX.

Each fold's estimator is chosen and fitted without the subjects that it answers for. What a package
ships is one more, fitted on all of them by the same recipe: ``model.onnx`` of the run. No figure is
its own; those of the folds stand for it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from secondread.errors import DataError, RecipeError
from secondread.learning import leaks, predictions
from secondread.learning.case import Case
from secondread.learning.estimators import tables
from secondread.learning.estimators.svm_onnx import Range, surface_of
from secondread.learning.estimators.tables import Fitted
from secondread.learning.readers.table import Features, assemble_features
from secondread.learning.recipe import Recipe
from secondread.learning.target import check_target, make_truth, told_of
from secondread.learning.training.cases import find_cases, split
from secondread.learning.training.fold_figures import fold_figures
from secondread.learning.training.loop import Report
from secondread.learning.training.plan import (
    FoldResult,
    Plan,
    hold_split,
    make_row,
    prepare_folder,
    write_rows,
)
from secondread.learning.whole import whole, write_whole

MODEL_NAME = "model.onnx"
CHOSEN_NAME = "chosen.json"
_SURFACE = "surface"
_SURFACE_AGREEMENT = 1e-3
"""By how much a probability of a surface may differ from the machine's."""


def run(plan: Plan, folds: Sequence[int], report: Report) -> tuple[FoldResult, ...]:
    """Fit an estimator for tables; `training.run.run` says what is raised."""
    recipe = plan.recipe
    how = check(recipe)
    prepare_folder(plan, folds, MODEL_NAME)
    cases = find_cases(recipe, plan.data)
    parts = split(cases, recipe)
    leaks.refuse(parts)
    hold_split(plan, parts)
    results = []
    for number, fold in enumerate(folds, 1):
        held_out = {case.id for case in parts[fold]}
        if not (plan.folder(fold) / MODEL_NAME).exists():
            _run_fold(plan, fold, cases, held_out)
        results.append(_result(plan, fold, len(cases) - len(held_out)))
        report("Folds", number, len(folds))
    whole = features_of(recipe, cases, cases)
    _keep(plan.out, tables.fit(whole, how), whole, recipe)
    return tuple(results)


def check(recipe: Recipe) -> tables.Plan:
    """Check ``[estimator]``; returns how it is chosen.

    Its keys are those of `tables.GRIDS`, each with the values to choose among, and ``surface``.

    Raises:
        RecipeError: a key is not known, or the recipe asks for what no table has.
    """
    check_target(recipe)
    kind, options = recipe.estimator.kind, dict(recipe.estimator.options)
    if recipe.task != "classification":
        raise RecipeError(f"A {kind} of a table does classifications alone.")
    if recipe.preprocessing or recipe.augmentation:
        raise RecipeError("A table has no [[preprocessing]] and no [[augmentation]].")
    if options.pop(_SURFACE, False) not in ((False, True) if kind == "svm" else (False,)):
        raise RecipeError("'surface' of [estimator] is true or false, and an svm's alone.")
    known = tables.GRIDS[kind]
    for name, row in options.items():
        if name not in known or not isinstance(row, list) or not row:
            raise RecipeError(
                f"[estimator] of a {kind} takes {', '.join(known)}, each a list to choose from; "
                f"'{name}' is not so."
            )
    grid: Mapping[str, Sequence[Any]] | None = {**known, **options} if options else None
    return tables.Plan(kind, recipe.folds.count, recipe.folds.nested, recipe.seed, grid)


def features_of(recipe: Recipe, cases: Sequence[Case], taught: Sequence[Case]) -> Features:
    """Give the features of cases and their classes; a cut at the median is that of ``taught``."""
    truth = make_truth(recipe, [told_of(case) for case in taught])
    source = recipe.data
    return assemble_features(
        cases, source.columns, lambda case: truth(told_of(case)) == 1, source.coding
    )


def _run_fold(plan: Plan, fold: int, cases: Sequence[Case], held_out: set[str]) -> None:
    recipe = plan.recipe
    taught = [case for case in cases if case.id not in held_out]
    features = features_of(recipe, cases, taught)
    held = np.isin(features.ids, sorted(held_out))
    taught_rows = tables.choose_rows(features, np.flatnonzero(~held))
    fitted = tables.fit(taught_rows, check(recipe))
    found = fitted.probabilities(features.values[held])
    truths = features.truth[held]
    by_id = {case.id: case for case in cases}
    ids = [features.ids[n] for n in np.flatnonzero(held)]
    rows = [
        make_row(plan, fold, _public(by_id[name], recipe), (float(truth), float(probability)))
        for name, truth, probability in zip(ids, truths, found, strict=True)
    ]
    write_rows(plan, fold, rows)
    # The estimator comes last: a fold that has one is finished.
    _keep(plan.folder(fold), fitted, taught_rows, recipe)


def _public(case: Case, recipe: Recipe) -> Case:
    """A case with those of its columns that figures are split by, and no other."""
    kept = {name: case.values[name] for name in recipe.figures.subgroups if name in case.values}
    return dataclasses.replace(case, values=kept)


def _keep(folder: Path, fitted: Fitted, features: Features, recipe: Recipe) -> None:
    """Write an estimator as ONNX, compare it with the one it was made from, and say its sizes."""
    folder.mkdir(exist_ok=True)
    chosen = json.dumps(dict(fitted.chosen), indent=1)
    write_whole(folder / CHOSEN_NAME, chosen + "\n")
    with whole(folder / MODEL_NAME) as partial:
        if not recipe.estimator.options.get(_SURFACE):
            tables.export(fitted, partial)
            tables.check_agreement(fitted, partial, features.values)
        else:
            _write_surface(partial, fitted, features)


def _write_surface(path: Path, fitted: Fitted, features: Features) -> None:
    """Write a machine as a polynomial that holds no row of the table."""
    if not np.isfinite(features.values).all():
        raise DataError("A surface needs a table without gaps; leave out 'surface', or such rows.")
    within = Range(features.values.min(axis=0), features.values.max(axis=0))
    surface = surface_of(fitted.model, within, most=_SURFACE_AGREEMENT)
    path.write_bytes(surface.SerializeToString())
    gaps = tables.run_onnx(path, features.values) - fitted.probabilities(features.values)
    if not float(np.abs(gaps).max()) <= _SURFACE_AGREEMENT:
        raise DataError("The surface differs from the support vector machine it was made from.")


def _result(plan: Plan, fold: int, taught: int) -> FoldResult:
    rows = [row for row in predictions.read(plan.out).rows if row.fold == fold]
    return FoldResult(fold, taught, len(rows), fold_figures(plan.recipe.task, rows))
