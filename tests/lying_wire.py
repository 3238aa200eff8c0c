"""One connection of the lying PACS: PDUs and messages on a socket, as slowly as it is told to."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from tests.acceptance.hostile import parse_command
from tests.acceptance.wire import P_DATA, abort, item, message, pdu

_PART_BYTES = 1 << 18
_MAXIMUM_LENGTH = 131072
_DRAIN_S = 0.5


class GoneError(Exception):
    """The other side has closed the connection, or reset it."""


@dataclass(frozen=True)
class Asked:
    """An association request, as far as the PACS cares: contexts by id, (class, syntaxes)."""

    called: str
    calling: str
    fixed: bytes
    contexts: Mapping[int, tuple[str, tuple[str, ...]]]


@dataclass(frozen=True)
class Heard:
    """A message: context id, command set by element number, data set."""

    context_id: int
    elements: Mapping[int, bytes]
    data: bytes = b""

    def number(self, element: int) -> int:
        return int.from_bytes(self.elements.get(element, b"")[:2], "little")

    def text(self, element: int) -> str:
        return self.elements.get(element, b"").rstrip(b"\0 ").decode()


@dataclass
class Line:
    """A connection; ``bytes_per_s`` says how fast it reads, 0 is as fast as it can."""

    connection: socket.socket
    bytes_per_s: Callable[[], float] = lambda: 0.0
    is_open: bool = field(default=True, init=False)

    def read(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            parts += self._part(size - len(parts))
        return bytes(parts)

    def read_header(self) -> tuple[int, int]:
        """Type and length of the next PDU."""
        kind, length = struct.unpack(">BxI", self.read(6))
        return kind, length

    def read_message(
        self, kind: int, length: int, looks: Callable[[Mapping[int, bytes], int], None]
    ) -> Heard:
        """The message that begins with the P-DATA-TF whose header was read.

        ``looks`` sees the command and the length of each PDU that brings more of its data set.
        """
        command, data = bytearray(), bytearray()
        elements: dict[int, bytes] | None = None
        while True:
            if kind != P_DATA:
                raise GoneError
            body, at = self.read(length), 0
            while at < len(body):
                size = int.from_bytes(body[at : at + 4], "big")
                context_id, flags = body[at + 4], body[at + 5]
                (command if flags & 1 else data).extend(body[at + 6 : at + 4 + size])
                at += 4 + size
                if not flags & 2:
                    continue
                if flags & 1:
                    elements = parse_command(bytes(command))
                    if int.from_bytes(elements[0x800][:2], "little") != 0x0101:
                        continue
                assert elements is not None
                return Heard(context_id, elements, bytes(data))
            kind, length = self.read_header()
            if elements is not None:
                looks(elements, length)

    def send(self, content: bytes) -> None:
        try:
            self.connection.sendall(content)
        except OSError:
            raise GoneError from None

    def say(self, context_id: int, command: bytes, data: bytes | None = None) -> None:
        self.send(message(context_id, command, data))

    def abort(self) -> None:
        """A-ABORT in a way that the other side reads it although it has more to say."""
        with suppress(GoneError, OSError):
            self.send(abort(0, 0))
            self.connection.shutdown(socket.SHUT_WR)
            self._drain()
        self.close()

    def reject(self, content: bytes) -> None:
        """A-ASSOCIATE-RJ; then it is for the other side to close (PS3.8 9.2.3, Sta13)."""
        self.send(content)
        with suppress(OSError):
            self._drain()
        self.close()

    def _drain(self) -> None:
        self.connection.settimeout(_DRAIN_S)
        until = time.monotonic() + _DRAIN_S
        while time.monotonic() < until and self.connection.recv(_PART_BYTES):
            pass

    def reset(self) -> None:
        """A TCP reset: what is on its way to the other side may be lost with it."""
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self.is_open = False
        with suppress(OSError):
            self.connection.close()

    def wake(self) -> None:
        """End what another thread reads here."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _part(self, most: int) -> bytes:
        speed = self.bytes_per_s()
        if speed:
            most = max(1, min(most, int(speed / 20)))
            time.sleep(most / speed)
        try:
            found = self.connection.recv(min(most, _PART_BYTES))
        except OSError:
            found = b""
        if not found:
            raise GoneError
        return found


def read_association(body: bytes) -> Asked:
    """An A-ASSOCIATE-RQ without its header (PS3.8 9.3.2)."""
    contexts: dict[int, tuple[str, tuple[str, ...]]] = {}
    for kind, content in _items(body[68:]):
        if kind != 0x20:
            continue
        inner = [(one, value.decode().rstrip("\0")) for one, value in _items(content[4:])]
        (abstract,) = (value for one, value in inner if one == 0x30)
        contexts[content[0]] = (abstract, tuple(value for one, value in inner if one == 0x40))
    called, calling = (body[at : at + 16].decode().strip() for at in (4, 20))
    return Asked(called, calling, body[4:36], contexts)


def acceptance(asked: Asked, accepted: Mapping[int, str]) -> bytes:
    """An A-ASSOCIATE-AC that takes these contexts, each in this transfer syntax."""
    contexts = b"".join(
        item(
            0x21,
            bytes((number, 0, 0 if number in accepted else 3, 0))
            + item(0x40, accepted.get(number, "1.2.840.10008.1.2").encode()),
        )
        for number in asked.contexts
    )
    user = item(0x51, struct.pack(">I", _MAXIMUM_LENGTH)) + item(0x52, b"1.2.3.4.6")
    items = item(0x10, b"1.2.840.10008.3.1.1.1") + contexts + item(0x50, user)
    return pdu(0x02, struct.pack(">HH", 1, 0) + asked.fixed + bytes(32) + items)


def rejection(result: int, source: int, reason: int) -> bytes:
    """An A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return pdu(0x03, bytes((0, result, source, reason)))


def release_response() -> bytes:
    """An A-RELEASE-RP (PS3.8 9.3.7)."""
    return pdu(0x06, bytes(4))


def _items(content: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at < len(content):
        kind, length = struct.unpack_from(">BxH", content, at)
        found.append((kind, content[at + 4 : at + 4 + length]))
        at += 4 + length
    return found
