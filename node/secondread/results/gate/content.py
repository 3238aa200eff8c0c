"""The content tree of a report or a key object selection as plain records (PS3.3 C.17.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.dataset import Dataset
from pydicom.valuerep import TEXT_VR_DELIMS

from secondread.domain.code import Code
from secondread.results.gate.elements import (
    Node,
    encode_item,
    items_of,
    numbers_of,
    parse,
    read_sequence,
    tag_of,
    text_of,
)

_CONTENT = tag_of("ContentSequence")
_NAME, _CODE = tag_of("ConceptNameCodeSequence"), tag_of("ConceptCodeSequence")
_VALUE_TYPE, _RELATION = tag_of("ValueType"), tag_of("RelationshipType")
_TEXT, _UID = tag_of("TextValue"), tag_of("UID")
_PERSON, _DATE, _TIME, _DATE_TIME = (
    tag_of("PersonName"),
    tag_of("Date"),
    tag_of("Time"),
    tag_of("DateTime"),
)
_MEASURED, _NUMBER = tag_of("MeasuredValueSequence"), tag_of("NumericValue")
_UNITS = tag_of("MeasurementUnitsCodeSequence")
_QUALIFIER = tag_of("NumericValueQualifierCodeSequence")
_REFERENCES = tag_of("ReferencedSOPSequence")
_CLASS, _INSTANCE = tag_of("ReferencedSOPClassUID"), tag_of("ReferencedSOPInstanceUID")
_FRAME, _SEGMENT = tag_of("ReferencedFrameNumber"), tag_of("ReferencedSegmentNumber")
_GRAPHIC, _GRAPHIC_DATA = tag_of("GraphicType"), tag_of("GraphicData")
_FRAME_OF_REFERENCE = tag_of("ReferencedFrameOfReferenceUID")
_CODE_VALUE, _SCHEME, _MEANING = (
    tag_of("CodeValue"),
    tag_of("CodingSchemeDesignator"),
    tag_of("CodeMeaning"),
)
_LONG_CODE, _URN = tag_of("LongCodeValue"), tag_of("URNCodeValue")
_DEPTH_MAX = 64


@dataclass(frozen=True, slots=True)
class Reference:
    """An object that an item refers to; numbers are empty where it is about the whole of it.

    ``state`` is the presentation state to show it with, class and instance, or None.
    """

    sop_class_uid: str
    sop_instance_uid: str
    frames: tuple[int, ...]
    segments: tuple[int, ...]
    state: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Item:
    """One content item.

    Attributes:
        name: its concept, or None.
        code: its value where that is a code.
        text: its value where that is characters: a text, a UID, a name, a date.
        number: its value where that is a number, or None.
        unit: of the number.
        is_qualified: whether it says why it has no number.
        reference: the object that it names, or None.
        graphic: Graphic Type of coordinates.
        points: their numbers.
        frame_of_reference_uid: of three-dimensional ones.
    """

    value_type: str
    relation: str
    name: Code | None
    code: Code | None
    text: str
    number: float | None
    unit: Code | None
    is_qualified: bool
    reference: Reference | None
    graphic: str
    points: tuple[float, ...]
    frame_of_reference_uid: str
    children: tuple[Item, ...]

    @property
    def concept(self) -> str:
        """Code value of its name, '' where it has none."""
        return self.name.value if self.name else ""

    def find_all(self, concept: str) -> tuple[Item, ...]:
        """Its children of this name."""
        return tuple(child for child in self.children if child.concept == concept)

    def find(self, concept: str) -> Item | None:
        """Its first child of this name."""
        return next((child for child in self.children if child.concept == concept), None)

    def walk(self) -> Iterator[Item]:
        """Itself and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def read_content(header: Dataset) -> Item:
    """The root of the content tree.

    Raises:
        ValueError: an item cannot be taken apart, or the tree is deeper than any should be.
    """
    said = header.get("SpecificCharacterSet")
    reader = _Reader(convert_encodings(said or "ISO_IR 6"))
    top = Dataset()
    for tag in (_VALUE_TYPE, _NAME):
        if tag in header:
            top[tag] = header[tag]
    root = parse(encode_item(top))
    root[_CONTENT] = read_sequence(header, "ContentSequence")
    return reader.read(root, 0)


class _Reader:
    """Turns nodes into items; most codes of a report are there many times and are read once."""

    def __init__(self, encodings: Sequence[str]) -> None:
        self._encodings = list(encodings)
        self._codes: dict[tuple[object, ...], Code] = {}

    def read(self, node: Node, depth: int) -> Item:
        if depth > _DEPTH_MAX:
            raise ValueError("the content tree is too deep")
        value_type = text_of(node, _VALUE_TYPE)
        measured = items_of(node, _MEASURED)
        number, unit = None, None
        if measured:
            values = numbers_of(measured[0], _NUMBER)
            number, unit = (values[0] if values else None), self._code(measured[0], _UNITS)
        return Item(
            value_type=value_type,
            relation=text_of(node, _RELATION),
            name=self._code(node, _NAME),
            code=self._code(node, _CODE),
            text=self._text(node),
            number=number,
            unit=unit,
            is_qualified=bool(items_of(node, _QUALIFIER)),
            reference=_reference(node),
            graphic=text_of(node, _GRAPHIC),
            points=_points(node),
            frame_of_reference_uid=text_of(node, _FRAME_OF_REFERENCE),
            children=tuple(self.read(child, depth + 1) for child in items_of(node, _CONTENT)),
        )

    def _text(self, node: Node) -> str:
        for tag in (_TEXT, _UID, _PERSON, _DATE, _TIME, _DATE_TIME):
            found = node.get(tag)
            if isinstance(found, bytes) and found:
                text: str = decode_bytes(found, self._encodings, TEXT_VR_DELIMS)
                return text.strip(" \0")
        return ""

    def _code(self, node: Node, tag: int) -> Code | None:
        items = items_of(node, tag)
        if not items:
            return None
        item = items[0]
        key = tuple(item.get(part, b"") for part in (_CODE_VALUE, _SCHEME, _MEANING, _LONG_CODE))
        try:
            found = self._codes.get(key)
        except TypeError:  # a sequence where a value should be
            raise ValueError("a code is not made of values") from None
        if found is None:
            meaning = item.get(_MEANING, b"")
            found = Code(
                text_of(item, _CODE_VALUE) or text_of(item, _LONG_CODE) or text_of(item, _URN),
                text_of(item, _SCHEME),
                decode_bytes(meaning, self._encodings, TEXT_VR_DELIMS).strip(" \0")
                if isinstance(meaning, bytes)
                else "",
            )
            self._codes[key] = found
        return found


def _reference(node: Node) -> Reference | None:
    items = items_of(node, _REFERENCES)
    if not items:
        return None
    one = items[0]
    frames = text_of(one, _FRAME)
    segments = one.get(_SEGMENT, b"")
    states = items_of(one, _REFERENCES)
    return Reference(
        text_of(one, _CLASS),
        text_of(one, _INSTANCE),
        tuple(int(number) for number in frames.split("\\")) if frames else (),
        tuple(np.frombuffer(segments, "<u2").tolist()) if isinstance(segments, bytes) else (),
        (text_of(states[0], _CLASS), text_of(states[0], _INSTANCE)) if states else None,
    )


def _points(node: Node) -> tuple[float, ...]:
    data = node.get(_GRAPHIC_DATA)
    return tuple(np.frombuffer(data, "<f4").tolist()) if isinstance(data, bytes) else ()
