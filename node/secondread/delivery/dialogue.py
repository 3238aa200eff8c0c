"""DIMSE messages on an association, both ways: the other side may ask, too (PS3.7 9, 10).

What comes is bounded: a command set of 64 KiB, a data set of 4 MiB, and the deadline of the wait.
A data set that somebody takes piece by piece (the sub-operations of C-GET) is never held here.
"""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from secondread.delivery.commands import (
    LAST,
    OF_COMMAND,
    PDV_HEADER,
    PDV_OVERHEAD_BYTES,
    fragments,
)
from secondread.delivery.link import (
    DATA,
    RELEASE_ASKED,
    ConversationError,
    Ending,
    Link,
    garbage,
)
from secondread.dicom.messages import Element, Item, read_message, write_message
from secondread.dicom.walk import IMPLICIT_LITTLE
from secondread.errors import CannotUnderstandError

C_STORE_RQ, C_GET_RQ, C_FIND_RQ, C_MOVE_RQ = 0x0001, 0x0010, 0x0020, 0x0021
N_EVENT_REPORT_RQ, N_ACTION_RQ = 0x0100, 0x0130
RESPONSE = 0x8000
"""Set in the Command Field of every response (PS3.7 E.1)."""
AFFECTED_CLASS, REQUESTED_CLASS, COMMAND_FIELD = 0x0002, 0x0003, 0x0100
MESSAGE_ID, RESPONDED_ID, STATUS = 0x0110, 0x0120, 0x0900
AFFECTED_INSTANCE, REQUESTED_INSTANCE, EVENT_TYPE, ACTION_TYPE = 0x1000, 0x1001, 0x1002, 0x1008
MOVE_DESTINATION, PRIORITY = 0x0600, 0x0700
REMAINING, COMPLETED, FAILED, WITH_WARNING = 0x1020, 0x1021, 0x1022, 0x1023
"""Elements of group 0000 (PS3.7 E.1)."""

_DATA_SET_TYPE, _NO_DATA_SET, _DATA_SET = 0x0800, 0x0101, 0x0001
_COMMAND_BYTES_MAX = 64 << 10
_DATA_BYTES_MAX = 4 << 20
_PDU_BYTES_MIN, _PDU_BYTES_MAX = 64, 1 << 20
_SLICE_S = 1.0
_RELEASE_RESPONSE = b"\x06\x00\x00\x00\x00\x04\x00\x00\x00\x00"


@dataclass(frozen=True, slots=True)
class Message:
    """What the other side said: a command set, and the data set that came with it, if any."""

    context_id: int
    command: Item
    data: bytes | None

    def number(self, element: int) -> int:
        """A US of the command set; 0 where there is none."""
        value = self.command.values.get(element, b"")
        return int.from_bytes(value, "little") if len(value) == 2 else 0

    def text(self, element: int) -> str:
        """A UID of the command set; '' where there is none."""
        return self.command.text(element)

    def says(self, element: int) -> bool:
        """Whether a US is in the command set at all."""
        return len(self.command.values.get(element, b"")) == 2


Take = Callable[[bytes], None]
"""Takes the next piece of a data set."""
Divert = Callable[[Message], Take | None]
"""Asked of each message with a data set, as soon as its command is there: who takes the data set?

None keeps it for ``Message.data``, with the bounds of all messages.
"""


class Dialogue:
    """Messages on an association that stands; for one thread at a time.

    Args:
        link: the connection.
        maximum_length: the longest P-DATA-TF that the peer takes, in bytes; 0 is no limit.
    """

    def __init__(self, link: Link, maximum_length: int) -> None:
        self._link = link
        most = min(maximum_length or _PDU_BYTES_MAX, _PDU_BYTES_MAX)
        self._fragment_bytes = max(most, _PDU_BYTES_MIN) - PDV_OVERHEAD_BYTES
        # One PDU may bring the end of a message and the beginning of the next.
        self._waiting: deque[tuple[int, int, bytes]] = deque()

    def say(self, context_id: int, command: Sequence[Element], data: bytes | None) -> None:
        """Send a message.

        Args:
            context_id: of an accepted presentation context.
            command: the command set, without group length and Command Data Set Type.
            data: the data set in the context's transfer syntax, or None.

        Raises:
            ConversationError: it was not taken in time.
        """
        kind: Element = (_DATA_SET_TYPE, "US", _NO_DATA_SET if data is None else _DATA_SET)
        body = write_message(
            sorted([*command, kind], key=lambda element: element[0]), IMPLICIT_LITTLE
        )
        encoded = struct.pack("<HHII", 0, 0, 4, len(body)) + body
        self._link.begin()
        for pdu in self._pdus(context_id, encoded, OF_COMMAND):
            self._link.send(pdu)
        if data is not None:
            for pdu in self._pdus(context_id, data, 0):
                self._link.send(pdu)

    def hear(self, until: float) -> Message:
        """The next message.

        Args:
            until: how long to wait, as ``time.monotonic`` tells the time.

        Raises:
            ConversationError: nothing came in time, or nothing that is a message.
        """
        return self._hear(lambda: until, lambda _: None)

    def hear_streamed(self, silence_s: float, until: float, divert: Divert) -> Message:
        """The next message; its data set may go elsewhere as it comes, however long it is.

        Args:
            silence_s: how long to wait for the message, and for more of a data set that goes
                elsewhere.
            until: the end of all waiting, as ``time.monotonic`` tells the time.
            divert: see ``Divert``; what it or the ``Take`` raises goes on to the caller, in the
                middle of a message, so that the association can only be aborted then.

        Raises:
            ConversationError: nothing came in time, or nothing that is a message.
        """
        return self._hear(lambda: min(time.monotonic() + silence_s, until), divert)

    def _hear(self, until: Callable[[], float], divert: Divert) -> Message:
        encoded, data = bytearray(), bytearray()
        message: Message | None = None
        take: Take | None = None
        deadline = until()
        while True:
            context_id, flags, piece = self._fragment(deadline)
            if bool(flags & OF_COMMAND) != (message is None):
                raise garbage("a data set without a command, or two commands at a time")
            if message is None:
                encoded += piece
                if len(encoded) > _COMMAND_BYTES_MAX:
                    raise garbage("a message that does not end")
                if flags & LAST:
                    message = Message(context_id, _read_command(bytes(encoded)), None)
                    if message.number(_DATA_SET_TYPE) == _NO_DATA_SET:
                        return message
                    take = divert(message)
                continue
            if context_id != message.context_id:
                raise garbage("a data set in another presentation context than its command")
            if take is not None:
                take(piece)
                # Only what brings something is worth waiting for once more.
                deadline = until() if piece else deadline
            else:
                data += piece
                if len(data) > _DATA_BYTES_MAX:
                    raise garbage("a message that does not end")
            if flags & LAST:
                return replace(message, data=bytes(data))

    def agree_to_release(self) -> None:
        """Answer the peer's wish to end the association (PS3.8 9.3.7)."""
        self._link.begin(at_most_s=1.0)
        try:
            self._link.send(_RELEASE_RESPONSE)
        except ConversationError:
            return

    def _fragment(self, until: float) -> tuple[int, int, bytes]:
        """Context id, flags and bytes of the next PDV."""
        while not self._waiting:
            self._waiting.extend(fragments(self._receive(until)))
        return self._waiting.popleft()

    def _receive(self, until: float) -> bytes:
        """The next P-DATA-TF; the link's own patience may be longer or shorter."""
        while True:
            left_s = until - time.monotonic()
            if left_s < -_SLICE_S:
                # Whoever sends PDUs without content all the time is as good as silent.
                raise ConversationError(Ending.SILENT)
            self._link.begin(at_most_s=max(min(left_s, _SLICE_S), 0.001))
            try:
                kind, content = self._link.receive()
            except ConversationError as error:
                # What has come of a PDU is kept, so that nothing is lost by looking again.
                if error.ending is Ending.SILENT and until > time.monotonic():
                    continue
                raise
            if kind == RELEASE_ASKED:
                raise ConversationError(Ending.RELEASED)
            if kind != DATA:
                raise garbage("a PDU that is no message")
            return content

    def _pdus(self, context_id: int, content: bytes, flag: int) -> Iterator[bytes]:
        """P-DATA-TF PDUs of one fragment each (PS3.8 9.3.5)."""
        most = self._fragment_bytes
        for at in range(0, max(len(content), 1), most):
            piece = content[at : at + most]
            flags = flag | (LAST if at + most >= len(content) else 0)
            size = len(piece)
            lengths = (size + PDV_OVERHEAD_BYTES, size + 2)
            yield PDV_HEADER.pack(DATA, *lengths, context_id, flags) + piece


def _read_command(encoded: bytes) -> Item:
    try:
        return read_message(encoded, IMPLICIT_LITTLE, ())
    except CannotUnderstandError:
        raise garbage("a command that is cut short, or none") from None
