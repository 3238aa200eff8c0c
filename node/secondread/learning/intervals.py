"""Bootstrap intervals of figures, with subjects drawn rather than cases.

Two images of one person are not two observations: an interval that draws images is too narrow. So
each draw takes as many subjects as there are, with replacement, and all the cases of each
(Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IndexArray = npt.NDArray[np.intp]
Figures = Callable[[IndexArray], Mapping[str, float]]

DRAWS = 2000
LEVEL = 0.95
# An interval of which this share of the draws gave no figure would be one of the lucky draws.
_LEAST_SHARE = 0.9


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval; None where the cases cannot give it."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made.

    Attributes:
        draws: how many times subjects are drawn.
        seed: the same seed gives the same intervals.
        level: the share of draws within the interval.
    """

    draws: int = DRAWS
    seed: int = 0
    level: float = LEVEL


def estimate(
    subjects: Sequence[Hashable], figures: Figures, bootstrap: Bootstrap | None = None
) -> dict[str, Estimate]:
    """Each figure over all cases, with its percentile interval over draws of subjects.

    Args:
        subjects: whose each case is, in the order of the cases.
        figures: gives figures by name for indices of cases, of shape (case,); an index may come
            more than once. NaN is 'these cases cannot give it'.
        bootstrap: how to draw.

    There is no interval with fewer than two subjects, or where a tenth of the draws give no figure.
    """
    settings = bootstrap or Bootstrap()
    whole = figures(np.arange(len(subjects)))
    drawn: dict[str, list[float]] = {name: [] for name in whole}
    if len(set(subjects)) > 1:
        for indices in draws(subjects, settings):
            for name, value in figures(indices).items():
                if name in drawn and not math.isnan(value):
                    drawn[name].append(value)
    return {name: _estimate(value, drawn[name], settings) for name, value in whole.items()}


def draws(subjects: Sequence[Hashable], bootstrap: Bootstrap) -> Iterator[IndexArray]:
    """Indices of the cases of subjects drawn with replacement, one array a draw."""
    cases = cases_of(subjects)
    generator = np.random.default_rng(bootstrap.seed)
    for _ in range(bootstrap.draws):
        chosen = generator.integers(len(cases), size=len(cases))
        yield np.concatenate([cases[number] for number in chosen])


def cases_of(subjects: Sequence[Hashable]) -> list[IndexArray]:
    """The indices of each subject's cases; subjects in the order of their first case."""
    found: dict[Hashable, list[int]] = {}
    for index, subject in enumerate(subjects):
        found.setdefault(subject, []).append(index)
    return [np.array(indices, np.intp) for indices in found.values()]


def _estimate(value: float, drawn: Sequence[float], settings: Bootstrap) -> Estimate:
    if math.isnan(value):
        return Estimate(None)
    if not drawn or len(drawn) < _LEAST_SHARE * settings.draws:
        return Estimate(value)
    tail = 50 * (1 - settings.level)
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return Estimate(value, float(low), float(high))
