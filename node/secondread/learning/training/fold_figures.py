"""The few figures that a fold shows when it is done; `secondread evaluate` gives all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from secondread.learning.metrics import classification, regression
from secondread.learning.predictions import Row
from secondread.learning.tasks import columns


def fold_figures(task: str, rows: Sequence[Row]) -> Mapping[str, float]:
    """The chief figures of a fold's rows, of a classification or a regression."""
    truth, found = columns(rows)
    if task == "classification":
        return {
            "roc_auc": classification.roc_auc(truth, found),
            "brier": classification.brier(truth, found),
        }
    figures = regression.figures(truth, found)
    return {name: figures[name] for name in ("mean_absolute_error", "r_squared")}
