"""The storage SCU that the node delivers with: one association, many objects, nothing guessed.

Whatever a peer does ends in a sentence within the time-out, and after any fault the association is
aborted and not used again. A status that is no success is an answer and not a fault: the
association stays open for the next object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from secondread.delivery.address import Address, shown
from secondread.delivery.association import (
    CONTEXTS_MAX,
    Agreement,
    Identity,
    Offer,
    negotiate,
    release,
    why_refused,
)
from secondread.delivery.commands import (
    C_ECHO_RQ,
    C_STORE_RQ,
    Answer,
    Request,
    receive_answer,
    send_request,
)
from secondread.delivery.conversation import ECHO_SYNTAXES
from secondread.delivery.data_stream import SMALLEST_LENGTH_BYTES, DataStream
from secondread.delivery.link import ConversationError, Ending, Link
from secondread.delivery.object_file import Kind, ObjectFile, open_object
from secondread.delivery.reach import Security, reach
from secondread.delivery.statuses import (
    DUPLICATE,
    SUCCESS,
    WARNINGS,
    is_refusal_of_kind,
    meaning_of,
)
from secondread.delivery.wording import Stage, broken_off
from secondread.dicom.contexts import VERIFICATION
from secondread.domain.network import Urgency
from secondread.errors import (
    DeliveryError,
    KindRefusedError,
    PeerRefusedError,
    PeerUnreachableError,
)

_ECHO = Offer(VERIFICATION.uid, ECHO_SYNTAXES)
_MESSAGE_ID_MAX = 0xFFFF
# PS3.7 C.4.1, C.5.20: processing failure and resource limitation pass.
_PASSING = frozenset({0x0110, 0x0213})
_STORED = frozenset({SUCCESS, DUPLICATE}) | WARNINGS


@dataclass(frozen=True, slots=True)
class Sent:
    """An object that the peer says it has stored.

    Attributes:
        status: 0x0000, a warning (0xB000, 0xB006 or 0xB007), or 0x0111, for what is there under a
            UID of ours is what was sent.
        remark: what the status means, in words of ours, with the names of the attributes that the
            peer finds fault with or has changed; '' where there is none.
        comment: the peer's own words, which may quote the object; never for a log or the trail.
    """

    status: int
    remark: str = ""
    comment: str = ""


@dataclass(slots=True)
class _Association:
    """What is there while an association is open."""

    link: Link
    agreement: Agreement
    stream: DataStream
    message_id: int = 0


class Sender:
    """Sends objects to one address over one association; for one thread at a time.

    Args:
        address: whom to call and as whom; its time-out holds for each step and each answer, and
            for each piece of 256 KiB that the peer takes.
        kinds: what will be sent (``object_file.kinds_of``); exactly these contexts are asked for,
            each with the object's own transfer syntax, for nothing is transcoded. Without any it
            is Verification alone, for ``echo``.
        security: TLS, or None for plain DICOM.
        identity: a user's name and passcode for peers that ask for one.
        echoes: ask for Verification besides the kinds.

    Use it as a context manager, which opens it and releases it, or aborts it where the body
    raises::

        with Sender(address, kinds_of(paths)) as sender:
            for path in paths:
                sender.send(path)
    """

    def __init__(
        self,
        address: Address,
        kinds: Iterable[Kind] = (),
        *,
        security: Security | None = None,
        identity: Identity | None = None,
        echoes: bool = False,
    ) -> None:
        self._address = address
        self._offers = {
            kind: Offer(kind.sop_class_uid, (kind.transfer_syntax_uid,)) for kind in kinds
        }
        self._security = security
        self._identity = identity
        self._echoes = echoes or not self._offers
        self._association: _Association | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, DeliveryError):
            self.release()
        else:
            self.abort()

    @property
    def is_open(self) -> bool:
        """Whether there is an association that can be used; looks, so it is not quite free."""
        if self._association is None:
            return False
        if not self._association.link.is_quiet:
            # The peer has ended it meanwhile, or talks out of turn.
            self.abort()
        return self._association is not None

    @property
    def refused(self) -> Mapping[Kind, str]:
        """The kinds that the peer does not take in this association, each with its reason."""
        if self._association is None:
            return MappingProxyType({})
        refused = self._association.agreement.refused
        return {
            kind: why_refused(refused[offer])
            for kind, offer in self._offers.items()
            if offer in refused
        }

    @property
    def kinds(self) -> frozenset[Kind]:
        """What may be sent here, as far as the peer takes it."""
        return frozenset(self._offers)

    def asks_for(self, kind: Kind) -> bool:
        """Whether such an object may be sent here; others need an association of their own."""
        return kind in self._offers

    def open(self) -> None:
        """Connect, and ask for the association; nothing where it is open.

        Raises:
            PeerUnreachableError: there is none; try again later.
            KindRefusedError: the peer takes none of the kinds.
            PeerRefusedError: the peer will not talk to this calling AE title, or not over TLS.
        """
        if self.is_open:
            return
        offers = list(self._offers.values()) + ([_ECHO] if self._echoes else [])
        if len(offers) > CONTEXTS_MAX:
            raise DeliveryError(
                f"{len(offers)} kinds of objects do not go into one association, which has room "
                f"for {CONTEXTS_MAX}: send them in parts."
            )
        address = self._address
        try:
            connection = reach(address.host, address.port, address.timeout_s, self._security)
        except DeliveryError as error:
            raise self._told(error) from None
        link = Link(connection, address.timeout_s)
        try:
            agreement = negotiate(link, address, offers, self._identity)
            self._use(link, agreement)
        except ConversationError as error:
            link.abort()
            raise self._broken(error, Stage.ASSOCIATION) from None
        except BaseException:
            link.abort()
            raise

    def send(self, path: Path, urgency: Urgency = Urgency.MEDIUM) -> Sent:
        """Send one file, and wait until the peer says that it has stored it.

        Raises:
            PeerUnreachableError: try again later; ``is_open`` says whether over this association.
            KindRefusedError: the peer takes no objects of this kind, or cannot read them.
            PeerRefusedError: the peer will not take this object.
            DeliveryError: the file cannot be sent.
        """
        with open_object(path) as source:
            return self.send_open(source, urgency)

    def send_open(self, source: ObjectFile, urgency: Urgency = Urgency.MEDIUM) -> Sent:
        """``send`` for a file that is open; raises what it raises."""
        answer = self._store(source, urgency)
        status = answer.status
        if status in _STORED:
            remark = "" if status == SUCCESS else meaning_of(status)
            named = f" ({', '.join(answer.offending)})" if remark and answer.offending else ""
            return Sent(status, f"{remark}{named}", answer.comment)
        said = f"{shown(self._address)} answered 0x{status:04X}: {meaning_of(status)}."
        if 0xA700 <= status <= 0xA7FF or status in _PASSING:
            raise PeerUnreachableError(f"{said} It may be tried again.")
        if is_refusal_of_kind(status):
            raise KindRefusedError(said)
        raise PeerRefusedError(said)

    def store(self, path: Path, urgency: Urgency = Urgency.MEDIUM) -> Answer:
        """Send one file; returns whatever the peer answers, be it a refusal.

        Raises:
            PeerUnreachableError: it was not answered; the association is aborted.
            KindRefusedError: the peer did not accept a context for it.
            DeliveryError: the file cannot be sent.
        """
        self._opened()
        with open_object(path) as source:
            return self._store(source, urgency)

    def _store(self, source: ObjectFile, urgency: Urgency) -> Answer:
        association = self._opened()
        request = self._request(association, source, urgency)
        stage = Stage.SENDING
        try:
            is_whole = association.stream.write(association.link, request, source)
            stage = Stage.ANSWER if is_whole else Stage.SENDING
            association.link.begin()
            answer = receive_answer(association.link, request)
            if not is_whole and answer.status in _STORED - {DUPLICATE}:
                # It cannot have stored what it has not got.
                raise ConversationError(Ending.CLOSED)
        except ConversationError as error:
            self.abort()
            raise self._broken(error, stage) from None
        except BaseException:
            self.abort()
            raise
        if not is_whole:
            self.abort()
        return answer

    def echo(self) -> None:
        """C-ECHO (PS3.7 9.1.5).

        Raises:
            PeerUnreachableError: it was not answered; the association is aborted.
            PeerRefusedError: the peer does not take it, or answered something else than Success.
        """
        association = self._opened()
        number = association.agreement.contexts.get(_ECHO)
        if number is None:
            raise PeerRefusedError(
                f"{shown(self._address)} accepts the association but not the Verification service."
            )
        request = Request(C_ECHO_RQ, self._next_id(association), VERIFICATION.uid, number)
        try:
            association.link.begin()
            send_request(association.link, request)
            status = receive_answer(association.link, request).status
        except ConversationError as error:
            self.abort()
            raise self._broken(error, Stage.ECHO) from None
        if status != SUCCESS:
            raise PeerRefusedError(
                f"{shown(self._address)} answered C-ECHO with 0x{status:04X}: {meaning_of(status)}."
            )

    def release(self) -> None:
        """End the association in order; never raises, and waits two seconds at the most."""
        if self._association is not None:
            link = self._association.link
            self._association = None
            release(link)
            link.close()

    def abort(self) -> None:
        """End the association at once; never raises and never waits."""
        if self._association is not None:
            self._association.link.abort()
            self._association = None

    def _use(self, link: Link, agreement: Agreement) -> None:
        """Keep an association that is good for something.

        Raises:
            KindRefusedError: the peer takes none of the kinds.
            PeerRefusedError: it takes PDUs only that are too short.
        """
        if self._offers and not any(o in agreement.contexts for o in self._offers.values()):
            reasons = {why_refused(agreement.refused[offer]) for offer in self._offers.values()}
            release(link)
            link.close()
            raise KindRefusedError(
                f"{shown(self._address)} accepted none of the SOP classes offered: "
                f"{', '.join(sorted(reasons))}."
            )
        length = agreement.maximum_length
        if length and length < SMALLEST_LENGTH_BYTES:
            raise PeerRefusedError(
                f"{shown(self._address)} takes PDUs of {length} bytes at the most; set its "
                f"maximum PDU length to {SMALLEST_LENGTH_BYTES} or more."
            )
        self._association = _Association(link, agreement, DataStream(length))

    def _opened(self) -> _Association:
        if self._association is None:
            raise PeerUnreachableError(
                f"There is no association with {shown(self._address)} any more. It may be tried "
                "again over a new one."
            )
        return self._association

    def _request(self, association: _Association, source: ObjectFile, urgency: Urgency) -> Request:
        offer = self._offers.get(source.kind)
        if offer is None:
            raise PeerUnreachableError(
                f"The association with {shown(self._address)} was not opened for objects of this "
                "kind. It may be tried again over one of its own."
            )
        number = association.agreement.contexts.get(offer)
        if number is None:
            why = why_refused(association.agreement.refused[offer])
            raise KindRefusedError(
                f"{shown(self._address)} does not take this SOP class in this transfer syntax: "
                f"{why}."
            )
        return Request(
            C_STORE_RQ,
            self._next_id(association),
            source.kind.sop_class_uid,
            number,
            source.sop_instance_uid,
            urgency,
        )

    @staticmethod
    def _next_id(association: _Association) -> int:
        association.message_id = association.message_id % _MESSAGE_ID_MAX + 1
        return association.message_id

    def _broken(self, error: ConversationError, stage: Stage) -> DeliveryError:
        has_certificate = self._security is not None and self._security.has_certificate
        return self._told(broken_off(error, stage, self._address, has_certificate))

    def _told(self, error: DeliveryError) -> DeliveryError:
        """The same error with the peer's name before it."""
        sentence = str(error)
        return type(error)(f"{shown(self._address)}: {sentence[:1].lower()}{sentence[1:]}")
