"""A bare receive-write-fsync loop: what a durable receiver in plain Python cannot easily beat.

``python -m tests.bench.raw_loop PORT FOLDER`` serves one association after the other. It writes
what comes from the socket to a file as it is, PDU headers and all, syncs the file and answers. It
parses only as much as tells it where an object ends. No ledger, no digest, no rename, no checks.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.bench import wire

BUFFER_BYTES = 1 << 20
_HEADS = struct.Struct(">BxIIBB")


class _ClosedError(Exception):
    """The peer is gone."""


class RawLoop:
    """One association: every object that arrives becomes a synced file."""

    def __init__(self, connection: socket.socket, names: Iterator[Path]) -> None:
        self._connection = connection
        self._names = names
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)

    def run(self) -> None:
        """Serve until the peer releases or goes away."""
        request = self._exactly(wire.PDU_HEADER_BYTES)
        request += self._exactly(struct.unpack_from(">I", request, 2)[0])
        self._connection.sendall(wire.accept_everything(request))
        while True:
            # A command fits a PDU, and the sender waits for the answer before the next one.
            head = self._exactly(len(wire.RELEASE_REQUEST))
            if head[0] != wire.P_DATA:
                self._connection.sendall(wire.RELEASE_REPLY)
                return
            head += self._exactly(_HEADS.size - len(head))
            _, pdu_size, _, context, _ = _HEADS.unpack(head)
            command = self._exactly(pdu_size - wire.PDV_HEADER_BYTES)
            self._store()
            message = wire.value_of(command, 0x0110)
            self._connection.sendall(wire.store_response(context, message))

    def _store(self) -> None:
        """Write everything up to the end of the data set to one file, and sync it."""
        file = os.open(next(self._names), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        head = bytearray()  # of the PDU that has only partly arrived
        body_left, last = 0, False
        while True:
            size = self._connection.recv_into(self._view)
            if not size:
                raise _ClosedError
            os.write(file, self._view[:size])
            at = 0
            while at < size:
                if body_left:
                    step = min(body_left, size - at)
                    body_left -= step
                    at += step
                    continue
                taken = self._view[at : at + _HEADS.size - len(head)]
                head += taken
                at += len(taken)
                if len(head) == _HEADS.size:
                    _, pdu_size, _, _, control = _HEADS.unpack(head)
                    body_left, last = pdu_size - wire.PDV_HEADER_BYTES, bool(control & wire.LAST)
                    head.clear()
            if last and not body_left:
                break
        os.fsync(file)
        os.close(file)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._connection.recv(size - len(data))
            if not more:
                raise _ClosedError
            data += more
        return data


def main() -> None:
    """Serve until ended."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    names = (folder / str(number) for number in itertools.count())
    with socket.create_server(("127.0.0.1", port), backlog=64) as server:
        while True:
            connection, _ = server.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection:
                try:
                    RawLoop(connection, names).run()
                except (_ClosedError, ConnectionError):
                    continue


if __name__ == "__main__":
    main()
