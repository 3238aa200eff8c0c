"""A connected socket that carries PDUs: every wait has an end, and every length a bound.

Nothing here knows what a PDU says, but for an abort, which ends every conversation.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from contextlib import suppress
from enum import StrEnum
from typing import Any

# PS3.8 table 9-10 ff.: the types of PDU.
ACCEPTED, REJECTED, DATA, RELEASE_ASKED, RELEASED, ABORTED = 0x02, 0x03, 0x04, 0x05, 0x06, 0x07
ABORT_PDU = b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00"
"""An A-ABORT of the service user (PS3.8 9.3.8)."""
RELEASE_PDU = b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00"
"""An A-RELEASE-RQ (PS3.8 9.3.6)."""

_PDU_TYPES = range(0x01, 0x08)
_HEADER = struct.Struct(">BxI")
# Answers are small: the longest is the acceptance of 128 contexts, with what it says of itself.
_PDU_MAX_BYTES = 1 << 18
_READ_BYTES = 1 << 16
# An early answer and a little more; nothing else has a reason to come while an object is sent.
_EARLY_BYTES_MAX = 1 << 16
_TLS_RECORDS = range(0x14, 0x18)
_HALF = "in the middle of a PDU"


class Ending(StrEnum):
    """How a conversation can fail."""

    SILENT = "silent"
    """Nothing came in time."""
    STALLED = "stalled"
    """It did not take in time what it was sent."""
    CLOSED = "closed"
    GARBAGE = "garbage"
    HTTP = "http"
    TLS_SPOKEN = "tls-spoken"
    TLS_ALERT = "tls-alert"
    REJECTED = "rejected"
    ABORTED = "aborted"
    RELEASED = "released"
    """It asked to end the association instead of answering."""


class ConversationError(Exception):
    """The other side did not answer as DICOM demands.

    Attributes:
        ending: in which way.
        detail: the numbers of a rejection (result, source, reason) or of an abort (source,
            reason); for a TLS alert, OpenSSL's name of it; for silence, closing and garbage
            perhaps one text of ours: where, or what.
    """

    def __init__(self, ending: Ending, *detail: Any) -> None:
        super().__init__(ending)
        self.ending = ending
        self.detail = detail


def garbage(what: str) -> ConversationError:
    """An answer that is against the standard; ``what`` is in our words, never in the peer's."""
    return ConversationError(Ending.GARBAGE, what)


class Link:
    """Sends and receives over a connection; what follows a ``begin`` takes ``timeout_s`` at most.

    For one thread at a time.
    """

    def __init__(self, connection: socket.socket, timeout_s: float) -> None:
        self.is_broken = False
        """A write failed; what the peer said before may still be there to be received."""
        connection.setblocking(False)
        self._connection = connection
        self._timeout_s = timeout_s
        self._deadline = 0.0
        self._incoming = bytearray()
        self._is_whole = True
        self._for_reading, self._for_either = select.poll(), select.poll()
        self._for_reading.register(connection, select.POLLIN)
        self._for_either.register(connection, select.POLLIN | select.POLLOUT)

    def begin(self, at_most_s: float | None = None) -> None:
        """Start the clock anew."""
        self._deadline = time.monotonic() + min(self._timeout_s, at_most_s or self._timeout_s)

    def send(self, content: bytes | memoryview) -> None:
        """Send whole PDUs; a connection that is gone is noted in ``is_broken``.

        Raises:
            ConversationError: the peer does not take them in time, or ends TLS with an alert.
        """
        left = memoryview(content)
        self._is_whole = False
        try:
            while left:
                try:
                    left = left[self._connection.send(left) :]
                except (BlockingIOError, ssl.SSLWantWriteError):
                    self._wait(self._for_either, Ending.STALLED)
                    # Whoever does not read any more may have said why.
                    self.listen()
                    if self.is_broken:
                        return
                except ssl.SSLWantReadError:
                    self._wait(self._for_reading, Ending.STALLED)
        except ssl.SSLError as error:
            raise _tls_error(error) from None
        except OSError:
            # What it said before it closed, such as a rejection, may still be there to be read.
            self.is_broken = True
        else:
            self._is_whole = True

    def receive(self) -> tuple[int, bytes]:
        """The next PDU: its type, and what follows its header; an abort is raised.

        Raises:
            ConversationError: there is none.
        """
        while len(self._incoming) < _HEADER.size:
            self._fill()
            if stranger := _recognised(bytes(self._incoming[: _HEADER.size])):
                raise ConversationError(stranger)
        kind, length = _HEADER.unpack_from(self._incoming)
        if kind not in _PDU_TYPES:
            raise garbage("a PDU of a type that does not exist")
        if length > _PDU_MAX_BYTES:
            raise garbage(f"a PDU that is said to have {length} bytes")
        end = _HEADER.size + length
        while len(self._incoming) < end:
            self._fill()
        content = bytes(self._incoming[_HEADER.size : end])
        del self._incoming[:end]
        if kind == ABORTED:
            source, reason = content[2:4] if len(content) == 4 else (0, 0)
            raise ConversationError(Ending.ABORTED, source, reason)
        return kind, content

    def listen(self) -> None:
        """Notice, without waiting, an abort or an end in the middle of what is being sent.

        An answer that comes too early is kept for ``receive``, and where the peer has closed the
        connection after it, ``is_broken`` says so.

        Raises:
            ConversationError: the peer aborted, or closed the connection without a word.
        """
        self._take()
        if len(self._incoming) > _EARLY_BYTES_MAX:
            raise garbage("more than an answer before there was anything to answer")
        if self._incoming[:1] == bytes([ABORTED]):
            self.receive()

    @property
    def is_quiet(self) -> bool:
        """Whether the connection stands and the peer has said nothing that nobody asked for."""
        if self.is_broken or not self._is_whole:
            return False
        try:
            if not self._incoming:
                self._take()
        except ConversationError:
            return False
        return not self._incoming and not self.is_broken

    def abort(self) -> None:
        """Say A-ABORT where a PDU may stand, and close; never waits."""
        if self._is_whole and not self.is_broken:
            with suppress(OSError):
                self._connection.send(ABORT_PDU)
        else:
            # In the middle of a PDU the bytes of an abort would be taken for a part of it: a reset
            # says the same, and the system does not keep trying to deliver the rest.
            with suppress(OSError):
                self._connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
        self.close()

    def close(self) -> None:
        """Close the connection."""
        with suppress(OSError):
            self._connection.close()

    def _take(self) -> int:
        """Keep what has come already; how many bytes more it is.

        Raises:
            ConversationError: the connection is closed, and nothing that was said is unread.
        """
        try:
            part = self._connection.recv(_READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        except ssl.SSLError as error:
            raise _tls_error(error) from None
        except OSError:
            part = b""
        if not part:
            self.is_broken = True
            if not self._incoming:
                raise ConversationError(Ending.CLOSED)
        self._incoming += part
        return len(part)

    def _fill(self) -> None:
        """Wait for more."""
        while True:
            if not self._is_pending():
                if self._incoming:
                    self._acknowledge()
                self._wait(self._for_reading, Ending.SILENT)
            if self._take():
                return
            if self.is_broken:
                raise self._ended(Ending.CLOSED)

    def _is_pending(self) -> bool:
        """Whether TLS has bytes that the system cannot see."""
        return isinstance(self._connection, ssl.SSLSocket) and self._connection.pending() > 0

    def _acknowledge(self) -> None:
        """Tell the peer's TCP at once that the beginning of an answer has come.

        A peer with Nagle's algorithm, as DCMTK's are unless told otherwise, holds the rest back
        until it hears that: 40 ms for each object.
        """
        with suppress(OSError):
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _wait(self, ready: select.poll, ending: Ending) -> None:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0 or not ready.poll(left_s * 1000):
            raise self._ended(ending)

    def _ended(self, ending: Ending) -> ConversationError:
        return ConversationError(ending, *([_HALF] if self._incoming else []))


def _recognised(start: bytes) -> Ending | None:
    """What else speaks here, from the first bytes of its answer."""
    if not start or start[0] in _PDU_TYPES:
        return None
    if b"HTTP/"[: len(start)] == start[:5]:
        # Too few bytes to be sure: wait for more.
        return Ending.HTTP if len(start) >= len("HTTP/") else None
    if start[0] in _TLS_RECORDS and start[1:2] in (b"", b"\x03"):
        return Ending.TLS_SPOKEN
    return Ending.GARBAGE


def _tls_error(error: ssl.SSLError) -> ConversationError:
    reason = error.reason or ""
    if "ALERT" in reason:
        return ConversationError(Ending.TLS_ALERT, reason)
    return ConversationError(Ending.CLOSED)
