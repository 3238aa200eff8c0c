"""A run: the folds of a recipe trained one after the other, and their held-out answers written."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from secondread.learning.recipe import TABLES, WHOLE_IMAGE
from secondread.learning.training.loop import Report
from secondread.learning.training.plan import FoldResult, Plan, choose_folds

Course = Callable[[Plan, Sequence[int], Report], tuple[FoldResult, ...]]
"""Trains folds of a plan and writes their held-out answers."""


def run(plan: Plan, report: Report) -> tuple[FoldResult, ...]:
    """Train the folds of a plan and write their held-out answers.

    Raises:
        RecipeError: the recipe asks for what cannot be trained.
        DataError: the cases cannot be read, leak between folds, or the run is another recipe's.
        UsageError: a fold is not there, or was begun and ``resume`` is not set.
    """
    return _choose_course(plan.recipe.estimator.kind)(plan, choose_folds(plan), report)


def _choose_course(kind: str) -> Course:
    """The course of a kind of estimator; what it needs is imported only where it is chosen."""
    if kind in TABLES:
        from secondread.learning.training import tabular

        return tabular.run
    if kind == "yardstick":
        from secondread.learning.training import yardstick

        return yardstick.run
    if kind in WHOLE_IMAGE:
        from secondread.learning.training import grading

        return grading.run
    if kind == "hybrid":
        from secondread.learning.training import hybrid

        return hybrid.run
    from secondread.learning.training import drawing

    return drawing.run
