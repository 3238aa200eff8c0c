"""How a model stands, when it is paused, and what its report says then."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from secondread.domain.monitoring import (
    BY_RULE,
    Drift,
    DriftRow,
    Feedback,
    ModelPause,
    Observed,
    Verdict,
)
from secondread.domain.monitoring_terms import Consequence, MonitoringTerms
from secondread.monitoring.drift import Windows
from secondread.monitoring.pausing import refusal, why_pause
from secondread.monitoring.rejects import reject_share
from secondread.monitoring.standing import Seen, of_model
from tests.watched import GROUP, draw

TERMS = MonitoringTerms()


def judged(*verdicts: Verdict) -> list[Feedback]:
    return [Feedback(number, 5.0, verdict, "anna") for number, verdict in enumerate(verdicts)]


def seen(shift: float) -> Seen:
    rng = np.random.default_rng(8)
    calm = Windows(tuple(draw(rng, 100)), 0, tuple(draw(rng, 50, first=100)))
    moved = Windows(tuple(draw(rng, 100)), 0, tuple(draw(rng, 50, {"m01": shift}, first=100)))
    few = Windows(tuple(draw(rng, 5)), 0, ())
    return Seen(
        "m",
        "1",
        {Observed.ANSWERED: 305},
        {("a", "x"): few, ("b", "x"): calm, GROUP: moved},
        noted={GROUP: DriftRow("m", "1", *GROUP, Drift.DRIFT, 7.0, 9.0, "")},
        verdicts={Verdict.REJECT: 3},
    )


def test_the_worst_scanner_speaks_for_the_model() -> None:
    standing = of_model(seen(2.0), TERMS)
    assert standing.state is Drift.DRIFT
    assert [one.found.state for one in standing.groups] == [Drift.DRIFT, Drift.OK, Drift.FEW]
    assert [one.since for one in standing.groups] == [7.0, None, None]
    assert standing.counts == {Observed.ANSWERED: 305, Observed.REFUSED: 0}
    assert standing.verdicts[Verdict.ACCEPT] == 0


def test_a_model_that_nobody_has_seen_is_not_fine() -> None:
    assert of_model(Seen("m", "1", {}, {}), TERMS).state is Drift.FEW


@pytest.mark.parametrize(
    ("verdicts", "share", "is_high"),
    [
        ([Verdict.REJECT] * 9, None, False),
        ([Verdict.REJECT] * 4 + [Verdict.ACCEPT] * 6, 0.4, False),
        ([Verdict.REJECT] * 5 + [Verdict.MODIFY] * 5, 0.5, True),
        ([Verdict.REJECT] * 20 + [Verdict.ACCEPT] * 40, 0.0, False),
    ],
)
def test_rejected_results_count_among_the_last_that_were_judged(
    verdicts: list[Verdict], share: float | None, is_high: bool
) -> None:
    found = reject_share(judged(*verdicts), TERMS)
    assert (found.share, found.is_high) == (share, is_high)


def test_only_the_last_judgement_of_a_result_counts() -> None:
    twice = judged(*[Verdict.REJECT] * 10) + judged(*[Verdict.ACCEPT] * 8)
    found = reject_share(twice, TERMS)
    assert (found.judged, found.rejected) == (10, 2)


def test_drift_warns_and_rejects_pause_unless_the_operator_says_otherwise() -> None:
    high, low = (reject_share(judged(*[v] * 10), TERMS) for v in (Verdict.REJECT, Verdict.ACCEPT))
    assert why_pause(["It drifts."], low, TERMS) == ""
    assert why_pause([], high, TERMS) == "10 of the last 10 judged results were rejected."
    strict = replace(TERMS, on_drift=Consequence.PAUSE, on_rejects=Consequence.WARN)
    assert why_pause(["It drifts."], low, strict) == "It drifts."
    assert why_pause([], high, strict) == ""


def test_the_report_says_since_when_and_that_a_person_can_resume_it() -> None:
    pause = ModelPause("brain", "1.0", 0.0, "Mr Miller's scan was wrong", "anna")
    text = refusal(pause, "brain")
    assert text == (
        "Model 'brain' 1.0 is paused since 1970-01-01 00:00 UTC by a person; a person can resume "
        "it, and the study can be retried then."
    )
    by_rule = refusal(replace(pause, set_by=BY_RULE), "dementia")
    assert "which 'dementia' builds on" in by_rule
    assert "node's monitoring" in by_rule
