"""Statistics of paired figures: two models on the same studies, one pair a study.

Each study gives one value of either model, so that what differs between studies falls out. The
pairs must be independent: of several studies of one patient, one counts (``challenge.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb

import numpy as np
import numpy.typing as npt

DRAWS = 2000
LEVEL = 0.95
_LIMITS_DEVIATIONS = 1.96


@dataclass(frozen=True, slots=True)
class Median:
    """A median over studies and its percentile bootstrap interval; None where none can be given."""

    value: float
    low: float | None
    high: float | None
    studies: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """Bland and Altman's figures of challenger minus champion, in the unit of the values.

    Attributes:
        bias: the mean difference.
        low: ``bias`` less 1.96 standard deviations: 95 % of studies are expected above it.
        high: likewise, plus.
        studies: how many pairs there were.
    """

    bias: float
    low: float
    high: float
    studies: int


def median(values: Sequence[float], least: int, draws: int = DRAWS) -> Median | None:
    """The median over studies, with an interval from ``least`` studies on.

    Studies are drawn with replacement (Efron and Tibshirani, An Introduction to the Bootstrap,
    1993, chapter 13). For a paired difference give the differences: a study is drawn with both of
    its values. The same values give the same interval.
    """
    if not values:
        return None
    found: npt.NDArray[np.float64] = np.sort(np.asarray(values, np.float64))
    middle = float(np.median(found))
    if len(found) < least:
        return Median(middle, None, None, len(found))
    lower, upper = _middles(len(found), draws)
    drawn = (found[lower] + found[upper]) / 2
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return Median(middle, float(low), float(high), len(found))


@lru_cache(maxsize=8)
def _middles(count: int, draws: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Where the two middle values of each draw stand in the sorted values, ``(draw,)`` each.

    The order of values is that of their places, so the places can be drawn once for every quantity
    that has as many studies. With an odd number both are the same one.
    """
    drawn = np.random.default_rng(0).integers(count, size=(draws, count))
    middles = [(count - 1) // 2, count // 2]
    drawn.partition(middles, axis=1)
    # Copies: what is kept for the next quantity must not keep every draw with it.
    return drawn[:, middles[0]].copy(), drawn[:, middles[1]].copy()


def agreement(
    champion: Sequence[float], challenger: Sequence[float], least: int
) -> Agreement | None:
    """Bias and limits of agreement (Bland and Altman, Lancet 1986;327:307).

    None with fewer than ``least`` studies.
    """
    if len(champion) < max(least, 2):
        return None
    differences = np.subtract(challenger, champion)
    bias, spread = float(differences.mean()), float(differences.std(ddof=1))
    reach = _LIMITS_DEVIATIONS * spread
    return Agreement(bias, bias - reach, bias + reach, len(differences))


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p of McNemar's exact test on the pairs that differ (McNemar 1947; Agresti 2013).

    Given how many pairs differ, each falls to either side with probability one half where the two
    are alike. 1 where no pair differs.
    """
    differing = only_first + only_second
    few = min(only_first, only_second)
    # Whole numbers up to the division, for powers of two outgrow floating point.
    return min(1.0, 2 * sum(comb(differing, k) for k in range(few + 1)) / (1 << differing))


def sign_test(differences: Sequence[float]) -> float:
    """Two-sided p of the exact sign test that the median difference is zero; ties fall out."""
    return mcnemar(sum(one > 0 for one in differences), sum(one < 0 for one in differences))


def share_interval(count: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (J Am Stat Assoc 1927;22:209).

    Raises:
        ValueError: ``total`` is 0.
    """
    if total <= 0:
        raise ValueError("there is no share of nothing")
    z, share = _LIMITS_DEVIATIONS, count / total
    middle = share + z**2 / (2 * total)
    reach = z * (share * (1 - share) / total + z**2 / (4 * total**2)) ** 0.5
    scale = 1 + z**2 / total
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)
