"""The courier against real peers and one that lies: what ends where, in which order, how often."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from secondread.delivery.object_file import ObjectFile
from secondread.delivery.resending import Resent, resend_destination
from secondread.delivery.sender import Sender
from secondread.domain.destination import (
    Proof,
    ProofTerms,
    Way,
    reachable,
)
from secondread.domain.line import Line, LineState
from secondread.domain.network import Peer
from secondread.domain.states import JobState, StudyState
from secondread.errors import LedgerError
from tests.house import StillClock
from tests.lying_manners import Break, Hang, each
from tests.lying_pacs import LyingPacs, lying_pacs
from tests.outbox_cases import Outbox, line_of, running, to, work_off

LOCAL = "127.0.0.1"


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """An empty outbox whose clock runs."""
    made = Outbox(tmp_path / "data")
    yield made
    made.close()


@pytest.fixture
def still(tmp_path: Path) -> Iterator[Outbox]:
    """An empty outbox whose clock the test moves."""
    made = Outbox(tmp_path / "still", StillClock())
    yield made
    made.close()


@pytest.fixture
def pacs() -> Iterator[LyingPacs]:
    """A PACS that is honest until it is told otherwise."""
    with lying_pacs() as found:
        yield found


def test_everything_goes_over_one_association_in_order(outbox: Outbox, pacs: LyingPacs) -> None:
    courier = outbox.courier(to(pacs))
    uids = outbox.fill("pacs", jobs=40, objects=3)
    work_off(courier)
    later = outbox.fill("pacs", jobs=2, objects=3)
    work_off(courier)
    assert set(outbox.states()) == {"sent"}
    assert pacs.uids("stored") == uids + later
    assert pacs.count("associated") == 1
    courier.close()
    pacs.wait_for("released")
    with outbox.ledger.read() as view:
        assert view.jobs.get(1).state == "delivered"
        assert view.studies.get(1).state == "done"


def test_threads_deliver_and_end_in_order(outbox: Outbox, pacs: LyingPacs) -> None:
    uids = outbox.fill("pacs", jobs=30)
    with running(outbox.courier(to(pacs))):
        outbox.wait_until(lambda: set(outbox.states()) == {"sent"})
        uids += outbox.fill("pacs", jobs=5)
        outbox.wait_until(lambda: set(outbox.states()) == {"sent"})
    assert pacs.uids("stored") == uids
    assert pacs.count("associated") == pacs.count("released") == 1


def test_two_associations_at_a_time_keep_the_order_within_a_job(
    outbox: Outbox, pacs: LyingPacs
) -> None:
    uids = outbox.fill("pacs", jobs=60)
    with running(outbox.courier(to(pacs, parallel=2))):
        outbox.wait_until(lambda: set(outbox.states()) == {"sent"})
    assert sorted(pacs.uids("stored")) == sorted(uids)
    assert pacs.count("associated") == 2
    for at in range(0, len(uids), 3):
        assert [uid for uid in pacs.uids("stored") if uid in uids[at : at + 3]] == uids[at : at + 3]


def test_object_that_is_refused_for_now_keeps_back_only_its_own_job(
    still: Outbox, pacs: LyingPacs
) -> None:
    uids = still.fill("pacs", jobs=2)
    courier = still.courier(to(pacs))
    pacs.behave(status=lambda number: 0xA700 if number == 1 else 0)
    work_off(courier)
    assert still.states() == ["ready", "ready", "ready", "sent", "sent", "sent"]
    assert still.items()[0].attempts == 1
    assert still.items()[1].attempts == 0
    assert line_of(still).state is LineState.CLOSED
    still.clock.time += 3
    work_off(courier)
    assert set(still.states()) == {"sent"}
    assert pacs.uids("stored") == uids[3:] + uids[:3]
    assert pacs.count("associated") == 1


def test_each_third_object_refused_for_now_is_delivered_in_the_end(
    still: Outbox, pacs: LyingPacs
) -> None:
    uids = still.fill("pacs", jobs=12)
    courier = still.courier(to(pacs))
    pacs.behave(status=each(3, 0xA700))
    for _ in range(20):
        work_off(courier)
        still.clock.time += 1000
    assert set(still.states()) == {"sent"}
    assert sorted(pacs.uids("stored")) == sorted(uids)
    assert not pacs.doubled


def test_destination_that_is_down_uses_up_no_tries_and_is_probed(
    still: Outbox, pacs: LyingPacs
) -> None:
    uids = still.fill("pacs", jobs=20)
    courier = still.courier(to(pacs, attempts_max=2))
    pacs.go_down()
    assert work_off(courier) == 1
    line = line_of(still)
    assert (line.state, line.failures) == (LineState.OPEN, 1)
    assert "refuses connections" in line.reason
    assert 0 < line.next_at - still.clock.now() <= 2
    waits = []
    for _ in range(12):
        still.clock.time = line_of(still).next_at
        assert not courier.step("pacs")
        waits.append(line_of(still).next_at - still.clock.now())
    assert max(waits) <= 300
    assert waits[-1] > 200
    assert {(item.state.value, item.attempts) for item in still.items()} == {("ready", 0)}
    pacs.come_up()
    still.clock.time = line_of(still).next_at
    work_off(courier)
    assert line_of(still).state is LineState.CLOSED
    assert pacs.uids("stored") == uids
    assert pacs.count("echo") == 1
    with still.ledger.read() as view:
        rows = view.trail.of_event("line")
    assert [(row.before, row.after) for row in rows] == [
        ("closed", "open"),
        ("half-open", "closed"),
    ]


@pytest.mark.parametrize(
    "breaks", [Break.IN_OBJECT, Break.IN_ANSWER, Break.BEFORE_SUCCESS, Break.AFTER_SUCCESS]
)
def test_connection_that_breaks_now_and_then_loses_and_doubles_nothing(
    still: Outbox, pacs: LyingPacs, breaks: Break
) -> None:
    uids = still.fill("pacs", jobs=5)
    courier = still.courier(to(pacs))
    pacs.behave(breaks=breaks, breaks_left=2)
    for _ in range(10):
        work_off(courier)
        still.clock.time += 1000
    assert set(still.states()) == {"sent"}
    assert set(pacs.kept) == set(uids)
    assert not pacs.conflicting
    assert pacs.count("broken") == 2


def test_peer_that_breaks_on_everything_opens_the_line_and_counts_for_the_objects(
    still: Outbox, pacs: LyingPacs
) -> None:
    still.fill("pacs", jobs=6, objects=1)
    courier = still.courier(to(pacs))
    pacs.behave(breaks=Break.IN_OBJECT)
    work_off(courier)
    assert line_of(still).state is LineState.OPEN
    assert sum(item.attempts for item in still.items()) == 3
    # It answers a C-ECHO, so the line closes; the first object opens it again, for longer.
    still.clock.time = line_of(still).next_at + 1000
    work_off(courier)
    assert (line_of(still).state, line_of(still).failures) == (LineState.OPEN, 4)


@pytest.mark.parametrize("hang", [Hang.CONNECTION, Hang.ASSOCIATION])
def test_peer_that_hangs_costs_time_outs_and_no_objects(
    still: Outbox, pacs: LyingPacs, hang: Hang
) -> None:
    uids = still.fill("pacs", jobs=4, objects=1)
    courier = still.courier(to(pacs, timeout_s=0.3))
    pacs.behave(hang=hang)
    work_off(courier)
    assert line_of(still).state is LineState.OPEN
    assert "silent for 0.3 s" in line_of(still).reason
    pacs.behave()
    still.clock.time += 1000
    work_off(courier)
    assert set(still.states()) == {"sent"}
    assert sorted(pacs.uids("stored")) == sorted(uids)


def test_association_that_is_rejected_for_good_buries_nothing(
    still: Outbox, pacs: LyingPacs
) -> None:
    still.fill("pacs", jobs=50)
    courier = still.courier(to(pacs, attempts_max=1))
    pacs.behave(rejects=(1, 1, 3))
    assert work_off(courier) == 1
    line = line_of(still)
    assert "does not know the calling AE title 'SECONDREAD'" in line.reason
    assert line.next_at - still.clock.now() > 200
    assert set(still.states()) == {"ready"}
    pacs.behave()
    still.clock.time = line.next_at
    work_off(courier)
    assert set(still.states()) == {"sent"}


def test_association_that_is_rejected_for_now_is_asked_for_again(
    still: Outbox, pacs: LyingPacs
) -> None:
    still.fill("pacs")
    courier = still.courier(to(pacs))
    pacs.behave(rejects=(2, 3, 2))
    assert work_off(courier) == 3
    assert line_of(still).failures == 3
    assert line_of(still).next_at - still.clock.now() < 10


def test_warning_and_duplicate_count_as_stored_with_a_remark(
    still: Outbox, pacs: LyingPacs
) -> None:
    still.fill("pacs", jobs=1, objects=3)
    pacs.behave(status=lambda number: {1: 0xB000, 2: 0x0111}.get(number, 0))
    work_off(still.courier(to(pacs)))
    items = still.items()
    assert [item.state.value for item in items] == ["sent"] * 3
    assert [item.status for item in items] == [0xB000, 0x0111, 0]
    assert items[0].remark == "stored, with coercion of data elements"
    assert items[1].remark == "it was there already"
    assert all(item.prove_at == still.clock.now() + 5 for item in items)


def test_no_proof_is_asked_where_none_is_wanted(still: Outbox, pacs: LyingPacs) -> None:
    still.fill("pacs")
    work_off(still.courier(to(pacs, terms=ProofTerms(Proof.NONE))))
    assert {item.prove_at for item in still.items()} == {None}


def test_tries_that_are_used_up_and_refusals_are_dead_letters_and_can_be_sent_again(
    still: Outbox, pacs: LyingPacs
) -> None:
    still.fill("pacs", jobs=2, objects=1)
    courier = still.courier(to(pacs, attempts_max=2))
    pacs.behave(status=lambda number: 0xA700 if number % 2 else 0x0124)
    work_off(courier)
    assert still.states() == ["ready", "dead"]
    still.clock.time += 10
    work_off(courier)
    assert still.states() == ["dead", "dead"]
    with still.ledger.begin() as change:
        assert change.jobs.get(2).state is JobState.FAILED
        assert change.studies.get(2).state is StudyState.HELD
        assert resend_destination(change, "pacs", still.clock.now()) == Resent(2)
        assert change.jobs.get(2).state is JobState.WRITTEN
        assert change.studies.get(2).state is StudyState.ASSEMBLING
    pacs.behave()
    work_off(courier)
    assert still.states() == ["sent", "sent"]


def test_destinations_do_not_wait_for_one_another(outbox: Outbox, pacs: LyingPacs) -> None:
    outbox.fill("pacs", "slow", jobs=3)
    with lying_pacs() as slow:
        slow.behave(hang=Hang.CONNECTION)
        with running(outbox.courier(to(pacs), to(slow, name="slow", timeout_s=1.0))):
            outbox.wait_until(lambda: set(outbox.states("pacs")) == {"sent"})
            assert set(outbox.states("slow")) == {"ready"}
            outbox.wait_until(lambda: line_of(outbox, "slow").state is LineState.OPEN)


def test_destination_that_is_not_configured_any_more_is_a_dead_letter(still: Outbox) -> None:
    still.fill("gone", jobs=2)
    courier = still.courier()
    work_off(courier, "gone")
    assert set(still.states()) == {"dead"}
    assert still.items()[0].reason == (
        "Destination 'gone' is not in the configuration any more; add it and retry the study."
    )


def test_sender_whose_port_nobody_has_entered_is_a_dead_letter_and_another_gets_its_own(
    still: Outbox, pacs: LyingPacs
) -> None:
    back = to(pacs, name="back", way=Way.SENDER)
    peers = [
        Peer("ct", "CT1", ("10.0.0.1",), 5.0, host=pacs.host, port=pacs.port),
        Peer("mr", "MR1", ("10.0.0.2",), 5.0),
    ]
    known = reachable([back], peers)
    still.fill("back/ct", "back/mr")
    courier = still.courier(*known.values())
    work_off(courier, "back/ct")
    work_off(courier, "back/mr")
    assert set(still.states("back/ct")) == {"sent"}
    assert set(still.states("back/mr")) == {"dead"}
    assert "enter 'host' and 'port'" in still.items("back/mr")[0].reason


def test_file_that_is_gone_is_a_dead_letter_and_the_rest_goes(
    still: Outbox, pacs: LyingPacs
) -> None:
    still.fill("pacs", jobs=2)
    still.spool.absolute(still.items()[0].path).unlink()
    work_off(still.courier(to(pacs)))
    assert still.states() == ["dead", "sent", "sent", "sent", "sent", "sent"]


def test_line_that_is_paused_sends_nothing(still: Outbox, pacs: LyingPacs) -> None:
    still.fill("pacs")
    courier = still.courier(to(pacs))
    with still.ledger.begin() as change:
        change.lines.keep(Line("pacs", paused=True), "Paused.")
    assert not courier.step("pacs")
    with still.ledger.begin() as change:
        change.lines.keep(Line("pacs"), "Goes on.")
    work_off(courier)
    assert set(still.states()) == {"sent"}


def test_urgent_objects_go_first_and_say_so(still: Outbox, pacs: LyingPacs) -> None:
    still.fill("pacs", jobs=3, objects=1)
    with still.ledger.begin() as change:
        for text in ("job SET urgency = 1 WHERE id = 2", "outbox SET urgency = 1 WHERE job_id = 2"):
            change.jobs._connection.exec_driver_sql(f"UPDATE {text}")
    work_off(still.courier(to(pacs)))
    assert pacs.uids("stored") == ["2.25.2.3.0", "2.25.1.3.0", "2.25.3.3.0"]


def test_courier_that_was_killed_is_followed_by_one_that_sends_everything(
    still: Outbox, pacs: LyingPacs
) -> None:
    uids = still.fill("pacs", jobs=3)
    with still.ledger.begin() as change:
        change.lines.claim("pacs", "deliver:1:dead", still.clock.now(), 600.0, 5)
        change.lines.keep(Line("pacs", LineState.HALF_OPEN, False, 3, 1.0, 1e12, "Gone."))
    courier = still.courier(to(pacs))
    assert not courier.step("pacs")
    with still.ledger.begin() as change:
        change.outbox.release_claims_of("deliver:")
    with running(courier):
        still.wait_until(lambda: set(still.states()) == {"sent"})
    assert pacs.uids("stored") == uids


def test_fault_of_our_own_in_one_object_keeps_nobody_from_going_on(
    outbox: Outbox, pacs: LyingPacs, monkeypatch: pytest.MonkeyPatch
) -> None:
    uids = outbox.fill("pacs", jobs=3, objects=1)
    honest = Sender.send_open

    def send(self: Sender, source: ObjectFile, *rest: object) -> object:
        if source.sop_instance_uid == uids[0]:
            raise ZeroDivisionError
        return honest(self, source, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Sender, "send_open", send)
    with running(outbox.courier(to(pacs))):
        outbox.wait_until(lambda: outbox.states()[1:] == ["sent", "sent"])
    first = outbox.items()[0]
    assert (first.state.value, first.attempts >= 1) == ("ready", True)
    assert "The node itself failed over it (ZeroDivisionError)" in first.reason


def test_thread_survives_a_ledger_that_cannot_be_written_for_a_while(
    outbox: Outbox, pacs: LyingPacs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secondread.delivery.courier._RECOVERY_S", 0.05)
    outbox.fill("pacs", jobs=3)
    honest, faults = outbox.ledger.begin, []

    def begin() -> object:
        if len(faults) < 4:
            faults.append(1)
            raise LedgerError("The ledger could not be written: disk full.")
        return honest()

    courier = outbox.courier(to(pacs))
    courier._take_over_probes = lambda: None  # type: ignore[method-assign]
    monkeypatch.setattr(outbox.ledger, "begin", begin)
    with running(courier):
        outbox.wait_until(lambda: set(outbox.states()) == {"sent"})
    assert len(faults) == 4
    assert not pacs.doubled
