"""The head of a stored file: preamble, file meta information, and the seal in the preamble.

PS3.10 7.1 leaves the 128 bytes of the preamble to the implementation. The node keeps size and
digest of the data set there, so that a file that a crash left half written is told from a whole
one without the ledger. For a large object there is no digest in the seal, because its sender should
not wait for it.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from secondread.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from secondread.errors import CannotUnderstandError
from secondread.intake.examine import Announcement

_PREAMBLE_BYTES = 128
_START = bytes(_PREAMBLE_BYTES) + b"DICM"
_MAGIC = b"SecondRead1\0"
_SEAL = struct.Struct("<12sQ32s")
_FIRST = _PREAMBLE_BYTES + 4 + 12
_HEAD_MAX = 4096
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class FileHeader:
    """What a stored file says about itself; ``data_offset`` is where its data set starts."""

    path: Path
    announced: Announcement
    ae_title: str
    data_offset: int


def file_header(announced: Announcement, ae_title: str) -> bytes:
    """An unsealed preamble and the file meta information (PS3.10 7.1) for what a peer announced."""
    before, after = _frame(announced.sop_class_uid, announced.transfer_syntax_uid, ae_title)
    body = before + _element(0x0003, b"UI", announced.sop_instance_uid.encode()) + after
    return _START + _element(0, b"UL", struct.pack("<I", len(body))) + body


@lru_cache(maxsize=64)
def _frame(sop_class_uid: str, transfer_syntax_uid: str, ae_title: str) -> tuple[bytes, bytes]:
    """What stands before and after the SOP Instance UID; the same for a whole series."""
    before = (
        _element(0x0001, b"OB", b"\x00\x01"),
        _element(0x0002, b"UI", sop_class_uid.encode()),
    )
    after = (
        _element(0x0010, b"UI", transfer_syntax_uid.encode()),
        _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID.encode()),
        _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode()),
        _element(0x0016, b"AE", ae_title.encode("latin-1", "replace")),
    )
    return b"".join(before), b"".join(after)


def seal(size_bytes: int, sha256: bytes) -> bytes:
    """What belongs at the beginning of the preamble once the data set is whole.

    ``sha256`` is empty where it is not known.
    """
    return _SEAL.pack(_MAGIC, size_bytes, sha256)


def _element(element: int, vr: bytes, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    if vr == b"OB":
        return struct.pack("<HH2s2xI", 2, element, vr, len(value)) + value
    return struct.pack("<HH2sH", 2, element, vr, len(value)) + value


def read_file_header(path: Path) -> FileHeader:
    """Read a header that ``file_header`` made.

    Raises:
        CannotUnderstandError: it is not such a header.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(_HEAD_MAX)
    if len(content) < _FIRST or content[_PREAMBLE_BYTES : _PREAMBLE_BYTES + 4] != b"DICM":
        raise CannotUnderstandError("The file is not a DICOM file.")
    (length,) = struct.unpack_from("<I", content, _FIRST - 4)
    at, end = _FIRST, _FIRST + length
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
    return FileHeader(path, announced, values[0x0016], end)


def is_whole(header: FileHeader) -> bool:
    """Whether the data set is the one that the seal speaks of; reads the whole file.

    A file of an older version has no seal and counts as whole: it was synced before it got its
    name.
    """
    seal_found = _read_seal(header.path)
    if seal_found is None:
        return header.path.stat().st_size > header.data_offset
    size, digest = seal_found
    return _measure(header) == (size, digest) if digest else size == _size(header)


def digest_of(path: Path) -> bytes:
    """SHA-256 of the data set of a stored file: from its seal, or by reading it.

    Raises:
        CannotUnderstandError: it is not a stored file.
        OSError: it cannot be read.
    """
    seal_found = _read_seal(path)
    if seal_found is not None and seal_found[1]:
        return seal_found[1]
    return _measure(read_file_header(path))[1]


def _read_seal(path: Path) -> tuple[int, bytes] | None:
    with path.open("rb") as file:
        start = file.read(_SEAL.size)
    if len(start) < _SEAL.size or not start.startswith(_MAGIC):
        return None
    _, size, digest = _SEAL.unpack(start)
    return size, digest if any(digest) else b""


def _size(header: FileHeader) -> int:
    return header.path.stat().st_size - header.data_offset


def _measure(header: FileHeader) -> tuple[int, bytes]:
    digest = hashlib.sha256()
    size = 0
    with header.path.open("rb") as file:
        file.seek(header.data_offset)
        while piece := file.read(_PIECE):
            digest.update(piece)
            size += len(piece)
    return size, digest.digest()
