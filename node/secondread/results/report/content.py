"""Content items of a report, encoded as they are made (PS3.3 C.17.3).

A report on a hundred structures has some ten thousand data elements. As objects they cost seconds;
as bytes, explicit VR little endian with defined lengths (PS3.5 7.1.2 and 7.5.1), milliseconds. What
a code or a template looks like is encoded once for each report.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydicom.valuerep import format_number_as_ds

from secondread.domain.code import Code
from secondread.errors import ResultError
from secondread.results.report import concepts
from secondread.results.report.language import Tongue

CONTAINS = b"CONTAINS"
HAS_CONCEPT_MOD = b"HAS CONCEPT MOD"
HAS_OBS_CONTEXT = b"HAS OBS CONTEXT"
HAS_ACQ_CONTEXT = b"HAS ACQ CONTEXT"
HAS_PROPERTIES = b"HAS PROPERTIES"
INFERRED_FROM = b"INFERRED FROM"
SELECTED_FROM = b"SELECTED FROM"

Item = bytes
"""One item of a Content Sequence, with its item tag and length."""
Points = Sequence[tuple[float, ...]]

_LONG_STRING = 64
_SHORT_STRING = 16
_DIGITS = 6
_LONG_VRS = frozenset({b"SQ", b"UT", b"UC"})
_SHORT_HEADER = struct.Struct("<HH2sH")
_LONG_HEADER = struct.Struct("<HH2s2xI")
_ITEM_HEADER = struct.Struct("<HHI")
_NUL, _SPACE = b"\0", b" "


@dataclass(frozen=True, slots=True)
class Reference:
    """An object, or a frame or segment of it (PS3.3 table 10-3); 0 where it is about the whole."""

    sop_class_uid: str
    sop_instance_uid: str
    frame: int = 0
    segment: int = 0


class ContentWriter:
    """Encodes the content items of one report.

    Attributes:
        tongue: language and character set of the report.
        schemes: coding schemes that its codes are from.
    """

    def __init__(self, tongue: Tongue) -> None:
        self.tongue = tongue
        self.schemes: set[str] = set()
        self._codes: dict[tuple[str, str, str], bytes] = {}

    def container(
        self,
        name: Code,
        children: Iterable[Item],
        relation: bytes = CONTAINS,
        template: str = "",
    ) -> Item:
        """A heading; ``template`` is the TID of its content where it has one of its own."""
        continuity = _element(0x0040, 0xA050, b"CS", b"CONTINUOUS")
        described = self.template(template) if template else b""
        return self._item(relation, b"CONTAINER", name, continuity + described, children)

    @staticmethod
    def template(identifier: str) -> bytes:
        """Content Template Sequence (PS3.3 C.18.8)."""
        resource = _element(0x0008, 0x0105, b"CS", b"DCMR")
        number = _element(0x0040, 0xDB00, b"CS", identifier.encode())
        return _sequence(0x0040, 0xA504, [resource + number])

    def code(self, relation: bytes, name: Code, value: Code, children: Iterable[Item] = ()) -> Item:
        """A coded value."""
        return self._item(
            relation, b"CODE", name, _sequence(0x0040, 0xA168, [self.encode_code(value)]), children
        )

    def text(self, relation: bytes, name: Code, value: str) -> Item:
        """A text, as far as the report's character set holds it."""
        encoded = self.tongue.encode(self.tongue.fit(value))
        return self._item(relation, b"TEXT", name, _element(0x0040, 0xA160, b"UT", encoded))

    def uid(self, relation: bytes, name: Code, value: str) -> Item:
        """A UID."""
        return self._item(relation, b"UIDREF", name, _uid(0x0040, 0xA124, value))

    def number(
        self, relation: bytes, name: Code, value: float, unit: Code, children: Iterable[Item] = ()
    ) -> Item:
        """A number with its unit, to six significant digits: more are not measured.

        Raises:
            ResultError: it is not a number or has no end.
        """
        if not math.isfinite(value):
            raise ResultError(f"The number '{name.meaning}' has no value that a report can hold.")
        rounded = format_number_as_ds(float(f"{value:.{_DIGITS}g}")).removesuffix(".0")
        measured = _sequence(0x0040, 0x08EA, [self.encode_code(unit)])
        measured += _element(0x0040, 0xA30A, b"DS", rounded.encode())
        return self._item(relation, b"NUM", name, _sequence(0x0040, 0xA300, [measured]), children)

    def image(self, relation: bytes, name: Code | None, reference: Reference) -> Item:
        """A reference to an image, a frame of it or a segment."""
        return self._item(relation, b"IMAGE", name, b"", before=_refer(reference))

    def composite(self, relation: bytes, name: Code, reference: Reference) -> Item:
        """A reference to an object that is not an image."""
        return self._item(relation, b"COMPOSITE", name, b"", before=_refer(reference))

    def line_in_image(
        self, relation: bytes, name: Code, points: Points, reference: Reference
    ) -> Item:
        """A polyline in an image; points are column and row from the image's corner, in pixels.

        The middle of the first pixel is (0.5, 0.5) (PS3.3 C.18.6.1.2).
        """
        child = self.image(SELECTED_FROM, None, reference)
        after = _graphic(points) + _element(0x0070, 0x0023, b"CS", b"POLYLINE")
        return self._item(relation, b"SCOORD", name, b"", [child], after=after)

    def shape_in_space(
        self, relation: bytes, name: Code, kind: str, points: Points, frame_of_reference_uid: str
    ) -> Item:
        """A point, line or polygon in patient coordinates, LPS mm (PS3.3 C.18.9).

        ``kind`` is ``POINT``, ``POLYLINE`` or ``POLYGON``; a polygon ends where it began.
        """
        after = _graphic(points) + _element(0x0070, 0x0023, b"CS", kind.encode())
        after += _uid(0x3006, 0x0024, frame_of_reference_uid)
        return self._item(relation, b"SCOORD3D", name, b"", after=after)

    def item_of(self, code: Code) -> bytes:
        """A coded concept as the one item of a sequence."""
        encoded = self.encode_code(code)
        return _ITEM_HEADER.pack(0xFFFE, 0xE000, len(encoded)) + encoded

    def encode_code(self, code: Code) -> bytes:
        """The elements of a coded concept, its meaning in the report's language (PS3.3 8.8)."""
        key = (code.scheme, code.value, code.meaning)
        encoded = self._codes.get(key)
        if encoded is None:
            self.schemes.add(code.scheme)
            meaning = self.tongue.fit(self.tongue.translate(code), _LONG_STRING)
            value = code.value.encode("ascii", "replace")
            scheme = _element(0x0008, 0x0102, b"SH", code.scheme.encode("ascii", "replace"))
            named = _element(0x0008, 0x0104, b"LO", self.tongue.encode(meaning))
            if len(value) <= _SHORT_STRING:
                encoded = _element(0x0008, 0x0100, b"SH", value) + scheme + named
            else:
                encoded = scheme + named + _element(0x0008, 0x0119, b"UC", value)
            self._codes[key] = encoded
        return encoded

    def _item(
        self,
        relation: bytes,
        value_type: bytes,
        name: Code | None,
        value: bytes,
        children: Iterable[Item] = (),
        *,
        before: bytes = b"",
        after: bytes = b"",
    ) -> Item:
        """One content item, its elements in the order of their tags."""
        content = before + _element(0x0040, 0xA010, b"CS", relation)
        content += _element(0x0040, 0xA040, b"CS", value_type)
        if name is not None:
            content += _sequence(0x0040, 0xA043, [self.encode_code(name)])
        content += value
        if nested := b"".join(children):
            content += _LONG_HEADER.pack(0x0040, 0xA730, b"SQ", len(nested)) + nested
        content += after
        return _ITEM_HEADER.pack(0xFFFE, 0xE000, len(content)) + content


def modify(writer: ContentWriter, name: Code, value: Code) -> Item:
    """A coded modifier of the item above it."""
    return writer.code(HAS_CONCEPT_MOD, name, value)


def derive(writer: ContentWriter, how: Code) -> Item:
    """How a number was derived from the voxels."""
    return modify(writer, concepts.DERIVATION, how)


def _element(group: int, element: int, vr: bytes, value: bytes, padding: bytes = _SPACE) -> bytes:
    if len(value) % 2:
        value += padding
    header = _LONG_HEADER if vr in _LONG_VRS else _SHORT_HEADER
    return header.pack(group, element, vr, len(value)) + value


def _uid(group: int, element: int, value: str) -> bytes:
    return _element(group, element, b"UI", value.encode("ascii"), _NUL)


def _sequence(group: int, element: int, items: Sequence[bytes]) -> bytes:
    value = b"".join(_ITEM_HEADER.pack(0xFFFE, 0xE000, len(item)) + item for item in items)
    return _LONG_HEADER.pack(group, element, b"SQ", len(value)) + value


def _refer(reference: Reference) -> bytes:
    """Referenced SOP Sequence."""
    item = _uid(0x0008, 0x1150, reference.sop_class_uid)
    item += _uid(0x0008, 0x1155, reference.sop_instance_uid)
    if reference.frame:
        item += _element(0x0008, 0x1160, b"IS", str(reference.frame).encode())
    if reference.segment:
        item += _element(0x0062, 0x000B, b"US", struct.pack("<H", reference.segment))
    return _sequence(0x0008, 0x1199, [item])


def _graphic(points: Points) -> bytes:
    """Graphic Data; it is single precision."""
    numbers = [number for point in points for number in point]
    return _element(0x0070, 0x0022, b"FL", struct.pack(f"<{len(numbers)}f", *numbers))
