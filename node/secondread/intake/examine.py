"""Is an object what its message says it is, and is it whole?"""

from __future__ import annotations

import re
from dataclasses import dataclass

from secondread.dicom.contexts import UNCOMPRESSED_SYNTAXES
from secondread.dicom.walk import PIXEL_DATA, Outline, outline
from secondread.errors import CannotUnderstandError, DataSetMismatchError

_SOP_CLASS, _SOP_INSTANCE = 0x00080016, 0x00080018
_STUDY, _SERIES = 0x0020000D, 0x0020000E
_SAMPLES, _FRAMES, _BITS = 0x00280002, 0x00280008, 0x00280100
_ROWS, _COLUMNS = 0x00280010, 0x00280011
_FLOAT_PIXELS, _DOUBLE_PIXELS = 0x7FE00008, 0x7FE00009
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_NATIVE = frozenset(syntax.uid for syntax in UNCOMPRESSED_SYNTAXES)


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


def examine(data: memoryview, announced: Announcement, inflated_max: int) -> Identity:
    """Walk an object to its end and compare it with its announcement (PS3.4 B.2.3).

    Raises:
        CannotUnderstandError: 0xC000, it is not a data set, is cut short or lacks a UID.
        DataSetMismatchError: 0xA900, it is another object, or an image without pixels.
        OutOfResourcesError: 0xA700, it becomes too large when inflated.
    """
    found = outline(data, announced.transfer_syntax_uid, inflated_max)
    identity = Identity(
        sop_class_uid=_uid(found, _SOP_CLASS, "SOP Class UID"),
        sop_instance_uid=_uid(found, _SOP_INSTANCE, "SOP Instance UID"),
        study_instance_uid=_uid(found, _STUDY, "Study Instance UID"),
        series_instance_uid=_uid(found, _SERIES, "Series Instance UID"),
    )
    if identity.sop_class_uid != announced.sop_class_uid:
        raise DataSetMismatchError(
            "The SOP Class UID in the data set is not the one in the C-STORE request."
        )
    if identity.sop_instance_uid != announced.sop_instance_uid:
        raise DataSetMismatchError(
            "The SOP Instance UID in the data set is not the one in the C-STORE request."
        )
    _check_pixels(found, announced.transfer_syntax_uid)
    return identity


def _uid(found: Outline, tag: int, name: str) -> str:
    value = found.text(tag)
    if not value:
        raise CannotUnderstandError(f"The data set has no {name}.")
    if len(value) > 64 or not _UID.fullmatch(value):
        raise CannotUnderstandError(f"The {name} in the data set is not a UID (PS3.5 9.1).")
    return value


def _check_pixels(found: Outline, transfer_syntax_uid: str) -> None:
    """An image has pixels, and native pixels fill the frames that the attributes promise."""
    if not (found.number(_ROWS) and found.number(_COLUMNS)):
        return
    if not {PIXEL_DATA, _FLOAT_PIXELS, _DOUBLE_PIXELS}.intersection(found.tags):
        raise DataSetMismatchError("The data set has rows and columns but no pixel data.")
    if found.pixel_length < 0 or transfer_syntax_uid not in _NATIVE:
        return
    bits = (
        found.number(_ROWS)
        * found.number(_COLUMNS)
        * found.number(_SAMPLES, 1)
        * found.number(_BITS)
        * max(found.integer(_FRAMES, 1), 1)
    )
    # YBR_FULL_422 keeps two samples for three (PS3.3 C.7.6.3.1.2), so two thirds may be enough.
    least = bits // 8 * (2 if found.number(_SAMPLES, 1) == 3 else 3) // 3
    if found.pixel_length < least:
        raise CannotUnderstandError(
            f"The pixel data is cut short: {found.pixel_length} bytes where the attributes "
            f"promise {bits // 8}."
        )
