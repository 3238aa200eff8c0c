"""A run of a hybrid: numbers of images, a network's among them, and an estimator for tables.

The estimator is chosen and judged as one for tables is: by nested cross-validation, grouped by
subject. The inner folds choose among sizes with activations of a network that the rows had a part
in teaching, so they may choose badly; the held-out rows had no part in anything.
"""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from secondread.errors import DataError, RecipeError
from secondread.learning import leaks, predictions
from secondread.learning.case import Case, Loaded
from secondread.learning.estimators import tables
from secondread.learning.extra import require
from secondread.learning.features.extraction import (
    EMBEDDING,
    check_features,
    describe,
    needs_network,
)
from secondread.learning.preprocessing.steps import Preparation, make_preparation
from secondread.learning.readers.table import Features
from secondread.learning.recipe import FeatureSet, Recipe
from secondread.learning.seeds import draw_seed
from secondread.learning.target import check_target, make_truth, measure_case
from secondread.learning.training.cases import find_cases, load_case, split
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
FEATURES_NAME = "features.json"
TABLE_NAME = "features.csv"
_HEAD = "head"
_PACKAGES = ("skimage", "sklearn", "skl2onnx")

Numbers = Mapping[str, float]


@dataclass(frozen=True)
class _Known:
    """A case that was read, its target, and the numbers of it that hang on no fold."""

    loaded: Loaded
    target: float | str
    numbers: Numbers | None

    @property
    def case(self) -> Case:
        return self.loaded.case


@dataclass(frozen=True)
class _Course:
    """What is the same for all folds; ``source`` is of networks, None where there are none."""

    plan: Plan
    wanted: FeatureSet
    preparation: Preparation
    known: tuple[_Known, ...]
    source: Any


def run(plan: Plan, folds: Sequence[int], report: Report) -> tuple[FoldResult, ...]:
    """Fit a hybrid; `training.run.run` says what is raised."""
    recipe = plan.recipe
    require(_PACKAGES)
    check(recipe)
    wanted, target = check_features(recipe), check_target(recipe)
    preparation = make_preparation(recipe.preprocessing)
    source = _find_source(plan, wanted)
    prepare_folder(plan, folds, MODEL_NAME)
    cases = find_cases(recipe, plan.data)
    parts = split(cases, recipe)
    leaks.refuse(parts)
    hold_split(plan, parts)
    known = []
    for number, case in enumerate(cases, 1):
        loaded = load_case(recipe, case)
        numbers = None if source else describe(preparation.prepare(loaded), wanted)
        known.append(_Known(loaded, measure_case(target, loaded), numbers))
        report("Images", number, len(cases))
    course = _Course(plan, wanted, preparation, tuple(known), source)
    for fold in folds:
        if not (plan.folder(fold) / MODEL_NAME).exists():
            _run_fold(course, fold, {case.id for case in parts[fold]}, report)
    return tuple(_result(plan, fold, len(cases)) for fold in folds)


def check(recipe: Recipe) -> tables.Plan:
    """Check ``[estimator]``: ``head``, a kind of `tables.GRIDS`, and sizes to choose among.

    Raises:
        RecipeError: a key is not known, or the recipe asks for what a hybrid does not do.
    """
    options = dict(recipe.estimator.options)
    head = options.pop(_HEAD, None)
    if recipe.task != "classification":
        raise RecipeError("A hybrid does classifications alone.")
    if recipe.augmentation:
        raise RecipeError(
            "A hybrid has no [[augmentation]]: its features are of images as they are."
        )
    if head not in tables.GRIDS:
        raise RecipeError(
            f"'head' of [estimator] is {head!r}, but must be one of {', '.join(tables.GRIDS)}."
        )
    sizes = tables.GRIDS[head]
    for name, row in options.items():
        if name not in sizes or not isinstance(row, list) or not row:
            raise RecipeError(
                f"[estimator] with the head {head} takes {', '.join(sizes)}, each a list to choose "
                f"from; '{name}' is not so."
            )
    grid = {**sizes, **options} if options else None
    return tables.Plan(head, recipe.folds.count, recipe.folds.nested, recipe.seed, grid)


def _find_source(plan: Plan, wanted: FeatureSet) -> Any:
    if not needs_network(wanted):
        return None
    import torch

    from secondread.learning.features.embedding import find_source

    torch.set_num_threads(plan.threads)
    return find_source(wanted, plan)


def _run_fold(course: _Course, fold: int, held_out: set[str], report: Report) -> None:
    plan, recipe = course.plan, course.plan.recipe
    out = np.array([each.case.id in held_out for each in course.known])
    taught = [each.target for each, held in zip(course.known, out, strict=True) if not held]
    truth = make_truth(recipe, taught)
    table = _tabulate(course.known, _numbers(course, fold, held_out, report), truth)
    rows = tables.choose_rows(table, np.flatnonzero(~out))
    fitted = tables.fit(rows, check(recipe))
    found = fitted.probabilities(table.values[out])
    answers = [
        make_row(plan, fold, course.known[at].case, (float(table.truth[at]), float(answer)))
        for at, answer in zip(np.flatnonzero(out), found, strict=True)
    ]
    write_rows(plan, fold, answers)
    _write_table(plan, fold, table)
    # The estimator comes last: a fold that has one is finished.
    _keep(plan, fold, fitted, rows)


def _result(plan: Plan, fold: int, cases: int) -> FoldResult:
    rows = [row for row in predictions.read(plan.out).rows if row.fold == fold]
    return FoldResult(fold, cases - len(rows), len(rows), fold_figures(plan.recipe.task, rows))


def _numbers(course: _Course, fold: int, held_out: set[str], report: Report) -> list[Numbers]:
    """The features of every case, as the network of this fold sees it."""
    if course.source is None:
        return [each.numbers or {} for each in course.known]
    wanted = course.wanted
    if not (wanted.untrained or wanted.taught_elsewhere):
        subjects = {each.case.subject for each in course.known if each.case.id in held_out}
        course.source.refuse_taught(course.plan, fold, sorted(subjects))
    network = course.source.open(wanted, fold, draw_seed(course.plan.recipe, "untrained", fold))
    found: list[Numbers] = []
    for number, each in enumerate(course.known, 1):
        embedded, labels = network.read(each.loaded, drawn=wanted.region == "network")
        seen = each.loaded
        if wanted.region == "network":
            seen = dataclasses.replace(seen, labels=labels)
        numbers = describe(course.preparation.prepare(seen), wanted)
        found.append({**numbers, **(embedded if EMBEDDING in wanted.groups else {})})
        report(f"Fold {fold}, features", number, len(course.known))
    return found


def _tabulate(known: Sequence[_Known], numbers: Sequence[Numbers], truth: Any) -> Features:
    names = tuple(numbers[0])
    if any(tuple(row) != names for row in numbers):
        raise DataError("The cases do not have the same features.")
    return Features(
        names=names,
        values=np.array([[row[name] for name in names] for row in numbers], np.float64),
        truth=np.array([int(truth(each.target)) for each in known], np.int64),
        subjects=tuple(each.case.subject for each in known),
        ids=tuple(each.case.id for each in known),
    )


def _write_table(plan: Plan, fold: int, table: Features) -> None:
    """Write the features of every case, those held out too, as this fold saw them."""
    folder = plan.folder(fold)
    folder.mkdir(exist_ok=True)
    with (
        whole(folder / TABLE_NAME) as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(("id", "subject", "truth", *table.names))
        for name, subject, truth, row in zip(
            table.ids, table.subjects, table.truth, table.values, strict=True
        ):
            writer.writerow((name, subject, int(truth), *(f"{value:.9g}" for value in row)))


def _keep(plan: Plan, fold: int, fitted: tables.Fitted, taught: Features) -> None:
    """Write the estimator as ONNX, compared with the one it was made from, and what it takes."""
    folder = plan.folder(fold)
    content = {"features": list(taught.names), "chosen": dict(fitted.chosen)}
    text = json.dumps(content, indent=1)
    write_whole(folder / FEATURES_NAME, text + "\n")
    with whole(folder / MODEL_NAME) as partial:
        tables.export(fitted, partial)
        tables.check_agreement(fitted, partial, taught.values)
