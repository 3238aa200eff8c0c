"""The bench's own senders: an echo, idle associations, and many associations at once.

They send bytes that were packed beforehand, so that they are not what is measured.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.bench import wire
from tests.bench.objects import Sample

_HOST = "127.0.0.1"
_TIMEOUT_S = 60.0
_CONTEXT = 1
_RELEASED = -1


def echo(port: int, calling: str, called: str) -> float:
    """Connect, A-ASSOCIATE with one Verification context, C-ECHO, A-RELEASE, close; in seconds.

    Raises:
        OSError: nobody is there, or it went away.
        RuntimeError: it answered something else than what was asked for.
    """
    associate = _verification((calling, called))
    request = wire.echo_request(_CONTEXT, 1)
    started = time.perf_counter()
    with _connected(port) as connection:
        connection.sendall(associate)
        accepted = read_pdu(connection)
        connection.sendall(request)
        answer = read_pdu(connection)
        connection.sendall(wire.RELEASE_REQUEST)
        released = read_pdu(connection)
    seconds = time.perf_counter() - started
    contexts, _ = wire.accepted_contexts(accepted)
    status = wire.value_of(answer[12:], 0x0900) if answer[0] == wire.P_DATA else None
    if _CONTEXT not in contexts or status != 0 or released[0] != wire.RELEASE_RP:
        raise RuntimeError(f"An echo was answered 0x{status or 0:04X}.")
    return seconds


@contextmanager
def idle_associations(port: int, titles: tuple[str, str], count: int) -> Iterator[None]:
    """Hold associations open that say nothing; ``titles`` are the calling and the called one."""
    request = _verification(titles)
    connections = []
    try:
        for _ in range(count):
            connections.append(_connected(port))
            connections[-1].sendall(request)
        for connection in connections:
            wire.accepted_contexts(read_pdu(connection))
        yield
        for connection in connections:
            connection.sendall(wire.RELEASE_REQUEST)
            if read_pdu(connection)[0] != wire.RELEASE_RP:
                raise RuntimeError("An idle association was not released in order.")
    finally:
        for connection in connections:
            connection.close()


def read_pdu(connection: socket.socket) -> bytes:
    """A whole PDU."""
    head = _exactly(connection, wire.PDU_HEADER_BYTES)
    return head + _exactly(connection, struct.unpack_from(">I", head, 2)[0])


def _verification(titles: tuple[str, str]) -> bytes:
    uid, syntax = wire.VERIFICATION_UID, wire.IMPLICIT_LITTLE_UID
    return wire.associate_request(titles, _CONTEXT, uid, syntax)


def _connected(port: int) -> socket.socket:
    connection = socket.create_connection((_HOST, port), timeout=_TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise ConnectionResetError("The peer closed the connection.")
        data += more
    return data


@dataclass
class _Line:
    """One association: what it has still to send, and what has come in and is not yet a PDU."""

    connection: socket.socket
    messages: deque[bytes]
    pending: memoryview
    received: bytearray = field(default_factory=bytearray)


class Replay:
    """Sends many studies at once, an association for each, from one process.

    As any SCU does, each association waits for the answer to an object before it sends the next,
    and releases when all are answered.
    """

    def __init__(self, port: int, titles: tuple[str, str], studies: Sequence[Sequence[Sample]]):
        self._port = port
        self._studies = [
            (
                wire.associate_request(
                    titles, _CONTEXT, study[0].sop_class_uid, wire.EXPLICIT_LITTLE_UID
                ),
                [_message(sample, number) for number, sample in enumerate(study, 1)],
            )
            for study in studies
        ]
        self._selector = selectors.DefaultSelector()
        self._open = 0
        self._statuses: Counter[int] = Counter()

    def run(self) -> float:
        """Send everything; returns the seconds from the first connect to the last release.

        Raises:
            OSError: an association was lost.
            RuntimeError: an association or an object was refused, or nothing came for a minute.
        """
        started = time.perf_counter()
        try:
            for request, messages in self._studies:
                self._connect(request, messages)
            while self._open:
                self._step()
            seconds = time.perf_counter() - started
        finally:
            for key in list(self._selector.get_map().values()):
                key.data.connection.close()
            self._selector.close()
        count = sum(len(messages) for _, messages in self._studies)
        if self._statuses != Counter({0: count, _RELEASED: len(self._studies)}):
            raise RuntimeError(f"{count} objects were answered {dict(self._statuses)}.")
        return seconds

    def _step(self) -> None:
        ready = self._selector.select(_TIMEOUT_S)
        if not ready:
            raise RuntimeError(f"{self._open} associations were not answered.")
        for key, events in ready:
            line: _Line = key.data
            if events & selectors.EVENT_WRITE:
                self._write(line)
            if events & selectors.EVENT_READ:
                self._read(line)

    def _connect(self, request: bytes, messages: list[bytes]) -> None:
        connection = socket.socket()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        connection.connect_ex((_HOST, self._port))
        line = _Line(connection, deque(messages), memoryview(request))
        self._selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE, data=line)
        self._open += 1

    def _send(self, line: _Line, message: bytes) -> None:
        line.pending = memoryview(message)
        self._write(line)
        if line.pending:
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            self._selector.modify(line.connection, both, data=line)

    def _write(self, line: _Line) -> None:
        try:
            sent = line.connection.send(line.pending)
        except BlockingIOError:
            return
        line.pending = line.pending[sent:]
        if not line.pending and self._selector.get_key(line.connection).events != 1:
            self._selector.modify(line.connection, selectors.EVENT_READ, data=line)

    def _read(self, line: _Line) -> None:
        chunk = line.connection.recv(65536)
        if not chunk:
            raise ConnectionResetError("The receiver closed an association.")
        line.received += chunk
        while len(line.received) >= wire.PDU_HEADER_BYTES:
            (size,) = struct.unpack_from(">I", line.received, 2)
            end = wire.PDU_HEADER_BYTES + size
            if len(line.received) < end:
                return
            pdu = bytes(line.received[:end])
            del line.received[:end]
            self._answer(line, pdu)

    def _answer(self, line: _Line, pdu: bytes) -> None:
        if pdu[0] == wire.RELEASE_RP:
            self._statuses[_RELEASED] += 1
            self._selector.unregister(line.connection)
            line.connection.close()
            self._open -= 1
            return
        if pdu[0] == wire.P_DATA:
            self._statuses[wire.value_of(pdu[12:], 0x0900)] += 1
        else:
            _expect_context(pdu)
        self._send(line, line.messages.popleft() if line.messages else wire.RELEASE_REQUEST)


def _message(sample: Sample, number: int) -> bytes:
    uids = sample.sop_class_uid, sample.sop_instance_uid
    return wire.store_request(_CONTEXT, number, uids, sample.data)


def _expect_context(answer: bytes) -> None:
    contexts, maximum = wire.accepted_contexts(answer)
    if contexts.get(_CONTEXT) != wire.EXPLICIT_LITTLE_UID:
        raise RuntimeError("A receiver does not take Explicit VR Little Endian.")
    if 0 < maximum < wire.MAXIMUM_PDU_BYTES:
        raise RuntimeError(f"A receiver takes PDUs of {maximum} bytes only.")
