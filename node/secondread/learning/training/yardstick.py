"""A yardstick: what the simplest numbers of an image tell, for a network to be compared with.

Without features it answers the mean, or the share, of the cases that teach. With them it is a
straight line through them, or a logistic curve. A network that is no better has learnt no more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secondread.errors import RecipeError
from secondread.learning import leaks
from secondread.learning.case import Loaded
from secondread.learning.recipe import Recipe, make_options
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
from secondread.learning.whole import write_whole

FILE_NAME = "yardstick.json"
_MM3_PER_ML = 1000


def _size(loaded: Loaded) -> float:
    voxel_mm3 = float(abs(np.linalg.det(loaded.affine_ras[:3, :3])))
    return loaded.image.size * voxel_mm3 / _MM3_PER_ML


FEATURES: Mapping[str, Callable[[Loaded], float]] = MappingProxyType(
    {
        "mean": lambda loaded: float(loaded.image.mean()),
        "deviation": lambda loaded: float(loaded.image.std()),
        "median": lambda loaded: float(np.median(loaded.image)),
        "size": _size,
    }
)
"""Name → what it is of an image as it was read; ``size`` is that of the field of view in mL."""


@dataclass(frozen=True)
class Options:
    """``[estimator]`` of a yardstick: some of `FEATURES`, or none."""

    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """A straight line through features, (case, feature), brought to mean 0 and deviation 1.

    A classification's is that of the logit.
    """

    middle: NDArray[np.float64]
    deviation: NDArray[np.float64]
    weights: NDArray[np.float64]
    offset: float

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give (case,) from (case, feature)."""
        scaled = (values - self.middle) / self.deviation
        found: NDArray[np.float64] = scaled @ self.weights + self.offset
        return found


def run(plan: Plan, folds: Sequence[int], report: Report) -> tuple[FoldResult, ...]:
    """Fit a yardstick; `training.run.run` says what is raised."""
    recipe = plan.recipe
    target, names = check_target(recipe), check(recipe)
    prepare_folder(plan, folds, FILE_NAME)
    cases = find_cases(recipe, plan.data)
    parts = split(cases, recipe)
    leaks.refuse(parts)
    hold_split(plan, parts)
    known, rows = [], []
    for number, case in enumerate(cases, 1):
        loaded = load_case(recipe, case)
        known.append(measure_case(target, loaded))
        rows.append([FEATURES[name](loaded) for name in names])
        report("Images", number, len(cases))
    values = np.array(rows, np.float64).reshape(len(cases), len(names))
    results = []
    for fold in folds:
        held = np.isin([case.id for case in cases], [case.id for case in parts[fold]])
        truth = make_truth(recipe, [each for each, out in zip(known, held, strict=True) if not out])
        told = np.array([truth(each) for each in known])
        line = fit(recipe.task, values[~held], told[~held])
        found = line(values)
        if recipe.task == "classification":
            found = 1 / (1 + np.exp(-found))
        answers = [
            make_row(plan, fold, cases[n], (float(told[n]), float(found[n])))
            for n in np.flatnonzero(held)
        ]
        _keep(plan, fold, names, line)
        write_rows(plan, fold, answers)
        figures = fold_figures(recipe.task, answers)
        results.append(FoldResult(fold, int((~held).sum()), len(answers), figures))
    return tuple(results)


def check(recipe: Recipe) -> tuple[str, ...]:
    """Check ``[estimator]``; returns the names of its features.

    Raises:
        RecipeError: one is not known, or the images would be prepared.
    """
    names = make_options(Options, recipe.estimator.options, "[estimator]").features
    if unknown := [name for name in names if name not in FEATURES]:
        raise RecipeError(
            f"A yardstick knows no feature '{unknown[0]}'; it knows {', '.join(FEATURES)}."
        )
    if recipe.preprocessing or recipe.augmentation:
        raise RecipeError(
            "A yardstick measures images as they were read; leave out [[preprocessing]] and "
            "[[augmentation]]."
        )
    return names


def fit(task: str, values: NDArray[np.float64], truth: NDArray[np.float64]) -> Line:
    """Fit a line to (case, feature) and (case,); without features it is the mean."""
    middle, deviation = values.mean(0), values.std(0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    scaled = (values - middle) / deviation
    if not values.shape[1]:
        mean = float(truth.mean())
        offset = float(np.log(mean / (1 - mean))) if task == "classification" else mean
        return Line(middle, deviation, np.zeros(0), offset)
    model = _model(task).fit(scaled, truth)
    return Line(middle, deviation, np.ravel(model.coef_), float(np.ravel(model.intercept_)[0]))


def _model(task: str) -> Any:
    from sklearn.linear_model import LinearRegression, LogisticRegression

    return LogisticRegression() if task == "classification" else LinearRegression()


def _keep(plan: Plan, fold: int, names: Sequence[str], line: Line) -> None:
    plan.folder(fold).mkdir(exist_ok=True)
    content = {
        "features": list(names),
        "mean": line.middle.tolist(),
        "deviation": line.deviation.tolist(),
        "weights": line.weights.tolist(),
        "offset": line.offset,
    }
    text = json.dumps(content, indent=1)
    write_whole(plan.folder(fold) / FILE_NAME, text + "\n")
