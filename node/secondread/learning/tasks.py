"""Which figures a list of predictions gives, by its task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from secondread.learning.intervals import Figures, IndexArray
from secondread.learning.metrics import classification, regression
from secondread.learning.metrics.segmentation import LabelMeasures, bland_altman
from secondread.learning.predictions import Predictions, Row

FloatArray = npt.NDArray[np.float64]

# Figures of which less is better; of the rest, more is, and of a bias, nearer to zero.
LESS_IS_BETTER = (
    "hd95_mm",
    "surface_mm",
    "absolute_error_percent",
    "brier",
    "calibration_error",
    "mean_absolute_error",
    "root_mean_squared_error",
)
_PER_CASE = ("dice", "hd95_mm", "surface_mm", "error_ml", "absolute_error_percent")


def make_figures(predictions: Predictions, thresholds: FloatArray | None = None) -> Figures:
    """A function from indices of rows to figures by name.

    `thresholds`, of shape (row,), takes the place of the one of the predictions.

    A segmentation has them for each label, `anterior.dice`, and for the mean of the labels,
    `mean.dice`; distances are means over the cases that have one.
    """
    if predictions.task == "segmentation":
        return _segmentation(predictions.rows, predictions.label_names)
    truth, found = columns(predictions.rows)
    if predictions.task == "classification":
        least = np.full(truth.shape, predictions.threshold) if thresholds is None else thresholds
        return lambda indices: classification.figures(
            truth[indices], found[indices], least[indices]
        )
    return lambda indices: regression.figures(truth[indices], found[indices])


def columns(rows: Sequence[Row]) -> tuple[FloatArray, FloatArray]:
    """Truth and answer of classifications and regressions, each of shape (case,)."""
    truth = np.array([np.nan if row.truth is None else row.truth for row in rows], np.float64)
    found = np.array([np.nan if row.found is None else row.found for row in rows], np.float64)
    return truth, found


def score(row: Row) -> float:
    """How good the answer for one case is; the worst cases have the lowest scores.

    The mean Dice of a segmentation; the distance from the truth, negative, of the others.
    """
    if row.labels:
        return float(np.mean([measures.dice for measures in row.labels.values()]))
    return -abs((row.found or 0.0) - (row.truth or 0.0))


def _segmentation(rows: Sequence[Row], names: Sequence[str]) -> Figures:
    tables = {name: _table(rows, name) for name in names}
    volumes = {name: _volumes(rows, name) for name in names}

    def figures(indices: IndexArray) -> Mapping[str, float]:
        found: dict[str, float] = {}
        for name in names:
            found |= _label(name, tables[name][indices], volumes[name][indices])
        for measure in ("dice", "hd95_mm", "surface_mm"):
            found[f"mean.{measure}"] = _mean(np.array([found[f"{n}.{measure}"] for n in names]))
        return found

    return figures


def _label(name: str, table: FloatArray, volumes: FloatArray) -> dict[str, float]:
    found = {
        f"{name}.{measure}": _mean(table[:, column]) for column, measure in enumerate(_PER_CASE)
    }
    known = volumes[~np.isnan(volumes[:, 0])]
    limits = bland_altman(known[:, 0], known[:, 1]) if len(known) > 1 else None
    low, high = (limits.low_ml, limits.high_ml) if limits else (None, None)
    found[f"{name}.limit_low_ml"] = float("nan") if low is None else low
    found[f"{name}.limit_high_ml"] = float("nan") if high is None else high
    return found


def _table(rows: Sequence[Row], name: str) -> FloatArray:
    """(case, measure) in the order of `_PER_CASE`; NaN where a case does not have it."""
    return np.array([_measures(row.labels.get(name)) for row in rows], np.float64)


def _measures(found: LabelMeasures | None) -> list[float]:
    if found is None:
        return [float("nan")] * len(_PER_CASE)
    percent = found.error_percent
    values = (
        found.dice,
        found.hd95_mm,
        found.surface_mm,
        found.error_ml,
        None if percent is None else abs(percent),
    )
    return [float("nan") if value is None else value for value in values]


def _volumes(rows: Sequence[Row], name: str) -> FloatArray:
    """(case, 2): reference and answer in mL."""
    pairs = [row.labels.get(name) for row in rows]
    nothing = (float("nan"), float("nan"))
    return np.array([(p.truth_ml, p.found_ml) if p else nothing for p in pairs], np.float64)


def _mean(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
