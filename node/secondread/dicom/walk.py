"""Walking through a data set as it arrives: to the last byte, in little memory, decoding nothing.

Intake has to know that an object is whole before it says Success. A parser that stops before the
pixels, or that takes what is left for a value, does not notice a data set that is cut short. This
walk follows the lengths of PS3.5 chapter 7 to the end, whatever the pieces in which the bytes
come. It keeps the short values that somebody asks for, and counts its way past everything else.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import repeat

from secondread.dicom.inflate import Inflater
from secondread.dicom.planes import MODALITY_LUT_SEQUENCE, PER_FRAME_GROUPS
from secondread.dicom.traits import CLASSIC
from secondread.errors import CannotUnderstandError, OutOfResourcesError

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"

FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA, PIXEL_DATA = 0x7FE00008, 0x7FE00009, 0x7FE00010
PIXEL_TAGS = frozenset({FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA, PIXEL_DATA})

NOTED = PIXEL_TAGS | {MODALITY_LUT_SEQUENCE, PER_FRAME_GROUPS}
"""Elements whose presence is noted but not their value; all have a length of 32 bits."""

WANTED = frozenset(
    {
        # Image Type, SOP Class UID, SOP Instance UID, Modality, Slice Thickness
        *(0x00080008, 0x00080016, 0x00080018, 0x00080060, 0x00180050),
        # Study and Series Instance UID; Series, Acquisition and Instance Number
        *(0x0020000D, 0x0020000E, 0x00200011, 0x00200012, 0x00200013),
        # Image Position and Orientation (Patient), Frame of Reference UID
        *(0x00200032, 0x00200037, 0x00200052),
        # Images in Acquisition, Number of Study and Series Related Instances
        *(0x00201002, 0x00201208, 0x00201209),
        # Samples per Pixel, Photometric Interpretation, Number of Frames, Rows, Columns
        *(0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011),
        # Pixel Spacing; Bits Allocated and Stored, High Bit, Pixel Representation
        *(0x00280030, 0x00280100, 0x00280101, 0x00280102, 0x00280103),
        # Rescale Intercept and Slope
        *(0x00281052, 0x00281053),
        # What tells echoes, phases and acquisitions of one series apart
        *CLASSIC,
    }
)
"""Elements whose value is kept: what intake examines, and nothing that says who the patient is."""

VALUE_MAX = 4096
"""Bytes of a kept value; a longer one is passed over."""

# Half a megabyte can be inflated to millions of empty elements; each of them costs time.
_HEADERS_MAX = 1_000_000
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_INTEGER = re.compile(rb"[+-]?[0-9]{1,12}")
_GROUP_FFFE = 0xFFFE0000
# Groups 0000 to 0002 are commands and file meta information (PS3.7 6.3, PS3.10 7.1).
_BEFORE_FIRST = 0x0002FFFF
_UNDEFINED = 0xFFFFFFFF
_HEADER_MAX = 12
# PS3.5 table 7.1-1: these have two reserved bytes and a length of four.
_LONG = b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split()
_SHORT = b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split()
# An undefined length is for sequences and for encapsulated pixels (PS3.5 7.1.2, A.4).
_UNBOUNDED = b"SQ UN OB OW".split()
# Two for each nested sequence: the sequence and its item.
_DEPTH_MAX = 64
# What the walk stands among inside a sequence: items or the elements of one, and how it reads them.
_ITEMS, _IMPLICIT, _FRAGMENTS = 1, 2, 4


@dataclass(frozen=True, slots=True)
class Outline:
    """What a data set holds at its top level.

    Attributes:
        values: the raw values of the elements in ``WANTED``, by tag as ``0xGGGGEEEE``, where they
            are no longer than ``VALUE_MAX``.
        noted: those of the tags in ``NOTED`` that are there.
        pixel_offset: byte offset of the Pixel Data value in the data set as it came, or -1 where
            there is none, or where the data set is deflated.
        pixel_length: its length, or -1 where there is none or it is encapsulated.
        little_endian: the byte order of the values.
    """

    values: Mapping[int, bytes]
    noted: frozenset[int]
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
        first = self.values.get(tag, b"").split(b"\\", 1)[0].strip(b" \0")
        return int(first) if _INTEGER.fullmatch(first) else default


def outline(data: memoryview, transfer_syntax_uid: str, inflated_max: int) -> Outline:
    """Walk a data set that is whole in memory; the arguments and errors are ``Walker``'s."""
    walker = Walker(transfer_syntax_uid, inflated_max)
    walker.feed(data)
    return walker.finish()


class Walker:
    """Walks a data set that comes in pieces of any size.

    Its memory does not depend on what comes: the values in ``WANTED``, one incomplete header, and
    the depth of nesting, which is limited to 32 sequences. A sequence of defined length is one
    value here and is passed over as a whole.

    Args:
        transfer_syntax_uid: how the data set is encoded.
        inflated_max: how many bytes a deflated data set may become.
    """

    def __init__(self, transfer_syntax_uid: str, inflated_max: int) -> None:
        self._inflater = Inflater(inflated_max) if transfer_syntax_uid == DEFLATED else None
        # Each header takes one; what is not inflated costs its sender as much as it costs us.
        self._allowance = repeat(None, _HEADERS_MAX) if self._inflater else repeat(None)
        self._implicit = transfer_syntax_uid == IMPLICIT_LITTLE
        self._encoding = _BIG if transfer_syntax_uid == EXPLICIT_BIG else _LITTLE
        self._values: dict[int, bytes] = {}
        self._noted: set[int] = set()
        self._pixel_offset = self._pixel_length = -1
        self._last_tag = _BEFORE_FIRST
        # Where the first byte of the piece at hand lies in the data set.
        self._base = 0
        # A header whose end has not come yet.
        self._carry = b""
        # Bytes of the value at hand that have not come yet, and the value if somebody wants it.
        self._left = 0
        self._kept: bytearray | None = None
        self._stack: list[int] = []

    @property
    def due(self) -> int:
        """Bytes that are still to come of the value at hand."""
        return self._left

    def feed(self, data: memoryview) -> None:
        """Take the next bytes, which are not kept.

        Raises:
            CannotUnderstandError: it is not a data set in that transfer syntax.
            OutOfResourcesError: it is deflated and becomes larger than ``inflated_max``, or has
                more than a million elements.
        """
        if self._inflater is None:
            self._walk(data)
            return
        for piece in self._inflater.inflate(data):
            self._walk(piece)

    def finish(self) -> Outline:
        """What was found, now that all bytes were fed.

        Raises:
            CannotUnderstandError: the data set is cut short.
        """
        if self._inflater is not None and not self._inflater.is_complete:
            raise CannotUnderstandError("The deflated data set is cut short.")
        if self._left:
            raise CannotUnderstandError(
                f"The data set is cut short: the last element needs {self._left} bytes more."
            )
        if self._carry:
            raise CannotUnderstandError("The data set is cut short in the middle of an element.")
        if self._stack:
            raise CannotUnderstandError("The data set is cut short in the middle of a sequence.")
        return Outline(
            values=self._values,
            noted=frozenset(self._noted),
            pixel_offset=self._pixel_offset if self._inflater is None else -1,
            pixel_length=self._pixel_length,
            little_endian=self._encoding is _LITTLE,
        )

    def _walk(self, data: memoryview | bytes) -> None:
        size = len(data)
        at = self._bridge(data) if self._carry else 0
        if self._left:
            at = self._resume(data, at)
        if at < size:
            at = self._run(data, at)
            if at < size:
                self._carry = bytes(data[at:])
            else:
                self._left = at - size
        self._base += size

    def _bridge(self, data: memoryview | bytes) -> int:
        """Complete the header that the last piece began; return where to go on in this one."""
        begun = len(self._carry)
        head = self._carry + bytes(data[: _HEADER_MAX - begun])
        self._carry = b""
        self._base -= begun
        done = self._run(head, 0)
        self._base += begun
        if done == 0:
            self._carry = head
            return len(head) - begun
        self._left = max(done - len(head), 0)
        return min(done, len(head)) - begun

    def _resume(self, data: memoryview | bytes, at: int) -> int:
        """Go on with the value that the last piece began."""
        count = min(self._left, len(data) - at)
        self._left -= count
        if self._kept is not None:
            self._kept += data[at : at + count]
            if not self._left:
                self._values[self._last_tag] = bytes(self._kept)
                self._kept = None
        return at + count

    def _run(self, data: memoryview | bytes, at: int) -> int:
        """Walk until a header is not whole; return its position, or where the last value ends."""
        size = len(data)
        while at < size:
            start = at
            mode = self._stack[-1] if self._stack else self._implicit * _IMPLICIT
            if mode & _ITEMS:
                at = self._walk_items(data, at)
            elif mode & _IMPLICIT:
                at = self._walk_implicit(data, at)
            else:
                at = self._walk_explicit(data, at)
            if at == start:
                break
        return at

    def _walk_explicit(self, data: memoryview | bytes, at: int) -> int:
        # No method is called for an ordinary element: this loop is most of what intake computes.
        encoding = self._encoding
        unpack, short, long = encoding.element.unpack_from, encoding.short, encoding.long
        top = not self._stack
        last_tag = self._last_tag if top else -1
        values, wanted, value_max = self._values, WANTED, VALUE_MAX
        size = len(data)
        end = size - 8
        for _ in self._allowance:
            if at > end:
                break
            group, element, vr, length = unpack(data, at)
            tag = group << 16 | element
            if not last_tag < tag < _GROUP_FFFE:
                return self._leave_item(tag, at)
            if vr in short:
                start = at + 8
            elif vr not in long:
                raise CannotUnderstandError(
                    f"Element {_name(tag)} at byte {self._base + at} has no value representation; "
                    "the data set is not in the transfer syntax that was agreed."
                )
            elif at > size - _HEADER_MAX:
                break
            else:
                start = at + 12
                (length,) = encoding.length.unpack_from(data, at + 8)
                if top and tag in NOTED:
                    self._note(tag, start, length)
                if length == _UNDEFINED:
                    self._enter(tag, encoding.vrs[vr])
                    at, last_tag = start, tag
                    break
            at = start + length
            if top:
                last_tag = tag
                if tag in wanted and length <= value_max:
                    if at <= size:
                        values[tag] = bytes(data[start:at])
                    else:
                        self._kept = bytearray(data[start:])
        else:
            raise _too_many()
        if top:
            self._last_tag = last_tag
        return at

    def _walk_implicit(self, data: memoryview | bytes, at: int) -> int:
        unpack = _LITTLE.item.unpack_from
        top = not self._stack
        last_tag = self._last_tag if top else -1
        values, wanted, noted = self._values, WANTED, NOTED
        size = len(data)
        end = size - 8
        for _ in self._allowance:
            if at > end:
                break
            group, element, length = unpack(data, at)
            tag = group << 16 | element
            if not last_tag < tag < _GROUP_FFFE:
                return self._leave_item(tag, at)
            start = at + 8
            if top and tag in noted:
                self._note(tag, start, length)
            if length == _UNDEFINED:
                self._enter(tag, b"")
                at, last_tag = start, tag
                break
            at = start + length
            if top:
                last_tag = tag
                if tag in wanted and length <= VALUE_MAX:
                    if at <= size:
                        values[tag] = bytes(data[start:at])
                    else:
                        self._kept = bytearray(data[start:])
        else:
            raise _too_many()
        if top:
            self._last_tag = last_tag
        return at

    def _walk_items(self, data: memoryview | bytes, at: int) -> int:
        """Walk over the items of a sequence, or the fragments of encapsulated pixels."""
        mode = self._stack[-1]
        encoding = _LITTLE if mode & _IMPLICIT else self._encoding
        unpack = encoding.item.unpack_from
        size = len(data)
        for _ in self._allowance:
            if at > size - 8:
                break
            group, element, length = unpack(data, at)
            tag = group << 16 | element
            if tag == _SEQUENCE_END:
                self._stack.pop()
                return at + 8
            if tag != _ITEM:
                raise CannotUnderstandError(
                    f"A sequence holds something that is no item at byte {self._base + at}."
                )
            at += 8
            if length != _UNDEFINED:
                at += length
            elif mode & _FRAGMENTS:
                raise CannotUnderstandError("A fragment has no length (PS3.5 A.4).")
            else:
                self._push(mode & _IMPLICIT)
                return at
        else:
            raise _too_many()
        return at

    def _leave_item(self, tag: int, at: int) -> int:
        """The element at ``at`` is in nobody's order, so it has to be the end of an item."""
        if self._stack and tag == _ITEM_END:
            self._stack.pop()
            return at + 8
        if not self._stack and tag <= _BEFORE_FIRST:
            raise CannotUnderstandError(
                "The data set holds file meta information or command elements."
            )
        raise CannotUnderstandError(
            f"The data set is not in order at byte {self._base + at}: {_name(tag)}."
        )

    def _enter(self, tag: int, vr: bytes) -> None:
        """Enter a value of undefined length; ``vr`` is empty where the encoding has none."""
        if vr and vr not in _UNBOUNDED:
            raise CannotUnderstandError(f"Element {_name(tag)} may not have an undefined length.")
        mode = _ITEMS
        # PS3.5 6.2.2: UN of undefined length is implicit and little endian inside.
        if vr in {b"", b"UN"}:
            mode |= _IMPLICIT
        if vr in {b"OB", b"OW"} or tag == PIXEL_DATA:
            mode |= _FRAGMENTS
        self._push(mode)

    def _push(self, mode: int) -> None:
        if len(self._stack) == _DEPTH_MAX:
            raise CannotUnderstandError(
                f"The data set nests sequences more than {_DEPTH_MAX // 2} deep."
            )
        self._stack.append(mode)

    def _note(self, tag: int, start: int, length: int) -> None:
        self._noted.add(tag)
        if tag == PIXEL_DATA:
            self._pixel_offset = self._base + start
            self._pixel_length = -1 if length == _UNDEFINED else length


class _Encoding:
    """Headers of elements in one byte order; a VR is its two bytes read as a number."""

    def __init__(self, order: str) -> None:
        self.element = struct.Struct(f"{order}HHHH")
        self.item = struct.Struct(f"{order}HHI")
        self.length = struct.Struct(f"{order}I")
        number = {vr: struct.unpack(f"{order}H", vr)[0] for vr in (*_SHORT, *_LONG)}
        self.short = frozenset(number[vr] for vr in _SHORT)
        self.long = frozenset(number[vr] for vr in _LONG)
        self.vrs = {number[vr]: vr for vr in _LONG}


_LITTLE, _BIG = _Encoding("<"), _Encoding(">")


def _too_many() -> OutOfResourcesError:
    return OutOfResourcesError(
        f"The deflated data set has more than {_HEADERS_MAX} elements when inflated."
    )


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
