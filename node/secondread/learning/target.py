"""What is to be told of a case: a column of a table, or a measure of its label map.

Where a classification cuts at the median, it is the median of the cases that teach: the held-out
ones have no part in it, so the cut differs a little from fold to fold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from secondread.errors import DataError, RecipeError
from secondread.learning.case import Case, Loaded
from secondread.learning.recipe import Recipe, Target

__all__ = ["Truth", "check_target", "make_truth", "measure_case", "told_of"]

Truth = Callable[[float | str], float]
"""From what is known of a case to what an estimator has to tell: 0 or 1, or the number."""

_SOURCES = ("labels", "column")
_MEASURES = ("volume", "share")
_MM3_PER_ML = 1000


def check_target(recipe: Recipe) -> Target:
    """Check ``[target]`` against the task; returns it.

    Raises:
        RecipeError: it is not whole, or says two things at once.
    """
    target = recipe.target
    if target is None:
        raise RecipeError("The recipe lacks the section [target].")
    if target.source not in _SOURCES:
        raise RecipeError(
            f"'source' of [target] is '{target.source}', but must be one of {', '.join(_SOURCES)}."
        )
    if target.source == "labels":
        _check_measure(recipe, target)
    elif not target.column or not recipe.data.table:
        raise RecipeError("A [target] from a column needs 'column', and [data] 'table'.")
    cuts = (not math.isnan(target.above), target.above_median, bool(target.positive))
    if sum(cuts) != (recipe.task == "classification"):
        raise RecipeError(
            "[target] of a classification has one of 'above', 'above_median' and 'positive'; that "
            "of a regression has none of them."
        )
    return target


def _check_measure(recipe: Recipe, target: Target) -> None:
    if target.measure not in _MEASURES:
        raise RecipeError(
            f"'measure' of [target] is '{target.measure}', but must be one of "
            f"{', '.join(_MEASURES)}."
        )
    if not target.labels or min(target.labels) < 1:
        raise RecipeError("'labels' of [target] must be numbers of labels, 1 or more.")
    if not recipe.data.labels and recipe.data.reader != "dicom_seg":
        raise RecipeError("A [target] from label maps needs 'labels' of [data], their folder.")
    if target.positive:
        raise RecipeError("'positive' of [target] are words of a column; a measure has none.")


def measure_case(target: Target, loaded: Loaded) -> float | str:
    """What is known of a case: its target from the table, or mL or a share of its label map.

    Raises:
        DataError: the table has nothing for it, or its label map is empty.
    """
    if target.source == "column":
        return told_of(loaded.case)
    if loaded.labels is None:
        raise DataError(f"The case {loaded.case.id} has no label map.")
    wanted = int(np.isin(loaded.labels, target.labels).sum())
    if target.measure == "volume":
        voxel_mm3 = float(abs(np.linalg.det(loaded.affine_ras[:3, :3])))
        return wanted * voxel_mm3 / _MM3_PER_ML
    marked = int((loaded.labels > 0).sum())
    if not marked:
        raise DataError(f"The label map of {loaded.case.id} is empty, so it has no shares.")
    return wanted / marked


def told_of(case: Case) -> float | str:
    """The target of a case that came from a table.

    Raises:
        DataError: there is none.
    """
    if case.target is None or case.target == "":
        raise DataError(f"The table does not say the target of case {case.id}.")
    return case.target


def make_truth(recipe: Recipe, taught: Sequence[float | str]) -> Truth:
    """Make the rule by which known things become classes or numbers.

    Args:
        recipe: its target was checked.
        taught: what is known of the cases that teach; the median is theirs.

    Raises:
        DataError: all that teach are of one class, or a text stands where a number has to.
    """
    target = check_target(recipe)
    if recipe.task == "regression":
        return _number
    if target.positive:
        words = target.positive

        def truth(known: float | str) -> float:
            return float(_word(known) in words)
    else:
        cut = target.above
        if target.above_median:
            cut = float(np.median([_number(known) for known in taught]))

        def truth(known: float | str) -> float:
            return float(_number(known) > cut)

    if len({truth(known) for known in taught}) != 2:
        raise DataError("All cases that teach are of one class; there is nothing to tell apart.")
    return truth


def _word(known: float | str) -> str:
    # A column of 0 and 1 was read as numbers; a recipe says "1" of it.
    return known if isinstance(known, str) else f"{known:.15g}"


def _number(known: float | str) -> float:
    if isinstance(known, str):
        raise DataError(f"The target '{known}' is a text, where a number is needed.")
    return float(known)
