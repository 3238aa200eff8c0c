"""The DICOM upper layer of one connection: PDU framing with limits, and the state machine.

The states and transitions are those of pynetdicom's ``fsm`` (PS3.8 table 9-10). The bytes are ours:
pynetdicom reads a whole PDU of any declared length before it looks at it, copies each byte four
times, and sleeps between two looks at a socket. Here a PDU is judged by its first six bytes, and a
P-DATA-TF is passed on piece by piece as it comes.
"""

from __future__ import annotations

import struct
from collections import deque
from queue import Empty
from typing import Any, Protocol

from pynetdicom.fsm import StateMachine
from pynetdicom.pdu import A_ABORT_RQ, A_RELEASE_RP, A_RELEASE_RQ
from pynetdicom.pdu_primitives import A_ABORT, A_ASSOCIATE, A_RELEASE

from secondread.intake.association_request import REQUEST_BYTES_MAX
from secondread.intake.negotiation import MAXIMUM_PDU_BYTES
from secondread.intake.transport import Transport

_HEADER = struct.Struct(">BxI")
_PDV_HEADER = struct.Struct(">IBB")
_DATA = struct.Struct(">BxIIBB")
_ASSOCIATE_RQ, _P_DATA, _RELEASE_RQ, _RELEASE_RP, _ABORT = 0x01, 0x04, 0x05, 0x06, 0x07
_EVENTS = {0x02: "Evt3", 0x03: "Evt4", 0x01: "Evt6", 0x04: "Evt10"}
_COMMAND, _LAST = 0x01, 0x02
# Some senders count the six bytes of the header into what they were told to be the maximum.
_P_DATA_BYTES_MAX = MAXIMUM_PDU_BYTES + 6
_CONTROL_BYTES = 4
_DATA_BYTES = _DATA.size


class ProtocolError(Exception):
    """The peer broke the protocol; the message is for the log."""


class Fragment(Protocol):
    """Takes a piece of a message."""

    def __call__(self, context_id: int, data: memoryview, *, command: bool, last: bool) -> None:
        """Take it; ``last`` where it is the last piece of the last fragment.

        Raises:
            ProtocolError: it does not belong there.
        """


class User(Protocol):
    """Who is told what comes in; one association."""

    def requested(self, body: bytes) -> None:
        """An A-ASSOCIATE-RQ, without its first six bytes."""

    def release_requested(self) -> None:
        """An A-RELEASE-RQ."""

    def ended(self, reason: str) -> None:
        """The association is over; ``reason`` is empty where the peer released it."""


class _Requestor:
    address_info: Any = None


class _Messages:
    """pynetdicom tells its DIMSE layer about aborts by a queue that nobody reads here."""

    def __init__(self) -> None:
        self.msg_queue = self

    def put(self, item: object) -> None:
        """Take nothing."""


class _Association:
    """What pynetdicom's state machine wants to know of an association."""

    is_requestor = False

    def __init__(self, transport: Transport) -> None:
        self.requestor = self.acceptor = _Requestor()
        self.requestor.address_info = self
        self.as_tuple = (transport.address, 0)
        self.dimse = _Messages()

    def get_handlers(self, _event: object) -> tuple[()]:
        """Nobody is bound to pynetdicom's events."""
        return ()


class _Queue:
    """A queue without locks: one thread puts and gets."""

    def __init__(self) -> None:
        self.queue: deque[Any] = deque()

    def put(self, item: Any) -> None:
        """Add at the end."""
        self.queue.append(item)

    def get(self, _block: bool = False) -> Any:
        """Take from the beginning."""
        if not self.queue:
            raise Empty
        return self.queue.popleft()


class _Timer:
    """The ARTIM timer (PS3.8 9.1.5); who looks at the clock is the association."""

    def start(self) -> None:
        """Nothing to do."""

    stop = restart = start


class _RequestPdu:
    """An A-ASSOCIATE-RQ as far as the state machine looks at it."""

    # Who decides on the request looks at it; pynetdicom would log a stranger's as an error.
    protocol_version = 1

    def to_primitive(self) -> A_ASSOCIATE:
        """An empty indication; the content goes to the user directly."""
        return A_ASSOCIATE()


class UpperLayer:
    """Framing and state of one connection; plays the part of pynetdicom's DUL provider."""

    def __init__(self, transport: Transport, user: User) -> None:
        self._transport = transport
        self._user = user
        self._partial = bytearray()
        self._body_left = 0
        self._kind = 0
        self._pdu_left = 0
        self.fragment_left = 0
        self._context_id = 0
        self._flags = 0
        self._fragment: Fragment = _unexpected
        self.pdu_since: float | None = None
        self.assoc = _Association(transport)
        self.socket = self
        self.artim_timer = _Timer()
        self.to_user_queue, self.to_provider_queue, self._recv_pdu = _Queue(), _Queue(), _Queue()
        self._machine = StateMachine(self)  # type: ignore[arg-type]
        # Nothing more is read where only the end of the connection is waited for.
        self.finished = self._over = False
        self._act("Evt5")

    @property
    def established(self) -> bool:
        """Whether messages may pass."""
        return bool(self._machine.current_state == "Sta6")

    @property
    def closing(self) -> bool:
        """Whether only the end of the connection is waited for."""
        return bool(self._machine.current_state == "Sta13")

    def receive(self, data: memoryview, now: float) -> None:
        """Take what came in.

        Raises:
            ProtocolError: the peer broke the protocol and has been told.
        """
        try:
            self._parse(data, now)
        except ProtocolError:
            if not self.finished and not self.closing:
                self._act("Evt19")
            raise

    def _parse(self, data: memoryview, now: float) -> None:
        at, end = 0, len(data)
        header: bytes | memoryview
        while at < end:
            if self._over:
                return
            if self.fragment_left:
                take = min(self.fragment_left, end - at)
                self.fragment_left -= take
                self._pdu_left -= take
                piece = data[at : at + take]
                at += take
                if not self._pdu_left:
                    self.pdu_since = None
                self._pass_on(piece)
                continue
            if self._body_left:
                take = min(self._body_left, end - at)
                self._partial += data[at : at + take]
                self._body_left -= take
                at += take
                if not self._body_left:
                    body = bytes(self._partial)
                    self._partial.clear()
                    self.pdu_since = None
                    self._control(self._kind, body)
                continue
            if self.pdu_since is None:
                self.pdu_since = now
            if end - at >= _DATA_BYTES and not (self._partial or self._pdu_left):
                # Most of what comes: a P-DATA-TF with a single value.
                kind, length, size, self._context_id, self._flags = _DATA.unpack_from(data, at)
                if (
                    kind == _P_DATA
                    and self.established
                    and 2 < size == length - 4 <= _P_DATA_BYTES_MAX - 4
                ):
                    at += _DATA_BYTES
                    self._pdu_left = self.fragment_left = size - 2
                    continue
            # A PDU header and a PDV header both have six bytes.
            if self._partial or end - at < 6:
                take = min(6 - len(self._partial), end - at)
                self._partial += data[at : at + take]
                at += take
                if len(self._partial) < 6:
                    return
                header = bytes(self._partial)
                self._partial.clear()
            else:
                header = data[at : at + 6]
                at += 6
            if self._pdu_left:
                self._begin_fragment(header)
            else:
                self._begin_pdu(header)

    def _begin_pdu(self, header: bytes | memoryview) -> None:
        kind, length = _HEADER.unpack(header)
        if kind == _P_DATA and self.established:
            if not 6 <= length <= _P_DATA_BYTES_MAX:
                raise ProtocolError(
                    f"A P-DATA-TF of {length} bytes; agreed were at most {MAXIMUM_PDU_BYTES}."
                )
            self._pdu_left = length
            return
        if kind == _ASSOCIATE_RQ and self._machine.current_state == "Sta2":
            if length > REQUEST_BYTES_MAX:
                raise ProtocolError(f"An association request of {length} bytes.")
        elif kind in {_RELEASE_RQ, _RELEASE_RP, _ABORT}:
            if length != _CONTROL_BYTES:
                raise ProtocolError(f"A PDU of type {kind} with {length} bytes instead of 4.")
        elif kind in _EVENTS:
            self._act(_EVENTS[kind])
            raise ProtocolError(f"A PDU of type {kind} where it is not expected.")
        else:
            raise ProtocolError(f"A PDU of unknown type 0x{kind:02X}.")
        self._kind, self._body_left = kind, length
        if not length:
            raise ProtocolError("An association request without content.")

    def _begin_fragment(self, header: bytes | memoryview) -> None:
        length, self._context_id, self._flags = _PDV_HEADER.unpack(header)
        if length < 2 or length + 4 > self._pdu_left:
            raise ProtocolError(
                f"A presentation data value says {length} bytes; {self._pdu_left - 4} are left."
            )
        self._pdu_left -= 6
        self.fragment_left = length - 2
        if 0 < self._pdu_left - self.fragment_left < 6:
            raise ProtocolError("The values of a P-DATA-TF do not fill it.")
        if not self.fragment_left:
            if not self._pdu_left:
                self.pdu_since = None
            self._pass_on(memoryview(b""))

    def _pass_on(self, piece: memoryview) -> None:
        self._fragment(
            self._context_id,
            piece,
            command=bool(self._flags & _COMMAND),
            last=not self.fragment_left and bool(self._flags & _LAST),
        )

    def _control(self, kind: int, body: bytes) -> None:
        if kind == _ASSOCIATE_RQ:
            self._recv_pdu.put(_RequestPdu())
            self._act("Evt6")
            if not self.closing:
                self._user.requested(body)
        elif kind == _RELEASE_RQ:
            self._recv_pdu.put(A_RELEASE_RQ())
            expected = self.established
            self._act("Evt12")
            if not expected:
                raise ProtocolError("A release request outside an association.")
            self._user.release_requested()
        elif kind == _RELEASE_RP:
            self._recv_pdu.put(A_RELEASE_RP())
            self._act("Evt13")
            raise ProtocolError("A release response that nobody asked for.")
        else:
            abort = A_ABORT_RQ()
            abort.source, abort.reason_diagnostic = (0, 0) if body[2] == 0 else (2, 0)
            self._recv_pdu.put(abort)
            self._act("Evt16")
            self._user.ended("The peer aborted.")

    def accept(self, accept_pdu: bytes, fragment: Fragment) -> None:
        """Answer the request with an A-ASSOCIATE-AC; ``fragment`` is given what messages bring."""
        self._fragment = fragment
        self._transport.send(accept_pdu)
        # What AE-7 does, without building the PDU from an object for each context.
        self._machine.transition("Sta6")

    def reject(self, result: int, source: int, diagnostic: int) -> None:
        """Answer the request with an A-ASSOCIATE-RJ (PS3.8 table 9-21)."""
        answer = A_ASSOCIATE()
        answer.result, answer.result_source, answer.diagnostic = result, source, diagnostic
        self.to_provider_queue.put(answer)
        self._act("Evt8")

    def release(self) -> None:
        """Answer a release request."""
        answer = A_RELEASE()
        answer.result = "affirmative"
        self.to_provider_queue.put(answer)
        self._act("Evt14")

    def abort(self) -> None:
        """End the association."""
        if self._machine.current_state in {"Sta1", "Sta13"}:
            return
        if self._machine.current_state == "Sta2":
            # PS3.8 table 9-10: when ARTIM expires here, the connection is just closed.
            self._act("Evt18")
            return
        request = A_ABORT()
        request.abort_source = 0x00
        self.to_provider_queue.put(request)
        self._act("Evt15")

    def connection_lost(self) -> None:
        """The peer closed the connection."""
        if self._machine.current_state != "Sta1":
            self._act("Evt17")

    def _act(self, event: str) -> None:
        self._machine.do_action(event)
        self._over = self.finished or self.closing
        # Indications reach the user directly.
        self.to_user_queue.queue.clear()

    def _send(self, pdu: Any) -> None:
        """Called by the state machine."""
        try:
            self._transport.send(pdu.encode())
        except OSError:
            # pynetdicom would log an error; a peer that has gone is none.
            self.finished = True

    def close(self) -> None:
        """Called by the state machine, as ``socket.close``."""
        self.finished = True

    def _shutdown_socket(self) -> None:
        """Called by the state machine, as ``socket._shutdown_socket``."""
        self.finished = True

    def kill_dul(self) -> None:
        """Called by the state machine when there is nothing more to do."""
        self.finished = True


def _unexpected(context_id: int, data: memoryview, *, command: bool, last: bool) -> None:
    """A message outside an association; the state machine lets none come so far."""
    raise ProtocolError("A message came outside an association.")
