"""Whether two samples of one measure look alike: PSI, Kolmogorov–Smirnov, and the correction.

The population stability index is the sum over bins of (q - p) ln(q / p), p and q being the shares
of the reference and of the recent sample in a bin. It tells how large a change is, and by chance
alone it is about (bins - 1)(1/n + 1/m), which is a lot for small samples; so it is never read
without the test beside it. The two-sample Kolmogorov–Smirnov test tells how often chance alone
would make a change as large. Over many measures some p is always small: Holm's step-down method
bounds the chance that any of them is called changed while none is (S. Holm, Scand J Stat 1979;
6:65-70).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

BINS = 10
"""Bins of a measure, each with a tenth of the reference."""
_PRIOR = 0.5
"""Added to the count of every bin, so that an empty one gives no infinity."""

Sample = npt.NDArray[np.float64]
Share = tuple[int, int]
"""How many, and of how many."""


def psi(reference: Sample, recent: Sample) -> float:
    """The population stability index of two samples, each ``(value,)`` and not empty.

    Bins are bounded by quantiles of the reference. Where that has few distinct values, such as a
    spacing, each of them is a bin, and so is all that lies between two of them.
    """
    values = np.unique(reference)
    if len(values) <= BINS:
        # 2 i + 1 is the i-th value itself, even numbers are what lies between two of them.
        counts = [
            np.bincount(
                np.searchsorted(values, sample, "left") + np.searchsorted(values, sample, "right"),
                minlength=2 * len(values) + 1,
            )
            for sample in (reference, recent)
        ]
    else:
        edges = np.unique(np.quantile(reference, np.arange(1, BINS) / BINS))
        counts = [
            np.bincount(np.searchsorted(edges, sample, "left"), minlength=len(edges) + 1)
            for sample in (reference, recent)
        ]
    taken = (counts[0] + counts[1]) > 0
    return _index(counts[0][taken], counts[1][taken])


def psi_of_shares(before: Share, after: Share) -> float:
    """The population stability index of a yes-or-no measure."""
    yes, of = np.array([before, after]).T
    return _index(*np.stack([yes, of - yes], axis=1))


def _index(reference: npt.NDArray[np.int64], recent: npt.NDArray[np.int64]) -> float:
    p, q = ((counts + _PRIOR) / (counts + _PRIOR).sum() for counts in (reference, recent))
    return float(((q - p) * np.log(q / p)).sum())


def ks(reference: Sample, recent: Sample) -> tuple[float, float]:
    """The largest distance between two distributions, and how often chance makes it as large.

    Exact for small samples; where values repeat, the test errs on the side of 'no change'.
    """
    from scipy import stats

    found = stats.ks_2samp(reference, recent)
    return float(found.statistic), float(found.pvalue)


def fisher(before: Share, after: Share) -> float:
    """How often chance makes two shares differ by as much: Fisher's exact test, two-sided."""
    from scipy import stats

    table = np.array([[yes, of - yes] for yes, of in (before, after)])
    return float(stats.fisher_exact(table)[1])


def holm(chances: Sequence[float]) -> tuple[float, ...]:
    """The same p values, corrected for how many there are; in the same order, at most 1."""
    order = sorted(range(len(chances)), key=chances.__getitem__)
    corrected = [1.0] * len(chances)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(chances) - rank) * chances[index]))
        corrected[index] = highest
    return tuple(corrected)
