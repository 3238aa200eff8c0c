"""Commitment as SCU: what a report says and proves, and what the node answers to reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage

from secondread.delivery.commitment_scu import OBJECTS_MAX, Enquiry
from secondread.dicom.commitment_report import (
    STORAGE_COMMITMENT_PUSH,
    WELL_KNOWN_INSTANCE,
    Refusal,
    Remedy,
    Report,
    action_information,
    event_information,
    judge,
    read_report,
)
from secondread.domain.commitment import Failure, FailureReason, Reference, Result
from secondread.domain.network import Peer, Service
from secondread.errors import CannotUnderstandError, LedgerError
from secondread.intake.association_request import AssociationRequest, Proposal
from secondread.intake.commitment_reports import CONTEXTS, ReportTaker, handlers
from secondread.intake.dimse import N_EVENT_REPORT_RQ, SUCCESS, Caller
from secondread.intake.negotiation import Agreement, negotiate
from secondread.intake.offers import make_offers
from tests.service_cases import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    Asker,
    Place,
    dataset_of,
    decoded,
    encoded,
    open_place,
)

KEY = (STORAGE_COMMITMENT_PUSH, N_EVENT_REPORT_RQ)
SYNTAXES = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG)
SEG, SR = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.34"


def seg(number: int) -> Reference:
    return Reference(SEG, f"1.2.{number}")


def item(reference: Reference, reason: int | None = None) -> Dataset:
    found = dataset_of(
        ReferencedSOPClassUID=reference.sop_class_uid,
        ReferencedSOPInstanceUID=reference.sop_instance_uid,
    )
    if reason is not None:
        found.FailureReason = reason
    return found


def said(
    committed: list[Dataset], failed: list[Dataset], transaction: str = "1.2.99", **more: Any
) -> Dataset:
    """The event information of a peer with pydicom."""
    values = {"TransactionUID": transaction, **more}
    if committed:
        values["ReferencedSOPSequence"] = committed
    if failed:
        values["FailedSOPSequence"] = failed
    return dataset_of(**values)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_report_is_read_in_every_transfer_syntax(syntax: str) -> None:
    content = said([item(seg(1)), item(seg(1))], [item(seg(2), 0x0112), item(seg(3), 0x0213)])
    found = read_report(encoded(content, syntax), syntax, 2)
    assert found.transaction_uid == "1.2.99"
    assert found.committed == (seg(1),)
    assert found.failed == (Refusal(seg(2), 0x0112), Refusal(seg(3), 0x0213))


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_request_is_what_a_peer_reads(syntax: str) -> None:
    content = decoded(
        action_information("1.2.99", [seg(1), Reference(SR, "1.2.2")], syntax), syntax
    )
    assert content.TransactionUID == "1.2.99"
    assert [i.ReferencedSOPClassUID for i in content.ReferencedSOPSequence] == [SEG, SR]


def test_what_the_node_reports_it_can_read_itself() -> None:
    result = Result("1.2.99", (seg(1),), (Failure(seg(2), FailureReason.NO_SUCH_INSTANCE),))
    found = read_report(event_information(result, EXPLICIT_LITTLE), EXPLICIT_LITTLE, 2)
    assert (found.committed, found.failed) == ((seg(1),), (Refusal(seg(2), 0x0112),))


def test_retrieve_titles_and_other_elements_change_nothing() -> None:
    entry = item(seg(1))
    entry.RetrieveAETitle = "PACS"
    content = said([entry], [], RetrieveAETitle="PACS", StorageMediaFileSetID="A")
    assert read_report(encoded(content), EXPLICIT_LITTLE, 1).committed == (seg(1),)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no data set at all",
        encoded(said([item(seg(1))], []))[:-1],
        encoded(said([item(seg(1))], [], transaction="")),
        encoded(said([item(seg(1))], [], transaction="1." + "2" * 64)),
        encoded(said([item(seg(1))], [], transaction="../../etc")),
    ],
)
def test_report_that_cannot_be_read_is_none(data: bytes) -> None:
    with pytest.raises(CannotUnderstandError):
        read_report(data, EXPLICIT_LITTLE, 1)


def test_items_without_sound_uids_prove_nothing() -> None:
    unsound = [dataset_of(ReferencedSOPClassUID=SEG), dataset_of(ReferencedSOPInstanceUID="1.2.1")]
    unsound += [item(Reference(SEG, "1.2.x")), item(Reference(SEG, "1." + "2" * 64)), Dataset()]
    found = read_report(encoded(said([*unsound, item(seg(1))], unsound)), EXPLICIT_LITTLE, 2)
    assert (found.committed, found.failed) == ((seg(1),), ())


@given(data=st.binary(max_size=300), syntax=st.sampled_from(SYNTAXES))
def test_no_bytes_break_the_reader(data: bytes, syntax: str) -> None:
    try:
        read_report(data, syntax, 1)
    except CannotUnderstandError:
        return


@pytest.mark.parametrize(
    ("reason", "words", "remedy"),
    [
        (0x0110, "general failure", Remedy.ASK_AGAIN),
        (0x0112, "has not got the object", Remedy.SEND_AGAIN),
        (0x0119, "another SOP class", Remedy.PERSON),
        (0x0122, "does not commit to objects of this SOP class", Remedy.PERSON),
        (0x0131, "seen the Transaction UID before", Remedy.ASK_AGAIN),
        (0x0213, "too few resources", Remedy.ASK_AGAIN),
        (0x4711, "a reason that the standard does not know (0x4711)", Remedy.ASK_AGAIN),
        (0, "it gives no reason", Remedy.ASK_AGAIN),
    ],
)
def test_every_failure_reason_has_words_and_a_remedy(
    reason: int, words: str, remedy: Remedy
) -> None:
    refusal = Refusal(seg(1), reason)
    assert words in refusal.meaning
    assert refusal.remedy is remedy


def test_reason_that_is_missing_is_no_reason() -> None:
    found = read_report(encoded(said([], [item(seg(1))])), EXPLICIT_LITTLE, 2)
    assert found.failed == (Refusal(seg(1), 0),)


def report(committed: list[Reference], failed: list[tuple[Reference, int]]) -> Report:
    refusals = tuple(Refusal(*pair) for pair in failed)
    return Report("1.2.99", 1, tuple(committed), refusals)


def test_only_what_was_asked_about_is_proved() -> None:
    verdict = judge(
        report([seg(1), seg(7)], [(seg(2), 0x0112), (seg(8), 0x0112)]), [seg(1), seg(2)]
    )
    assert verdict.safe == (seg(1),)
    assert verdict.refused == (Refusal(seg(2), 0x0112),)
    assert (verdict.unmentioned, verdict.strangers) == ((), 2)


def test_what_is_not_mentioned_is_not_safe_whatever_the_event_says() -> None:
    verdict = judge(report([seg(1)], []), [seg(1), seg(2)])
    assert (verdict.safe, verdict.unmentioned) == ((seg(1),), (seg(2),))


def test_another_class_under_the_same_uid_is_no_proof() -> None:
    verdict = judge(report([Reference(MRImageStorage, "1.2.1")], []), [seg(1)])
    assert (verdict.safe, verdict.unmentioned, verdict.strangers) == ((), (seg(1),), 0)


def test_who_says_both_has_not_committed() -> None:
    verdict = judge(report([seg(1)], [(Reference(CTImageStorage, "1.2.1"), 0x0119)]), [seg(1)])
    assert verdict.safe == ()
    assert verdict.refused == (Refusal(seg(1), 0x0119),)


@pytest.mark.parametrize(
    ("transaction", "objects"),
    [
        ("1.2.99", []),
        ("1.2.99", [(SEG, f"1.2.{number}") for number in range(OBJECTS_MAX + 1)]),
        ("", [(SEG, "1.2.1")]),
        ("1.2.99", [(SEG, "1.2.x")]),
        ("1.2.99", [("", "1.2.1")]),
    ],
)
def test_enquiry_that_nobody_could_answer_is_not_made(
    transaction: str, objects: list[tuple[str, str]]
) -> None:
    with pytest.raises(ValueError, match="An enquiry"):
        Enquiry(transaction, objects, 0.0)


# --- reports at the node's own port ---


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return open_place(tmp_path)


class Book:
    """Where reports are written down."""

    def __init__(self, *known: str) -> None:
        self.known = known
        self.told: list[tuple[Caller, Report]] = []
        self.is_full = False

    def record(self, caller: Caller, said: Report) -> bool:
        if self.is_full:
            raise LedgerError("The ledger could not be written: disk full.")
        self.told.append((caller, said))
        return said.transaction_uid in self.known


def asker(place: Place, book: Book) -> Asker:
    return Asker(handlers(ReportTaker(place.peer_of, book.record)))


def tell(
    place: Place, book: Book, data: Any, instance: str = WELL_KNOWN_INSTANCE, **more: Any
) -> int:
    return asker(place, book).status(KEY, data, instance, **{"type_id": 1, **more})


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_report_on_a_known_transaction_is_written_down_and_confirmed(
    place: Place, syntax: str
) -> None:
    book = Book("1.2.99")
    assert tell(place, book, said([item(seg(1))], []), syntax=syntax) == SUCCESS
    ((caller, found),) = book.told
    assert (caller.peer, caller.ae_title, found.committed) == ("ct", "CT1", (seg(1),))


def test_report_on_a_transaction_that_nobody_made_is_refused(place: Place) -> None:
    assert tell(place, Book(), said([item(seg(1))], [])) == 0x0115


def test_report_that_cannot_be_written_down_is_not_confirmed(place: Place) -> None:
    book = Book("1.2.99")
    book.is_full = True
    assert tell(place, book, said([item(seg(1))], [])) == 0x0213


@pytest.mark.parametrize(
    ("data", "instance", "type_id", "status"),
    [
        (said([item(seg(1))], []), "1.2.840.10008.1.20.1.2", 1, 0x0112),
        (said([item(seg(1))], []), WELL_KNOWN_INSTANCE, 3, 0x0113),
        (said([item(seg(1))], []), WELL_KNOWN_INSTANCE, 0, 0x0113),
        (None, WELL_KNOWN_INSTANCE, 1, 0x0115),
        (b"no data set at all", WELL_KNOWN_INSTANCE, 1, 0x0115),
        (said([], [], transaction=""), WELL_KNOWN_INSTANCE, 2, 0x0115),
    ],
)
def test_report_that_makes_no_sense_leaves_nothing(
    place: Place, data: Any, instance: str, type_id: int, status: int
) -> None:
    book = Book("1.2.99")
    assert tell(place, book, data, instance, type_id=type_id) == status
    assert book.told == []


def test_peer_without_the_right_reports_nothing(place: Place) -> None:
    book = Book("1.2.99")
    place.change_peer(may=frozenset({Service.STORE}))
    assert tell(place, book, said([item(seg(1))], [])) == 0x0124
    assert book.told == []


def agreed(roles: dict[str, tuple[bool, bool]], **peer: Any) -> Agreement:
    """What is agreed with an archive that wants to report, and with a scanner that stores."""
    contexts = (
        Proposal(1, STORAGE_COMMITMENT_PUSH, (IMPLICIT_LITTLE,)),
        Proposal(3, CTImageStorage, (IMPLICIT_LITTLE,)),
    )
    request = AssociationRequest(
        protocol_version=1,
        called="N",
        calling="P",
        titles=b"",
        application_context="",
        contexts=contexts,
        roles=roles,
    )
    offers = make_offers([CTImageStorage], {Service.COMMITMENT: CONTEXTS}, CONTEXTS)
    return negotiate(request, Peer("pacs", "P", ("127.0.0.1",), 60.0, **peer), offers)


@pytest.mark.parametrize("roles", [(False, True), (True, True), (True, False)])
def test_caller_may_be_the_one_that_reports(roles: tuple[bool, bool]) -> None:
    found = agreed({STORAGE_COMMITMENT_PUSH: roles})
    assert found.contexts[1].abstract_syntax == STORAGE_COMMITMENT_PUSH
    assert found.roles == {STORAGE_COMMITMENT_PUSH: roles}


def test_nobody_becomes_the_provider_of_storage() -> None:
    assert agreed({CTImageStorage: (True, True)}).roles == {CTImageStorage: (True, False)}


def test_archive_that_may_not_has_neither_context_nor_role() -> None:
    found = agreed(
        {STORAGE_COMMITMENT_PUSH: (False, True)}, may=frozenset({Service.ECHO, Service.STORE})
    )
    assert 1 not in found.contexts
    assert found.roles == {}
