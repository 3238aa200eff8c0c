"""Two runs over the same cases: differences by hand, p values that mean what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from secondread.errors import DataError
from secondread.learning.comparison import compare
from secondread.learning.intervals import Bootstrap
from secondread.learning.predictions import Predictions
from tests.learning_runs import chance_run, segmentation_run

FEW = Bootstrap(draws=300)


def run_of(values: list[float]) -> Predictions:
    dice = {f"c{number}": value for number, value in enumerate(values)}
    return segmentation_run(dice, {case: case for case in dice})


def test_a_run_that_is_better_in_every_case_is_better_beyond_chance() -> None:
    values = list(np.random.default_rng(0).uniform(0.6, 0.9, 20))
    found = compare(run_of(values), run_of([value + 0.02 for value in values]), FEW)
    gap = found.differences["mean.dice"]
    assert gap.difference.value == pytest.approx(0.02)
    assert gap.difference.low == pytest.approx(0.02)
    assert gap.p_value == pytest.approx(1 / 301)
    assert found.cases == found.subjects == 20


def test_a_run_against_itself_differs_in_nothing() -> None:
    run = chance_run(40)
    for each in compare(run, run, FEW).differences.values():
        assert each.difference.value == 0
        assert each.p_value == 1


def test_the_p_value_of_three_cases_is_that_of_all_their_exchanges() -> None:
    # All signs alike is the most extreme of 8: two of them, so that p is 1/4.
    found = compare(run_of([0.5, 0.6, 0.7]), run_of([0.6, 0.7, 0.8]), Bootstrap(draws=1500))
    assert found.differences["mean.dice"].p_value == pytest.approx(0.25, abs=0.05)


def test_p_values_of_runs_that_do_not_differ_are_spread_evenly() -> None:
    p_values = []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        base = generator.uniform(0.5, 0.9, 12)
        first, second = (list(base + generator.normal(0, 0.02, 12)) for _ in range(2))
        found = compare(run_of(first), run_of(second), Bootstrap(draws=100))
        p_values.append(found.differences["mean.dice"].p_value or 0)
    assert 0.33 < np.mean(p_values) < 0.67
    assert np.mean([p_value < 0.05 for p_value in p_values]) <= 0.15


def test_cases_that_one_run_has_alone_are_counted_and_left_out() -> None:
    whole = chance_run(40)
    found = compare(whole, replace(whole, rows=whole.rows[:30]), FEW)
    assert (found.cases, found.only_first, found.only_second) == (30, 10, 0)


def test_each_run_keeps_its_own_threshold() -> None:
    run = chance_run(40)
    strict = replace(run, threshold=0.95)
    gap = compare(run, strict, FEW).differences["sensitivity"]
    assert gap.difference.value is not None
    assert gap.difference.value < 0
    assert gap.p_value is not None
    assert gap.p_value < 0.05


def test_labels_that_one_run_has_alone_are_left_out() -> None:
    whole = run_of([0.7, 0.8, 0.9])
    rows = tuple(replace(row, labels={"anterior": row.labels["anterior"]}) for row in whole.rows)
    found = compare(whole, replace(whole, rows=rows), FEW)
    assert {name.partition(".")[0] for name in found.differences} == {"anterior", "mean"}
    assert found.differences["mean.dice"].difference.value == 0


def test_runs_that_cannot_be_compared_are_sentences() -> None:
    run = chance_run(10)
    with pytest.raises(DataError, match="only like runs"):
        compare(run, run_of([0.5, 0.6]))
    renamed = tuple(replace(row, id=f"other {row.id}") for row in run.rows)
    with pytest.raises(DataError, match="no case in common"):
        compare(run, replace(run, rows=renamed))
    turned = tuple(replace(row, truth=1 - (row.truth or 0)) for row in run.rows[:4])
    with pytest.raises(DataError, match="4 of the 10 cases .* differ in their truth"):
        compare(run, replace(run, rows=turned + run.rows[4:]))
