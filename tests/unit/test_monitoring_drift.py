"""Drift: what has changed is found, what has not is left alone, and few studies say nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from secondread.domain.monitoring import Drift, Observation, Observed
from secondread.domain.monitoring_terms import MonitoringTerms
from secondread.monitoring.drift import NOT_ANALYSED, Found, Windows, examine
from tests.watched import GROUP, PROTOCOL, SCANNER, draw

TERMS = MonitoringTerms()


def windows(reference: Sequence[Observation], recent: Sequence[Observation]) -> Windows:
    answered = tuple(one for one in reference if one.outcome is Observed.ANSWERED)
    return Windows(answered, len(reference) - len(answered), tuple(recent))


def look(
    seed: int, shift: Mapping[str, float] | None = None, recent: int = 50, refused: float = 0.0
) -> Found:
    rng = np.random.default_rng(seed)
    before = draw(rng, 100)
    after = draw(rng, recent, shift, refused=refused, first=100)
    return examine(windows(before, after), TERMS, GROUP)


@pytest.mark.parametrize(("reference", "recent"), [(99, 50), (100, 29), (100, 0), (0, 0)])
def test_too_few_studies_are_never_fine(reference: int, recent: int) -> None:
    rng = np.random.default_rng(1)
    shifted = draw(rng, recent, {"m00": 100.0}, first=reference)
    found = examine(windows(draw(rng, reference), shifted), TERMS, GROUP)
    assert found.state is Drift.FEW
    assert all(shift.state is Drift.FEW for shift in found.shifts)
    assert "Too few" in found.text
    assert SCANNER in found.text


def test_a_measure_with_too_few_values_is_not_judged_and_does_not_hide_the_others() -> None:
    rng = np.random.default_rng(2)
    before, after = draw(rng, 100), list(draw(rng, 50, first=100))
    for index in range(25):
        after[index] = replace(after[index], measures={**after[index].measures, "rare": 9.0})
    found = examine(windows(before, after), TERMS, GROUP)
    assert found.state is Drift.OK
    assert {one.measure for one in found.shifts if one.state is Drift.FEW} == {"rare"}


def test_a_shift_is_found_and_named_with_its_figures() -> None:
    found = look(3, {"m05": 2.0})
    worst = found.shifts[0]
    assert (found.state, worst.measure) == (Drift.DRIFT, "m05")
    assert worst.now - worst.before == pytest.approx(2.0, abs=0.5)
    assert worst.chance < 0.0001
    for word in (SCANNER, PROTOCOL, "'m05'", f"PSI {worst.psi:.2f}", "14 measures", "p below"):
        assert word in found.text


def test_most_shifts_of_one_standard_deviation_are_found() -> None:
    found = [look(seed, {"m03": 1.0}) for seed in range(40)]
    named = [one.shifts[0].measure == "m03" and one.state is not Drift.OK for one in found]
    assert np.mean(named) >= 0.85


def test_a_constant_that_becomes_another_constant_is_drift() -> None:
    found = look(4, {"spacing": 0.2})
    assert found.state is Drift.DRIFT
    assert found.shifts[0].measure == "spacing"


def test_more_refusals_are_drift_though_every_answer_looks_as_before() -> None:
    found = look(5, refused=0.35)
    assert (found.state, found.shifts[0].measure) == (Drift.DRIFT, NOT_ANALYSED)
    assert found.refused_before == 0.0
    assert found.refused_now == pytest.approx(0.35, abs=0.15)


def test_refusals_alone_are_judged_where_nothing_was_answered() -> None:
    found = look(6, refused=1.0)
    assert found.state is Drift.DRIFT
    assert [one.measure for one in found.shifts if one.state is not Drift.FEW] == [NOT_ANALYSED]


def test_many_draws_of_one_distribution_hardly_ever_alarm() -> None:
    # The level is 1 % of looks at a scanner and protocol, and 5 % for what is only watched.
    states = [look(seed).state for seed in range(1000, 1120)]
    assert states.count(Drift.DRIFT) < 5
    assert states.count(Drift.WATCH) < 15


def test_limits_come_from_the_configuration() -> None:
    rng = np.random.default_rng(7)
    both = windows(draw(rng, 100), draw(rng, 50, {"m01": 1.5}, first=100))
    assert examine(both, TERMS, GROUP).state is Drift.DRIFT
    assert examine(both, replace(TERMS, psi_drift=9.0), GROUP).state is Drift.WATCH
    assert examine(both, replace(TERMS, psi_watch=9.0, psi_drift=9.0), GROUP).state is Drift.OK
    assert examine(both, replace(TERMS, level=1e-30), GROUP).state is Drift.OK
    chance = examine(both, TERMS, GROUP).shifts[0].chance
    assert examine(both, replace(TERMS, level=chance / 2), GROUP).state is Drift.WATCH
