"""The ledger: transactions, claims, state tables and the trail."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from secondread.audit.chain import first_break
from secondread.domain.instance import Instance
from secondread.domain.job import Candidate, PlannedJob
from secondread.domain.result import ResultObject
from secondread.domain.states import DeliveryState, JobState, StudyState
from secondread.errors import InvalidTransitionError, LedgerError, NotFoundError
from secondread.store import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A new ledger."""
    return Ledger.open(tmp_path)


def instance(number: int, at: float = 100.0, study: str = "1.9") -> Instance:
    """An object as intake records it."""
    return Instance(
        f"1.2.{number}", "1.1", study, "1.8", "1.7", f"p/{number}", 10, "f" * 64, "ct", at
    )


def planned(digest: str = "d", refusal: str = "", priority: int = 0) -> PlannedJob:
    """A job as assembly plans it."""
    seen = (Candidate("1.8", "t1", True, ""),)
    return PlannedJob("rule", "model", "1.0", "1.8", digest, priority, refusal, seen)


def study_in_analysis(ledger: Ledger, *jobs: PlannedJob) -> int:
    """A study with these jobs."""
    with ledger.begin() as change:
        change.instances.add([instance(1)])
        change.studies.add_instances([instance(1)], lambda _: 5.0)
        study = change.studies.find("1.9")
        change.studies.move(study, StudyState.ASSEMBLING, 106.0, "quiet")
        for job in jobs:
            change.jobs.add(study.id, job, [], 107.0)
        change.studies.move(change.studies.get(study.id), StudyState.ANALYSING, 108.0, "planned")
    return study.id


def test_quiet_time_starts_again_with_each_object(ledger: Ledger) -> None:
    with ledger.begin() as change:
        change.studies.add_instances([instance(1, 100.0)], lambda _: 5.0)
        change.studies.add_instances([instance(2, 104.0)], lambda _: 5.0)
    with ledger.read() as view:
        assert view.studies.due(108.9) == ()
        (study,) = view.studies.due(109.0)
        assert (study.instances, study.first_at, study.last_at) == (2, 100.0, 104.0)


def test_late_object_brings_a_finished_study_back(ledger: Ledger) -> None:
    study_id = study_in_analysis(ledger, planned())
    with ledger.begin() as change:
        change.studies.add_instances([instance(2, 200.0)], lambda _: 5.0)
        assert change.studies.find("1.9").state is StudyState.RECEIVING
    with ledger.read() as view:
        assert [(row.before, row.after) for row in view.trail.of_study(study_id)][-1] == (
            "analysing",
            "receiving",
        )


def test_a_row_is_claimed_once(ledger: Ledger) -> None:
    study_in_analysis(ledger, planned())
    won: list[str] = []

    def race(owner: str) -> None:
        with ledger.begin() as change:
            if change.jobs.claim([JobState.QUEUED], owner, 200.0, 60.0) is not None:
                won.append(owner)

    threads = [threading.Thread(target=race, args=(f"pipeline:{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_claim_of_the_dead_is_given_back(ledger: Ledger) -> None:
    study_in_analysis(ledger, planned())
    with ledger.begin() as change:
        first = change.jobs.claim([JobState.QUEUED], "pipeline:1", 200.0, 60.0)
        assert first is not None
        assert first.attempts == 1
        assert change.jobs.claim([JobState.QUEUED], "pipeline:2", 200.0, 60.0) is None
        assert change.jobs.release_claims_of("pipeline:") == 1
        second = change.jobs.claim([JobState.QUEUED], "pipeline:2", 200.0, 60.0)
        assert second is not None
        assert not change.jobs.holds(first, "pipeline:1")
        assert change.jobs.holds(second, "pipeline:2")


def test_lease_runs_out(ledger: Ledger) -> None:
    study_in_analysis(ledger, planned())
    with ledger.begin() as change:
        assert change.jobs.claim([JobState.QUEUED], "a", 200.0, 60.0) is not None
        assert change.jobs.claim([JobState.QUEUED], "b", 259.0, 60.0) is None
        assert change.jobs.claim([JobState.QUEUED], "b", 261.0, 60.0) is not None


def test_urgent_job_goes_first(ledger: Ledger) -> None:
    study_in_analysis(ledger, planned("a"), planned("b", priority=9))
    with ledger.begin() as change:
        job = change.jobs.claim([JobState.QUEUED], "a", 200.0, 60.0)
        assert job is not None
        assert job.input_digest == "b"


def test_same_images_make_no_second_job(ledger: Ledger) -> None:
    study_id = study_in_analysis(ledger, planned("a"))
    with ledger.begin() as change:
        assert change.jobs.add(study_id, planned("a"), [], 300.0) is None
        assert change.jobs.add(study_id, planned("b"), [], 300.0) is not None
        assert len(change.jobs.of_study(study_id)) == 2


def test_refused_plan_is_a_job_with_its_reason(ledger: Ledger) -> None:
    study_id = study_in_analysis(ledger, planned(refusal="No T1 here."))
    with ledger.read() as view:
        (job,) = view.jobs.of_study(study_id)
        assert (job.state, job.outcome, job.reason) == (
            JobState.REFUSED,
            "not analysed",
            "No T1 here.",
        )
        assert view.jobs.candidates(job.id) == planned().candidates


def test_transition_outside_the_table_is_refused_and_rolled_back(ledger: Ledger) -> None:
    study_id = study_in_analysis(ledger, planned())
    with pytest.raises(InvalidTransitionError, match="queued.*delivered"), ledger.begin() as change:
        (job,) = change.jobs.of_study(study_id)
        change.jobs.move(job, JobState.DELIVERED, 300.0, "no")
    with ledger.read() as view:
        (job,) = view.jobs.of_study(study_id)
        assert job.state is JobState.QUEUED


def test_segmentation_goes_before_the_report_that_names_it(ledger: Ledger) -> None:
    study_id = study_in_analysis(ledger, planned())
    objects = [ResultObject("seg", "1.5.1", "1.6", "a"), ResultObject("sr", "1.5.2", "1.6", "b")]
    with ledger.begin() as change:
        (job,) = change.jobs.of_study(study_id)
        change.outbox.add(job.id, "pacs", objects, 300.0)
        change.outbox.add(job.id, "pacs", objects, 301.0)
        assert len(change.outbox.of_job(job.id)) == 2
        (first,) = change.lines.claim("pacs", "d", 300.0, 60.0, 1)
        assert first.item.sop_instance_uid == "1.5.1"
        assert not change.lines.claim("pacs", "other", 300.0, 60.0, 1)
        change.outbox.move(first.item, DeliveryState.SENT, 301.0, "sent")
        (second,) = change.lines.claim("pacs", "d", 302.0, 60.0, 1)
        assert second.item.sop_instance_uid == "1.5.2"


def test_trail_is_a_chain(ledger: Ledger) -> None:
    study_in_analysis(ledger, planned())
    with ledger.read() as view:
        rows = view.trail.all()
    assert len(rows) == 4
    assert first_break(rows) is None
    forged = replace(rows[2], text="Nothing happened here.")
    assert first_break([*rows[:2], forged, rows[3]]) == forged
    assert first_break([*rows[:2], rows[3]]) == rows[3]


def test_study_is_found_by_id_and_by_uid(ledger: Ledger) -> None:
    study_id = study_in_analysis(ledger, planned())
    with ledger.read() as view:
        assert view.studies.find(str(study_id)).study_instance_uid == "1.9"
        assert view.studies.find("1.9").id == study_id
        with pytest.raises(NotFoundError, match="study list"):
            view.studies.find("1.2.3.4")


def test_sqlite_is_told_to_survive_power_cuts(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.begin() as change:
        connection = change.instances._connection
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_ledger_of_a_newer_version_is_left_alone(ledger: Ledger, tmp_path: Path) -> None:
    ledger.close()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    with pytest.raises(LedgerError, match="newer"):
        Ledger.open(tmp_path)


def test_file_that_is_no_ledger_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database, but long enough to be looked at")
    with pytest.raises(LedgerError, match="cannot be opened"):
        Ledger.open(tmp_path)
