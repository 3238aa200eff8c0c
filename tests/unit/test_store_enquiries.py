"""Questions about commitment in the ledger, and what archives report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from secondread.domain.enquiry import AskedObject, EnquiryState, HeardReport
from secondread.errors import LedgerError
from secondread.store import Ledger
from secondread.store.enquiries import REPORTS_MAX, STRANGERS_MAX

MR = "1.2.840.10008.5.1.4.1.1.4"
OBJECTS = tuple(AskedObject(number, MR, f"1.2.{number}") for number in (1, 2, 3))
COMMITTED = HeardReport(tuple((MR, one.sop_instance_uid) for one in OBJECTS), ())
HALF = HeardReport(((MR, "1.2.1"),), ((MR, "1.2.2", 0x0112), (MR, "1.2.3", None)))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger.open(tmp_path)
    yield ledger
    ledger.close()


def add(ledger: Ledger, uid: str = "2.25.1", at: float = 100.0, due_at: float = 200.0) -> None:
    with ledger.begin() as change:
        change.enquiries.add(uid, "pacs", "PACS", OBJECTS, at, due_at)


def hear(ledger: Ledger, report: HeardReport, uid: str = "2.25.1", by: str = "PACS") -> bool:
    with ledger.begin() as change:
        return change.enquiries.hear(uid, by, report)


def reports(ledger: Ledger) -> Sequence[tuple[str, Sequence[HeardReport]]]:
    with ledger.read() as view:
        return [(one.transaction_uid, one.reports) for one in view.enquiries.reported()]


def test_question_is_kept_as_it_was_asked(ledger: Ledger) -> None:
    add(ledger)
    with ledger.read() as view:
        found = view.enquiries.find("2.25.1")
        assert view.enquiries.find("2.25.2") is None
    assert found is not None
    assert (found.destination, found.ae_title, found.state) == ("pacs", "PACS", EnquiryState.ASKED)
    assert (found.objects, found.asked_at, found.due_at) == (OBJECTS, 100.0, 200.0)


def test_no_transaction_uid_is_used_twice(ledger: Ledger) -> None:
    add(ledger)
    with pytest.raises(LedgerError):
        add(ledger)


def test_report_is_kept_word_for_word_until_it_is_judged(ledger: Ledger) -> None:
    add(ledger)
    assert reports(ledger) == []
    assert hear(ledger, HALF)
    assert reports(ledger) == [("2.25.1", (HALF,))]
    with ledger.begin() as change:
        change.enquiries.close(change.enquiries.reported()[0], EnquiryState.JUDGED)
    assert reports(ledger) == []


def test_who_was_not_asked_in_this_transaction_is_not_heard(ledger: Ledger) -> None:
    add(ledger)
    assert not hear(ledger, COMMITTED, uid="2.25.9")
    assert not hear(ledger, COMMITTED, by="OTHER")
    assert reports(ledger) == []


def test_same_report_twice_is_one_and_another_is_another(ledger: Ledger) -> None:
    add(ledger)
    assert all(hear(ledger, report) for report in (HALF, HALF, COMMITTED, HALF))
    assert reports(ledger) == [("2.25.1", (HALF, COMMITTED))]


def test_flood_of_reports_has_an_end(ledger: Ledger) -> None:
    add(ledger)
    for number in range(2 * REPORTS_MAX):
        assert hear(ledger, HeardReport(((MR, f"1.3.{number}"),), ()))
    assert len(reports(ledger)[0][1]) == REPORTS_MAX


def test_crowd_of_strangers_is_cut_and_what_was_asked_about_stays(ledger: Ledger) -> None:
    add(ledger)
    crowd = tuple((MR, f"1.3.{number}") for number in range(5_000))
    failed = tuple((*pair, 0x0112) for pair in crowd)
    assert hear(ledger, HeardReport((*crowd, (MR, "1.2.1")), (*failed, (MR, "1.2.2", 0x0110))))
    kept = reports(ledger)[0][1][0]
    assert kept.committed[-1] == (MR, "1.2.1")
    assert kept.failed[-1] == (MR, "1.2.2", 0x0110)
    assert (len(kept.committed), len(kept.failed)) == (STRANGERS_MAX + 1, STRANGERS_MAX + 1)


def test_overdue_is_what_has_no_report_when_its_time_has_come(ledger: Ledger) -> None:
    add(ledger)
    add(ledger, "2.25.2", due_at=150.0)
    add(ledger, "2.25.3", due_at=120.0)
    hear(ledger, COMMITTED, "2.25.2")
    with ledger.begin() as change:
        overdue = change.enquiries.overdue(200.0)
        assert [one.transaction_uid for one in overdue] == ["2.25.3", "2.25.1"]
        assert change.enquiries.overdue(119.9) == ()
        change.enquiries.close(overdue[0], EnquiryState.EXPIRED)
        assert [one.transaction_uid for one in change.enquiries.overdue(200.0)] == ["2.25.1"]


def test_report_on_an_expired_question_is_heard(ledger: Ledger) -> None:
    add(ledger)
    with ledger.begin() as change:
        change.enquiries.close(change.enquiries.overdue(200.0)[0], EnquiryState.EXPIRED)
    assert hear(ledger, COMMITTED)
    assert reports(ledger) == [("2.25.1", (COMMITTED,))]


def test_report_outlives_a_restart(tmp_path: Path) -> None:
    first = Ledger.open(tmp_path)
    add(first)
    hear(first, HALF)
    first.close()
    second = Ledger.open(tmp_path)
    assert reports(second) == [("2.25.1", (HALF,))]
    second.close()
