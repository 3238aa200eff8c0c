"""The attributes that rules and manifests may ask for, read from the header of an object.

The table is ``domain.attributes``; values keep its kinds. Names, numbers and dates of the patient
are not among them: of the date of birth only an age is kept.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from secondread.dicom.elements import items, readable_text, text
from secondread.dicom.planes import Plane
from secondread.domain.attributes import ATTRIBUTES, WORKED_OUT, Kind
from secondread.domain.series import Values

VALUES_MAX = 64
"""Values kept of one attribute of one object."""
TEXT_MAX = 1024
"""Characters kept of one value."""

_AGE, _BIRTH_DATE, _STUDY_DATE = 0x00101010, 0x00100030, 0x00080020
_REQUESTS, _AGENTS = 0x00400275, 0x00180012
_CODE_VALUE, _SCHEME, _MEANING = 0x00080100, 0x00080102, 0x00080104
_LONG_CODE, _URN_CODE = 0x00080119, 0x00080120
_SHARED_GROUPS, _FRAME_GROUPS = 0x52009229, 0x52009230

_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_AGE_STRING = re.compile(r"(\d{3})([DWMY])")
_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
_BINARY = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d"}
# One value each, whatever backslashes it holds (PS3.5 6.2).
_SINGLE = frozenset({"ST", "LT", "UT"})
_PADDING = " \0"


@dataclass(frozen=True, slots=True)
class _Entry:
    keyword: str
    kind: Kind
    vr: str


def _table() -> dict[int, _Entry]:
    table = {}
    for keyword, kind in ATTRIBUTES.items():
        tag = tag_for_keyword(keyword)
        if tag is not None and keyword not in WORKED_OUT and keyword != "PatientAge":
            table[tag] = _Entry(keyword, kind, dictionary_VR(tag))
    return table


_ENTRIES: Mapping[int, _Entry] = MappingProxyType(_table())
# What the functional groups of an enhanced image call it (PS3.3 C.7.6.16, C.8.13, C.8.15).
_ENHANCED: Mapping[int, _Entry] = MappingProxyType(
    {
        **_ENTRIES,
        0x00089007: _Entry("ImageType", Kind.TEXT, "CS"),
        0x00189079: _Entry("InversionTime", Kind.NUMBER, "FD"),
        0x00189082: _Entry("EchoTime", Kind.NUMBER, "FD"),
        0x00189328: _Entry("ExposureTime", Kind.NUMBER, "FD"),
        0x00189330: _Entry("XRayTubeCurrent", Kind.NUMBER, "FD"),
        0x00209072: _Entry("Laterality", Kind.TEXT, "CS"),
        0x00209156: _Entry("AcquisitionNumber", Kind.NUMBER, "US"),
    }
)

TAGS: tuple[int, ...] = (*_ENTRIES, _AGE, _BIRTH_DATE, _STUDY_DATE, _REQUESTS, _AGENTS)
"""What ``read_attributes`` looks at, besides the functional groups."""


def read_attributes(
    dataset: Dataset, planes: Iterable[Plane], transfer_syntax_uid: str
) -> dict[str, Values]:
    """The values of every attribute of ``domain.attributes`` that this object has, by keyword.

    Numbers are floats, ages years, codes ``scheme:value``, CS values capital letters. What cannot
    be read is left out. Of an enhanced image this is what all frames share, what its first frame
    says for itself, and the traits of all its frames.
    """
    found: dict[str, dict[str | float, None]] = {}

    def add(keyword: str, values: Iterable[str | float]) -> None:
        kept = found.setdefault(keyword, {})
        for value in values:
            if len(kept) < VALUES_MAX:
                kept[value[:TEXT_MAX].rstrip() if isinstance(value, str) else value] = None

    for entry, values in _read(dataset, _ENTRIES, dataset):
        add(entry.keyword, values)
    for request in items(dataset, _REQUESTS):
        for entry, values in _read(request, _ENTRIES, dataset):
            add(entry.keyword, values)
    for agent in items(dataset, _AGENTS):
        add("ContrastBolusAgent", _texts(readable_text(agent, _MEANING, dataset), single=True))
    for groups in (*items(dataset, _SHARED_GROUPS)[:1], *items(dataset, _FRAME_GROUPS)[:1]):
        for macro in list(groups.keys()):
            for item in items(groups, int(macro)):
                for entry, values in _read(item, _ENHANCED, dataset):
                    add(entry.keyword, values)
    if _FRAME_GROUPS in dataset:
        for keyword, value in dict.fromkeys(trait for plane in planes for trait in plane.traits):
            if keyword in ATTRIBUTES:
                add(keyword, value.split("\\") if isinstance(value, str) else (value,))
    add("TransferSyntaxUID", (transfer_syntax_uid,))
    add("PatientAge", _age(dataset))
    return {keyword: tuple(values) for keyword, values in found.items() if values}


def _read(
    holder: Dataset, entries: Mapping[int, _Entry], top: Dataset
) -> Iterable[tuple[_Entry, Iterable[str | float]]]:
    """Every element of ``holder`` that has an entry; ``top`` names the character set."""
    for tag, element in holder.items():
        entry = entries.get(tag)
        if entry is None:
            continue
        if entry.kind is Kind.CODE:
            yield entry, [code for item in items(holder, tag) for code in _code(item)]
        elif entry.kind is Kind.NUMBER:
            yield entry, _numbers(element, entry.vr)
        elif entry.vr in {"CS", "UI"}:
            values = _texts(text(holder, tag), single=False)
            yield entry, [value.upper() for value in values] if entry.vr == "CS" else values
        else:
            whole = readable_text(holder, tag, top)
            yield entry, _texts(whole, single=entry.vr in _SINGLE)


def _texts(whole: str, *, single: bool) -> list[str]:
    parts = [whole] if single else whole.split("\\")
    return [value for part in parts if (value := part.strip(_PADDING))]


def _numbers(element: object, vr: str) -> list[float]:
    """The numbers of a DS, IS or binary element; an explicit VR goes before the dictionary's."""
    if not isinstance(element, RawDataElement) or not isinstance(element.value, bytes):
        return []
    if element.VR == "SQ":
        return []
    code = _BINARY.get(element.VR or vr)
    if code is None:
        parts = element.value[: 16 * VALUES_MAX].decode("ascii", errors="replace").split("\\")
        stripped = [part.strip(_PADDING) for part in parts]
        numbers = [float(part) for part in stripped if _DECIMAL.fullmatch(part)]
    else:
        order = "<" if element.is_little_endian else ">"
        count = min(len(element.value) // struct.calcsize(f"{order}{code}"), VALUES_MAX)
        numbers = [
            float(number) for number in struct.unpack_from(f"{order}{count}{code}", element.value)
        ]
    return [number for number in numbers if math.isfinite(number)]


def _code(item: Dataset) -> list[str]:
    """``scheme:value`` of a code sequence's item (PS3.3 8.8); a URN says its scheme itself."""
    if urn := text(item, _URN_CODE):
        return [urn]
    value = text(item, _CODE_VALUE) or text(item, _LONG_CODE)
    return [f"{text(item, _SCHEME)}:{value}"] if value else []


def _age(dataset: Dataset) -> list[float]:
    """Years: Patient's Age (AS, PS3.5 6.2), or what lies between birth and study."""
    stated = _AGE_STRING.fullmatch(text(dataset, _AGE).upper())
    if stated:
        return [int(stated[1]) * _YEARS[stated[2]]]
    birth, study = _date(text(dataset, _BIRTH_DATE)), _date(text(dataset, _STUDY_DATE))
    if birth is None or study is None or study < birth:
        return []
    before = (study.month, study.day) < (birth.month, birth.day)
    years = study.year - birth.year - before
    if years:
        # On a birthday it is the whole number, so that 'from 18' takes who is 18 that day.
        return [float(years)]
    return [(study - birth).days / 365.25]


def _date(value: str) -> date | None:
    found = _DATE.fullmatch(value)
    try:
        return date(int(found[1]), int(found[2]), int(found[3])) if found else None
    except ValueError:
        return None
