"""A DICOM file as a sender sees it: what it is, and where its data set starts (PS3.10 7.1)."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from secondread.dicom.messages import is_uid
from secondread.errors import DeliveryError

_PREFIX_AT, _START = 128, 132
_HEAD_BYTES = 2048
# Private information in file meta (0002,0102) may be long, but nothing that is sent has so much.
_META_BYTES_MAX = 1 << 20
_ELEMENT = struct.Struct("<HH2sH")
_LONG = frozenset({b"OB", b"OW", b"UN", b"UT", b"SQ", b"UC", b"UR", b"OD", b"OF", b"OL", b"OV"})
_META_GROUP = 0x0002
_GROUP_LENGTH, _SOP_CLASS, _SOP_INSTANCE, _TRANSFER_SYNTAX = 0x0000, 0x0002, 0x0003, 0x0010


@dataclass(frozen=True, slots=True)
class Kind:
    """What an association must have a context for: a SOP class in a transfer syntax."""

    sop_class_uid: str
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True)
class ObjectFile:
    """An open DICOM file.

    Attributes:
        descriptor: the system's number of the open file.
        kind: what its file meta information says it is.
        sop_instance_uid: which one it is.
        offset: where the data set starts, in bytes.
        size_bytes: of the data set alone.
    """

    descriptor: int
    kind: Kind
    sop_instance_uid: str
    offset: int
    size_bytes: int


@contextmanager
def open_object(path: Path) -> Iterator[ObjectFile]:
    """Open a file and read its file meta information.

    Raises:
        DeliveryError: it cannot be read, or is no DICOM file that could be sent.
    """
    try:
        # A pipe that nobody writes to would be waited for without O_NONBLOCK.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise DeliveryError(f"The file cannot be read ({error.strerror}).") from None
    try:
        try:
            found = _read(descriptor)
        except OSError as error:
            raise DeliveryError(f"The file cannot be read ({error.strerror}).") from None
        if found is None:
            raise DeliveryError(
                "The file is not a DICOM file with file meta information and a data set, so that "
                "it cannot be sent."
            )
        yield found
    finally:
        os.close(descriptor)


def kinds_of(paths: Iterable[Path]) -> tuple[Kind, ...]:
    """What an association for these files must have contexts for; others than DICOM's are left out.

    In the order in which each comes first.
    """
    kinds: dict[Kind, None] = {}
    for path in paths:
        try:
            with open_object(path) as found:
                kinds[found.kind] = None
        except DeliveryError:
            continue
    return tuple(kinds)


def _read(descriptor: int) -> ObjectFile | None:
    size = os.fstat(descriptor).st_size
    for most in (_HEAD_BYTES, _META_BYTES_MAX):
        head = os.pread(descriptor, most, 0)
        if head[_PREFIX_AT:_START] != b"DICM":
            return None
        values, end = _meta(head)
        # Where another element of the data set follows, file meta is known to have ended.
        if end is not None or len(head) < most:
            break
    uids = [
        values.get(element, b"").decode("latin-1").rstrip("\0 ")
        for element in (_SOP_CLASS, _TRANSFER_SYNTAX, _SOP_INSTANCE)
    ]
    if end is None or end >= size or not all(map(is_uid, uids)):
        return None
    return ObjectFile(descriptor, Kind(uids[0], uids[1]), uids[2], end, size - end)


def _meta(head: bytes) -> tuple[dict[int, bytes], int | None]:
    """The elements of group 0002, always in Explicit VR Little Endian, and where they end.

    None where the end is not in ``head``. Some files have no group length, or a wrong one, so that
    an element of another group is an end as well.
    """
    values: dict[int, bytes] = {}
    at, declared = _START, -1
    while len(head) - at >= _ELEMENT.size:
        group, element, vr, length = _ELEMENT.unpack_from(head, at)
        if group != _META_GROUP or (at == declared and _TRANSFER_SYNTAX in values):
            return values, at
        start = at + _ELEMENT.size
        if vr in _LONG:
            if len(head) - start < 4:
                break
            length = int.from_bytes(head[start : start + 4], "little")
            start += 4
        if length > len(head) - start:
            break
        values[element] = head[start : start + length]
        at = start + length
        if element == _GROUP_LENGTH and length == 4:
            declared = at + int.from_bytes(values[element], "little")
    return values, None
