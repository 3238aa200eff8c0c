"""Data elements as bytes of Implicit VR Little Endian (PS3.5 7.1.3), every length explicit.

As ``elements``, for objects whose values are too long for a length of 16 bits.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

_HEAD = struct.Struct("<HHI")


def encode_text(tag: int, value: str, padding: bytes = b" ") -> bytes:
    """An element of ASCII text, padded to an even length; UIDs with zero (PS3.5 6.2)."""
    encoded = value.encode("ascii")
    return _encode(tag, encoded + padding * (len(encoded) % 2))


def encode_item(content: bytes) -> bytes:
    """An item of a sequence."""
    return _HEAD.pack(0xFFFE, 0xE000, len(content)) + content


def encode_items(tag: int, items: Iterable[bytes]) -> bytes:
    """A sequence of items that are encoded already."""
    return _encode(tag, b"".join(items))


def raw_sequence(tag: int, items: bytes) -> RawDataElement:
    """A sequence for a data set, which pydicom writes as it is and parses when it is looked at."""
    return RawDataElement(Tag(tag), "SQ", len(items), items, 0, True, True)


def _encode(tag: int, value: bytes) -> bytes:
    return _HEAD.pack(tag >> 16, tag & 0xFFFF, len(value)) + value
