"""What tells planes apart that lie at the same place: echoes, phases, acquisitions, components.

A series may hold several volumes. Which of its planes belong together is told by these attributes
and by nothing else; ``parts`` looks at them only where planes would collide.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from secondread.dicom.elements import items

Trait = str | float

VALUE_MAX = 4096
"""Bytes of a value; intake keeps no longer one either."""

_PADDING = b" \0"
_DECIMAL = re.compile(rb"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DECIMAL_MAX = 32
_INTEGER = re.compile(rb"[+-]?[0-9]{1,12}")
# Some scanners write small letters and signs that CS does not have.
_CODES = re.compile(rb"[0-9A-Za-z_ .+/\\-]{1,256}")
# TM (PS3.5 6.2), or the time in a DT, which begins with eight digits of date.
_TIME = re.compile(rb"([0-9]{2})([0-9]{2})([0-9]{2}(?:\.[0-9]{1,6})?)")
_DATE_TIME = re.compile(rb"[0-9]{8}([0-9]{6}(?:\.[0-9]{1,6})?)(?:[+-][0-9]{4})?")


class Form(Enum):
    """How the value of a trait is written."""

    CODES = auto()
    """CS or SH: capital letters, values joined by a backslash."""
    DECIMAL = auto()
    """The first number of a DS."""
    INTEGER = auto()
    """The first number of an IS."""
    DOUBLE = auto()
    """The first number of an FD."""
    LONG = auto()
    """The first number of a UL."""
    SHORT = auto()
    """The first number of a US."""
    DIRECTION = auto()
    """The three numbers of an FD, as text to three digits."""
    TIME = auto()
    """TM: seconds of the day."""
    DATE_TIME = auto()
    """DT: seconds of the day."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a trait is found: its name, which is a DICOM keyword, and the form of its value."""

    keyword: str
    form: Form


CLASSIC: Mapping[int, Place] = MappingProxyType(
    {
        0x00080008: Place("ImageType", Form.CODES),
        0x00080032: Place("AcquisitionTime", Form.TIME),
        0x00089208: Place("ComplexImageComponent", Form.CODES),
        0x00180081: Place("EchoTime", Form.DECIMAL),
        0x00180082: Place("InversionTime", Form.DECIMAL),
        0x00180086: Place("EchoNumbers", Form.INTEGER),
        0x00181060: Place("TriggerTime", Form.DECIMAL),
        0x00181210: Place("ConvolutionKernel", Form.CODES),
        0x00181314: Place("FlipAngle", Form.DECIMAL),
        0x00189087: Place("DiffusionBValue", Form.DOUBLE),
        0x00189089: Place("DiffusionGradientOrientation", Form.DIRECTION),
        0x00200012: Place("AcquisitionNumber", Form.INTEGER),
        0x00200100: Place("TemporalPositionIdentifier", Form.INTEGER),
        0x00209056: Place("StackID", Form.CODES),
        0x00209241: Place("NominalPercentageOfCardiacPhase", Form.DOUBLE),
        0x00541300: Place("FrameReferenceTime", Form.DECIMAL),
    }
)
"""Attributes at the top of a data set."""

_FRAME_TYPE = MappingProxyType(
    {
        0x00089007: Place("ImageType", Form.CODES),
        0x00089208: Place("ComplexImageComponent", Form.CODES),
    }
)
FUNCTIONAL_GROUPS: Mapping[int, Mapping[int, Place]] = MappingProxyType(
    {
        # Cardiac Synchronization (PS3.3 C.7.6.16.2.7)
        0x00189118: {
            0x00209153: Place("TriggerTime", Form.DOUBLE),
            0x00209241: Place("NominalPercentageOfCardiacPhase", Form.DOUBLE),
        },
        # MR Timing and Related Parameters, MR Echo, MR Modifier, MR Diffusion (PS3.3 C.8.13.5)
        0x00189112: {0x00181314: Place("FlipAngle", Form.DECIMAL)},
        0x00189114: {0x00189082: Place("EchoTime", Form.DOUBLE)},
        0x00189115: {0x00189079: Place("InversionTime", Form.DOUBLE)},
        0x00189117: {0x00189087: Place("DiffusionBValue", Form.DOUBLE)},
        # MR, CT and PET Frame Type
        0x00189226: _FRAME_TYPE,
        0x00189329: _FRAME_TYPE,
        0x00189751: _FRAME_TYPE,
        # CT Reconstruction (PS3.3 C.8.15.3.7)
        0x00189314: {0x00181210: Place("ConvolutionKernel", Form.CODES)},
        # Frame Content (PS3.3 C.7.6.16.2.2)
        0x00209111: {
            0x00189074: Place("AcquisitionTime", Form.DATE_TIME),
            0x00209056: Place("StackID", Form.CODES),
            0x00209128: Place("TemporalPositionIdentifier", Form.LONG),
            0x00209156: Place("AcquisitionNumber", Form.SHORT),
        },
    }
)
"""Macro → attributes of its item, under the name that the classic image has for each."""

_DIFFUSION, _DIRECTIONS, _DIRECTION = 0x00189117, 0x00189076, 0x00189089


def read_trait(form: Form, raw: bytes, *, little_endian: bool) -> Trait | None:
    """The value of a trait as it stands in the file; None where it cannot be read."""
    if len(raw) > VALUE_MAX:
        return None
    match form:
        case Form.CODES:
            return _codes(raw)
        case Form.DECIMAL | Form.INTEGER:
            first = raw.split(b"\\", 1)[0].strip(_PADDING)
            pattern = _DECIMAL if form is Form.DECIMAL else _INTEGER
            if len(first) > _DECIMAL_MAX or not pattern.fullmatch(first):
                return None
            number = float(first)
            return number if math.isfinite(number) else None
        case Form.TIME:
            return _seconds(raw.strip(_PADDING))
        case Form.DATE_TIME:
            found = _DATE_TIME.fullmatch(raw.strip(_PADDING))
            return _seconds(found[1]) if found else None
        case Form.DIRECTION:
            numbers = _binary(raw, "3d", little_endian)
            # A minus before zero would make two of one direction.
            return "\\".join(f"{value + 0.0:.3f}" for value in numbers) if numbers else None
        case Form.DOUBLE | Form.LONG | Form.SHORT:
            code = {Form.DOUBLE: "d", Form.LONG: "L", Form.SHORT: "H"}[form]
            numbers = _binary(raw, code, little_endian)
            return numbers[0] if numbers else None


def classic_traits(dataset: Dataset) -> dict[str, Trait]:
    """The traits of a single-frame image."""
    return _read(dataset, CLASSIC)


def group_traits(groups: Dataset) -> dict[str, Trait]:
    """The traits in the functional groups of a frame, or in those that all frames share."""
    traits: dict[str, Trait] = {}
    for macro, places in FUNCTIONAL_GROUPS.items():
        if macro not in groups:
            continue
        for item in items(groups, macro):
            traits |= _read(item, places)
            if macro == _DIFFUSION:
                for direction in items(item, _DIRECTIONS):
                    traits |= _read(direction, {_DIRECTION: CLASSIC[_DIRECTION]})
    return traits


def _read(dataset: Dataset, places: Mapping[int, Place]) -> dict[str, Trait]:
    traits = {}
    for tag, place in places.items():
        element: object = dataset.get_item(tag, keep_deferred=True)
        if isinstance(element, RawDataElement) and isinstance(element.value, bytes):
            value = read_trait(place.form, element.value, little_endian=element.is_little_endian)
            if value is not None:
                traits[place.keyword] = value
    return traits


def _codes(raw: bytes) -> str | None:
    if not _CODES.fullmatch(raw.strip(_PADDING)):
        return None
    values = raw.decode("ascii").strip(" \0").upper().split("\\")
    return "\\".join(value.strip() for value in values)


def _seconds(time: bytes) -> float | None:
    found = _TIME.fullmatch(time)
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3]) if found else None


def _binary(raw: bytes, code: str, little_endian: bool) -> tuple[float, ...]:
    form = f"{'<' if little_endian else '>'}{code}"
    if len(raw) < struct.calcsize(form):
        return ()
    numbers = struct.unpack_from(form, raw)
    return tuple(float(number) for number in numbers) if all(map(math.isfinite, numbers)) else ()
