"""Query and retrieve as SCU: what C-FIND, C-MOVE and C-GET have in common (PS3.4 C, PS3.7 9.1).

One association for each question or order, in Study Root alone. Every wait has an end, and so have
the number and the bytes of what comes; whoever sends more is cut off with an abort.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from secondread.delivery.address import Address, shown
from secondread.delivery.association import Agreement, Identity, Offer, negotiate, release
from secondread.delivery.dialogue import (
    AFFECTED_CLASS,
    COMMAND_FIELD,
    MESSAGE_ID,
    PRIORITY,
    RESPONDED_ID,
    RESPONSE,
    STATUS,
    Dialogue,
    Divert,
    Message,
)
from secondread.delivery.link import ConversationError, Ending, Link, garbage
from secondread.delivery.query_status import PENDING, describe_break
from secondread.delivery.reach import Security, reach
from secondread.delivery.wanted import CHARACTER_SET
from secondread.delivery.wording import Stage, broken_off
from secondread.dicom.messages import MESSAGE_SYNTAXES, Element, Item, read_message
from secondread.dicom.messages import write_message as encode
from secondread.errors import (
    CannotUnderstandError,
    DeliveryError,
    PeerRefusedError,
    ServiceMissingError,
)

# PS3.4 C.6.2: Study Root Query/Retrieve Information Model.
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"

_NAMES = {STUDY_ROOT_FIND: "C-FIND", STUDY_ROOT_MOVE: "C-MOVE", STUDY_ROOT_GET: "C-GET"}
_UTF_8 = "ISO_IR 192"
_MEDIUM = 0x0000


class TooMuchError(PeerRefusedError):
    """The peer sends more than anybody asked for; the association is aborted."""

    audit_code = "too-much"


@dataclass(frozen=True, slots=True)
class Caller:
    """How the node calls: TLS, or None for plain DICOM, and as which user, if any."""

    security: Security | None = None
    identity: Identity | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, and how many answers to take.

    Attributes:
        silence_s: seconds for each answer; None is the time-out of the address.
        whole_s: seconds for all answers on one association together.
        answers_max: pending responses to one request: matches, or news of a retrieval.
        bytes_max: bytes of the data sets that come with them.
    """

    silence_s: float | None = None
    whole_s: float = 600.0
    answers_max: int = 100_000
    bytes_max: int = 64 << 20


@dataclass(frozen=True, slots=True)
class Response:
    """A response to a request.

    Attributes:
        status: of PS3.7 C, whatever number the peer chose.
        command: its command set.
        identifier: the data set that came with it, if any.
    """

    status: int
    command: Message
    identifier: Item | None

    @property
    def is_pending(self) -> bool:
        """Whether more will come (PS3.7 C.1.3)."""
        return self.status in PENDING


@dataclass(slots=True)
class Inquiry:
    """An association on which one service is used.

    Attributes:
        address: who answers.
        agreement: what was negotiated, other contexts as well.
    """

    address: Address
    agreement: Agreement
    _link: Link
    _dialogue: Dialogue
    _offer: Offer
    _is_open: bool = True
    _message_id: int = field(default=0, init=False)
    _until: float = field(default=0.0, init=False)
    _silence_s: float = field(default=0.0, init=False)
    _answers_left: int = field(default=0, init=False)
    _bytes_left: int = field(default=0, init=False)

    @property
    def name(self) -> str:
        """The service, for sentences."""
        return _NAMES[self._offer.sop_class_uid]

    def ask(
        self, command: int, keys: Sequence[Element], patience: Patience, *more: Element
    ) -> None:
        """Send a request; ``more`` are elements of its command set.

        Raises:
            ConversationError: it was not taken in time.
        """
        self._message_id += 1
        self._answers_left, self._bytes_left = patience.answers_max, patience.bytes_max
        self._silence_s = patience.silence_s or self.address.timeout_s
        # All questions of one association share its end.
        self._until = self._until or time.monotonic() + patience.whole_s
        elements: list[Element] = [
            (AFFECTED_CLASS, "UI", self._offer.sop_class_uid),
            (COMMAND_FIELD, "US", command),
            (MESSAGE_ID, "US", self._message_id),
            (PRIORITY, "US", _MEDIUM),
            *more,
        ]
        self._dialogue.say(self._context_id, elements, self._encode(keys))

    def hear(self, divert: Divert = lambda _: None) -> Message:
        """The next message; ``divert`` as of ``Dialogue.hear_streamed``.

        Raises:
            ConversationError: nothing came in time, or nothing that is a message.
        """
        if time.monotonic() > self._until:
            raise ConversationError(Ending.SILENT)
        return self._dialogue.hear_streamed(self._silence_s, self._until, divert)

    def say(self, context_id: int, command: Sequence[Element]) -> None:
        """Send a message without a data set, such as the response to a sub-operation.

        Raises:
            ConversationError: it was not taken in time.
        """
        self._dialogue.say(context_id, command, None)

    def read_response(self, message: Message, command: int) -> Response:
        """A message as the response to what was asked last.

        Raises:
            ConversationError: it is something else, or cannot be read.
            TooMuchError: there were enough of them.
        """
        if message.context_id != self._context_id:
            raise garbage("a message on another presentation context than that of the request")
        if message.number(COMMAND_FIELD) != command | RESPONSE:
            raise garbage("another message than the response to the request")
        if message.number(RESPONDED_ID) != self._message_id or not message.says(STATUS):
            raise garbage("a response without a status, or to a message that was not sent")
        identifier = None
        if message.data is not None:
            try:
                identifier = read_message(message.data, self._syntax, ())
            except CannotUnderstandError:
                raise garbage("a response whose data set cannot be read") from None
        response = Response(message.number(STATUS), message, identifier)
        self._answers_left -= response.is_pending
        self._bytes_left -= len(message.data or b"")
        if min(self._answers_left, self._bytes_left) < 0:
            raise TooMuchError(
                f"{shown(self.address)} answers {self.name} without an end; it was broken off. It "
                "may leave aside what it was asked for: see its log."
            )
        return response

    def abort(self) -> None:
        """End the association at once."""
        self._is_open = False
        self._link.abort()

    def close(self, error: ConversationError | None = None) -> None:
        """End the association in order, where the error leaves it one."""
        if not self._is_open:
            return
        self._is_open = False
        if error is None:
            release(self._link)
        elif error.ending is Ending.RELEASED:
            self._dialogue.agree_to_release()
        else:
            self._link.abort()

    @property
    def _context_id(self) -> int:
        return self.agreement.contexts[self._offer]

    @property
    def _syntax(self) -> str:
        return self._offer.transfer_syntax_uids[0]

    def _encode(self, keys: Sequence[Element]) -> bytes:
        """An identifier; it names a character set only where it needs one (PS3.4 C.4.1.1.3)."""
        elements: list[Element] = []
        needs_utf_8 = False
        for tag, vr, value in keys:
            if isinstance(value, str) and not value.isascii():
                value, needs_utf_8 = value.encode("utf-8"), True
            elements.append((tag, vr, value))
        if needs_utf_8:
            elements.append((CHARACTER_SET, "CS", _UTF_8))
        return encode(sorted(elements, key=lambda element: element[0]), self._syntax)


@contextmanager
def inquire(
    address: Address, service_uid: str, caller: Caller, more: Sequence[Offer] = ()
) -> Iterator[Inquiry]:
    """An association for one service; it is released at the end, or aborted after a fault.

    Args:
        address: whom to call; its time-out holds for each step.
        service_uid: ``STUDY_ROOT_FIND``, ``STUDY_ROOT_MOVE`` or ``STUDY_ROOT_GET``.
        caller: how safely the node calls, and as whom.
        more: further contexts, those for the sub-operations of C-GET.

    Raises:
        ServiceMissingError: the peer takes no context for the service.
        TooMuchError: it sends more than anybody asked for.
        PeerRefusedError: the peer will not talk to this calling AE title, or not over TLS.
        PeerUnreachableError: it does not answer, or breaks off.
    """
    try:
        connection = reach(address.host, address.port, address.timeout_s, caller.security)
    except DeliveryError as error:
        raise type(error)(f"{shown(address)}: {error}") from None
    with closing(Link(connection, address.timeout_s)) as link:
        inquiry = _associate(address, service_uid, more, link, caller)
        try:
            yield inquiry
        except ConversationError as error:
            inquiry.close(error)
            raise describe_break(error, address, inquiry.name) from None
        except TooMuchError:
            inquiry.abort()
            raise
        except DeliveryError:
            inquiry.close()
            raise
        except BaseException:
            inquiry.abort()
            raise
        inquiry.close()


def _associate(
    address: Address,
    service_uid: str,
    more: Sequence[Offer],
    link: Link,
    caller: Caller,
) -> Inquiry:
    # A context of its own for each syntax says which one the peer took.
    offers = [Offer(service_uid, (uid,)) for uid in MESSAGE_SYNTAXES[:2]]
    try:
        agreement = negotiate(link, address, [*offers, *more], caller.identity)
    except ConversationError as error:
        has_certificate = caller.security is not None and caller.security.has_certificate
        found = broken_off(error, Stage.ASSOCIATION, address, has_certificate)
        raise type(found)(f"{shown(address)}: {found}") from None
    taken = [offer for offer in offers if offer in agreement.contexts]
    if not taken:
        release(link)
        raise ServiceMissingError(
            f"{shown(address)} accepts no presentation context for {_NAMES[service_uid]} (Study "
            "Root): it does not do it, or not for this caller."
        )
    dialogue = Dialogue(link, agreement.maximum_length)
    return Inquiry(address, agreement, link, dialogue, taken[0])
