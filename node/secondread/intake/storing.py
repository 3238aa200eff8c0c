"""Keeping one object: on disk, in the ledger, and only then Success."""

from __future__ import annotations

import hashlib
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from secondread.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from secondread.domain.clock import Clock
from secondread.domain.instance import Instance
from secondread.errors import (
    CannotUnderstandError,
    ConflictingInstanceError,
    IntakeError,
    OutOfResourcesError,
)
from secondread.intake.examine import Announcement, Identity, examine
from secondread.store import Ledger, Spool
from secondread.store.spool import write_synced

_MAGIC_OFFSET = 128


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the node takes; in bytes."""

    object_bytes: int
    minimum_free_bytes: int


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends: the peer's name, its AE title, and the quiet time of its studies in seconds."""

    peer: str
    ae_title: str
    quiet_s: float


class ObjectStore:
    """Stores what arrives; used by all associations at once.

    One process owns the spool, so locks in memory are enough to keep two associations that bring
    the same SOP Instance UID apart.
    """

    def __init__(self, ledger: Ledger, spool: Spool, limits: Limits, clock: Clock) -> None:
        self._ledger = ledger
        self._spool = spool
        self._limits = limits
        self._clock = clock
        self._locks = tuple(threading.Lock() for _ in range(64))

    def store(self, data: bytes, announced: Announcement, sender: Sender) -> bool:
        """Store a data set; when this returns, a power cut cannot take it.

        Returns:
            False where the same object with the same content was here already.

        Raises:
            IntakeError: it was not stored; the error knows its DIMSE status.
            LedgerError: likewise.
        """
        self._check_space(len(data))
        identity = examine(memoryview(data), announced, self._limits.object_bytes)
        path = self._spool.object_path(identity.sop_instance_uid)
        relative = self._spool.relative(path)
        record = _record(identity, announced, data, relative, sender.peer, self._clock.now())
        with self._lock_of(record.sop_instance_uid):
            with self._ledger.read() as view:
                known = view.instances.find(record.sop_instance_uid)
            if known is not None:
                return self._compare(known, record, data, sender)
            self._write(path, file_header(record, sender.ae_title) + data)
            with self._ledger.begin() as change:
                change.instances.add(record)
                change.studies.add_instance(record, sender.quiet_s)
        return True

    def adopt_orphans(
        self, sender_of: Callable[[str], Sender]
    ) -> Iterator[tuple[str, IntakeError | None]]:
        """Take files into the ledger whose row a power cut took; set unreadable ones aside.

        Args:
            sender_of: finds the sender by its AE title, which the file names.

        Yields:
            The file's name and, where it could not be adopted, why.
        """
        with self._ledger.read() as view:
            known = view.instances.paths()
        for path in self._spool.stored():
            if (relative := self._spool.relative(path)) in known:
                continue
            content = path.read_bytes()
            try:
                header = read_file_header(content)
                data = content[header.size :]
                identity = examine(memoryview(data), header.announced, self._limits.object_bytes)
            except IntakeError as error:
                yield self._spool.set_aside(path).name, error
                continue
            sender = sender_of(header.ae_title)
            now = self._clock.now()
            record = _record(identity, header.announced, data, relative, sender.peer, now)
            with self._ledger.begin() as change:
                change.instances.add(record)
                change.studies.add_instance(record, sender.quiet_s)
            yield path.name, None

    def _lock_of(self, sop_instance_uid: str) -> threading.Lock:
        return self._locks[hash(sop_instance_uid) % len(self._locks)]

    def _check_space(self, size: int) -> None:
        if size > self._limits.object_bytes:
            raise OutOfResourcesError(
                f"The object has {size} bytes; this node takes {self._limits.object_bytes}."
            )
        if self._spool.free_bytes() - size < self._limits.minimum_free_bytes:
            raise OutOfResourcesError("Too little disk space is left to take the object.")

    def _write(self, path: Path, content: bytes) -> None:
        temporary = self._spool.new_incoming()
        try:
            write_synced(temporary, content)
            self._spool.put(temporary, path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise OutOfResourcesError(
                f"The object could not be written: {error.strerror}."
            ) from None

    def _compare(self, known: Instance, record: Instance, data: bytes, sender: Sender) -> bool:
        if record.sha256 == known.sha256:
            return False
        place = self._spool.new_quarantine()
        self._write(place, file_header(record, sender.ae_title) + data)
        raise ConflictingInstanceError(
            "An object with this SOP Instance UID and other content is here already; the first "
            f"is kept, this one is in quarantine as {place.name}."
        )


def _record(
    identity: Identity,
    announced: Announcement,
    data: bytes,
    path: str,
    peer: str,
    received_at: float,
) -> Instance:
    return Instance(
        sop_instance_uid=identity.sop_instance_uid,
        sop_class_uid=identity.sop_class_uid,
        study_instance_uid=identity.study_instance_uid,
        series_instance_uid=identity.series_instance_uid,
        transfer_syntax_uid=announced.transfer_syntax_uid,
        path=path,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        peer=peer,
        received_at=received_at,
    )


@dataclass(frozen=True, slots=True)
class FileHeader:
    """What a stored file says about itself; ``size`` is where its data set starts."""

    announced: Announcement
    ae_title: str
    size: int


def file_header(record: Instance, ae_title: str) -> bytes:
    """Preamble and file meta information (PS3.10 7.1) for a data set that this AE title sent."""
    body = b"".join(
        (
            _element(0x0001, b"OB", b"\x00\x01"),
            _element(0x0002, b"UI", record.sop_class_uid.encode()),
            _element(0x0003, b"UI", record.sop_instance_uid.encode()),
            _element(0x0010, b"UI", record.transfer_syntax_uid.encode()),
            _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID.encode()),
            _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode()),
            _element(0x0016, b"AE", ae_title.encode("latin-1", "replace")),
        )
    )
    return bytes(_MAGIC_OFFSET) + b"DICM" + _element(0, b"UL", struct.pack("<I", len(body))) + body


def _element(element: int, vr: bytes, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    if vr == b"OB":
        return struct.pack("<HH2s2xI", 2, element, vr, len(value)) + value
    return struct.pack("<HH2sH", 2, element, vr, len(value)) + value


def read_file_header(content: bytes) -> FileHeader:
    """Read a header that ``file_header`` wrote.

    Raises:
        CannotUnderstandError: it is not such a header.
    """
    first = _MAGIC_OFFSET + 4 + 12
    if content[_MAGIC_OFFSET : _MAGIC_OFFSET + 4] != b"DICM" or len(content) < first:
        raise CannotUnderstandError("The file is not a DICOM file.")
    (length,) = struct.unpack_from("<I", content, first - 4)
    at, end = first, first + length
    values: dict[int, str] = {}
    while at + 12 <= min(end, len(content)):
        _, element, vr, size = struct.unpack_from("<HH2sH", content, at)
        at += 8
        if vr == b"OB":
            (size,) = struct.unpack_from("<I", content, at)
            at += 4
        values[element] = content[at : at + size].decode("latin-1").rstrip("\0 ")
        at += size
    if at != end or not {0x0002, 0x0003, 0x0010, 0x0016} <= set(values):
        raise CannotUnderstandError("The file meta information is damaged.")
    announced = Announcement(values[0x0002], values[0x0003], values[0x0010])
    return FileHeader(announced, values[0x0016], end)
