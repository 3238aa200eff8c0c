"""Reading the outline of a data set: every top-level element, to the last byte, no value decoded.

Intake has to know that an object is whole before it says Success. A parser that stops before the
pixels, or that takes what is left for a value, does not notice a data set that is cut short. This
walk follows the lengths of PS3.5 chapter 7 to the end and decodes nothing.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from secondread.errors import CannotUnderstandError, OutOfResourcesError

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"

PIXEL_DATA = 0x7FE00010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
# PS3.5 table 7.1-1: these have two reserved bytes and a length of four.
_LONG = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_SHORT = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_DEPTH_MAX = 64
_VALUE_MAX = 4096


@dataclass(frozen=True, slots=True)
class Outline:
    """What a data set holds at its top level.

    Attributes:
        values: the raw values of elements no longer than 4096 bytes, by tag as ``0xGGGGEEEE``.
        tags: all tags at the top level, in order.
        pixel_offset: byte offset of the Pixel Data value in the (inflated) data set, or -1.
        pixel_length: its length, or -1 where it is encapsulated.
        little_endian: the byte order of the values.
    """

    values: Mapping[int, bytes]
    tags: tuple[int, ...]
    pixel_offset: int
    pixel_length: int
    little_endian: bool

    def text(self, tag: int) -> str:
        """A value of a VR without character set (UI, CS, DA …), padding removed; '' if absent."""
        return self.values.get(tag, b"").decode("latin-1").rstrip(" \0").strip()

    def number(self, tag: int, default: int = 0) -> int:
        """A value of VR US."""
        raw = self.values.get(tag, b"")
        if len(raw) < 2:
            return default
        return int.from_bytes(raw[:2], "little" if self.little_endian else "big")

    def integer(self, tag: int, default: int) -> int:
        """The first value of VR IS; ``default`` where it is absent or not a number."""
        try:
            return int(self.text(tag).split("\\")[0])
        except ValueError:
            return default


def outline(data: memoryview, transfer_syntax_uid: str, inflated_max: int) -> Outline:
    """Walk a data set to its end.

    Args:
        data: the data set without preamble and file meta information.
        transfer_syntax_uid: how it is encoded.
        inflated_max: how many bytes a deflated data set may become.

    Raises:
        CannotUnderstandError: it is not a data set in that transfer syntax, or it is cut short.
        OutOfResourcesError: it is deflated and becomes larger than ``inflated_max``.
    """
    if transfer_syntax_uid == DEFLATED:
        data = memoryview(_inflate(data, inflated_max))
    walk = _Walk(
        data,
        implicit=transfer_syntax_uid == IMPLICIT_LITTLE,
        order=">" if transfer_syntax_uid == EXPLICIT_BIG else "<",
    )
    return walk.run()


def _inflate(data: memoryview, inflated_max: int) -> bytes:
    # PS3.5 A.5: raw deflate, no zlib header.
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = machine.decompress(data, inflated_max + 1)
    except zlib.error as error:
        raise CannotUnderstandError(f"The deflated data set is damaged: {error}.") from None
    if len(content) > inflated_max:
        raise OutOfResourcesError(
            f"The deflated data set is larger than {inflated_max} bytes when inflated."
        )
    if not machine.eof:
        raise CannotUnderstandError("The deflated data set is cut short.")
    return content


class _Walk:
    def __init__(self, data: memoryview, *, implicit: bool, order: str) -> None:
        self._data = data
        self._size = len(data)
        self._implicit = implicit
        self._order = order
        self._tag = struct.Struct(f"{order}HH")
        self._u16 = struct.Struct(f"{order}H")
        self._u32 = struct.Struct(f"{order}I")
        self._at = 0

    def run(self) -> Outline:
        values: dict[int, bytes] = {}
        tags: list[int] = []
        pixel_offset = pixel_length = -1
        while self._at < self._size:
            tag, vr, length = self._element(self._implicit)
            if tag >> 16 == 0xFFFE or (tags and tag <= tags[-1]):
                raise CannotUnderstandError(
                    f"The data set is not in order at byte {self._at}: "
                    f"({tag >> 16:04X},{tag & 0xFFFF:04X})."
                )
            if tag >> 16 in {0x0000, 0x0002}:
                raise CannotUnderstandError(
                    "The data set holds file meta information or command elements."
                )
            tags.append(tag)
            if tag == PIXEL_DATA:
                pixel_offset = self._at
                pixel_length = -1 if length == _UNDEFINED else length
            if length == _UNDEFINED:
                self._skip_undefined(tag, vr)
                continue
            start = self._at
            self._skip(length, tag)
            if length <= _VALUE_MAX:
                values[tag] = bytes(self._data[start : self._at])
        return Outline(values, tuple(tags), pixel_offset, pixel_length, self._order == "<")

    def _element(self, implicit: bool) -> tuple[int, bytes, int]:
        """Read tag, VR and length; leaves the position at the value."""
        at = self._at
        self._need(8, "an element")
        group, element = self._tag.unpack_from(self._data, at)
        tag = group << 16 | element
        if implicit or group == 0xFFFE:
            self._at = at + 8
            return tag, b"", self._u32.unpack_from(self._data, at + 4)[0]
        vr = bytes(self._data[at + 4 : at + 6])
        if vr in _SHORT:
            self._at = at + 8
            return tag, vr, self._u16.unpack_from(self._data, at + 6)[0]
        if vr not in _LONG:
            raise CannotUnderstandError(
                f"Element ({group:04X},{element:04X}) at byte {at} has no value representation; "
                "the data set is not in the transfer syntax that was agreed."
            )
        self._need(12, "an element")
        self._at = at + 12
        return tag, vr, self._u32.unpack_from(self._data, at + 8)[0]

    def _skip_undefined(self, tag: int, vr: bytes) -> None:
        """Walk over a value of undefined length: a sequence, or encapsulated fragments."""
        if not self._implicit and vr not in {b"SQ", b"UN", b"OB", b"OW"}:
            raise CannotUnderstandError(f"Element {tag:08X} may not have an undefined length.")
        # Each entry: are we among items (True) or among the elements of an item (False), and is
        # the encoding implicit there (PS3.5 6.2.2: UN of undefined length is implicit inside).
        fragments = vr in {b"OB", b"OW"} or tag == PIXEL_DATA
        stack: list[tuple[bool, bool]] = [(True, self._implicit or vr == b"UN")]
        while stack:
            among_items, implicit = stack[-1]
            at = self._at
            tag, vr, length = self._element(implicit)
            if among_items:
                if tag == _SEQUENCE_END:
                    stack.pop()
                elif tag != _ITEM:
                    raise CannotUnderstandError(f"A sequence at byte {at} holds no item.")
                elif length != _UNDEFINED:
                    self._skip(length, tag)
                elif fragments:
                    raise CannotUnderstandError("A fragment has no length (PS3.5 A.4).")
                else:
                    stack.append((False, implicit))
            elif tag == _ITEM_END:
                stack.pop()
            elif length != _UNDEFINED:
                self._skip(length, tag)
            else:
                stack.append((True, implicit or vr == b"UN"))
            if len(stack) > _DEPTH_MAX:
                raise CannotUnderstandError(
                    f"The data set nests sequences more than {_DEPTH_MAX // 2} deep."
                )

    def _skip(self, length: int, tag: int) -> None:
        if length > self._size - self._at:
            raise CannotUnderstandError(
                f"The data set is cut short: element ({tag >> 16:04X},{tag & 0xFFFF:04X}) needs "
                f"{length} bytes and {self._size - self._at} are left."
            )
        self._at += length

    def _need(self, count: int, what: str) -> None:
        if self._size - self._at < count:
            raise CannotUnderstandError(f"The data set is cut short in the middle of {what}.")
