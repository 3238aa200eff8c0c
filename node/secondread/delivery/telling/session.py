"""An association on which requests are put and answered, one after another (PS3.7 8 and 10).

The asking half of services with few and small messages. Every wait has an end: each answer has the
time-out of the address, and a search as a whole ``SEARCH_TIMES`` of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from secondread.delivery.address import Address, shown
from secondread.delivery.association import Offer, negotiate, release
from secondread.delivery.dialogue import (
    AFFECTED_CLASS,
    C_FIND_RQ,
    COMMAND_FIELD,
    MESSAGE_ID,
    PRIORITY,
    RESPONDED_ID,
    RESPONSE,
    STATUS,
    Dialogue,
    Message,
)
from secondread.delivery.link import ConversationError, Ending, Link, garbage
from secondread.delivery.reach import Security, reach
from secondread.delivery.wording import Stage, abortion, broken_off
from secondread.dicom.messages import MESSAGE_SYNTAXES, Element
from secondread.errors import DeliveryError, PeerUnreachableError, ServiceMissingError

N_SET_RQ, N_CREATE_RQ = 0x0120, 0x0140
"""Command Fields (PS3.7 E.1); those of other requests are ``dialogue``'s."""
SEARCH_TIMES = 10

_C_CANCEL_RQ = 0x0FFF
_MEDIUM = 0
_PENDING = frozenset({0xFF00, 0xFF01})
_CANCELLED = 0xFE00
_FOUND_BYTES_MAX = 16 << 20
# A peer that does not heed a C-CANCEL is heard for so many answers more.
_TAIL_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Service:
    """What is asked for: a SOP class, and its name for sentences."""

    sop_class_uid: str
    name: str


@dataclass(frozen=True, slots=True)
class Found:
    """The end of a search: its status, and the identifiers that came before, as they came."""

    status: int
    identifiers: tuple[bytes, ...]


class Session:
    """Puts requests on the one context of an association; for one thread at a time.

    ``transfer_syntax_uid`` is that of every data set.
    """

    def __init__(
        self, address: Address, dialogue: Dialogue, context_id: int, transfer_syntax_uid: str
    ) -> None:
        self.transfer_syntax_uid = transfer_syntax_uid
        self._timeout_s = address.timeout_s
        self._dialogue = dialogue
        self._context_id = context_id
        self._message_id = 0

    def ask(self, kind: int, command: Sequence[Element], data: bytes) -> int:
        """Put a request; returns the status of its response.

        Args:
            kind: Command Field.
            command: the rest of the command set, without Message ID.
            data: the data set.

        Raises:
            ConversationError: there is no response, or it is none.
        """
        self._say(kind, command, data)
        return self._hear(kind, time.monotonic() + self._timeout_s).number(STATUS)

    def find(self, sop_class_uid: str, identifier: bytes, limit: int) -> Found:
        """Search (C-FIND); once ``limit`` matches are there the peer is asked to stop.

        Raises:
            ConversationError: there is no answer, or it has no end.
        """
        command: Sequence[Element] = (
            (AFFECTED_CLASS, "UI", sop_class_uid),
            (PRIORITY, "US", _MEDIUM),
        )
        self._say(C_FIND_RQ, command, identifier)
        end = time.monotonic() + SEARCH_TIMES * self._timeout_s
        found: list[bytes] = []
        size_bytes = 0
        for count in range(limit + _TAIL_MAX):
            message = self._hear(C_FIND_RQ, min(time.monotonic() + self._timeout_s, end))
            status = message.number(STATUS)
            if status not in _PENDING:
                whole = status == _CANCELLED and len(found) >= limit
                return Found(0 if whole else status, tuple(found))
            if message.data is not None and len(found) < limit:
                found.append(message.data)
                size_bytes += len(message.data)
                if size_bytes > _FOUND_BYTES_MAX:
                    raise garbage("more than anybody has asked for")
            if count + 1 == limit:
                self._cancel()
        raise garbage("matches without end")

    def _cancel(self) -> None:
        """PS3.7 9.3.2.3."""
        command: Sequence[Element] = (
            (COMMAND_FIELD, "US", _C_CANCEL_RQ),
            (RESPONDED_ID, "US", self._message_id),
        )
        self._dialogue.say(self._context_id, command, None)

    def _say(self, kind: int, command: Sequence[Element], data: bytes) -> None:
        self._message_id += 1
        head: Sequence[Element] = (
            (COMMAND_FIELD, "US", kind),
            (MESSAGE_ID, "US", self._message_id),
        )
        self._dialogue.say(self._context_id, [*head, *command], data)

    def _hear(self, kind: int, until: float) -> Message:
        message = self._dialogue.hear(until)
        if (
            message.context_id != self._context_id
            or message.number(COMMAND_FIELD) != kind | RESPONSE
            or message.number(RESPONDED_ID) != self._message_id
        ):
            raise garbage("something else than the response to the request")
        if not message.says(STATUS):
            raise garbage("a response without a status")
        return message


@contextmanager
def converse(
    address: Address, service: Service, security: Security | None = None
) -> Iterator[Session]:
    """An association of its own for a service; ended in order where nothing is raised inside.

    Raises:
        ServiceMissingError: the peer does not do it, or not for this caller.
        PeerRefusedError: the peer refuses this caller, or is not whom we trust.
        PeerUnreachableError: nobody answers, or the association broke: whether a request was
            carried out is then not known.
    """
    try:
        connection = reach(address.host, address.port, address.timeout_s, security)
    except DeliveryError as error:
        raise type(error)(f"{shown(address)}: {error}") from None
    with closing(Link(connection, address.timeout_s)) as link:
        session, dialogue = _associate(address, service, link, security)
        try:
            yield session
        except ConversationError as error:
            if error.ending is Ending.RELEASED:
                dialogue.agree_to_release()
            else:
                link.abort()
            raise _interrupted(error, address, service) from None
        except DeliveryError:
            release(link)
            raise
        release(link)


def _associate(
    address: Address, service: Service, link: Link, security: Security | None
) -> tuple[Session, Dialogue]:
    has_certificate = security is not None and security.has_certificate
    # A context of its own for each syntax says which one the peer took.
    offers = [Offer(service.sop_class_uid, (uid,)) for uid in MESSAGE_SYNTAXES[:2]]
    try:
        agreement = negotiate(link, address, offers)
    except ConversationError as error:
        found = broken_off(error, Stage.ASSOCIATION, address, has_certificate)
        raise type(found)(f"{shown(address)}: {found}") from None
    for offer, context_id in agreement.contexts.items():
        dialogue = Dialogue(link, agreement.maximum_length)
        return Session(address, dialogue, context_id, offer.transfer_syntax_uids[0]), dialogue
    release(link)
    raise ServiceMissingError(
        f"{shown(address)} accepts no presentation context for {service.name}: it does not do it, "
        "or not for this caller."
    )


_BREAKS = {
    Ending.SILENT: "did not answer in time",
    Ending.STALLED: "stopped reading",
    Ending.CLOSED: "closed the connection",
    Ending.RELEASED: "asked to end the association",
    Ending.GARBAGE: "sent something that is no answer",
}


def _interrupted(
    error: ConversationError, address: Address, service: Service
) -> PeerUnreachableError:
    """An association that broke before a request was answered."""
    if error.ending is Ending.ABORTED:
        why = f": {abortion(*error.detail)}"
    else:
        why = f" {_BREAKS.get(error.ending, 'broke off')}."
    return PeerUnreachableError(
        f"{shown(address)}{why} Nobody knows whether it has taken what it was told "
        f"({service.name}); it may be told again."
    )
