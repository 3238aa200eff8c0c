"""The data sets of Storage Commitment: what is asked, what is reported, what it proves (PS3.4 J.3).

The node stands on both sides of the service: it answers scanners (intake), and it asks the archives
that it delivers to (delivery), whose reports come on the association of the request or at the
node's own port (intake again).

A report is a stranger's text. It proves something only for objects that were asked about, only
where SOP class and instance are the ones asked about, and only where it does not say the opposite
in the same breath.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from secondread.dicom.messages import Element, Item, is_uid, read_message, write_message
from secondread.dicom.walk import EXPLICIT_BIG
from secondread.domain.commitment import Reference, Result
from secondread.domain.enquiry import HeardReport, StoredEnquiry
from secondread.errors import CannotUnderstandError

STORAGE_COMMITMENT_PUSH = "1.2.840.10008.1.20.1"
WELL_KNOWN_INSTANCE = "1.2.840.10008.1.20.1.1"
"""The only SOP instance of the class (PS3.4 J.3.5)."""
REQUEST_STORAGE_COMMITMENT = 1
"""The only Action Type ID (PS3.4 table J.3-1)."""
ALL_COMMITTED, FAILURES_EXIST = 1, 2
"""Event Type IDs (PS3.4 table J.3-2)."""

TRANSACTION_UID, FAILED_SOPS, REFERENCED_SOPS = 0x00081195, 0x00081198, 0x00081199
REFERENCED_CLASS, REFERENCED_INSTANCE = 0x00081150, 0x00081155
_FAILURE_REASON = 0x00081197


class Remedy(StrEnum):
    """What can be done about an object that a peer does not commit to."""

    ASK_AGAIN = "ask-again"
    """The object may be there all the same: ask later, with a new Transaction UID."""
    SEND_AGAIN = "send-again"
    """The peer says that it has not got it: send it, then ask."""
    PERSON = "person"
    """Neither asking nor sending changes anything."""


# PS3.3 C.14.1.1.
_REASONS = {
    0x0110: ("a general failure while it looked at the object", Remedy.ASK_AGAIN),
    0x0112: ("it has not got the object", Remedy.SEND_AGAIN),
    0x0119: ("it has the object as another SOP class", Remedy.PERSON),
    0x0122: ("it does not commit to objects of this SOP class", Remedy.PERSON),
    0x0131: ("it has seen the Transaction UID before", Remedy.ASK_AGAIN),
    0x0213: ("it has too few resources left", Remedy.ASK_AGAIN),
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An object that a peer does not commit to.

    ``reason`` is its Failure Reason (0008,1197), whatever number it chose; 0 where it gave none.
    """

    reference: Reference
    reason: int

    @property
    def meaning(self) -> str:
        """The reason in words, for the end of a sentence."""
        if not self.reason:
            return "it gives no reason"
        words, _ = _REASONS.get(self.reason, ("a reason that the standard does not know", None))
        return f"{words} (0x{self.reason:04X})"

    @property
    def remedy(self) -> Remedy:
        """What to do; a reason that nobody knows may pass."""
        return _REASONS.get(self.reason, ("", Remedy.ASK_AGAIN))[1]


@dataclass(frozen=True, slots=True)
class Report:
    """What a peer reported of one transaction, as it said it: nothing in it was asked for yet.

    Attributes:
        transaction_uid: which request it answers, or claims to.
        event_type: ``ALL_COMMITTED`` or ``FAILURES_EXIST``; the items are what counts.
        committed: the objects that it says are safe, each once.
        failed: the objects that it says are not, each once with its first reason.
    """

    transaction_uid: str
    event_type: int
    committed: tuple[Reference, ...]
    failed: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a report says about the objects that were asked about; together they are all of them.

    Attributes:
        safe: the peer has committed to them.
        refused: the peer has not, for the reason it gave.
        unmentioned: it says nothing of them, which PS3.4 J.3.3.1.2 forbids, or commits to another
            SOP class under their UID.
        strangers: how many objects it names that nobody asked about; they count for nothing.
    """

    safe: tuple[Reference, ...]
    refused: tuple[Refusal, ...]
    unmentioned: tuple[Reference, ...]
    strangers: int


def action_information(
    transaction_uid: str, references: Iterable[Reference], transfer_syntax_uid: str
) -> bytes:
    """The data set of a request (PS3.4 table J.3-1)."""
    elements: list[Element] = [
        (TRANSACTION_UID, "UI", transaction_uid),
        (REFERENCED_SOPS, "SQ", [_reference(reference) for reference in references]),
    ]
    return write_message(elements, transfer_syntax_uid)


def event_type(result: Result) -> int:
    """The Event Type ID of a result."""
    return FAILURES_EXIST if result.failed else ALL_COMMITTED


def event_information(result: Result, transfer_syntax_uid: str) -> bytes:
    """The data set of a result (PS3.4 table J.3-2).

    Retrieve AE Title is left out: nothing can be retrieved from this node.
    """
    elements: list[Element] = [(TRANSACTION_UID, "UI", result.transaction_uid)]
    if result.failed:
        failed = [
            (
                *_reference(failure.reference),
                (_FAILURE_REASON, "US", int(failure.reason)),
            )
            for failure in result.failed
        ]
        elements.append((FAILED_SOPS, "SQ", failed))
    if result.committed:
        committed = [_reference(reference) for reference in result.committed]
        elements.append((REFERENCED_SOPS, "SQ", committed))
    return write_message(elements, transfer_syntax_uid)


def read_report(data: bytes, transfer_syntax_uid: str, event_type_id: int) -> Report:
    """Read the event information of an N-EVENT-REPORT (PS3.4 table J.3-2).

    An item whose UIDs are none proves nothing and is left out.

    Raises:
        CannotUnderstandError: it is not a data set, nests too deep or has too many items
            (``dicom.messages``), or has no sound Transaction UID.
    """
    content = read_message(data, transfer_syntax_uid, {REFERENCED_SOPS, FAILED_SOPS})
    transaction_uid = content.text(TRANSACTION_UID)
    if not is_uid(transaction_uid):
        raise CannotUnderstandError("The commitment report has no Transaction UID.")
    order = ">" if transfer_syntax_uid == EXPLICIT_BIG else "<"
    committed = dict.fromkeys(_references(content.items(REFERENCED_SOPS)))
    failed: dict[Reference, int] = {}
    for item in content.items(FAILED_SOPS):
        for reference in _references([item]):
            failed.setdefault(reference, _number(item.values.get(_FAILURE_REASON, b""), order))
    return Report(
        transaction_uid,
        event_type_id,
        tuple(committed),
        tuple(Refusal(reference, reason) for reference, reason in failed.items()),
    )


def judge(report: Report, asked: Collection[Reference]) -> Verdict:
    """What a report proves of these objects; that it answers the request for them is known.

    An object that is among the failed ones is refused, whatever else the report says of it.
    """
    wanted = {reference.sop_instance_uid for reference in asked}
    # A failure may name the class under which the peer holds the object (0119H).
    refused = {item.reference.sop_instance_uid: item.reason for item in report.failed}
    committed = set(report.committed)
    open_questions = [ref for ref in asked if ref.sop_instance_uid not in refused]
    named = {ref.sop_instance_uid for ref in report.committed} | refused.keys()
    return Verdict(
        safe=tuple(ref for ref in open_questions if ref in committed),
        refused=tuple(
            Refusal(ref, refused[ref.sop_instance_uid])
            for ref in asked
            if ref.sop_instance_uid in refused
        ),
        unmentioned=tuple(ref for ref in open_questions if ref not in committed),
        strangers=len(named - wanted),
    )


def to_heard(report: Report) -> HeardReport:
    """A report as the ledger keeps it."""
    return HeardReport(
        tuple((ref.sop_class_uid, ref.sop_instance_uid) for ref in report.committed),
        tuple(
            (item.reference.sop_class_uid, item.reference.sop_instance_uid, item.reason or None)
            for item in report.failed
        ),
    )


def judge_heard(heard: HeardReport, enquiry: StoredEnquiry) -> Verdict:
    """What a report proves of the objects of the enquiry that it answers."""
    report = Report(
        enquiry.transaction_uid,
        FAILURES_EXIST if heard.failed else ALL_COMMITTED,
        tuple(Reference(*pair) for pair in heard.committed),
        tuple(
            Refusal(Reference(sop_class, uid), reason or 0)
            for sop_class, uid, reason in heard.failed
        ),
    )
    asked = dict.fromkeys(
        Reference(one.sop_class_uid, one.sop_instance_uid) for one in enquiry.objects
    )
    return judge(report, tuple(asked))


def _reference(reference: Reference) -> Sequence[Element]:
    return (
        (REFERENCED_CLASS, "UI", reference.sop_class_uid),
        (REFERENCED_INSTANCE, "UI", reference.sop_instance_uid),
    )


def _references(items: Iterable[Item]) -> Iterable[Reference]:
    for item in items:
        found = Reference(item.text(REFERENCED_CLASS), item.text(REFERENCED_INSTANCE))
        if is_uid(found.sop_class_uid) and is_uid(found.sop_instance_uid):
            yield found


def _number(value: bytes, order: str) -> int:
    """A value of VR US; 0 where it is none."""
    return int(struct.unpack(f"{order}H", value)[0]) if len(value) == 2 else 0
