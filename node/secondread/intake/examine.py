"""Is an object what its message says, is it whole, and what will later stages ask about it?"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from secondread.dicom.contexts import UNCOMPRESSED_SYNTAXES
from secondread.dicom.planes import MODALITY_LUT_SEQUENCE, PER_FRAME_GROUPS
from secondread.dicom.traits import CLASSIC, read_trait
from secondread.dicom.walk import PIXEL_TAGS, Outline
from secondread.errors import CannotUnderstandError, DataSetMismatchError

_SOP_CLASS, _SOP_INSTANCE = 0x00080016, 0x00080018
_STUDY, _SERIES = 0x0020000D, 0x0020000E
_SAMPLES, _FRAMES, _BITS = 0x00280002, 0x00280008, 0x00280100
_ROWS, _COLUMNS = 0x00280010, 0x00280011
_FRAME_OF_REFERENCE = 0x00200052
_ACQUISITION = 0x00200012

# PS3.5 9.1; no empty component, so that no UID is a step in a path. NUL or space pads (PS3.5 6.2).
_UID = re.compile(rb"[0-9]+(?:\.[0-9]+)*")
_UID_MAX = 64
_PADDING = b" \0"
_NATIVE = frozenset(syntax.uid for syntax in UNCOMPRESSED_SYNTAXES)

_UNSIGNED = (
    (_SAMPLES, "SamplesPerPixel"),
    (_ROWS, "Rows"),
    (_COLUMNS, "Columns"),
    (_BITS, "BitsAllocated"),
    (0x00280101, "BitsStored"),
    (0x00280102, "HighBit"),
    (0x00280103, "PixelRepresentation"),
)
_INTEGERS = (
    (_FRAMES, "NumberOfFrames"),
    (0x00200011, "SeriesNumber"),
    (_ACQUISITION, "AcquisitionNumber"),
    (0x00200013, "InstanceNumber"),
    (0x00201002, "ImagesInAcquisition"),
    (0x00201208, "NumberOfStudyRelatedInstances"),
    (0x00201209, "NumberOfSeriesRelatedInstances"),
)
# How many numbers each has.
_DECIMALS = (
    (0x00180050, "SliceThickness", 1),
    (0x00200032, "ImagePositionPatient", 3),
    (0x00200037, "ImageOrientationPatient", 6),
    (0x00280030, "PixelSpacing", 2),
)
# Kept as they stand: whoever computes with them decides how exactly. Without them a value is not
# rescaled, so there has to be a difference between an absent and an unreadable one.
_DECIMAL_STRINGS = ((0x00281052, "RescaleIntercept"), (0x00281053, "RescaleSlope"))
# Their content is not kept, but where they are, it counts.
_SEQUENCES = (
    (MODALITY_LUT_SEQUENCE, "ModalityLUTSequence"),
    (PER_FRAME_GROUPS, "PerFrameFunctionalGroupsSequence"),
)
_CODES = ((0x00080060, "Modality"), (0x00280004, "PhotometricInterpretation"))
_IMAGE_TYPE = 0x00080008
# What tells the volumes of one series apart; those above it are facts anyway.
_TRAITS = tuple(
    (tag, place) for tag, place in CLASSIC.items() if tag not in {_IMAGE_TYPE, _ACQUISITION}
)
# float() would take 'nan', 'inf' and '1_0' as well (PS3.5 6.2, DS and IS).
_DECIMAL_SIGNS = re.compile(rb"[0-9+\-.eE \\\0]{1,256}")
_DECIMAL = re.compile(rb"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(rb"[+-]?[0-9]{1,12}")
# Some scanners write small letters and signs that CS does not have.
_CODE = re.compile(rb"[0-9A-Za-z_ .+/-]{1,32}")
_IMAGE_TYPES = re.compile(rb"[0-9A-Za-z_ .+/\\-]{1,256}")
_DECIMAL_MAX = 32


@dataclass(frozen=True, slots=True)
class Identity:
    """The UIDs of an object that was examined."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a C-STORE request says about the object (PS3.7 9.1.1) and how it is encoded."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True)
class Examined:
    """An object that is whole and is what its message says it is.

    Attributes:
        identity: its UIDs.
        pixel_offset: byte offset of the Pixel Data value in the data set as it came, or -1 where
            there is none, or where the data set is deflated.
        pixel_length: its bytes; -1 where there is none or it is encapsulated.
        outline: what was found in it.
    """

    identity: Identity
    pixel_offset: int
    pixel_length: int
    outline: Outline

    @property
    def facts(self) -> dict[str, object]:
        """What later stages ask, by DICOM keyword, for JSON; worked out at each call.

        Integers (US, IS), lists of numbers (DS), strings as they stand for codes, Image Type,
        Rescale Slope and Intercept, and True for a sequence that is there. A value that is absent
        or cannot be read is left out; a Rescale Slope or Intercept that cannot be read is an empty
        string. No value in it says who the patient is.
        """
        return _facts(self.outline)


def examine(outline: Outline, announced: Announcement) -> Examined:
    """Compare an object that was walked to its end with its announcement (PS3.4 B.2.3).

    Raises:
        CannotUnderstandError: 0xC000, it lacks a UID, or its pixels are cut short.
        DataSetMismatchError: 0xA900, it is another object, or an image without pixels.
    """
    values = outline.values
    identity = Identity(
        sop_class_uid=_identifying_uid(values, _SOP_CLASS, "SOP Class UID"),
        sop_instance_uid=_identifying_uid(values, _SOP_INSTANCE, "SOP Instance UID"),
        study_instance_uid=_identifying_uid(values, _STUDY, "Study Instance UID"),
        series_instance_uid=_identifying_uid(values, _SERIES, "Series Instance UID"),
    )
    if identity.sop_class_uid != announced.sop_class_uid:
        raise DataSetMismatchError(
            "The SOP Class UID in the data set is not the one in the C-STORE request."
        )
    if identity.sop_instance_uid != announced.sop_instance_uid:
        raise DataSetMismatchError(
            "The SOP Instance UID in the data set is not the one in the C-STORE request."
        )
    _check_pixels(outline, announced.transfer_syntax_uid)
    return Examined(
        identity=identity,
        pixel_offset=outline.pixel_offset,
        pixel_length=outline.pixel_length,
        outline=outline,
    )


def _identifying_uid(values: Mapping[int, bytes], tag: int, name: str) -> str:
    uid = _uid(values.get(tag, b""))
    if uid is None:
        raise CannotUnderstandError(f"The {name} in the data set is not a UID (PS3.5 9.1).")
    if not uid:
        raise CannotUnderstandError(f"The data set has no {name}.")
    return uid


def _uid(raw: bytes) -> str | None:
    """A UID; empty where there is none, None where it is not one."""
    value = raw.rstrip(_PADDING).lstrip(b" ")
    if not value:
        return ""
    if len(value) > _UID_MAX or not _UID.fullmatch(value):
        return None
    return value.decode("ascii")


def _check_pixels(outline: Outline, transfer_syntax_uid: str) -> None:
    """An image has pixels, and native pixels fill the frames that the attributes promise."""
    rows, columns = outline.number(_ROWS), outline.number(_COLUMNS)
    if not (rows and columns):
        return
    if not outline.noted & PIXEL_TAGS:
        raise DataSetMismatchError("The data set has rows and columns but no pixel data.")
    if outline.pixel_length < 0 or transfer_syntax_uid not in _NATIVE:
        return
    samples = outline.number(_SAMPLES, 1)
    frames = max(outline.integer(_FRAMES, 1), 1)
    bits = rows * columns * samples * outline.number(_BITS) * frames
    # YBR_FULL_422 keeps two samples for three (PS3.3 C.7.6.3.1.2), so two thirds may be enough.
    least = bits // 8 * (2 if samples == 3 else 3) // 3
    if outline.pixel_length < least:
        raise CannotUnderstandError(
            f"The pixel data is cut short: {outline.pixel_length} bytes where the attributes "
            f"promise {bits // 8}."
        )


def _facts(outline: Outline) -> dict[str, object]:
    values = outline.values
    order: Literal["little", "big"] = "little" if outline.little_endian else "big"
    facts: dict[str, object] = {}
    for tag, keyword in _CODES:
        code = values.get(tag, b"").strip(_PADDING)
        if _CODE.fullmatch(code):
            facts[keyword] = code.decode("ascii")
    kinds = values.get(_IMAGE_TYPE, b"").strip(_PADDING)
    if _IMAGE_TYPES.fullmatch(kinds):
        facts["ImageType"] = [kind.strip() for kind in kinds.decode("ascii").split("\\")]
    frame_of_reference = _uid(values.get(_FRAME_OF_REFERENCE, b""))
    if frame_of_reference:
        facts["FrameOfReferenceUID"] = frame_of_reference
    for tag, keyword in _UNSIGNED:
        raw = values.get(tag, b"")
        if len(raw) >= 2:
            facts[keyword] = int.from_bytes(raw[:2], order)
    for tag, keyword in _INTEGERS:
        if tag in values:
            first = values[tag].split(b"\\", 1)[0].strip(_PADDING)
            if _INTEGER.fullmatch(first):
                facts[keyword] = int(first)
    for tag, keyword, count in _DECIMALS:
        if tag in values:
            numbers = _decimals(values[tag], count)
            if numbers:
                facts[keyword] = numbers[0] if count == 1 else numbers
    for tag, keyword in _DECIMAL_STRINGS:
        if tag in values:
            facts[keyword] = _decimal_string(values[tag])
    for tag, place in _TRAITS:
        if tag in values:
            trait = read_trait(place.form, values[tag], little_endian=outline.little_endian)
            if trait is not None:
                facts[place.keyword] = trait
    for tag, keyword in _SEQUENCES:
        if tag in outline.noted:
            facts[keyword] = True
    return facts


def _decimal_string(raw: bytes) -> str:
    """One finite number as it stands; empty where the value is something else."""
    value = raw.strip(_PADDING)
    if not (
        len(value) <= _DECIMAL_MAX and _DECIMAL.fullmatch(value) and math.isfinite(float(value))
    ):
        return ""
    return value.decode("ascii")


def _decimals(raw: bytes, count: int) -> list[float]:
    """Exactly ``count`` finite numbers; empty where the value does not hold them."""
    if not _DECIMAL_SIGNS.fullmatch(raw):
        return []
    try:
        numbers = [float(part) for part in raw.rstrip(_PADDING).split(b"\\")]
    except ValueError:
        return []
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else []
