"""Objects that are fetched: each goes to a temporary file, is looked at, and is handed over.

Nothing is held in memory but one piece. What is handed over is whole to its last element, says
in itself what it was announced as, belongs to what was asked for, and is on disk.
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from secondread.delivery.object_file import Kind, ObjectFile, open_object
from secondread.delivery.query import TooMuchError
from secondread.delivery.wanted import SERIES, SOP_INSTANCE, STUDY, Wanted
from secondread.dicom.messages import MESSAGE_SYNTAXES, Element, write_message
from secondread.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from secondread.dicom.walk import Outline, Walker
from secondread.errors import (
    CannotUnderstandError,
    DataSetMismatchError,
    DeliveryError,
    IntakeError,
    OutOfResourcesError,
    WriteFailedError,
)

_SOP_CLASS = 0x00080016
_PREFIX, _SUFFIX = "arrival-", ".part"
_PREAMBLE = bytes(128) + b"DICM"
_PIECE_BYTES = 1 << 20
_LOOK_EACH_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Landing:
    """Where objects go until they are handed over, and how much is taken in one retrieval.

    Attributes:
        folder: is there already, on the file system where the objects will stay.
        object_bytes_max: of one object.
        bytes_max: of all objects together.
        objects_max: how many objects.
        free_bytes_min: what has to stay free on the file system.
    """

    folder: Path
    object_bytes_max: int = 8 << 30
    bytes_max: int = 256 << 30
    objects_max: int = 100_000
    free_bytes_min: int = 256 << 20


@dataclass(frozen=True, slots=True)
class Received:
    """An object that came: a DICOM file that its receiver may move away, and what it is.

    ``size_bytes`` is of the data set alone.
    """

    path: Path
    kind: Kind
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    size_bytes: int


Receive = Callable[[Received], None]
"""Takes an object; returns when it is kept durably, for then the peer is told so.

It is called in the thread of the retrieval, so a slow one slows the peer down. The file is on disk
and is removed afterwards where it was not moved away. An IntakeError is the answer for this object
and its status goes to the peer; OutOfResourcesError and everything else end the retrieval.
"""


class Arrivals:
    """The objects of one retrieval; for one thread."""

    def __init__(self, wanted: Wanted, landing: Landing, receive: Receive) -> None:
        self.received = 0
        """Objects that were taken."""
        self.refused = 0
        """Objects that came and were not taken."""
        self._wanted = wanted
        self._landing = landing
        self._receive = receive
        self._objects = 0
        self._size_bytes = 0

    def begin(self) -> Arrival:
        """A file for the next object.

        Raises:
            TooMuchError: that many were not asked for.
            WriteFailedError: there is too little space.
        """
        self._count()
        return Arrival(self._landing, self._landing.bytes_max - self._size_bytes)

    def refuse(self) -> None:
        """Count an object that was not even begun.

        Raises:
            TooMuchError: that many were not asked for.
        """
        self._count()
        self.refused += 1

    def hand_over(self, arrival: Arrival, announced_uid: str = "") -> None:
        """Have an object that is whole taken; its file is gone afterwards.

        Args:
            arrival: its file.
            announced_uid: the SOP Instance UID that the peer named; "" where it names none.

        Raises:
            IntakeError: it is not taken; counted already, but for OutOfResourcesError.
        """
        try:
            arrival.finish()
            self._size_bytes += arrival.size_bytes
            found = self._examine(arrival.path)
            if announced_uid not in ("", found.sop_instance_uid):
                raise DataSetMismatchError("The object is another than the one announced.")
            self._receive(found)
        except OutOfResourcesError:
            raise
        except IntakeError:
            self.refused += 1
            raise
        finally:
            arrival.discard()
        self.received += 1

    def _count(self) -> None:
        self._objects += 1
        if self._objects > self._landing.objects_max:
            raise TooMuchError(
                f"More than {self._landing.objects_max} objects came, which nobody asked for; the "
                "retrieval was broken off. See the log of the archive."
            )

    def _examine(self, path: Path) -> Received:
        try:
            with open_object(path) as file:
                outline = _walk(file, self._landing.object_bytes_max)
                kind, uid, size_bytes = file.kind, file.sop_instance_uid, file.size_bytes
        except DeliveryError:
            raise CannotUnderstandError("What came is not a DICOM file.") from None
        names = [outline.text(tag) for tag in (_SOP_CLASS, SOP_INSTANCE)]
        if names != [kind.sop_class_uid, uid]:
            raise DataSetMismatchError("File meta information and data set name different objects.")
        study_uid, series_uid = outline.text(STUDY), outline.text(SERIES)
        if not self._wanted.includes(study_uid, series_uid, uid):
            raise DataSetMismatchError("The object does not belong to what was asked for.")
        return Received(path, kind, study_uid, series_uid, uid, size_bytes)


@dataclass(slots=True)
class Arrival:
    """The temporary file of one object."""

    landing: Landing
    left_bytes: int
    path: Path = field(init=False)
    size_bytes: int = field(default=0, init=False)
    _descriptor: int = field(default=-1, init=False)
    _looked_at: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Make it.

        Raises:
            WriteFailedError: it cannot be made, or there is too little space.
        """
        try:
            self._descriptor, name = tempfile.mkstemp(_SUFFIX, _PREFIX, self.landing.folder)
        except OSError as error:
            raise _cannot_write(error) from None
        self.path = Path(name)
        try:
            self._look()
        except BaseException:
            self.discard()
            raise

    def write(self, piece: bytes | memoryview) -> None:
        """Append to it.

        Raises:
            TooMuchError: it is larger than may be.
            WriteFailedError: the disk does not take it.
        """
        self.size_bytes += len(piece)
        if self.size_bytes > min(self.landing.object_bytes_max, self.left_bytes):
            raise TooMuchError(
                f"An object of more than {self.landing.object_bytes_max >> 20} MiB came, or more "
                f"than {self.landing.bytes_max >> 20} MiB in all; the retrieval was broken off."
            )
        if self.size_bytes - self._looked_at > _LOOK_EACH_BYTES:
            self._looked_at = self.size_bytes
            self._look()
        left = memoryview(piece)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError as error:
            raise _cannot_write(error) from None

    def finish(self) -> None:
        """Have it on disk.

        Raises:
            WriteFailedError: the disk does not take it.
        """
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise _cannot_write(error) from None

    def discard(self) -> None:
        """Remove it, where it was not moved away; safe to call twice."""
        if self._descriptor >= 0:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1
        with suppress(OSError):
            self.path.unlink()

    def _look(self) -> None:
        try:
            free_bytes = shutil.disk_usage(self.landing.folder).free
        except OSError as error:
            raise _cannot_write(error) from None
        if free_bytes < self.landing.free_bytes_min:
            raise WriteFailedError(
                f"Only {free_bytes >> 20} MiB are free where fetched objects go; the retrieval was "
                "broken off. Make room, then ask again."
            )


def discard_leftovers(folder: Path) -> int:
    """Remove what retrievals left that were killed; returns how many files.

    Only when no retrieval uses the folder.
    """
    count = 0
    for path in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
        with suppress(OSError):
            path.unlink()
            count += 1
    return count


def file_start(kind: Kind, sop_instance_uid: str, ae_title: str) -> bytes:
    """What stands before a data set in a file (PS3.10 7.1); ``ae_title`` is whose it was."""
    elements: list[Element] = [
        (0x00020001, "OB", b"\x00\x01"),
        (0x00020002, "UI", kind.sop_class_uid),
        (0x00020003, "UI", sop_instance_uid),
        (0x00020010, "UI", kind.transfer_syntax_uid),
        (0x00020012, "UI", IMPLEMENTATION_CLASS_UID),
        (0x00020013, "SH", IMPLEMENTATION_VERSION_NAME),
        (0x00020016, "AE", ae_title),
    ]
    explicit = MESSAGE_SYNTAXES[0]
    meta = write_message(elements, explicit)
    length: Element = (0x00020000, "UL", struct.pack("<I", len(meta)))
    return _PREAMBLE + write_message([length], explicit) + meta


def _walk(file: ObjectFile, inflated_max: int) -> Outline:
    walker = Walker(file.kind.transfer_syntax_uid, inflated_max)
    at = file.offset
    try:
        while piece := os.pread(file.descriptor, _PIECE_BYTES, at):
            walker.feed(memoryview(piece))
            at += len(piece)
        return walker.finish()
    except OSError as error:
        raise _cannot_write(error) from None
    except OutOfResourcesError:
        raise CannotUnderstandError("The object inflates to more than may be.") from None


def _cannot_write(error: OSError) -> WriteFailedError:
    return WriteFailedError(
        f"A fetched object could not be kept ({error.strerror}); the retrieval was broken off. "
        "Look at the disk, then ask again."
    )
