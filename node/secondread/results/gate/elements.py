"""Nested data elements as plain records: Explicit VR Little Endian (PS3.5 7.1.2 and 7.5).

A segmentation has thousands of functional groups, and most of them are the same bytes. They are
taken apart here, without a data set for each, so that the gate costs little beside the writing.
"""

from __future__ import annotations

import struct
from typing import Union

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.tag import Tag

Node = dict[int, Union[bytes, "list[Node]"]]
"""Value of each element by its tag: bytes, or the items of a sequence."""

_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
_ITEM_END_BYTES = b"\xfe\xff\x0d\xe0"
_UNDEFINED = 0xFFFF_FFFF
_LONG = frozenset({b"SQ", b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UC", b"UR", b"UT", b"UN"})
_HEADER = struct.Struct("<HH2sH")
_LENGTH = struct.Struct("<I")
_ITEM_HEADER = struct.Struct("<HHI")


Seen = dict[bytes, "list[Node]"]
"""Sequences that were taken apart before: most codes of a report are there many times."""

_SHORT_SEQUENCE = 256


def tag_of(keyword: str) -> int:
    """A tag as a plain number, which is found in a node twice as fast as the library's own."""
    return int(Tag(keyword))


def encode_item(item: Dataset) -> bytes:
    """An item's elements as bytes, for data sets that were read from another encoding."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, item)
    return buffer.getvalue()


def read_items(header: Dataset, keyword: str) -> list[bytes]:
    """The items of a sequence of a data set, each as the bytes of its elements.

    Raises:
        ValueError: it is no sequence of items, or one of them is cut short.
    """
    if keyword not in header:
        return []
    raw: object = header.get_item(keyword)
    explicit = header.original_encoding == (False, True)
    if isinstance(raw, RawDataElement) and isinstance(raw.value, bytes) and explicit:
        return split_items(raw.value)
    found = header[keyword].value
    return [encode_item(item) for item in found or ()]


def read_sequence(header: Dataset, keyword: str) -> list[Node]:
    """The items of a sequence of a data set.

    Raises:
        ValueError: it is no sequence of items, or one of them is cut short.
    """
    seen: Seen = {}
    return [_parse(item, 0, len(item), seen)[0] for item in read_items(header, keyword)]


def split_items(data: bytes) -> list[bytes]:
    """The items of a sequence of explicit length, each as the bytes of its elements.

    Raises:
        ValueError: it is no sequence of items, or one of them is cut short.
    """
    items, at = [], 0
    while at + 8 <= len(data):
        tag, length, at = _read_item(data, at)
        if tag == _SEQUENCE_END:
            break
        if tag != _ITEM:
            raise ValueError("no item where one should be")
        if length == _UNDEFINED:
            end = _parse(data, at, len(data), {})[1]
            items.append(data[at : end - 8])
        else:
            end = at + length
            items.append(data[at:end])
        if end > len(data):
            raise ValueError("an item is cut short")
        at = end
    return items


def split_elements(data: bytes) -> dict[int, bytes]:
    """The elements of an item by their tags, as bytes with their headers.

    Raises:
        ValueError: one of them is cut short.
    """
    found, at = {}, 0
    while at < len(data):
        tag, vr, length, start = _read_header(data, at)
        end = start + length
        if length == _UNDEFINED:
            end = _parse_items(data, start, len(data), _UNDEFINED, {})[1] if vr == b"SQ" else -1
        if not start <= end <= len(data):
            raise ValueError("an element is cut short")
        found[tag] = data[at:end]
        at = end
    return found


def parse(data: bytes, seen: Seen | None = None) -> Node:
    """The elements of one item.

    Args:
        data: the item, without its header.
        seen: what was taken apart of other items, for those that have much in common.

    Raises:
        ValueError: one of them is cut short.
    """
    return _parse(data, 0, len(data), {} if seen is None else seen)[0]


def _parse(data: bytes, at: int, end: int, seen: Seen) -> tuple[Node, int]:
    node: Node = {}
    while at < end:
        if data[at : at + 4] == _ITEM_END_BYTES:
            return node, at + 8
        tag, vr, length, start = _read_header(data, at)
        at = start + length
        if vr == b"SQ":
            if length > _SHORT_SEQUENCE:
                node[tag], at = _parse_items(data, start, end, length, seen)
                continue
            content = data[start:at]
            known = seen.get(content)
            if known is None:
                known = seen[content] = _parse_items(data, start, end, length, seen)[0]
            node[tag] = known
        else:
            node[tag] = data[start:at]
        if at > end:
            raise ValueError("an element is cut short")
    return node, at


def _parse_items(data: bytes, at: int, end: int, length: int, seen: Seen) -> tuple[list[Node], int]:
    items: list[Node] = []
    stop = end if length == _UNDEFINED else at + length
    if stop > end:
        raise ValueError("a sequence is cut short")
    while at < stop:
        tag, size, at = _read_item(data, at)
        if tag == _SEQUENCE_END:
            return items, at
        if tag != _ITEM:
            raise ValueError("no item where one should be")
        node, at = _parse(data, at, stop if size == _UNDEFINED else at + size, seen)
        items.append(node)
    return items, at


def _read_item(data: bytes, at: int) -> tuple[int, int, int]:
    group, element, length = _ITEM_HEADER.unpack_from(data, at)
    return group << 16 | element, length, at + 8


def _read_header(data: bytes, at: int) -> tuple[int, bytes, int, int]:
    """Tag, VR, length and where the value starts."""
    group, element, vr, length = _HEADER.unpack_from(data, at)
    if vr in _LONG:
        return group << 16 | element, vr, _LENGTH.unpack_from(data, at + 8)[0], at + 12
    return group << 16 | element, vr, length, at + 8


def items_of(node: Node, tag: int) -> list[Node]:
    """The items of a sequence; none where it is absent."""
    found = node.get(tag)
    return found if isinstance(found, list) else []


def text_of(node: Node, tag: int) -> str:
    """A value of characters, without its padding; '' where it is absent."""
    found = node.get(tag)
    return found.decode("latin-1").strip(" \0") if isinstance(found, bytes) else ""


def count_of(node: Node, tag: int) -> int:
    """A value of VR US or UL; 0 where it is absent."""
    found = node.get(tag)
    return int.from_bytes(found, "little") if isinstance(found, bytes) else 0


def numbers_of(node: Node, tag: int) -> tuple[float, ...]:
    """The values of a VR DS; none where it is absent."""
    text = text_of(node, tag)
    return tuple(float(part) for part in text.split("\\")) if text else ()
