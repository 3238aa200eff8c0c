"""Figures of probabilities against a truth of two classes.

All take `truth` (0 or 1) and `probability` (of 1), both of shape (case,). A figure that the cases
cannot give, such as an AUC where all of them are of one class, is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

FloatArray = npt.NDArray[np.float64]

BINS = 10
_NAN = float("nan")


@dataclass(frozen=True)
class CalibrationBin:
    """The cases whose probability lies in one bin, its upper edge included.

    Attributes:
        low: lower edge of the bin.
        high: upper edge.
        count: how many cases.
        probability: their mean probability; NaN where there are none.
        share: the share of them that are positive.
    """

    low: float
    high: float
    count: int
    probability: float
    share: float


def figures(
    truth: FloatArray, probability: FloatArray, threshold: float | FloatArray
) -> dict[str, float]:
    """Every figure by its name; a case is called positive from the threshold, or its own, on."""
    positive, called = truth == 1, probability >= threshold
    hits = int((positive & called).sum())
    return {
        "roc_auc": roc_auc(truth, probability),
        "pr_auc": average_precision(truth, probability),
        "sensitivity": _share(hits, int(positive.sum())),
        "specificity": _share(int((~positive & ~called).sum()), int((~positive).sum())),
        "ppv": _share(hits, int(called.sum())),
        "npv": _share(int((~positive & ~called).sum()), int((~called).sum())),
        "accuracy": _share(int((positive == called).sum()), truth.size),
        "brier": brier(truth, probability),
        "calibration_error": calibration_error(truth, probability),
    }


def roc_auc(truth: FloatArray, probability: FloatArray) -> float:
    """The chance that a positive case gets the higher probability; ties count a half."""
    positive = truth == 1
    count, others = int(positive.sum()), int((~positive).sum())
    if not count or not others:
        return _NAN
    ranks = stats.rankdata(probability)
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * others))


def average_precision(truth: FloatArray, probability: FloatArray) -> float:
    """The area under the curve of precision over recall, as a sum of steps (no interpolation)."""
    if not (truth == 1).any():
        return _NAN
    order = np.argsort(-probability, kind="stable")
    scores, hits = probability[order], np.cumsum(truth[order])
    last = np.append(np.diff(scores) != 0, True)
    hits, called = hits[last], np.flatnonzero(last) + 1
    recall_steps = np.diff(hits, prepend=0) / hits[-1]
    return float((recall_steps * hits / called).sum())


def roc_curve(truth: FloatArray, probability: FloatArray) -> tuple[FloatArray, FloatArray]:
    """False and true positive rate, each of shape (threshold,), from (0, 0) to (1, 1)."""
    order = np.argsort(-probability, kind="stable")
    scores, hits = probability[order], np.cumsum(truth[order])
    last = np.append(np.diff(scores) != 0, True)
    hits, called = hits[last], np.flatnonzero(last) + 1
    false = (called - hits) / max(1, called[-1] - hits[-1])
    return np.append(0.0, false), np.append(0.0, hits / max(1, hits[-1]))


def brier(truth: FloatArray, probability: FloatArray) -> float:
    """The mean squared distance of the probability from the truth."""
    return float(np.mean((probability - truth) ** 2))


def calibration_error(truth: FloatArray, probability: FloatArray, bins: int = BINS) -> float:
    """The expected calibration error: the mean gap of the bins, weighted by their cases."""
    place = _bin_numbers(probability, bins)
    gaps = np.bincount(place, weights=probability - truth, minlength=bins)
    return float(np.abs(gaps).sum() / truth.size)


def calibration_table(
    truth: FloatArray, probability: FloatArray, bins: int = BINS
) -> tuple[CalibrationBin, ...]:
    """What was promised and what came true, in bins of equal width."""
    place = _bin_numbers(probability, bins)
    table = []
    for number in range(bins):
        inside = place == number
        count = int(inside.sum())
        table.append(
            CalibrationBin(
                low=number / bins,
                high=(number + 1) / bins,
                count=count,
                probability=float(probability[inside].mean()) if count else _NAN,
                share=float(truth[inside].mean()) if count else _NAN,
            )
        )
    return tuple(table)


def _bin_numbers(probability: FloatArray, bins: int) -> npt.NDArray[np.intp]:
    # Upper edges included, as in Naeini et al., AAAI 2015; 0 falls in the first bin.
    return np.clip(np.ceil(probability * bins).astype(np.intp) - 1, 0, bins - 1)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else _NAN
