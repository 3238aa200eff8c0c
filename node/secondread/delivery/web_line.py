"""A connection to a web server on which every wait has an end."""

from __future__ import annotations

import io
import select
import socket
import ssl
import time

from secondread.delivery.handshake import NotTlsError, shake_hands
from secondread.errors import PeerUnreachableError

_STATUS_AT = len("HTTP/1.1 ")
_PEEK_BYTES = 1024
_HEAD_END = b"\r\n\r\n"


class Line:
    """What ``http.client`` needs of a socket; no call waits longer than ``each_s``.

    All calls together end at ``deadline`` (``time.monotonic``), however slowly bytes drip in; then
    TimeoutError is raised.
    """

    def __init__(self, connection: socket.socket, each_s: float, deadline: float) -> None:
        self._connection = connection
        self._each_s = each_s
        self._deadline = deadline
        self._early = b""
        self._ended = False

    def start_tls(self, context: ssl.SSLContext, host: str, has_certificate: bool) -> None:
        """Speak TLS from here on.

        Raises:
            ssl.SSLCertVerificationError: its certificate is not trusted.
            NotTlsError: it does not speak TLS, or broke off without a word.
            PeerUnreachableError: it is silent.
            PeerRefusedError: it will not talk TLS with us.
        """
        self._connection.settimeout(self._wait_s())
        try:
            self._connection = shake_hands(self._connection, context, host, has_certificate)
        except PeerUnreachableError:
            raise TimeoutError from None
        except NotTlsError:
            self._connection.close()
            raise

    def sendall(self, content: bytes) -> None:
        """Send all of it; whether the other side talks meanwhile is not looked at."""
        self._connection.settimeout(self._wait_s())
        self._connection.sendall(content)

    def receive_into(self, buffer: memoryview) -> int:
        """The next bytes; 0 at the end."""
        if self._early:
            count = min(len(buffer), len(self._early))
            buffer[:count], self._early = self._early[:count], self._early[count:]
            return count
        if self._ended:
            return 0
        self._connection.settimeout(self._wait_s())
        return self._connection.recv_into(buffer)

    def send_unless_answered(self, content: bytes | memoryview) -> bool:
        """Send all of it; False where the other side has answered, or hung up, before.

        An interim answer (1xx) is none.
        """
        left = memoryview(content)
        self._connection.settimeout(0)
        until = time.monotonic() + self._wait_s()
        while left:
            if self._has_answer():
                return False
            try:
                left = left[self._connection.send(left) :]
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                self._wait_for_either(until)
            except OSError:
                # It hung up; what it said before may still be there to be read.
                return False
        return True

    def _has_answer(self) -> bool:
        """Needs a socket that does not block."""
        try:
            # Not select alone: of TLS 1.3 there may be a ticket to read, which is no answer.
            part = self._connection.recv(_PEEK_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            part = None
        except ssl.SSLError:  # an alert, such as that our certificate is not taken
            raise
        except OSError:
            part = b""
        if part is not None:
            self._early += part
            self._ended = not part
        while self._status() == b"1" and _HEAD_END in self._early:
            self._early = self._early.partition(_HEAD_END)[2]
        return self._ended or self._status() not in (b"", b"1")

    def _status(self) -> bytes:
        """The first digit of the status of what has come; empty where it is not there yet."""
        return self._early[_STATUS_AT : _STATUS_AT + 1]

    def _wait_for_either(self, until: float) -> None:
        """Until there is something to read or room to write."""
        left_s = until - time.monotonic()
        poll = select.poll()
        poll.register(self._connection, select.POLLIN | select.POLLOUT)
        if left_s <= 0 or not poll.poll(left_s * 1000):
            raise TimeoutError

    def makefile(self, _mode: str) -> io.BufferedReader:
        """For reading."""
        return io.BufferedReader(_Incoming(self))

    def close(self) -> None:
        """Nothing: http.client closes before the answer is read where no more requests follow."""

    def hang_up(self) -> None:
        """End it."""
        self._connection.close()

    def _wait_s(self) -> float:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return min(self._each_s, left_s)


class _Incoming(io.RawIOBase):
    """What comes on a line, as a file."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        return self._line.receive_into(memoryview(buffer))  # type: ignore[arg-type]
