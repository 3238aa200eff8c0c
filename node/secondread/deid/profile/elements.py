"""Data elements as bytes: where each one lies, and how one is written (PS3.5 chapter 7).

Values are not decoded here. Everything is little endian; what is written has explicit VR and, for
sequences, defined lengths.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from secondread.errors import CannotUnderstandError

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_DATA = 0x7FE00010
DEPTH_MAX = 32
"""How deep sequences may nest; intake takes no deeper ones."""
_SHORT_VRS = frozenset(
    vr.encode() for vr in "AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split()
)
LONG_VRS = frozenset(vr.encode() for vr in "OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_HEADER, _LENGTH = struct.Struct("<HH2sH"), struct.Struct("<I")
_IMPLICIT = struct.Struct("<HHI")
_SHORT, _LONG = struct.Struct("<HH2sH"), struct.Struct("<HH2sHI")
_SHORT_MAX = 0xFFFE


class Element(NamedTuple):
    """Where an element's value lies; ``end`` is before a sequence's delimiter.

    Attributes:
        is_open: it has undefined length.
        is_implicit: its items, if it has any, are in Implicit VR.
    """

    tag: int
    vr: bytes
    start: int
    end: int
    is_open: bool
    is_implicit: bool


class Scanner:
    """Finds the elements of a data set in explicit or implicit VR.

    Args:
        buffer: the whole file, or an inflated data set.
        usual_vr: the VR of a tag in Implicit VR, ``UN`` if nobody knows.
    """

    def __init__(self, buffer: bytes, usual_vr: Callable[[int], bytes]) -> None:
        self._buffer = buffer
        self._usual_vr = usual_vr

    def elements(
        self, at: int, end: int, is_implicit: bool, depth: int = 0
    ) -> tuple[list[Element], int]:
        """The elements from ``at`` up to ``end`` or an item's delimiter, and where they end.

        Raises:
            CannotUnderstandError: the bytes are not a sound data set.
        """
        try:
            if is_implicit:
                return self._implicit(at, end, depth)
            return self._explicit(at, end, depth)
        except struct.error:
            raise CannotUnderstandError("A data set ends in the middle of an element.") from None

    def first(self, at: int, end: int) -> tuple[Element, int]:
        """The element at ``at``, in Explicit VR and of defined length, and where it ends."""
        try:
            group, number, vr, length = _HEADER.unpack_from(self._buffer, at)
            (long_length,) = _LENGTH.unpack_from(self._buffer, at + 8)
        except struct.error:
            raise CannotUnderstandError("The file meta information is cut short.") from None
        start, length = (at + 12, long_length) if vr in LONG_VRS else (at + 8, length)
        if start + length > end:
            raise CannotUnderstandError("The file meta information is cut short.")
        return Element(
            group << 16 | number, vr, start, start + length, False, False
        ), start + length

    def _explicit(self, at: int, end: int, depth: int) -> tuple[list[Element], int]:
        buffer, unpack = self._buffer, _HEADER.unpack_from
        found: list[Element] = []
        while at < end:
            group, number, vr, length = unpack(buffer, at)
            tag = group << 16 | number
            if vr in _SHORT_VRS:
                start = at + 8
            elif vr in LONG_VRS:
                (length,) = _LENGTH.unpack_from(buffer, at + 8)
                start = at + 12
                if length == UNDEFINED:
                    # PS3.5 6.2.2: the value of UN of undefined length is in Implicit VR.
                    implicit = vr == b"UN"
                    stop, at = self._skip(tag, start, end, implicit, depth)
                    found.append(Element(tag, vr, start, stop, True, implicit))
                    continue
            elif tag == ITEM_END:
                return found, at + 8
            else:
                raise CannotUnderstandError("A data set holds an element without a known VR.")
            at = start + length
            if at > end:
                raise CannotUnderstandError("A data set is cut short in the middle of a value.")
            found.append(Element(tag, vr, start, at, False, vr == b"UN"))
        return found, at

    def _implicit(self, at: int, end: int, depth: int) -> tuple[list[Element], int]:
        buffer, unpack, usual_vr = self._buffer, _IMPLICIT.unpack_from, self._usual_vr
        found: list[Element] = []
        while at < end:
            group, number, length = unpack(buffer, at)
            tag, start = group << 16 | number, at + 8
            if tag == ITEM_END:
                return found, start
            vr = usual_vr(tag)
            if length == UNDEFINED:
                vr = vr if tag == PIXEL_DATA else b"SQ"
                stop, at = self._skip(tag, start, end, True, depth)
                found.append(Element(tag, vr, start, stop, True, True))
                continue
            at = start + length
            if at > end:
                raise CannotUnderstandError("A data set is cut short in the middle of a value.")
            found.append(Element(tag, vr, start, at, False, True))
        return found, at

    def items(self, element: Element, depth: int = 0) -> list[tuple[int, int, list[Element]]]:
        """(start, end, elements) of each item of a sequence."""
        found, at = [], element.start
        while at < element.end:
            start, stop, at = self._item(at, element.end, element.is_implicit, depth)
            content, _ = self.elements(start, stop, element.is_implicit, depth + 1)
            found.append((start, stop, content))
        return found

    def fragments(self, element: Element) -> list[bytes]:
        """The items of encapsulated Pixel Data (PS3.5 A.4), the offset table first."""
        found, at = [], element.start
        while at < element.end:
            group, number, length = _IMPLICIT.unpack_from(self._buffer, at)
            if (group << 16 | number) != ITEM or at + 8 + length > element.end:
                raise CannotUnderstandError("The fragments of the pixel data are damaged.")
            found.append(self._buffer[at + 8 : at + 8 + length])
            at += 8 + length
        return found

    def _item(self, at: int, end: int, is_implicit: bool, depth: int) -> tuple[int, int, int]:
        """(start and end of the content, where the next item is)."""
        try:
            group, number, length = _IMPLICIT.unpack_from(self._buffer, at)
        except struct.error:
            raise CannotUnderstandError("A sequence is cut short.") from None
        if (group << 16 | number) != ITEM:
            raise CannotUnderstandError("A sequence holds something else than items.")
        start = at + 8
        if length != UNDEFINED:
            if start + length > end:
                raise CannotUnderstandError("An item is longer than its sequence.")
            return start, start + length, start + length
        _, following = self.elements(start, end, is_implicit, depth + 1)
        return start, following - 8, following

    def _skip(self, tag: int, at: int, end: int, is_implicit: bool, depth: int) -> tuple[int, int]:
        """Where the items of a sequence of undefined length end, and what follows it."""
        if depth >= DEPTH_MAX:
            raise too_deep()
        while True:
            group, number, length = _IMPLICIT.unpack_from(self._buffer, at)
            if (group << 16 | number) == SEQUENCE_END:
                return at, at + 8
            if tag == PIXEL_DATA:
                if (group << 16 | number) != ITEM or length == UNDEFINED:
                    raise CannotUnderstandError("The fragments of the pixel data are damaged.")
                at += 8 + length
            else:
                _, _, at = self._item(at, end, is_implicit, depth)
            if at > end:
                raise CannotUnderstandError("A sequence is cut short.")


def too_deep() -> CannotUnderstandError:
    """The error of a data set whose sequences nest without end."""
    return CannotUnderstandError(f"A data set has sequences nested more than {DEPTH_MAX} deep.")


def header(tag: int, vr: bytes, length: int) -> bytes:
    """The header of an element in Explicit VR."""
    if vr in LONG_VRS:
        return _LONG.pack(tag >> 16, tag & 0xFFFF, vr, 0, length)
    return _SHORT.pack(tag >> 16, tag & 0xFFFF, vr, length)


def encode(tag: int, vr: bytes, value: bytes) -> bytes:
    """An element in Explicit VR; a value of odd length is padded (PS3.5 6.2)."""
    if len(value) % 2:
        value += b"\0" if vr in (b"UI", b"OB", b"UN") else b" "
    if len(value) > _SHORT_MAX and vr not in LONG_VRS:
        # PS3.5 6.2.2: what is too long for its own VR is written as UN.
        raise CannotUnderstandError("A value is too long for its value representation.")
    return header(tag, vr, len(value)) + value


def encode_sequence(tag: int, items: list[bytes]) -> bytes:
    """A sequence of items that are encoded already."""
    content = b"".join(_IMPLICIT.pack(0xFFFE, 0xE000, len(item)) + item for item in items)
    return header(tag, b"SQ", len(content)) + content
