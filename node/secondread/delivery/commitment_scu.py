"""Storage Commitment Push Model SCU, the asking half: is what was sent safe there (PS3.4 J.3.2)?

A peer that takes the request on owes a report. It may come on the association of the request, so
that this is kept open for a while, or on one that the peer opens to the node's own port
(``intake.commitment_reports``). Asking needs no role selection: whoever asks is SCU, which is what
a requestor is without one (PS3.7 D.3.3.4), and a peer that reports on the same association does so
as its SCP.

Every wait has an end, whatever the peer does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from secondread.delivery.address import Address, shown
from secondread.delivery.association import Agreement, Identity, Offer, negotiate, release
from secondread.delivery.dialogue import (
    ACTION_TYPE,
    AFFECTED_CLASS,
    AFFECTED_INSTANCE,
    COMMAND_FIELD,
    EVENT_TYPE,
    MESSAGE_ID,
    N_ACTION_RQ,
    N_EVENT_REPORT_RQ,
    REQUESTED_CLASS,
    REQUESTED_INSTANCE,
    RESPONDED_ID,
    RESPONSE,
    STATUS,
    Dialogue,
    Message,
)
from secondread.delivery.link import ConversationError, Ending, Link, garbage
from secondread.delivery.reach import Security, reach
from secondread.delivery.wording import Stage, abortion, broken_off
from secondread.dicom.commitment_report import (
    ALL_COMMITTED,
    FAILURES_EXIST,
    REQUEST_STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_PUSH,
    WELL_KNOWN_INSTANCE,
    Report,
    action_information,
    read_report,
)
from secondread.dicom.messages import MESSAGE_SYNTAXES, Element, is_uid
from secondread.domain.commitment import Reference
from secondread.errors import (
    CannotUnderstandError,
    DeliveryError,
    PeerRefusedError,
    PeerUnreachableError,
    ServiceMissingError,
)

OBJECTS_MAX = 5_000
"""Objects in one request; a report on so many stays well below what ``Dialogue`` takes."""

_ASK_ID = 1
_SUCCESS = 0x0000
_INVALID_ARGUMENT, _NO_SUCH_INSTANCE, _NO_SUCH_EVENT = 0x0115, 0x0112, 0x0113
# PS3.7 C.4.2: the request was carried out, with a remark.
_WARNINGS = frozenset({0x0001, 0x0107, 0x0116})
# PS3.7 C.5: in these words a peer says that the whole service is not there.
_MISSING = {
    0x0118: "no such SOP class",
    0x0122: "SOP class not supported",
    0x0123: "no such action",
    0x0211: "unrecognised operation",
}
_PASSING = {
    0x0110: "processing failure",
    # Some say so of the objects, when they have not entered them yet.
    0x0112: "no such SOP instance",
    0x0131: "duplicate Transaction UID",
    0x0210: "duplicate invocation",
    0x0213: "resource limitation",
}
_LASTING = {
    0x0114: "no such argument",
    0x0115: "invalid argument",
    0x0117: "invalid SOP instance",
    0x0119: "class and instance do not match",
    0x0124: "not authorised",
    0x0212: "mistyped argument",
}


class NotNowError(PeerUnreachableError):
    """The peer is there and does not take the request on for now."""

    audit_code = "commitment-not-now"


@dataclass(frozen=True, slots=True)
class Asked:
    """The peer has taken the request on, and did not report while the association was open.

    Attributes:
        transaction_uid: what its report will name.
        at: when it took the request on; seconds since the epoch, UTC.
    """

    transaction_uid: str
    at: float


@dataclass(frozen=True, slots=True)
class Enquiry:
    """What is asked.

    Attributes:
        transaction_uid: a new one for each enquiry; a peer may refuse one that it knows.
        objects: (SOP Class UID, SOP Instance UID) of each object, 1 to ``OBJECTS_MAX`` of them.
        wait_s: seconds that the association stays open for the report; 0 is not at all.
    """

    transaction_uid: str
    objects: Sequence[tuple[str, str]]
    wait_s: float

    def __post_init__(self) -> None:
        """Refuse what no peer could answer.

        Raises:
            ValueError: there are no objects or too many, or a UID is none.
        """
        if not 0 < len(self.objects) <= OBJECTS_MAX:
            raise ValueError(f"An enquiry is about 1 to {OBJECTS_MAX} objects.")
        if not all(map(is_uid, (self.transaction_uid, *(uid for o in self.objects for uid in o)))):
            raise ValueError("An enquiry names objects and transaction by UIDs.")

    @property
    def references(self) -> tuple[Reference, ...]:
        """The objects as records."""
        return tuple(Reference(*pair) for pair in self.objects)


Hear = Callable[[Report], bool]
"""Told every report that comes, before it is answered: True where its transaction is known.

A peer may use the association to report on an older request, or on one that nobody made.
"""


def ask(
    address: Address,
    enquiry: Enquiry,
    hear: Hear | None = None,
    security: Security | None = None,
    identity: Identity | None = None,
) -> Asked | Report:
    """Ask for commitment on an association of its own.

    Args:
        address: whom to call; its time-out holds for each step but the wait for the report.
        enquiry: what is asked.
        hear: see ``Hear``; what it raises ends the association and goes on to the caller, and the
            peer will report again. Without it only the transaction of the enquiry is known.
        security: TLS; None is plain DICOM.
        identity: a user's name and passcode for peers that ask for one.

    Returns:
        The report on this enquiry if it came in time, else that the peer has taken it on.

    Raises:
        ServiceMissingError: the peer has no commitment.
        PeerRefusedError: the peer refuses this caller or this request.
        NotNowError: the peer says in so many words that it may be asked again later.
        PeerUnreachableError: try again later, with a new Transaction UID: the peer may have taken
            the request on all the same.
    """
    try:
        connection = reach(address.host, address.port, address.timeout_s, security)
    except DeliveryError as error:
        raise type(error)(f"{shown(address)}: {error}") from None
    with closing(Link(connection, address.timeout_s)) as link:
        has_certificate = security is not None and security.has_certificate
        agreement = _associate(address, link, has_certificate, identity)
        contexts = {
            number: offer.transfer_syntax_uids[0] for offer, number in agreement.contexts.items()
        }
        dialogue = Dialogue(link, agreement.maximum_length)
        return _Session(address, enquiry, hear, link, dialogue, contexts).run()


@dataclass(slots=True)
class _Session:
    """The messages of one association.

    ``contexts`` are the transfer syntaxes of the accepted contexts, by id.
    """

    address: Address
    enquiry: Enquiry
    hear: Hear | None
    link: Link
    dialogue: Dialogue
    contexts: Mapping[int, str]
    taken_at: float | None = field(default=None, init=False)
    report: Report | None = field(default=None, init=False)

    def run(self) -> Asked | Report:
        try:
            self._request()
            self._listen()
            release(self.link)
        except ConversationError as error:
            self._end(error)
            if self.taken_at is None and self.report is None:
                raise _interrupted(error, self.address) from None
        if self.report is not None:
            return self.report
        assert self.taken_at is not None
        return Asked(self.enquiry.transaction_uid, self.taken_at)

    def _end(self, error: ConversationError) -> None:
        """End the association in order, where the error leaves it one."""
        if error.ending is Ending.RELEASED:
            self.dialogue.agree_to_release()
        elif error.ending is Ending.SILENT and self.taken_at is not None:
            # Most peers say nothing more while the report is not ready.
            release(self.link)
        else:
            self.link.abort()

    def _request(self) -> None:
        context_id, syntax = next(iter(self.contexts.items()))
        command: Sequence[Element] = (
            (REQUESTED_CLASS, "UI", STORAGE_COMMITMENT_PUSH),
            (COMMAND_FIELD, "US", N_ACTION_RQ),
            (MESSAGE_ID, "US", _ASK_ID),
            (REQUESTED_INSTANCE, "UI", WELL_KNOWN_INSTANCE),
            (ACTION_TYPE, "US", REQUEST_STORAGE_COMMITMENT),
        )
        references = dict.fromkeys(self.enquiry.references)
        data = action_information(self.enquiry.transaction_uid, references, syntax)
        self.dialogue.say(context_id, command, data)

    def _listen(self) -> None:
        """Hear the answer and, where it comes in time, the report; in whichever order."""
        until = time.monotonic() + self.address.timeout_s
        while self.taken_at is None or self.report is None:
            message = self.dialogue.hear(until)
            if message.context_id not in self.contexts:
                raise garbage("a message on a presentation context that was not accepted")
            command = message.number(COMMAND_FIELD)
            if command == N_EVENT_REPORT_RQ:
                self._answer(message)
            elif command == N_ACTION_RQ | RESPONSE and message.number(RESPONDED_ID) == _ASK_ID:
                if self.report is None:
                    self._look_at(message.number(STATUS))
                self.taken_at = time.time()
                until = time.monotonic() + self.enquiry.wait_s
            else:
                raise garbage("something else than the response to the request")

    def _look_at(self, status: int) -> None:
        """Raise what a status says, if it is not that the request was taken on."""
        if status == _SUCCESS or status in _WARNINGS or 0xB000 <= status <= 0xBFFF:
            return
        release(self.link)
        words = {**_MISSING, **_PASSING, **_LASTING}.get(status, "refused")
        sentence = (
            f"{shown(self.address)} answered the commitment request with 0x{status:04X}: {words}."
        )
        if status in _MISSING:
            raise ServiceMissingError(sentence)
        if status in _PASSING or 0xA700 <= status <= 0xA7FF:
            raise NotNowError(sentence)
        raise PeerRefusedError(sentence)

    def _answer(self, message: Message) -> None:
        """Take an N-EVENT-REPORT, and confirm it (PS3.7 10.3.1)."""
        command: Sequence[Element] = (
            (AFFECTED_CLASS, "UI", STORAGE_COMMITMENT_PUSH),
            (COMMAND_FIELD, "US", N_EVENT_REPORT_RQ | RESPONSE),
            (RESPONDED_ID, "US", message.number(MESSAGE_ID)),
            (STATUS, "US", self._take(message)),
            (AFFECTED_INSTANCE, "UI", WELL_KNOWN_INSTANCE),
            (EVENT_TYPE, "US", message.number(EVENT_TYPE)),
        )
        self.dialogue.say(message.context_id, command, None)

    def _take(self, message: Message) -> int:
        """The status with which a report is answered, after somebody has been told of it."""
        kind = message.number(EVENT_TYPE)
        if message.text(AFFECTED_INSTANCE) != WELL_KNOWN_INSTANCE:
            return _NO_SUCH_INSTANCE
        if kind not in {ALL_COMMITTED, FAILURES_EXIST}:
            return _NO_SUCH_EVENT
        try:
            report = read_report(message.data or b"", self.contexts[message.context_id], kind)
        except CannotUnderstandError:
            return _INVALID_ARGUMENT
        ours = report.transaction_uid == self.enquiry.transaction_uid
        known = ours if self.hear is None else self.hear(report)
        if ours and known:
            self.report = report
        return _SUCCESS if known else _INVALID_ARGUMENT


def _associate(
    address: Address, link: Link, has_certificate: bool, identity: Identity | None
) -> Agreement:
    """An association on which commitment can be asked for."""
    try:
        # A context of its own for each syntax says which one the peer took.
        offers = [Offer(STORAGE_COMMITMENT_PUSH, (uid,)) for uid in MESSAGE_SYNTAXES[:2]]
        agreement = negotiate(link, address, offers, identity)
    except ConversationError as error:
        found = broken_off(error, Stage.ASSOCIATION, address, has_certificate)
        raise type(found)(f"{shown(address)}: {found}") from None
    if not agreement.contexts:
        release(link)
        raise ServiceMissingError(
            f"{shown(address)} accepts no presentation context for Storage Commitment: it does "
            "not do it, or not for this caller."
        )
    return agreement


_BREAKS = {
    Ending.SILENT: "did not answer in time",
    Ending.STALLED: "stopped reading",
    Ending.CLOSED: "closed the connection",
    Ending.RELEASED: "asked to end the association",
    Ending.GARBAGE: "sent something that is no answer",
}


def _interrupted(error: ConversationError, address: Address) -> DeliveryError:
    """An association that broke before the request was answered."""
    if error.ending is Ending.ABORTED:
        why = f": {abortion(*error.detail)}"
    else:
        why = f" {_BREAKS.get(error.ending, 'broke off')}."
    return PeerUnreachableError(
        f"{shown(address)}{why} Nobody knows whether it has taken the commitment request on; it "
        "may be asked again."
    )
