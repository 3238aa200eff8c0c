"""A long queue: one batch is carried while the one before is written down and the next claimed."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from secondread.delivery.breaker import Breaker
from secondread.delivery.errand import BATCH_MAX, Desk, Errand
from secondread.domain.line import LineState
from secondread.errors import LedgerError
from tests.house import StillClock
from tests.lying_manners import Break, each
from tests.lying_pacs import LyingPacs, lying_pacs
from tests.outbox_cases import Outbox, line_of, running, to


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


@contextmanager
def errand_to(outbox: Outbox) -> Iterator[Errand]:
    """An errand that ends with the test."""
    desk = Desk(outbox.ledger, outbox.spool, outbox.clock, "deliver:test")
    made = Errand(desk, "pacs", Breaker())
    try:
        yield made
    finally:
        made.close()


def claims(outbox: Outbox) -> int:
    """How many rows of the outbox somebody holds."""
    with outbox.ledger.read() as view:
        query = "SELECT count(*) FROM outbox WHERE claimed_by IS NOT NULL"
        return int(view.outbox._connection.exec_driver_sql(query).scalar_one())


def by_job(uids: list[str]) -> dict[str, list[str]]:
    """Objects by their job, in their order."""
    found: dict[str, list[str]] = defaultdict(list)
    for uid in uids:
        found[uid.split(".")[2]].append(uid)
    return found


def test_long_queue_is_sent_once_and_in_order_within_each_job(
    still: Outbox, pacs: LyingPacs
) -> None:
    uids = still.fill("pacs", jobs=60, objects=3)
    uids += still.fill("pacs", jobs=1, objects=2 * BATCH_MAX + 50)
    uids += still.fill("pacs", jobs=40, objects=3)
    with errand_to(still) as errand:
        assert errand.run(to(pacs), Event())
    assert by_job(pacs.uids("stored")) == by_job(uids)
    assert len(pacs.uids("stored")) == len(uids)
    assert set(still.states()) == {"sent"}
    assert [item.sendings for item in still.items()] == [1] * len(uids)
    assert claims(still) == 0
    assert pacs.count("associated") == 1


def test_refusals_in_a_long_queue_keep_back_what_follows_in_their_jobs(
    still: Outbox, pacs: LyingPacs
) -> None:
    uids = still.fill("pacs", jobs=120, objects=3)
    pacs.behave(status=each(7, 0xA700))
    with errand_to(still) as errand:
        for _ in range(30):
            errand.run(to(pacs), Event())
            still.clock.time += 1000
    assert set(still.states()) == {"sent"}
    assert by_job(pacs.uids("stored")) == by_job(uids)
    assert claims(still) == 0


def test_line_that_breaks_in_a_long_queue_gives_back_what_was_claimed_ahead(
    still: Outbox, pacs: LyingPacs
) -> None:
    uids = still.fill("pacs", jobs=120, objects=3)
    with errand_to(still) as errand:
        pacs.behave(breaks=Break.IN_OBJECT, breaks_left=5)
        for _ in range(8):
            errand.run(to(pacs), Event())
            assert claims(still) == 0
            still.clock.time += 1000
    assert line_of(still).state is LineState.CLOSED
    assert set(still.states()) == {"sent"}
    assert by_job(pacs.uids("stored")) == by_job(uids)


def test_ledger_that_fails_meanwhile_loses_nothing_that_was_sent(
    still: Outbox, pacs: LyingPacs, monkeypatch: pytest.MonkeyPatch
) -> None:
    uids = still.fill("pacs", jobs=120, objects=3)
    begin, begun = still.ledger.begin, []

    @contextmanager
    def fails_now_and_then() -> Iterator[object]:
        begun.append(threading.current_thread().name)
        with begin() as change:
            yield change
            if len(begun) in {2, 3, 5}:
                raise LedgerError("The disk is full.")

    monkeypatch.setattr(still.ledger, "begin", fails_now_and_then)
    failures = 0
    with errand_to(still) as errand:
        for _ in range(5):
            try:
                errand.run(to(pacs), Event())
            except LedgerError:
                failures += 1
    assert failures == 3
    assert any(name.startswith("ledger of") for name in begun)
    assert set(still.states()) == {"sent"}
    assert by_job(pacs.uids("stored")) == by_job(uids)
    assert claims(still) == 0


def test_stop_gives_back_what_was_claimed_ahead(still: Outbox, pacs: LyingPacs) -> None:
    still.fill("pacs", jobs=150, objects=3)
    with running(still.courier(to(pacs))):
        pacs.wait_for("stored", BATCH_MAX // 2)
    states = still.states()
    assert claims(still) == 0
    assert states.count("sent") == pacs.count("stored") < len(states)


def test_pause_ends_a_long_queue(still: Outbox, pacs: LyingPacs) -> None:
    still.fill("pacs", jobs=600, objects=3)
    with running(still.courier(to(pacs))):
        pacs.wait_for("stored", BATCH_MAX // 2)
        with still.ledger.begin() as change:
            change.lines.keep(replace(change.lines.get("pacs"), paused=True))
        still.wait_until(lambda: claims(still) == 0)
        count = pacs.count("stored")
    assert still.states().count("sent") == pacs.count("stored") == count < 1800
