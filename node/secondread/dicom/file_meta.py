"""File meta information (PS3.10 7.1): what a DICOM file says it is, and where its data set starts.

It is read of files that strangers have written, too: nothing in it is trusted but its form.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from secondread.dicom.messages import is_uid

_PREFIX_AT, _START = 128, 132
_HEAD_BYTES = 2048
# Private information in file meta (0002,0102) may be long, but nothing that is sent has so much.
_META_BYTES_MAX = 1 << 20
_ELEMENT = struct.Struct("<HH2sH")
_LONG = frozenset({b"OB", b"OW", b"UN", b"UT", b"SQ", b"UC", b"UR", b"OD", b"OF", b"OL", b"OV"})
_META_GROUP = 0x0002
_GROUP_LENGTH, _SOP_CLASS, _SOP_INSTANCE, _TRANSFER_SYNTAX = 0x0000, 0x0002, 0x0003, 0x0010


@dataclass(frozen=True, slots=True)
class FileMeta:
    """What a file says it is; ``offset`` is where its data set starts, in bytes."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    offset: int


def read_file_meta(descriptor: int) -> FileMeta | None:
    """The file meta information of an open file; None where it is no such file, or has no data set.

    Raises:
        OSError: it cannot be read.
    """
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
        for element in (_SOP_CLASS, _SOP_INSTANCE, _TRANSFER_SYNTAX)
    ]
    if end is None or end >= size or not all(map(is_uid, uids)):
        return None
    sop_class_uid, sop_instance_uid, transfer_syntax_uid = uids
    return FileMeta(sop_class_uid, sop_instance_uid, transfer_syntax_uid, end)


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
