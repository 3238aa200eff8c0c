"""Archives for the tests of query and retrieval: DCMTK's, and one that lies."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from secondread.delivery.address import Address
from secondread.delivery.arrival import Landing, Received
from secondread.delivery.object_file import open_object
from tests.acceptance import wire
from tests.echo_peers import listening, tcp_server
from tests.lying_wire import Asked, GoneError, Heard, Line, acceptance, read_association
from tests.lying_wire import release_response as release_answer

CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY, SERIES = "1.2.3", "1.2.4"
LIVENESS_S = 15.0
EXPLICIT = "1.2.840.10008.1.2.1"


@dataclass(frozen=True)
class Archive:
    """DCMTK's dcmqrscp."""

    port: int
    folder: Path

    def address(self, calling: str = "SECONDREAD", timeout_s: float = 10.0) -> Address:
        return Address("127.0.0.1", self.port, "PACS", calling, timeout_s)

    def data_sets(self) -> dict[str, bytes]:
        """The data set of each object that it holds, by SOP Instance UID."""
        return dict(data_set(path) for path in self.folder.glob("*.dcm"))


def data_set(path: Path) -> tuple[str, bytes]:
    """SOP Instance UID and data set of a file, byte for byte."""
    with open_object(path) as found:
        return found.sop_instance_uid, path.read_bytes()[found.offset :]


class Inbox:
    """Takes what is fetched, byte for byte."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.landing = Landing(folder)
        self.kept: dict[str, bytes] = {}
        self.received: list[Received] = []

    def __call__(self, received: Received) -> None:
        uid, content = data_set(received.path)
        assert (uid, len(content)) == (received.sop_instance_uid, received.size_bytes)
        self.received.append(received)
        self.kept[uid] = content

    @property
    def leftovers(self) -> list[Path]:
        """What is still in the folder that should be empty."""
        return list(self.landing.folder.iterdir())


@contextmanager
def dcmqrscp(
    program: str, folder: Path, port: int, destinations: dict[str, int]
) -> Iterator[Archive]:
    """dcmqrscp with an empty store; ``destinations`` are ports on loopback by AE title."""
    store = folder / "store"
    store.mkdir(parents=True)
    hosts = "\n".join(
        f"d{n} = ({title}, 127.0.0.1, {at})" for n, (title, at) in enumerate(destinations.items())
    )
    configuration = folder / "dcmqrscp.cfg"
    configuration.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 131072\nMaxAssociations = 16\n"
        f"HostTable BEGIN\n{hosts}\nHostTable END\nVendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nPACS {store} RW (200, 1024mb) ANY\nAETable END\n"
    )
    command = [program, "-v", "+xr", "-c", str(configuration)]
    with listening(command, port, folder, folder / "dcmqrscp.log"):
        yield Archive(port, store)


class Peer:
    """One association of the lying archive, for whoever decides what it answers."""

    def __init__(self, line: Line, asked: Asked, heard: Heard) -> None:
        self.line = line
        self.asked = asked
        self.heard = heard
        self.statuses: list[int] = []

    def respond(self, status: int, identifier: bytes | None = None, **counts: int) -> None:
        """A response to the query or the retrieval (PS3.7 9.3.2, 9.3.3)."""
        numbers = {"remaining": 0x1020, "completed": 0x1021, "failed": 0x1022, "warned": 0x1023}
        elements = {
            2: self.heard.elements[2],
            0x100: wire.us(self.heard.number(0x100) | 0x8000),
            0x120: wire.us(self.heard.number(0x110)),
            0x800: wire.us(0x0101 if identifier is None else 1),
            0x900: wire.us(status),
        }
        elements |= {numbers[name]: wire.us(value) for name, value in counts.items()}
        self.line.say(self.heard.context_id, wire.command_set(elements), identifier)

    def context_for(self, sop_class: str, syntax: str = EXPLICIT) -> int:
        """The context on which such objects go."""
        return next(
            n for n, offer in self.asked.contexts.items() if offer == (sop_class, (syntax,))
        )

    def store(self, uid: str, data: bytes, sop_class: str, message_id: int = 1) -> int:
        """A sub-operation of C-GET; the status with which it was answered."""
        context = self.context_for(sop_class)
        self.line.say(context, wire.store_rq(uid, message_id, sop_class), data)
        answer = self.line.read_message(*self.line.read_header(), lambda *_: None)
        self.statuses.append(answer.number(0x900))
        return self.statuses[-1]


Behave = Callable[[Peer], None]


@contextmanager
def lying_archive(behave: Behave) -> Iterator[tuple[Address, list[int]]]:
    """Accepts every context, and does with each request what the test says.

    Gives its address, and the statuses with which its sub-operations were answered.
    """
    statuses: list[int] = []

    def serve(connection: socket.socket) -> None:
        connection.settimeout(LIVENESS_S)
        threading.Thread(target=talk, args=(connection,), daemon=True).start()

    def talk(connection: socket.socket) -> None:
        line = Line(connection)
        with suppress(GoneError, OSError):
            asked = read_association(line.read(line.read_header()[1]))
            line.send(acceptance(asked, {n: one[1][0] for n, one in asked.contexts.items()}))
            while True:
                kind, length = line.read_header()
                if kind != wire.P_DATA:
                    line.read(length)
                    if kind == wire.RELEASE_RQ:
                        line.send(release_answer())
                    line.close()
                    return
                peer = Peer(line, asked, line.read_message(kind, length, lambda *_: None))
                peer.statuses = statuses
                behave(peer)

    with tcp_server(serve) as port:
        yield Address("127.0.0.1", port, "PACS", "SECONDREAD", 1.0), statuses


def match(**values: str) -> bytes:
    """An identifier in Explicit VR Little Endian; keys like ``StudyInstanceUID``."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    tags = {tag_for_keyword(keyword): value for keyword, value in values.items()}
    return b"".join(
        wire.element(tag, dictionary_VR(tag), value)
        for tag, value in sorted(tags.items())
        if tag is not None
    )


def made(uid: str, size: int = 20_000, *, study: str = STUDY, sop_class: str = CT) -> bytes:
    """A data set in Explicit VR Little Endian."""
    return b"".join(
        (
            wire.element(0x00080016, "UI", sop_class),
            wire.element(0x00080018, "UI", uid),
            wire.element(0x00100010, "PN", "Made^Up"),
            wire.element(0x00100020, "LO", "P7"),
            wire.element(0x0020000D, "UI", study),
            wire.element(0x0020000E, "UI", SERIES),
            wire.element(0x7FE00010, "OB", os.urandom(size)),
        )
    )


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it holds, but not for ever."""
    deadline = time.monotonic() + LIVENESS_S
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def as_header(length: int, kind: int = wire.P_DATA) -> bytes:
    """The header of a PDU of which nothing needs to follow."""
    return struct.pack(">BxI", kind, length)
