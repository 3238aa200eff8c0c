"""Rows by which models are watched go when they are old, but none that a verdict rests on."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from secondread.config.settings import Settings
from secondread.domain.hold import Hold
from secondread.domain.monitoring import Baseline, Feedback, Verdict
from secondread.domain.monitoring_terms import MonitoringTerms
from secondread.domain.retention import DAY_S, Haste, Retention
from secondread.monitoring.standing import Standing
from secondread.pipeline.caretaker import engage
from secondread.pipeline.purge_monitoring import MonitoringPurge, Rows
from secondread.pipeline.removal import Wish
from secondread.pipeline.watching import read_standing
from secondread.store import Ledger, Spool
from secondread.store.comparisons import Challenge
from secondread.store.monitoring_tables import comparison, observation
from secondread.store.tables import job, study
from tests.house import StillClock
from tests.watched import draw

MODEL = ("m", "1")
TERMS = MonitoringTerms(reference=20, recent=20, minimum=10)
STUDIES = 300
"""One for each day, until yesterday."""
KEPT_DAYS = 200
START = 20_000 * DAY_S
NOW = START + STUDIES * DAY_S
NEVER = threading.Event()
CHALLENGE = Challenge("heads", "next")


class Years:
    """The ledger of a node that has worked for years: two jobs for each study."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = StillClock()
        self.clock.time = NOW
        self.ledger = Ledger.open(folder)
        with self.ledger.begin() as change:
            connection = change.jobs._connection
            connection.execute(study.insert(), [_study(number) for number in range(STUDIES)])
            jobs = [_job(n, rule) for n in range(STUDIES) for rule in CHALLENGE.__slots__]
            connection.execute(job.insert(), jobs)

    def observe(self, count: int = STUDIES) -> None:
        """One observation a day from a day on; the last tenth is not as the others."""
        rng = np.random.default_rng(8)
        late = count // 10
        seen = [*draw(rng, count - late), *draw(rng, late, {"m03": 5.0}, first=count - late)]
        with self.ledger.begin() as change:
            rows = [
                {**asdict(one), "job_id": 2 * number + 1, "at": START + number * DAY_S, "id": None}
                for number, one in enumerate(seen)
            ]
            change.jobs._connection.execute(observation.insert(), rows)

    def compare(self) -> None:
        """One comparison a day."""
        with self.ledger.begin() as change:
            rows = [
                {
                    "champion_job_id": 2 * number + 1,
                    "challenger_job_id": 2 * number + 2,
                    "at": START + number * DAY_S,
                    "measures": {"same_input": 1.0},
                }
                for number in range(STUDIES)
            ]
            change.jobs._connection.execute(comparison.insert(), rows)

    def purge(self, days: float = KEPT_DAYS, terms: MonitoringTerms = TERMS) -> MonitoringPurge:
        retention = Retention(observations_days=days)
        return MonitoringPurge(self.ledger, self.clock, retention, terms)

    @property
    def days(self) -> Sequence[int]:
        """The days of the observations that are there."""
        with self.ledger.read() as view:
            times = sa.select(observation.c.at).order_by(observation.c.at)
            found = view.jobs._connection.execute(times).scalars()
            return [round((at - START) / DAY_S) for at in found]

    @property
    def standing(self) -> Standing:
        with self.ledger.read() as view:
            return read_standing(view, *MODEL, TERMS)

    @property
    def said(self) -> Sequence[str]:
        with self.ledger.read() as view:
            return [row.text for row in view.trail.of_event("purge")]


def _study(number: int) -> dict[str, object]:
    at = START + number * DAY_S
    times = dict.fromkeys(("first_at", "last_at", "quiet_s", "due_at"), at)
    uid = f"2.25.{number + 1}"
    return {"study_instance_uid": uid, "state": "done", "peer": "ct", "instances": 1, **times}


def _job(number: int, side: str) -> dict[str, object]:
    at = START + number * DAY_S
    return {
        "key": f"{side}{number}",
        "study_id": number + 1,
        "state": "delivered",
        "rule": getattr(CHALLENGE, side),
        "model_id": "m" if side == "champion" else "n",
        "model_version": "1",
        "series_instance_uid": "2.25.7",
        "input_digest": "d",
        "priority": 0,
        "created_at": at,
        "next_at": at,
        "outcome": "analysed",
        "candidates": [],
        "checks": [],
    }


@pytest.fixture
def years(tmp_path: Path) -> Iterator[Years]:
    made = Years(tmp_path / "data")
    yield made
    made.ledger.close()


def test_old_observations_go_and_drift_is_judged_as_before(years: Years) -> None:
    years.observe()
    before = years.standing
    old = STUDIES - KEPT_DAYS
    gone = Rows(observations=old - TERMS.reference)
    assert years.purge().run(NEVER, Wish(dry=True)) == gone
    assert len(years.days) == STUDIES
    assert years.purge().run(NEVER) == gone
    assert years.days == [*range(TERMS.reference), *range(old, STUDIES)]
    assert years.standing.groups == before.groups
    assert before.groups[0].found.state.value == "drift"
    assert years.said == [f"Removed {gone}."]


def test_a_model_that_saw_nothing_for_years_keeps_its_reference_and_its_last_studies(
    years: Years,
) -> None:
    years.observe(count=100)
    before = years.standing
    assert years.purge().run(NEVER) == Rows(observations=60)
    assert years.days == [*range(20), *range(80, 100)]
    assert years.standing.groups == before.groups


def test_while_the_reference_is_not_full_everything_stays(years: Years) -> None:
    years.observe(count=19)
    assert not years.purge().run(NEVER)
    assert len(years.days) == 19


def test_what_was_seen_before_a_new_baseline_goes_and_its_reference_stays(years: Years) -> None:
    years.observe()
    since = START + 50 * DAY_S
    with years.ledger.begin() as change:
        change.observations.set_baseline(Baseline(*MODEL, since, "anna", since))
    before = years.standing
    years.purge().run(NEVER)
    assert years.days[:21] == [*range(50, 70), STUDIES - KEPT_DAYS]
    assert years.standing.groups == before.groups


def test_a_study_on_hold_keeps_its_rows(years: Years) -> None:
    years.observe()
    years.compare()
    with years.ledger.begin() as change:
        change.holds.place(Hold(51, "A complaint", "anna", NOW))
    years.purge().run(NEVER)
    assert 50 in years.days
    assert 51 not in years.days
    with years.ledger.read() as view:
        kept = [one.champion_job_id for one in view.comparisons.of_model("n", "1", STUDIES)]
    assert kept[:2] == [101, 2 * (STUDIES - KEPT_DAYS) + 1]


def test_old_comparisons_go_unless_somebody_judged_the_results(years: Years) -> None:
    years.compare()
    with years.ledger.begin() as change:
        for job_id in (7, 12):
            change.feedbacks.add(Feedback(job_id, START, Verdict.REJECT, "anna"))
    old = STUDIES - KEPT_DAYS
    assert years.purge().run(NEVER) == Rows(comparisons=old - 2)
    with years.ledger.read() as view:
        kept = view.comparisons.of_model("m", "1", STUDIES)
        verdicts = [view.feedbacks.counts(model, "1")[Verdict.REJECT] for model in "mn"]
        # Nobody compares again what was compared once.
        assert view.comparisons.due(CHALLENGE, NOW - 30 * DAY_S, 10) == ()
    assert [one.champion_job_id for one in kept[:3]] == [7, 11, 2 * old + 1]
    assert len(kept) == KEPT_DAYS + 2
    assert verdicts == [1, 1]


def test_rows_go_once_a_day_and_the_trail_says_so_each_time(years: Years) -> None:
    years.observe()
    years.compare()
    years.purge().run(NEVER)
    for _ in range(20):
        years.clock.time += DAY_S / 24
        assert not years.purge().run(NEVER)
    years.clock.time += DAY_S
    assert years.purge().run(NEVER) == Rows(1, 1)
    assert years.said[2:] == [
        "Removed 1 observation of models.",
        "Removed 1 comparison with challengers.",
    ]


def test_nothing_goes_where_rows_are_kept_for_ever_or_the_wish_is_about_one_study(
    years: Years,
) -> None:
    years.observe()
    assert not years.purge(days=0).run(NEVER)
    assert not years.purge().run(NEVER, Wish(haste=Haste.ANY_AGE))
    stopped = threading.Event()
    stopped.set()
    assert not years.purge().run(stopped)
    assert len(years.days) == STUDIES


def test_the_caretaker_removes_rows(years: Years) -> None:
    years.compare()
    spool = Spool(years.folder)
    spool.prepare()
    settings = Settings(data_dir=years.folder, retention=Retention(observations_days=100))
    engage(settings, years.ledger, spool, years.clock).work(NEVER)
    with years.ledger.read() as view:
        assert len(view.comparisons.of_model("m", "1", STUDIES)) == 100
