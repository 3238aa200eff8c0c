"""The small data sets of messages: read within limits, and written, value by value.

What a peer sends along with a request or asks in a query is a stranger's text. Nothing here
converts a value, looks at a character set or descends where nobody asked it to, and depth and
number of items are bounded, so that no such data set costs more than its own length.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from secondread.dicom.walk import EXPLICIT_BIG, IMPLICIT_LITTLE
from secondread.errors import CannotUnderstandError

MESSAGE_SYNTAXES = ("1.2.840.10008.1.2.1", IMPLICIT_LITTLE, EXPLICIT_BIG)
"""The transfer syntaxes of messages; Explicit VR Little Endian is what the node would rather get.
"""

ITEMS_MAX = 100_000
_DEPTH_MAX = 32
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
# PS3.5 table 7.1-1: these have two reserved bytes and a length of four.
_LONG = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_VR = re.compile(rb"[A-Z]{2}")
# Without a VR the tag alone says that it is a sequence.
_SEQUENCE_VRS = frozenset({b"", b"SQ", b"UN"})
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_PADDING = " \0"


@dataclass(frozen=True, slots=True)
class Item:
    """A data set, or an item of one of its sequences.

    Attributes:
        values: the raw values of elements that are no sequences, by tag as ``0xGGGGEEEE``.
        sequences: the items of those sequences that were asked for.
    """

    values: Mapping[int, bytes]
    sequences: Mapping[int, tuple[Item, ...]]

    def text(self, tag: int) -> str:
        """A value of a VR without character set (UI, CS, AE …), without padding; '' if absent."""
        return self.values.get(tag, b"").decode("latin-1").strip(_PADDING)

    def texts(self, tag: int) -> tuple[str, ...]:
        """The values of a multi-valued element; empty when it is absent or empty."""
        whole = self.text(tag)
        return tuple(part.strip(_PADDING) for part in whole.split("\\")) if whole else ()

    def items(self, tag: int) -> tuple[Item, ...]:
        """The items of a sequence; empty when it is absent."""
        return self.sequences.get(tag, ())


Value = str | bytes | int | Sequence[Sequence["Element"]]
Element = tuple[int, str, Value]
"""Tag, VR and value to be written: a text, a number (US) or the items of a sequence (SQ).

A text beyond ASCII is given as bytes, in the character set that the data set names.
"""


def is_uid(value: str) -> bool:
    """Whether a text may be taken for a UID (PS3.5 9.1); leading zeros are forgiven."""
    return 0 < len(value) <= 64 and _UID.fullmatch(value) is not None


def read_message(data: bytes, transfer_syntax_uid: str, sequences: Collection[int]) -> Item:
    """Read a data set to its end.

    Args:
        data: as it came.
        transfer_syntax_uid: one of ``MESSAGE_SYNTAXES``.
        sequences: tags of the sequences whose items are wanted; others are stepped over.

    Raises:
        CannotUnderstandError: it is not a data set in that transfer syntax, is cut short, nests
            more than 32 deep or has more than 100,000 items.
    """
    reader = _Reader(
        data, frozenset(sequences), ">" if transfer_syntax_uid == EXPLICIT_BIG else "<"
    )
    return reader.read(implicit=transfer_syntax_uid == IMPLICIT_LITTLE)


def write_message(elements: Sequence[Element], transfer_syntax_uid: str) -> bytes:
    """Encode a data set; elements are in the order of their tags, lengths are explicit."""
    implicit = transfer_syntax_uid == IMPLICIT_LITTLE
    order = ">" if transfer_syntax_uid == EXPLICIT_BIG else "<"
    return _encode(elements, implicit, order)


class _Reader:
    def __init__(self, data: bytes, sequences: frozenset[int], order: str) -> None:
        self._data = data
        self._sequences = sequences
        self._tag = struct.Struct(f"{order}HH")
        self._u16 = struct.Struct(f"{order}H")
        self._u32 = struct.Struct(f"{order}I")
        self._at = 0
        self._items = 0

    def read(self, *, implicit: bool) -> Item:
        return self._content(len(self._data), implicit, depth=0)

    def _content(self, end: int, implicit: bool, depth: int, *, delimited: bool = False) -> Item:
        """The elements up to ``end``, or up to the delimiter of an item."""
        values: dict[int, bytes] = {}
        sequences: dict[int, tuple[Item, ...]] = {}
        while delimited or self._at < end:
            tag, vr, length = self._element(end, implicit)
            if tag == _ITEM_END and delimited:
                break
            wanted = tag in self._sequences and vr in _SEQUENCE_VRS
            if length == _UNDEFINED and vr in _SEQUENCE_VRS:
                # PS3.5 6.2.2: the content of UN of undefined length is implicit.
                found = self._sequence(end, implicit or vr == b"UN", depth + 1, delimited=True)
                if wanted:
                    sequences[tag] = found
                continue
            stop = self._stop(length, end)
            if wanted:
                sequences[tag] = self._sequence(stop, implicit or vr == b"UN", depth + 1)
            else:
                values[tag] = self._data[self._at : stop]
            self._at = stop
        return Item(values, sequences)

    def _sequence(
        self, end: int, implicit: bool, depth: int, *, delimited: bool = False
    ) -> tuple[Item, ...]:
        """The items up to ``end``, or up to the delimiter of the sequence."""
        if depth > _DEPTH_MAX:
            raise CannotUnderstandError(
                f"The data set nests sequences more than {_DEPTH_MAX} deep."
            )
        found: list[Item] = []
        while delimited or self._at < end:
            tag, _, length = self._element(end, implicit=True)
            if tag == _SEQUENCE_END and delimited:
                break
            if tag != _ITEM:
                raise CannotUnderstandError(f"A sequence at byte {self._at} holds no item.")
            self._items += 1
            if self._items > ITEMS_MAX:
                raise CannotUnderstandError(f"The data set has more than {ITEMS_MAX} items.")
            open_ended = length == _UNDEFINED
            stop = end if open_ended else self._stop(length, end)
            found.append(self._content(stop, implicit, depth, delimited=open_ended))
        return tuple(found)

    def _element(self, end: int, implicit: bool) -> tuple[int, bytes, int]:
        """Read tag, VR ('' where there is none) and length; leaves the position at the value."""
        at = self._at
        self._need(at + 8, end)
        group, element = self._tag.unpack_from(self._data, at)
        tag = group << 16 | element
        if implicit or group == 0xFFFE:
            self._at = at + 8
            return tag, b"", self._u32.unpack_from(self._data, at + 4)[0]
        vr = self._data[at + 4 : at + 6]
        if not _VR.fullmatch(vr):
            raise CannotUnderstandError(
                f"Element ({group:04X},{element:04X}) at byte {at} has no value representation; "
                "the data set is not in the transfer syntax that was agreed."
            )
        if vr not in _LONG:
            self._at = at + 8
            return tag, vr, self._u16.unpack_from(self._data, at + 6)[0]
        self._need(at + 12, end)
        self._at = at + 12
        return tag, vr, self._u32.unpack_from(self._data, at + 8)[0]

    def _stop(self, length: int, end: int) -> int:
        """Where a value of this length that starts here ends."""
        stop = self._at + length
        self._need(stop, end)
        return stop

    def _need(self, stop: int, end: int) -> None:
        if stop > end:
            raise CannotUnderstandError(f"The data set is cut short at byte {self._at}.")


def _encode(elements: Sequence[Element], implicit: bool, order: str) -> bytes:
    parts: list[bytes] = []
    for tag, vr, value in elements:
        content = _value(vr, value, implicit, order)
        place = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
        if implicit:
            head = struct.pack(f"{order}I", len(content))
        elif vr.encode() in _LONG:
            head = vr.encode() + b"\0\0" + struct.pack(f"{order}I", len(content))
        else:
            head = vr.encode() + struct.pack(f"{order}H", len(content))
        parts += (place, head, content)
    return b"".join(parts)


def _value(vr: str, value: Value, implicit: bool, order: str) -> bytes:
    if isinstance(value, int):
        return struct.pack(f"{order}H", value)
    if isinstance(value, str | bytes):
        content = value if isinstance(value, bytes) else value.encode("ascii", "replace")
        return content + (b"\0" if vr == "UI" else b" ") * (len(content) % 2)
    items = (_encode(item, implicit, order) for item in value)
    return b"".join(struct.pack(f"{order}HHI", 0xFFFE, 0xE000, len(i)) + i for i in items)
