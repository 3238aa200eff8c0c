"""What the sender's tests send, and a peer that accepts every association and then lies."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.bench import wire
from tests.bench.scu import read_pdu
from tests.echo_peers import tcp_server

PATIENCE_S = 10.0
CT, SEG = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.66.4"
EXPLICIT = "1.2.840.10008.1.2.1"


def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    """An element in Explicit VR Little Endian."""
    value += b"\0" * (len(value) % 2)
    if vr in {b"OB", b"OW"}:
        return struct.pack("<HH2s2xI", group, number, vr, len(value)) + value
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


def write_object(
    path: Path,
    uid: str,
    size: int = 20_000,
    *,
    sop_class: str = CT,
    syntax: str = EXPLICIT,
    study: str = "1.2.3",
) -> bytes:
    """Write a DICOM file with so many bytes of pixels; returns its data set."""
    data = b"".join(
        (
            element(0x0008, 0x0016, b"UI", sop_class.encode()),
            element(0x0008, 0x0018, b"UI", uid.encode()),
            element(0x0010, 0x0010, b"PN", b"Made^Up"),
            element(0x0010, 0x0020, b"LO", b"P7"),
            element(0x0020, 0x000D, b"UI", study.encode()),
            element(0x0020, 0x000E, b"UI", f"{study}.2".encode()),
            element(0x7FE0, 0x0010, b"OB", os.urandom(size)),
        )
    )
    meta = b"".join(
        (
            element(2, 2, b"UI", sop_class.encode()),
            element(2, 3, b"UI", uid.encode()),
            element(2, 0x10, b"UI", syntax.encode()),
        )
    )
    head = element(2, 0, b"UL", struct.pack("<I", len(meta)))
    path.write_bytes(bytes(128) + b"DICM" + head + meta + data)
    return data


Behaviour = Callable[[socket.socket, int, int], None]
"""What the liar does with a C-STORE-RQ that it got: connection, context and message id."""


class Liar:
    """Accepts every association and then does what the test says; counts what came whole."""

    def __init__(self, behaviour: Behaviour, *, reads: bool = True) -> None:
        self.whole = 0
        self.associations = 0
        self._behaviour = behaviour
        self._reads = reads

    def serve(self, connection: socket.socket) -> None:
        threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE_S)
        with suppress(OSError):
            connection.sendall(wire.accept_everything(read_pdu(connection)))
            self.associations += 1
            while True:
                pdu = read_pdu(connection)
                if pdu[0] == wire.RELEASE_RQ:
                    connection.sendall(wire.RELEASE_REPLY)
                    connection.close()
                    return
                if pdu[0] != wire.P_DATA:
                    return
                context, message = pdu[10], wire.value_of(pdu[12:], 0x0110)
                while self._reads and pdu[11] != wire.LAST:
                    pdu = read_pdu(connection)
                self.whole += self._reads
                self._behaviour(connection, context, message)
                if not self._reads:
                    return


@contextmanager
def lying(behaviour: Behaviour, *, reads: bool = True) -> Iterator[tuple[int, Liar]]:
    liar = Liar(behaviour, reads=reads)
    with tcp_server(liar.serve) as port:
        yield port, liar


def answering(
    status: int = 0, *, message: int = 0, then: bytes = b"", closes: bool = False
) -> Behaviour:
    def behave(connection: socket.socket, context: int, number: int) -> None:
        answer = wire._command(
            context, wire.C_STORE_RSP, message or number, message_tag=0x0120, status=status
        )
        connection.sendall(answer + then)
        if closes:
            connection.shutdown(socket.SHUT_RDWR)

    return behave


def telling(content: bytes, *, closes: bool = False) -> Behaviour:
    def behave(connection: socket.socket, _context: int, _number: int) -> None:
        connection.sendall(content)
        if closes:
            connection.shutdown(socket.SHUT_RDWR)

    return behave


def silent(_connection: socket.socket, _context: int, _number: int) -> None:
    """Say nothing."""


def dropping(connection: socket.socket, _context: int, _number: int) -> None:
    """Close without a word."""
    connection.shutdown(socket.SHUT_RDWR)


def resetting(connection: socket.socket, _context: int, _number: int) -> None:
    """End with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def dripping(connection: socket.socket, _context: int, _number: int) -> None:
    """An answer byte by byte that never ends."""
    connection.sendall(b"\x04\x00\x00\x00\x10\x00")
    while True:
        connection.sendall(b"\x00")
        time.sleep(0.1)
