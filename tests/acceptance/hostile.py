"""A DICOM client on a plain socket, which sends whatever bytes it is given. Times are seconds."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

from .wire import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    CONTEXTS,
    ECHO,
    NO_DATA,
    P_DATA,
    RELEASE_RP,
    STORE,
    AssociationRequest,
    Proposal,
    echo_rq,
    message,
    release_rq,
    store_rq,
    us,
)

RECEIVE_BYTES = 65536
TLS_ALERT = 0x15


class EndedError(Exception):
    """The connection was ended by the other side."""


@dataclass(frozen=True)
class Pdu:
    """What the node sent."""

    kind: int
    body: bytes

    @property
    def rejection(self) -> tuple[int, int, int]:
        """Result, source and reason of an A-ASSOCIATE-RJ."""
        assert self.kind == ASSOCIATE_RJ, f"PDU {self.kind} where a rejection was expected"
        return self.body[1], self.body[2], self.body[3]

    @property
    def results(self) -> dict[int, int]:
        """Result of each presentation context of an A-ASSOCIATE-AC, by its id."""
        assert self.kind == ASSOCIATE_AC, f"PDU {self.kind} where an acceptance was expected"
        found, at = {}, 68
        while at < len(self.body):
            kind, length = struct.unpack_from(">BxH", self.body, at)
            if kind == 0x21:
                found[self.body[at + 4]] = self.body[at + 6]
            at += 4 + length
        return found


@dataclass(frozen=True)
class Answer:
    """A message that the node sent: its command set by element number, and its data set."""

    context: int
    elements: Mapping[int, bytes]
    data: bytes = b""

    def number(self, element_number: int) -> int:
        """A value of VR US."""
        return int.from_bytes(self.elements[element_number][:2], "little")

    @property
    def is_response(self) -> bool:
        """Whether it answers something (PS3.7 E.1)."""
        return bool(self.number(0x100) & 0x8000)

    @property
    def status(self) -> int:
        """(0000,0900)"""
        return self.number(0x900)

    @property
    def message_id(self) -> int:
        """(0000,0120), the request this answers."""
        return self.number(0x120)


def parse_command(content: bytes) -> dict[int, bytes]:
    """The elements of a command set, by element number."""
    found, at = {}, 0
    while at + 8 <= len(content):
        _, number, length = struct.unpack_from("<HHI", content, at)
        found[number] = content[at + 8 : at + 8 + length]
        at += 8 + length
    return found


class Client:
    """One connection to the node, closed at the end of a ``with``."""

    def __init__(
        self,
        port: int,
        source: str = "127.0.0.1",
        timeout_s: float = 10.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.timeout_s = timeout_s
        self.socket: socket.socket = socket.create_connection(
            ("127.0.0.1", port), timeout=timeout_s, source_address=(source, 0)
        )
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            try:
                self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
            except BaseException:
                self.socket.close()
                raise
        self._pending = bytearray()
        self._messages: list[Answer] = []

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection as an operating system does."""
        self.socket.close()

    def reset(self) -> None:
        """End the connection with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def stop_sending(self) -> None:
        """Half-close: the node sees the end of the stream, and may still answer."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def send(self, content: bytes) -> None:
        """Send bytes.

        Raises:
            EndedError: the node has closed the connection.
        """
        try:
            self.socket.sendall(content)
        except TimeoutError:
            raise
        except OSError as error:
            raise EndedError(str(error)) from None

    def send_slowly(self, content: bytes, pause_s: float, within_s: float) -> float:
        """Send byte by byte until the node ends the connection; seconds until it did.

        Raises:
            AssertionError: all was sent, or ``within_s`` passed, and the connection still stands.
        """
        started = time.monotonic()
        self.socket.settimeout(pause_s)
        for at in range(len(content)):
            if time.monotonic() - started > within_s:
                break
            try:
                self.socket.sendall(content[at : at + 1])
                answer = self.socket.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return time.monotonic() - started
            if not answer or answer[0] in {ABORT, TLS_ALERT}:
                return time.monotonic() - started
        raise AssertionError(f"the node still listens after {time.monotonic() - started:.1f} s")

    def receive(self, within_s: float | None = None) -> Pdu | None:
        """The next PDU; None at the end of the connection.

        Raises:
            TimeoutError: nothing came in time.
        """
        until = time.monotonic() + (self.timeout_s if within_s is None else within_s)
        while True:
            if len(self._pending) >= 6:
                kind, length = struct.unpack_from(">BxI", self._pending)
                if len(self._pending) >= 6 + length:
                    body = bytes(self._pending[6 : 6 + length])
                    del self._pending[: 6 + length]
                    return Pdu(kind, body)
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError("the node did not answer in time")
            self.socket.settimeout(left)
            try:
                content = self.socket.recv(RECEIVE_BYTES)
            except TimeoutError:
                raise TimeoutError("the node did not answer in time") from None
            except OSError:
                return None
            if not content:
                return None
            self._pending += content

    def drain(self, within_s: float) -> list[Pdu]:
        """Everything until the node ends the connection.

        Raises:
            AssertionError: it does not within that time.
        """
        found = []
        until = time.monotonic() + within_s
        while True:
            try:
                answer = self.receive(max(until - time.monotonic(), 0.001))
            except TimeoutError:
                raise AssertionError(
                    f"the connection still stands after {within_s} s; received {found}"
                ) from None
            if answer is None:
                return found
            found.append(answer)

    def receive_raw(self, size: int) -> bytes:
        """So many bytes at most, of whatever protocol."""
        self.socket.settimeout(self.timeout_s)
        return self.socket.recv(size)

    def drain_raw(self, within_s: float) -> bytes:
        """Whatever comes until the node ends the connection.

        Raises:
            TimeoutError: it does not within that time.
        """
        found = b""
        until = time.monotonic() + within_s
        while True:
            self.socket.settimeout(max(until - time.monotonic(), 0.001))
            try:
                content = self.socket.recv(RECEIVE_BYTES)
            except TimeoutError:
                raise
            except OSError:
                return found
            if not content:
                return found
            found += content

    def associate(self, request: AssociationRequest) -> Pdu:
        """Ask for an association; the answer.

        Raises:
            EndedError: the node closed the connection instead.
        """
        self.send(request.encode())
        answer = self.receive()
        if answer is None:
            raise EndedError("the node closed the connection instead of an answer")
        return answer

    def answer(self, within_s: float | None = None) -> Answer:
        """The next message of the node.

        Raises:
            EndedError: the association was aborted, or the connection ended.
        """
        command, data, done = b"", b"", False
        if self._messages:
            return self._messages.pop(0)
        while not done:
            received = self.receive(within_s)
            if received is None or received.kind == ABORT:
                raise EndedError("aborted" if received else "closed")
            assert received.kind == P_DATA, f"PDU {received.kind} where a message was expected"
            at = 0
            while at < len(received.body):
                size, context, flags = struct.unpack_from(">IBB", received.body, at)
                content = received.body[at + 6 : at + 4 + size]
                at += 4 + size
                if flags & 1:
                    command += content
                else:
                    data += content
                if flags & 2:
                    elements = parse_command(command)
                    waits = elements[0x800][:2] != us(NO_DATA)
                    if not (flags & 1) or not waits:
                        self._messages.append(Answer(context, elements, data))
                        command, data, done = b"", b"", True
        return self._messages.pop(0)

    def echo(self, message_id: int = 1, context: int = ECHO) -> int:
        """C-ECHO; its status."""
        self.send(message(context, echo_rq(message_id)))
        return self.answer().status

    def store(self, uid: str, data: bytes, context: int = STORE, message_id: int = 1) -> int:
        """C-STORE of MR Image Storage; its status."""
        self.send(message(context, store_rq(uid, message_id), data))
        return self.answer().status

    def release(self) -> None:
        """End the association in order."""
        self.send(release_rq())
        while (answer := self.receive()) is not None and answer.kind != RELEASE_RP:
            assert answer.kind == P_DATA, f"PDU {answer.kind} where a release was expected"


def open_association(
    port: int,
    calling: str,
    source: str = "127.0.0.1",
    contexts: Sequence[Proposal] = CONTEXTS,
    user_items: bytes = b"",
) -> Client:
    """A connection with an association that was accepted."""
    client = Client(port, source)
    try:
        answer = client.associate(
            AssociationRequest(calling, contexts=contexts, user_items=user_items)
        )
        assert answer.kind == ASSOCIATE_AC, f"PDU {answer.kind} {answer.body.hex()}"
    except BaseException:
        client.close()
        raise
    return client
