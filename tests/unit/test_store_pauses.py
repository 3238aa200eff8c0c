"""What the ledger keeps for completeness: pauses, archives' counts, and when to look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from secondread.domain.instance import Instance
from secondread.domain.job import PlannedJob
from secondread.domain.network import Urgency
from secondread.domain.states import DeliveryState, StudyState
from secondread.domain.study import Study
from secondread.store import Ledger
from secondread.store.archive_counts import ArchiveCount
from secondread.store.pauses import KEPT_MAX, Pause
from secondread.store.studies import Waits


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    found = Ledger.open(tmp_path)
    yield found
    found.close()


def instance(number: int, study: str = "1.9", at: float = 100.0) -> Instance:
    """An object as intake enters it."""
    uid = f"{study}.{number}"
    return Instance(uid, "1.2", study, f"{study}.0", "1.2", uid, 1, "0", "ct", at)


def receive(ledger: Ledger, *records: Instance, waits: Waits | None = None) -> None:
    """Enter objects, with a quiet time of 30 s."""
    with ledger.begin() as change:
        change.instances.add(records)
        change.studies.add_instances(records, waits or (lambda _: 30.0))


def study(ledger: Ledger, uid: str = "1.9") -> Study:
    """The study as it is now."""
    with ledger.read() as view:
        return view.studies.find(uid)


def test_pauses_of_a_peer_and_protocol_newest_first(ledger: Ledger) -> None:
    for number in range(4):
        receive(ledger, instance(1, f"1.{number + 1}"))
    with ledger.begin() as change:
        change.pauses.keep(Pause(1, "ct", "a", 1.0, 10.0))
        change.pauses.keep(Pause(2, "ct", "a", 2.0, 20.0))
        change.pauses.keep(Pause(3, "ct", "b", 3.0, 30.0))
        change.pauses.keep(Pause(4, "mr", "a", 4.0, 40.0))
        assert change.pauses.last("ct", "a", 200) == (2.0, 1.0)
        assert change.pauses.last("ct", "a", 1) == (2.0,)
        assert change.pauses.last("ct", "a", 200, but=2) == (1.0,)
        # Late images: the same study says it anew.
        change.pauses.keep(Pause(1, "ct", "a", 9.0, 50.0))
        assert change.pauses.last("ct", "a", 200) == (9.0, 2.0)
        assert change.pauses.of_study(1) == Pause(1, "ct", "a", 9.0, 50.0)
        assert change.pauses.of_study(99) is None


def test_old_pauses_are_forgotten(ledger: Ledger) -> None:
    receive(ledger, *(instance(1, f"1.{number + 1}") for number in range(KEPT_MAX + 5)))
    with ledger.begin() as change:
        for number in range(KEPT_MAX + 5):
            change.pauses.keep(Pause(number + 1, "ct", "a", float(number), float(number)))
        kept = change.pauses.last("ct", "a", 10_000)
    assert len(kept) == KEPT_MAX
    assert min(kept) == 5.0


def test_the_last_answer_of_an_archive_is_kept(ledger: Ledger) -> None:
    receive(ledger, instance(1))
    with ledger.begin() as change:
        change.archive_counts.keep(ArchiveCount(1, "pacs", 3, 10.0))
        change.archive_counts.keep(ArchiveCount(1, "vna", None, 11.0, "Nobody listens."))
        change.archive_counts.keep(ArchiveCount(1, "pacs", 4, 12.0))
        assert change.archive_counts.of_study(1) == (
            ArchiveCount(1, "pacs", 4, 12.0),
            ArchiveCount(1, "vna", None, 11.0, "Nobody listens."),
        )
        assert change.archive_counts.of_study(2) == ()


def test_results_that_an_archive_got_are_counted(ledger: Ledger) -> None:
    receive(ledger, instance(1))
    planned = PlannedJob("r", "m", "1", "1.9.0", "d", 0, "", ())
    with ledger.begin() as change:
        job = change.jobs.add(1, planned, ["1.9.1"], 1.0)
        assert job is not None
        outbox = [
            {"sequence": n, "sop_instance_uid": f"2.{n}", "sop_class_uid": "1.2", "path": "p"}
            for n in range(2)
        ]
        for row in outbox:
            change.outbox._connection.exec_driver_sql(
                "INSERT INTO outbox (job_id, destination, sequence, sop_instance_uid, "
                "sop_class_uid, path, state, attempts, next_at, reason) "
                "VALUES (?, 'pacs', ?, ?, '1.2', 'p', ?, 0, 0, '')",
                (
                    job.id,
                    row["sequence"],
                    row["sop_instance_uid"],
                    DeliveryState.READY if row["sequence"] else DeliveryState.SENT,
                ),
            )
        assert change.archive_counts.results_sent(1, "pacs") == 1
        assert change.archive_counts.results_sent(1, "vna") == 0


def test_an_arrival_says_when_to_look_but_not_beyond_the_limit(ledger: Ledger) -> None:
    waits = Waits(lambda _: 30.0, lambda _: 2.0, lambda _: 60.0)
    receive(ledger, instance(1, at=100.0), waits=waits)
    assert (study(ledger).due_at, study(ledger).quiet_s) == (102.0, 30.0)
    receive(ledger, instance(2, at=159.0), waits=waits)
    assert study(ledger).due_at == 160.0
    with ledger.begin() as change:
        change.studies.wait(study(ledger), 170.0, "Waits.", 160.0, 200.0)
    receive(ledger, instance(3, at=165.0), waits=waits)
    assert study(ledger).due_at == 167.0


def test_an_arrival_takes_back_what_was_known_of_the_study(ledger: Ledger) -> None:
    receive(ledger, instance(1))
    with ledger.begin() as change:
        change.looks.release(["1.9"], 101.0)
        change.studies.restart_quiet_time(101.0)
        before = study(ledger)
        change.studies.move(before, StudyState.ASSEMBLING, 102.0, "x", ready=["a"])
    assert study(ledger).ready == ("a",)
    receive(ledger, instance(2, at=103.0))
    found = study(ledger)
    assert (found.state, found.ready, found.released_at) == (StudyState.RECEIVING, None, None)
    assert found.quiet_from is None


def test_a_study_comes_back_for_the_rules_that_wait(ledger: Ledger) -> None:
    receive(ledger, instance(1))
    with ledger.begin() as change:
        change.studies.move(
            study(ledger), StudyState.ASSEMBLING, 102.0, "x", ready=["a"], next_look_at=150.0
        )
    with ledger.begin() as change:
        change.studies.move(study(ledger), StudyState.RECEIVING, 103.0, "y")
    found = study(ledger)
    assert (found.due_at, found.ready) == (150.0, ("a",))


def test_urgent_studies_are_due_first(ledger: Ledger) -> None:
    receive(
        ledger, instance(1, "1.1", 10.0), replace(instance(1, "1.2", 90.0), urgency=Urgency.LOW)
    )
    receive(ledger, replace(instance(1, "1.3", 95.0), urgency=Urgency.HIGH))
    with ledger.read() as view:
        uids = [one.study_instance_uid for one in view.studies.due(1000.0)]
        assert uids == ["1.3", "1.1", "1.2"]
        assert len(view.studies.due(1000.0, 1)) == 1


def test_only_a_study_that_waits_is_hurried(ledger: Ledger) -> None:
    receive(ledger, instance(1, "1.1"), instance(1, "1.2"))
    with ledger.begin() as change:
        change.studies.move(study(ledger, "1.2"), StudyState.DONE, 101.0, "x")
        change.looks.hurry(["1.1", "1.2", ""], 105.0)
    assert study(ledger, "1.1").due_at == 105.0
    assert study(ledger, "1.2").due_at == 130.0


def test_waiting_says_so_once(ledger: Ledger) -> None:
    receive(ledger, instance(1))
    for text in ("Waits until 1: a.", "Waits until 2: a.", "Waits until 3: b."):
        with ledger.begin() as change:
            change.studies.wait(study(ledger), 140.0, text, 110.0)
    with ledger.read() as view:
        texts = [row.text for row in view.trail.of_study(1)]
    assert texts[1:] == ["Waits until 1: a.", "Waits until 3: b."]
    assert study(ledger).reason == "Waits until 3: b."


def test_times_are_moved_with_the_clock_but_not_those_of_the_new_time(ledger: Ledger) -> None:
    receive(ledger, instance(1, "1.1", 100.0), instance(1, "1.2", 100.0))
    receive(ledger, instance(2, "1.2", 3700.2))
    with ledger.begin() as change:
        change.looks.end_rounds(1, ["a"], 105.0)
        change.looks.shift(3600.0, 3700.0, 3700.5)
    first, second = study(ledger, "1.1"), study(ledger, "1.2")
    assert (first.first_at, first.last_at, first.due_at) == (3700.0, 3700.0, 3730.0)
    assert (second.first_at, second.last_at, second.due_at) == (3700.0, 3700.2, 3730.2)
    with ledger.read() as view:
        assert view.looks.rounds(1) == {"a": 3705.0}


def test_what_lies_in_the_future_is_brought_back_and_looked_at(ledger: Ledger) -> None:
    receive(ledger, instance(1, "1.1", 9000.0), instance(1, "1.2", 90.0))
    with ledger.begin() as change:
        assert change.looks.begin_again(100.0) == 1
    assert (study(ledger, "1.1").last_at, study(ledger, "1.1").due_at) == (100.0, 100.0)
    assert (study(ledger, "1.2").last_at, study(ledger, "1.2").due_at) == (90.0, 100.0)
