"""The lines: what is claimed next, what is due, and how many rows are written for many objects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from secondread.audit.chain import first_break
from secondread.domain.line import Line, LineState
from secondread.domain.states import DeliveryState
from secondread.errors import InvalidTransitionError
from secondread.store.outbox import Arrival, Stored
from tests.house import StillClock
from tests.outbox_cases import Outbox


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Outbox]:
    """An empty outbox."""
    made = Outbox(tmp_path, StillClock())
    yield made
    made.close()


def claim(box: Outbox, name: str = "pacs", limit: int = 100, owner: str = "d") -> list[str]:
    with box.ledger.begin() as change:
        found = change.lines.claim(name, owner, box.clock.now(), 60.0, limit)
    return [one.item.sop_instance_uid for one in found]


def test_a_batch_is_claimed_once_in_order_and_for_one_destination(box: Outbox) -> None:
    uids = box.fill("pacs", "viewer", jobs=3)
    assert claim(box, limit=4) == uids[:4]
    # The rest of the second job waits until what goes before it has been sent.
    assert claim(box, owner="other") == uids[6:]
    assert claim(box) == []
    assert claim(box, "viewer") == uids


def test_claim_of_the_dead_ends_by_itself(box: Outbox) -> None:
    uids = box.fill("pacs")
    assert claim(box) == uids
    box.clock.time += 61
    assert claim(box) == uids


def test_what_follows_a_postponed_object_waits_with_it(box: Outbox) -> None:
    uids = box.fill("pacs", jobs=2)
    claim(box)
    first, *others = box.items()
    with box.ledger.begin() as change:
        change.outbox.postpone(first, box.clock.now() + 10, "Later.")
        change.outbox.give_back(*others)
        assert change.lines.next_due() == {"pacs": box.clock.now()}
    assert [item.attempts for item in box.items()] == [1, 0, 0, 0, 0, 0]
    assert claim(box) == uids[3:]
    with box.ledger.begin() as change:
        for item in others[2:]:
            change.outbox.move(item, DeliveryState.SENT, 1.0, "Sent.")
        assert change.lines.next_due() == {"pacs": box.clock.now() + 10}
    box.clock.time += 10
    assert claim(box) == uids[:3]


def test_only_destinations_with_something_to_send_are_due(box: Outbox) -> None:
    with box.ledger.read() as view:
        assert view.lines.next_due() == {}
    box.fill("a", "b", "c")
    with box.ledger.begin() as change:
        for item in box.items("b"):
            change.outbox.move(item, DeliveryState.DEAD, 1.0, "No.")
        assert set(change.lines.next_due()) == {"a", "c"}
        assert change.lines.count_ready("a", box.clock.now(), 2) == 2
        assert change.lines.count_ready("a", box.clock.now(), 100) == 3
        assert change.lines.count_ready("b", box.clock.now(), 100) == 0


def test_many_arrivals_are_what_each_would_have_been(box: Outbox) -> None:
    box.fill("pacs", "folder", jobs=2)
    with box.ledger.begin() as change:
        arrivals = [
            Arrival(item, item.job_id, Stored(0xB000, "changed", 7.0), "")
            for item in box.items("pacs")
        ]
        change.outbox.keep_all_sent(arrivals, 5.0)
        proven = [
            Arrival(item, item.job_id, Stored(None, "", 7.0), "read-back")
            for item in box.items("folder")
        ]
        change.outbox.keep_all_sent(proven, 6.0)
    sent, safe = box.items("pacs"), box.items("folder")
    assert {(i.state, i.status, i.remark, i.prove_at, i.sent_at, i.sendings) for i in sent} == {
        (DeliveryState.SENT, 0xB000, "changed", 7.0, 5.0, 1)
    }
    assert {(i.state, i.proof, i.prove_at, i.safe_at) for i in safe} == {
        (DeliveryState.SAFE, "read-back", None, 6.0)
    }
    with box.ledger.read() as view:
        rows = view.trail.all()
        told = [row for row in rows if row.event == "delivery"]
    assert len(told) == 6 + 12
    assert first_break(rows) is None
    assert told[0].text == "Sent to 'pacs'; changed."
    assert told[0].detail == {"destination": "pacs", "sop_instance_uid": "2.25.1.3.0"}
    assert [(row.study_id, row.job_id) for row in told[:6]] == [(1, 1)] * 3 + [(2, 2)] * 3
    with pytest.raises(InvalidTransitionError), box.ledger.begin() as change:
        change.outbox.keep_all_sent([Arrival(safe[0], 1, Stored(0, "", None))], 8.0)


def test_line_is_kept_and_told_where_there_is_something_to_tell(box: Outbox) -> None:
    with box.ledger.begin() as change:
        assert change.lines.get("pacs") == Line("pacs")
        opened = Line("pacs", LineState.OPEN, False, 3, 10.0, 12.0, "It is down.")
        change.lines.keep(opened, "Nothing is sent.")
        change.lines.keep(opened)
        assert change.lines.all() == (opened,)
        (row,) = change.trail.of_event("line")
    assert (row.before, row.after, row.at, row.text) == ("closed", "open", 10.0, "Nothing is sent.")


def test_candidates_of_an_earlier_transaction_are_claimed_as_far_as_they_still_can_be(
    box: Outbox,
) -> None:
    uids = box.fill("pacs", jobs=4, objects=1)
    now = box.clock.now()
    with box.ledger.read() as view:
        seen = view.lines.candidates("pacs", now, 100)
    with box.ledger.begin() as change:
        first, second, *_ = box.items()
        change.outbox.move(first, DeliveryState.DEAD, now, "No.")
        change.outbox.postpone(second, now + 10, "Later.")
        claimed = change.lines.claim_these(seen, "d", now, 60.0)
        assert [one.item.sop_instance_uid for one in claimed] == uids[2:]
        assert change.lines.claim_these(seen, "other", now, 60.0) == ()
