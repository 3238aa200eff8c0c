"""Data elements as bytes, for what there is too much of to make a data set of each.

Explicit VR Little Endian, every length explicit (PS3.5 7.1.2 and 7.5).
"""

from __future__ import annotations

import struct

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.tag import Tag

_SHORT = struct.Struct("<HH2sH")
_LONG = struct.Struct("<HH2s2xI")
_ITEM = struct.Struct("<HHI")
_PADDING = {b"UI": b"\0"}


def encode_text(tag: int, vr: bytes, value: str) -> bytes:
    """An element of ASCII text, padded to an even length (PS3.5 6.2)."""
    encoded = value.encode("ascii")
    return encode_short(tag, vr, encoded + _PADDING.get(vr, b" ") * (len(encoded) % 2))


def encode_short(tag: int, vr: bytes, value: bytes) -> bytes:
    """An element whose length has 16 bits; the value is of even length."""
    return _SHORT.pack(tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def encode_item(content: bytes) -> bytes:
    """An item of a sequence."""
    return _ITEM.pack(0xFFFE, 0xE000, len(content)) + content


def encode_sequence(tag: int, items: bytes) -> bytes:
    """A sequence of items that are encoded already."""
    return _LONG.pack(tag >> 16, tag & 0xFFFF, b"SQ", len(items)) + items


def encode_dataset(dataset: Dataset) -> bytes:
    """The elements of a data set."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def raw_sequence(tag: int, items: bytes) -> RawDataElement:
    """A sequence for a data set, which pydicom writes as it is and parses when it is looked at."""
    return RawDataElement(Tag(tag), "SQ", len(items), items, 0, False, True)
