"""A non-blocking connection, plain or TLS, and what waits to be sent on it."""

from __future__ import annotations

import socket
import ssl
from enum import Enum

_OUTGOING_BYTES_MAX = 1 << 20


class Progress(Enum):
    """How a TLS handshake stands."""

    DONE = "done"
    READ = "read"
    WRITE = "write"


class OutgoingFullError(OSError):
    """The peer does not read what it is sent."""


class Transport:
    """One accepted connection."""

    def __init__(self, sock: socket.socket, address: str, context: ssl.SSLContext | None) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.address = address
        self.is_tls = context is not None
        self._tls: ssl.SSLSocket | None = None
        if context is not None:
            self._tls = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self.sock: socket.socket = self._tls if self._tls is not None else sock
        self._outgoing = bytearray()
        self.wants_to_write = False

    def shake_hands(self) -> Progress:
        """Go on with the TLS handshake.

        Raises:
            ssl.SSLError: the peer is refused, or has refused.
            OSError: the connection broke.
        """
        if self._tls is None:
            return Progress.DONE
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return Progress.READ
        except ssl.SSLWantWriteError:
            return Progress.WRITE
        return Progress.DONE

    @property
    def is_gone(self) -> bool:
        """Whether the peer has closed the connection without another byte."""
        try:
            # Of the socket below TLS, which must not take the bytes.
            return not socket.socket.recv(self.sock, 1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def certificate(self) -> bytes | None:
        """The peer's verified certificate (DER), or None on a plain connection."""
        return None if self._tls is None else self._tls.getpeercert(binary_form=True)

    def receive(self, buffer: memoryview) -> int | None:
        """Read into a buffer; the number of bytes, 0 at the end, None where there is nothing yet.

        Raises:
            OSError: the connection broke.
        """
        try:
            count = self.sock.recv_into(buffer)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except ssl.SSLEOFError:
            return 0
        return count

    def acknowledge(self) -> None:
        """Tell the sender's TCP at once what has come.

        A sender with Nagle's algorithm, which DCMTK's are unless told otherwise, holds the last
        bytes of a PDU back until it hears that the others have arrived.
        """
        if self._tls is None:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    @property
    def pending(self) -> bool:
        """Whether TLS has bytes that the selector cannot see."""
        return self._tls is not None and self._tls.pending() > 0

    def send(self, data: bytes) -> None:
        """Send at the next ``flush``.

        Raises:
            OutgoingFullError: too much is waiting already.
        """
        self._outgoing += data
        if len(self._outgoing) > _OUTGOING_BYTES_MAX:
            raise OutgoingFullError("The peer does not read its answers.")

    @property
    def waiting(self) -> bool:
        """Whether something is to be sent."""
        return bool(self._outgoing)

    def flush(self) -> int:
        """Send what is waiting; the number of bytes that went.

        Raises:
            OSError: the connection broke.
        """
        sent = 0
        while self._outgoing:
            try:
                count = self.sock.send(self._outgoing)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            sent += count
            del self._outgoing[:count]
        self.wants_to_write = bool(self._outgoing)
        return sent

    def close(self) -> None:
        """Close the connection."""
        self._outgoing.clear()
        self.sock.close()
