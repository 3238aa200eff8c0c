"""Intervals draw subjects, are repeatable, and cover what they say they cover."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from secondread.learning.intervals import Bootstrap, draws, estimate


def mean_of(values: np.ndarray):
    def figures(indices: np.ndarray) -> Mapping[str, float]:
        return {"mean": float(values[indices].mean())}

    return figures


def test_a_draw_takes_all_the_cases_of_a_subject_or_none() -> None:
    subjects = ["a", "a", "b", "c", "c", "c", "b"]
    for indices in draws(subjects, Bootstrap(draws=200)):
        counts = {place: int((indices == place).sum()) for place in range(7)}
        assert counts[0] == counts[1]
        assert counts[2] == counts[6]
        assert counts[3] == counts[4] == counts[5]
        assert counts[0] + counts[2] + counts[3] == 3


def test_copies_of_a_subject_do_not_make_the_interval_narrower() -> None:
    values = np.random.default_rng(1).normal(size=30)
    once = estimate(range(30), mean_of(values), Bootstrap(seed=5))["mean"]
    copied = estimate([*range(30)] * 4, mean_of(np.tile(values, 4)), Bootstrap(seed=5))["mean"]
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))


def test_the_same_seed_gives_the_same_interval_and_another_gives_another() -> None:
    figures = mean_of(np.random.default_rng(1).normal(size=20))
    first, again, other = (
        estimate(range(20), figures, Bootstrap(draws=300, seed=seed)) for seed in (7, 7, 8)
    )
    assert first == again
    assert first != other


def test_intervals_cover_the_true_mean_about_as_often_as_they_say() -> None:
    covered = 0
    for seed in range(150):
        values = np.random.default_rng(seed).normal(3.0, 2.0, 40)
        found = estimate(range(40), mean_of(values), Bootstrap(draws=300, seed=seed))["mean"]
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 3.0 <= found.high
    assert 0.87 <= covered / 150 <= 0.99


def test_a_single_subject_has_no_interval() -> None:
    found = estimate(["a", "a"], mean_of(np.array([1.0, 2.0])))["mean"]
    assert (found.value, found.low, found.high) == (1.5, None, None)


def test_a_figure_that_most_draws_cannot_give_has_no_interval() -> None:
    def rare(indices: np.ndarray) -> Mapping[str, float]:
        return {"rare": 1.0 if 0 in indices else float("nan"), "never": float("nan")}

    found = estimate(range(10), rare, Bootstrap(draws=200))
    assert (found["rare"].value, found["rare"].low) == (1.0, None)
    assert found["never"].value is None
