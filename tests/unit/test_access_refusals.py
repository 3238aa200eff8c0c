"""The refusal book and its table: who was not let in, kept without being flooded."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from secondread.access.peers import Caller, Refusal
from secondread.access.refusals import KEPT_MAX, VARIED, RefusalBook
from secondread.errors import NotFoundError
from secondread.store import Ledger
from secondread.store.refusals import RefusedCaller

UNKNOWN = Refusal(1, 1, 3, "unknown-calling-ae", "'X' at 10.0.0.1 is not among the [[peers]].")
MOVED = Refusal(1, 1, 3, "wrong-address", "Peer 'mr1' calls from 10.0.0.9.")


class Turned:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Turned:
    return Turned()


@pytest.fixture
def ledger(tmp_path: Path):
    opened = Ledger.open(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def book(ledger: Ledger, clock: Turned) -> RefusalBook:
    return RefusalBook(ledger, clock)


def caller(calling: str = "X", address: str = "10.0.0.1", called: str = "NODE") -> Caller:
    return Caller(calling, called, address)


def rows(ledger: Ledger) -> tuple[RefusedCaller, ...]:
    with ledger.read() as view:
        return tuple(view.refusals.newest(5000))


def audited(ledger: Ledger) -> list[tuple[str, int]]:
    with ledger.read() as view:
        found = view.trail.of_event("association-refused", 5000)
    return [(row.text, row.detail["times"]) for row in found]


def test_nothing_is_written_before_the_flush(book: RefusalBook, ledger: Ledger) -> None:
    with capture_logs() as logged:
        book.note(UNKNOWN, caller())
    assert logged == []
    assert rows(ledger) == ()


def test_one_row_one_line_one_trail_row_for_many_attempts(
    book: RefusalBook, ledger: Ledger, clock: Turned
) -> None:
    for _ in range(7):
        book.note(UNKNOWN, caller())
        clock.at += 0.1
    book.note(MOVED, caller("MR1", "10.0.0.9"), "mr1")
    with capture_logs() as logged:
        book.flush()
    unknown, moved = sorted(rows(ledger), key=lambda row: row.code)
    assert (unknown.calling, unknown.called, unknown.address) == ("X", "NODE", "10.0.0.1")
    assert (unknown.times, unknown.first_at) == (7, 1000.0)
    assert unknown.last_at == pytest.approx(1000.6)
    assert (moved.peer, moved.reason, moved.times) == ("mr1", MOVED.reason, 1)
    assert audited(ledger) == [(UNKNOWN.reason, 7), (MOVED.reason, 1)]
    assert [(line["event"], line["code"], line["times"]) for line in logged] == [
        ("association refused", "unknown-calling-ae", 7),
        ("association refused", "wrong-address", 1),
    ]
    assert {line["log_level"] for line in logged} == {"warning"}


def test_counts_are_added_up_at_once_but_told_once_a_minute(
    book: RefusalBook, ledger: Ledger, clock: Turned
) -> None:
    """A modality that tries again every second must not fill the audit trail."""
    with capture_logs() as logged:
        for second in range(150):
            clock.at = 1000.0 + second
            book.note(UNKNOWN, caller())
            book.flush()
            assert rows(ledger)[0].times == second + 1
        clock.at += 60
        book.flush()
        book.flush()
    assert [times for _, times in audited(ledger)] == [1, 60, 60, 29]
    assert [line["times"] for line in logged] == [1, 60, 60, 29]
    clock.at += 60
    book.flush()
    book.note(UNKNOWN, caller())
    book.flush()
    assert [times for _, times in audited(ledger)][-1] == 1, "after a pause it is new again"


def test_nothing_to_tell_is_nothing_written(
    book: RefusalBook, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ledger, "begin", lambda self: pytest.fail("the ledger was opened"))
    book.flush()


def test_strangers_texts_are_made_harmless_and_cut(book: RefusalBook, ledger: Ledger) -> None:
    stranger = Caller("A\n\x1b[31m" + "B" * 200, "\0\u202eN", "10.0.0.1\n" + "9" * 99)
    book.note(Refusal(1, 1, 3, "c" * 99, "Bad\nreason\x07." + "x" * 5000), stranger)
    with capture_logs() as logged:
        book.flush()
    (row,) = rows(ledger)
    assert row.calling == "A??[31m" + "B" * 57
    assert row.called == "??N"
    assert len(row.address) == 64
    assert len(row.code) == 32
    assert row.reason.startswith("Bad?reason?.")
    assert len(row.reason) == 1000
    assert all(str(value).isprintable() for value in logged[0].values())


def test_the_certificate_tells_callers_apart(book: RefusalBook, ledger: Ledger) -> None:
    for certificate in (None, b"one", b"two"):
        book.note(MOVED, Caller("MR1", "N", "10.0.0.1", certificate))
    book.flush()
    found = {row.certificate_sha256 for row in rows(ledger)}
    assert found == {
        "",
        Caller("", "", "", b"one").fingerprint,
        Caller("", "", "", b"two").fingerprint,
    }
    assert {len(text) for text in found} == {0, 64}


def test_an_address_with_ever_new_titles_does_not_displace_the_others(
    book: RefusalBook, ledger: Ledger, clock: Turned
) -> None:
    book.note(MOVED, caller("MR1", "10.0.0.9"), "mr1")
    for number in range(5000):
        book.note(UNKNOWN, caller(f"T{number}", "10.6.6.6"))
        if number % 100 == 0:
            clock.at += 1
            book.flush()
    book.flush()
    found = rows(ledger)
    assert len(found) == 1 + 16 + 1
    (rest,) = [row for row in found if row.calling == VARIED]
    assert rest.times == 5000 - 16
    assert len(VARIED) > 16, "must not be taken for an AE title"
    assert any(row.peer == "mr1" for row in found)
    assert len(audited(ledger)) < 40
    clock.at += 3601
    book.note(UNKNOWN, caller("NEW", "10.6.6.6"))
    book.flush()
    assert rows(ledger)[0].calling == "NEW", "an hour later it is looked at again"


def test_what_does_not_fit_into_memory_is_counted(book: RefusalBook, ledger: Ledger) -> None:
    for number in range(1500):
        book.note(UNKNOWN, caller("X", f"10.1.{number >> 8}.{number & 255}"))
    assert len(book._waiting) == 1000
    assert len(book._spreads) <= 1000
    with capture_logs() as logged:
        book.flush()
    assert sum(row.times for row in rows(ledger)) == 1000
    text, times = audited(ledger)[-1]
    assert times == 500
    assert text.startswith("500 more associations were refused")
    assert logged[-1]["times"] == 500


def test_at_most_a_thousand_are_kept_and_the_oldest_go(
    book: RefusalBook, ledger: Ledger, clock: Turned
) -> None:
    for batch in range(3):
        for number in range(500):
            clock.at += 0.001
            book.note(UNKNOWN, caller("X", f"10.{batch}.{number >> 8}.{number & 255}"))
        clock.at += 100
        book.flush()
    found = rows(ledger)
    assert len(found) == KEPT_MAX
    assert {row.address.split(".")[1] for row in found} == {"1", "2"}
    assert [row.last_at for row in found] == sorted((r.last_at for r in found), reverse=True)


def test_one_is_found_by_its_number_and_forgotten(book: RefusalBook, ledger: Ledger) -> None:
    book.note(UNKNOWN, caller())
    book.flush()
    (row,) = rows(ledger)
    with ledger.begin() as change:
        assert change.refusals.find(row.id) == row
        assert change.refusals.forget(row.id)
        assert not change.refusals.forget(row.id)
        with pytest.raises(NotFoundError, match="peer refused"):
            change.refusals.find(row.id)
    book.note(UNKNOWN, caller())
    book.flush()
    assert rows(ledger)[0].times == 1


def test_a_ledger_that_cannot_be_written_loses_no_count(
    book: RefusalBook, ledger: Ledger, tmp_path: Path, clock: Turned
) -> None:
    for _ in range(3):
        book.note(UNKNOWN, caller())
    # A table that is away fails as a broken disk does.
    with sqlite3.connect(tmp_path / "ledger.sqlite") as raw:
        raw.execute("ALTER TABLE refusal RENAME TO away")
    raw.close()
    with capture_logs() as logged:
        book.flush()
        book.note(UNKNOWN, caller())
        book.flush()
    assert [line["event"] for line in logged] == [
        "association refused",
        "refusals could not be recorded",
    ]
    with sqlite3.connect(tmp_path / "ledger.sqlite") as raw:
        raw.execute("ALTER TABLE away RENAME TO refusal")
    raw.close()
    book.flush()
    assert [row.times for row in rows(ledger)] == [4]
    clock.at += 61
    book.flush()
    assert sum(times for _, times in audited(ledger)) == 4


def test_counting_goes_on_while_it_is_written(book: RefusalBook, ledger: Ledger) -> None:
    done = threading.Event()

    def count() -> None:
        for _ in range(2000):
            book.note(UNKNOWN, caller())
        done.set()

    threads = [threading.Thread(target=count) for _ in range(2)]
    for thread in threads:
        thread.start()
    while not done.is_set():
        book.flush()
    for thread in threads:
        thread.join()
    book.flush()
    assert [row.times for row in rows(ledger)] == [4000]


def test_counting_touches_no_disk(book: RefusalBook, ledger: Ledger, tmp_path: Path) -> None:
    ledger.close()
    shutil.rmtree(tmp_path)
    book.note(UNKNOWN, caller())
