"""The tables of commitments, notices and holdings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from secondread.domain.commitment import (
    Commitment,
    CommitmentState,
    Failure,
    FailureReason,
    Reference,
    Result,
)
from secondread.domain.notice import Notice, NoticeKind
from secondread.store import Ledger, commitments, notices
from secondread.store.holdings import Extent
from tests.service_cases import Place, open_place

ANSWERED, REPORTED, FAILED = CommitmentState


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return open_place(tmp_path)


def asked(transaction: str = "1.2.1", peer: str = "ct", next_at: float = 10.0) -> Commitment:
    """A request with one object that is safe and one that is not."""
    result = Result(
        transaction,
        (Reference("1.1", "1.2"),),
        (Failure(Reference("1.1", "1.3"), FailureReason.NO_SUCH_INSTANCE),),
    )
    return Commitment(0, peer, "NODE", "10.0.0.1", 104, ANSWERED, 5.0, next_at, 0, result, "why")


def record(ledger: Ledger, commitment: Commitment) -> int:
    with ledger.begin() as change:
        return change.commitments.record(commitment, ())


def test_what_was_recorded_comes_back_after_a_restart(place: Place, tmp_path: Path) -> None:
    row_id = record(place.ledger, asked())
    place.ledger.close()
    with Ledger.open(tmp_path).read() as view:
        assert view.commitments.find("1.2.1", "ct") == replace(asked(), id=row_id)
        assert view.commitments.find("1.2.1", "mr") is None
        assert view.commitments.find("1.2.2", "ct") is None


def test_due_is_what_waited_longest(place: Place) -> None:
    second = record(place.ledger, asked("1.2.1", next_at=20.0))
    first = record(place.ledger, asked("1.2.2", next_at=10.0))
    with place.ledger.begin() as change:
        assert change.commitments.due(9.0) is None
        found = change.commitments.due(30.0)
        assert found is not None
        assert found.id == first
        change.commitments.postpone(first, 40.0, "nobody there", attempts=1)
        found = change.commitments.due(30.0)
        assert found is not None
        assert found.id == second
        assert change.commitments.move(second, REPORTED, 31.0, "told")
        assert change.commitments.due(39.0) is None
        (waiting,) = change.commitments.of_ids([first])
        assert (waiting.attempts, waiting.reason) == (1, "nobody there")


def test_request_ends_once(place: Place) -> None:
    row_id = record(place.ledger, asked())
    with place.ledger.begin() as change:
        assert change.commitments.open_of_peer("ct") == 1
        assert change.commitments.move(row_id, REPORTED, 6.0, "told")
        assert not change.commitments.move(row_id, FAILED, 7.0, "late")
        change.commitments.postpone(row_id, 8.0, "late", attempts=3)
        assert change.commitments.open_of_peer("ct") == 0
        (found,) = change.commitments.of_ids([row_id])
        assert (found.state, found.reason, found.attempts) == (REPORTED, "told", 0)
        assert len(change.trail.of_event("commitment")) == 2


def test_failure_is_an_alert(place: Place) -> None:
    row_id = record(place.ledger, asked())
    with place.ledger.begin() as change:
        change.commitments.move(row_id, FAILED, 6.0, "Given up.")
        (row,) = change.trail.of_event("commitment-unreported")
    assert (row.before, row.after, row.text) == ("answered", "failed", "Given up.")
    assert row.detail == {"commitment": row_id}


def test_asked_again_takes_the_same_row(place: Place) -> None:
    row_id = record(place.ledger, asked())
    with place.ledger.begin() as change:
        change.commitments.move(row_id, FAILED, 6.0, "Given up.")
    again = replace(asked(next_at=99.0), asked_at=90.0, host="10.0.0.2")
    assert record(place.ledger, again) == row_id
    with place.ledger.read() as view:
        assert list(view.commitments.of_ids([row_id])) == [replace(again, id=row_id)]
        assert [row.id for row in view.commitments.of_ids({row_id, 77})] == [row_id]


def test_what_was_left_to_an_association_of_an_earlier_process_is_due_at_once(
    place: Place,
) -> None:
    old = record(place.ledger, asked("1.2.1", next_at=500.0))
    tried = record(place.ledger, replace(asked("1.2.2", next_at=500.0), attempts=2))
    new = record(place.ledger, replace(asked("1.2.3", next_at=500.0), asked_at=101.0))
    with place.ledger.begin() as change:
        assert change.commitments.hasten(asked_before=100.0, now=102.0) == 1
        due = {row.id: row.next_at for row in change.commitments.of_ids([old, tried, new])}
    assert due == {old: 102.0, tried: 500.0, new: 500.0}


def test_request_about_many_studies_is_one_row_in_the_trail(place: Place) -> None:
    with place.ledger.begin() as change:
        change.commitments.record(asked(), [f"1.2.{number}" for number in range(2000)])
        assert len(change.trail.of_event("commitment")) == 1


def test_old_rows_are_forgotten_unless_they_wait(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commitments, "KEPT_MAX", 2)
    monkeypatch.setattr(notices, "KEPT_MAX", 2)
    ids = [record(place.ledger, asked(f"1.2.{number}")) for number in range(2)]
    with place.ledger.begin() as change:
        change.commitments.move(ids[0], REPORTED, 6.0, "told")
    ids += [record(place.ledger, asked(f"1.3.{number}")) for number in range(3)]
    said = Notice(NoticeKind.MPPS, "1.2", "1.9", "ct", "IN PROGRESS", 1.0, ("1.2.3",))
    for number in range(4):
        with place.ledger.begin() as change:
            change.notices.replace([replace(said, sop_instance_uid=f"1.2.{number}")])
    with place.ledger.read() as view:
        assert [row.id for row in view.commitments.of_ids(ids)] == ids[1:]
        assert [row.sop_instance_uid for row in view.notices.of_study("1.9")] == ["1.2.2", "1.2.3"]


def test_notice_is_replaced_study_by_study(place: Place) -> None:
    said = Notice(NoticeKind.MPPS, "1.2", "1.8", "ct", "IN PROGRESS", 1.0, ("1.2.3", "1.2.4"))
    both = [said, replace(said, study_instance_uid="1.9")]
    other = replace(said, kind=NoticeKind.AVAILABILITY, status="ONLINE")
    with place.ledger.begin() as change:
        change.notices.replace([*both, other])
        done = [replace(one, status="COMPLETED", at=2.0, objects=()) for one in both]
        change.notices.replace(done)
    with place.ledger.read() as view:
        assert list(view.notices.find(NoticeKind.MPPS, "1.2")) == done
        assert list(view.notices.of_study("1.8")) == [done[0], other]


def test_holdings_are_looked_up_by_the_thousand(place: Place) -> None:
    place.store(["1.1", "1.2"], "1.2.3", "1.2.3.1")
    place.store(["1.3"], "1.2.3", "1.2.3.2")
    with place.ledger.read() as view:
        found = view.holdings.find([f"1.{number}" for number in range(5000)])
        assert set(found) == {"1.1", "1.2", "1.3"}
        assert found["1.1"].study_instance_uid == "1.2.3"
        holding = found["1.2"]
        size = place.spool.absolute(holding.path).stat().st_size
        assert size == holding.data_offset + holding.size_bytes
        assert view.holdings.extents(["1.2.3", "1.2.4"]) == {"1.2.3": Extent(2, 3)}
