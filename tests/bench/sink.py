"""A receiver that keeps nothing: how fast the senders are, whoever receives.

``python -m tests.bench.sink PORT`` serves any number of associations. It reads every byte, throws
it away and answers Success. Nothing that stores an object can be faster than this by much, so the
ratio to a rival is about the most that anybody reaches against it with these senders.
"""

from __future__ import annotations

import selectors
import socket
import struct
import sys
from collections.abc import Callable

from tests.bench import wire

BUFFER_BYTES = 1 << 20
_HEADER = struct.Struct(">BxI")


class Association:
    """One connection, of which only commands are kept, until they are whole."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._header = bytearray()
        self._kind = self._left = self._message = 0
        self._body = bytearray()

    def ready(self, buffer: memoryview) -> bool:
        """Read and answer; False where the peer is gone."""
        try:
            size = self.connection.recv_into(buffer)
            self.take(buffer[:size])
        except ConnectionError:
            return False
        return size > 0

    def take(self, data: memoryview) -> None:
        """Take what came."""
        at = 0
        while at < len(data):
            if not self._left:
                part = data[at : at + _HEADER.size - len(self._header)]
                self._header += part
                at += len(part)
                if len(self._header) == _HEADER.size:
                    self._kind, self._left = _HEADER.unpack(self._header)
                    self._header.clear()
                    self._body.clear()
                continue
            step = min(self._left, len(data) - at)
            if self._kind == wire.P_DATA and len(self._body) < wire.PDV_HEADER_BYTES:
                step = min(step, wire.PDV_HEADER_BYTES - len(self._body))
                self._body += data[at : at + step]
            elif self._kind != wire.P_DATA or self._body[5] & wire.COMMAND:
                self._body += data[at : at + step]
            else:
                self.keep(data[at : at + step])
            at += step
            self._left -= step
            if not self._left:
                self._answer()

    def keep(self, piece: memoryview) -> None:
        """Take a piece of a data set; here it is thrown away."""

    def complete(self, answer: bytes) -> None:
        """A data set is whole."""
        self.connection.sendall(answer)

    def _answer(self) -> None:
        """A PDU is over."""
        if self._kind == wire.ASSOCIATE_RQ:
            request = bytes(wire.PDU_HEADER_BYTES) + self._body
            self.connection.sendall(wire.accept_everything(request))
        elif self._kind != wire.P_DATA:
            self.connection.sendall(wire.RELEASE_REPLY)
        elif self._body[5] & wire.COMMAND:
            self._message = wire.value_of(bytes(self._body[wire.PDV_HEADER_BYTES :]), 0x0110)
        elif self._body[5] & wire.LAST:
            self.complete(wire.store_response(self._body[4], self._message))


def serve(
    port: int, associate: Callable[[socket.socket], Association], after_turn: Callable[[], None]
) -> None:
    """Serve any number of associations until ended."""
    view = memoryview(bytearray(BUFFER_BYTES))
    with (
        selectors.DefaultSelector() as selector,
        socket.create_server(("127.0.0.1", port), backlog=64) as server,
    ):
        selector.register(server, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    connection, _ = server.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    selector.register(connection, selectors.EVENT_READ, associate(connection))
                elif not key.data.ready(view):
                    selector.unregister(key.data.connection)
                    key.data.connection.close()
            after_turn()


def main() -> None:
    """Serve until ended."""
    serve(int(sys.argv[1]), Association, lambda: None)


if __name__ == "__main__":
    main()
