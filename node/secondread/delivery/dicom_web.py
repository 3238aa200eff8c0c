"""Data sets as web servers write them: DICOM JSON (PS3.18 F) and native XML (PS3.19 A.1).

Both are read into the JSON model: tag in eight hex digits to ``{"vr": …, "Value": […]}``. What a
server writes is not trusted: there are no entities, no depth without end, and no value but of the
kind that is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

from secondread.delivery.web import Answer

_JSON_TYPES = frozenset({"application/dicom+json", "application/json", ""})
_XML_TYPES = frozenset({"application/dicom+xml", "application/xml", "text/xml", ""})
_DEPTH_MAX = 32

DataSet = dict[str, Any]


def read_data_sets(answer: Answer) -> list[DataSet] | None:
    """The data sets in an answer's body; None where it is in no such form, or is cut short.

    A body without a media type is looked at, because Orthanc 1.10 names none with its errors.
    """
    start = answer.body.lstrip()[:1]
    try:
        if answer.media_type in _JSON_TYPES and start in (b"{", b"["):
            found = json.loads(answer.body)
            return list(filter(_is_data_set, found if isinstance(found, list) else [found]))
        if answer.media_type in _XML_TYPES and start == b"<":
            return [_read_xml(answer.body)]
    except (ValueError, RecursionError, expat.ExpatError):
        return None
    return None


def items(dataset: DataSet, tag: str) -> Iterator[DataSet]:
    """The items of a sequence."""
    yield from filter(_is_data_set, _values(dataset, tag))


def text(dataset: DataSet, tag: str) -> str:
    """The first value of an element as text; "" where it has none."""
    values = _values(dataset, tag)
    return values[0].strip(" \0") if values and isinstance(values[0], str) else ""


def names(dataset: DataSet, tag: str) -> str:
    """The first person name of an element, its groups as PS3.5 6.2.1 writes them; "" for none."""
    values = _values(dataset, tag)
    groups = values[0] if values and isinstance(values[0], dict) else {}
    found = [groups.get(group) for group in ("Alphabetic", "Ideographic", "Phonetic")]
    return "=".join(one if isinstance(one, str) else "" for one in found).rstrip("=")


def number(dataset: DataSet, tag: str) -> int | None:
    """The first value of an element as a whole number; None where it has none."""
    values = _values(dataset, tag)
    try:
        return int(values[0]) if values else None
    except (TypeError, ValueError, OverflowError):
        return None


def _is_data_set(value: Any) -> bool:
    return isinstance(value, dict)


def _values(dataset: DataSet, tag: str) -> list[Any]:
    element = dataset.get(tag, dataset.get(tag.lower()))
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def _read_xml(content: bytes) -> DataSet:
    """A native model.

    Raises:
        ValueError: it is another document, is too deep, or brings entities of its own.
        expat.ExpatError: it is not XML.
    """
    reader = _NativeModel()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.StartElementHandler = reader.begin
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.say
    parser.Parse(content, True)
    return reader.root


class _NativeModel:
    """Builds the JSON model of a native model, element by element."""

    def __init__(self) -> None:
        self.root: DataSet = {}
        self._open: list[tuple[str, Any]] = []
        self._text: list[str] = []

    def refuse(self, *_: Any) -> None:
        """A document type declaration: entities could grow without end, or name files."""
        raise ValueError("a document type declaration")

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        """An element starts; what is not known is kept as text that nobody asks for."""
        kind = name.rpartition(" ")[2]
        if len(self._open) >= _DEPTH_MAX or (not self._open and kind != "NativeDicomModel"):
            raise ValueError("too deep, or another document")
        made: Any = None
        above = self._open[-1][1] if self._open else None
        if kind == "NativeDicomModel":
            made = self.root
        elif kind == "DicomAttribute" and isinstance(above, dict):
            made = []
            above[attributes.get("tag", "").upper()] = {
                "vr": attributes.get("vr", ""),
                "Value": made,
            }
        elif kind == "Item" and isinstance(above, list):
            made = {}
            above.append(made)
        self._text.clear()
        self._open.append((kind, made))

    def end(self, _name: str) -> None:
        """An element ends."""
        kind, _ = self._open.pop()
        above = self._open[-1][1] if self._open else None
        if kind == "Value" and isinstance(above, list) and (value := "".join(self._text)):
            above.append(value)
        self._text.clear()

    def say(self, content: str) -> None:
        """Text within an element."""
        self._text.append(content)
