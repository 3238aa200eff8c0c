"""Headers of stored images: what selection, geometry and pixel decoding need, and no more."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag

from secondread.dicom.attributes import TAGS as ATTRIBUTE_TAGS
from secondread.dicom.attributes import read_attributes
from secondread.dicom.elements import integer, readable_text, text, texts, unsigned
from secondread.dicom.planes import MODALITY_LUT_SEQUENCE, TAGS, Plane, read_planes
from secondread.domain.series import Values
from secondread.errors import CannotUnderstandError

_PIXEL_TAGS_FROM = 0x7FE00001
_FLOAT_PIXELS, _DOUBLE_PIXELS, _PIXELS = 0x7FE00008, 0x7FE00009, 0x7FE00010
_PIXEL_TAGS = (_FLOAT_PIXELS, _DOUBLE_PIXELS, _PIXELS)
_UNDEFINED_LENGTH = 0xFFFFFFFF
_DEFLATED = "1.2.840.10008.1.2.1.99"
_IMPLICIT = "1.2.840.10008.1.2"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"

_SOP_CLASS, _SOP_INSTANCE, _SERIES = 0x00080016, 0x00080018, 0x0020000E
_MODALITY, _IMAGE_TYPE, _BODY_PART = 0x00080060, 0x00080008, 0x00180015
_STUDY_DESCRIPTION, _SERIES_DESCRIPTION = 0x00081030, 0x0008103E
_SERIES_NUMBER, _INSTANCE_NUMBER, _FRAME_OF_REFERENCE = 0x00200011, 0x00200013, 0x00200052
_BURNED_IN = 0x00280301
_SAMPLES, _PHOTOMETRIC, _ROWS, _COLUMNS = 0x00280002, 0x00280004, 0x00280010, 0x00280011
_ALLOCATED, _STORED, _HIGH_BIT, _REPRESENTATION = 0x00280100, 0x00280101, 0x00280102, 0x00280103
_CHARACTER_SET = 0x00080005

_WANTED: list[BaseTag | int] = [
    Tag(tag)
    for tag in (
        *(_CHARACTER_SET, _SOP_CLASS, _SOP_INSTANCE, _SERIES, _MODALITY, _IMAGE_TYPE, _BODY_PART),
        *(_STUDY_DESCRIPTION, _SERIES_DESCRIPTION, _SERIES_NUMBER, _INSTANCE_NUMBER),
        *(_FRAME_OF_REFERENCE, _BURNED_IN, _SAMPLES, _PHOTOMETRIC, _ROWS, _COLUMNS),
        *(_ALLOCATED, _STORED, _HIGH_BIT, _REPRESENTATION, *TAGS, *ATTRIBUTE_TAGS),
    )
]


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How the pixels of one object are stored (PS3.3 C.7.6.3, PS3.5 8).

    Attributes:
        frames: number of frames.
        kind: ``integer``, ``float``, ``double``, or empty when the object has no pixels.
        offset: where the first pixel's byte lies in the file; 0 when it cannot be read in place,
            because it is encapsulated or deflated.
        length_bytes: length of the value at ``offset``.
        modality_table: a non-linear Modality LUT takes the place of slope and intercept.
        items_offset: where the first item of encapsulated pixels lies in the file; 0 where it is
            not known or there are none.
    """

    transfer_syntax_uid: str
    frames: int
    rows: int
    columns: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    kind: str
    offset: int
    length_bytes: int
    modality_table: bool
    items_offset: int = 0


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """The header of one object; texts are empty and numbers None when absent or unreadable.

    ``study_description`` and ``series_description`` are free text and may name a person: they are
    for matching and for the pages of the site, never for a log; so are the texts in
    ``attributes``, which are the values by keyword of those in ``domain.attributes``. A header that
    was not read from its file has none.
    """

    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    modality: str
    image_type: tuple[str, ...]
    body_part: str
    study_description: str
    series_description: str
    series_number: int | None
    instance_number: int | None
    frame_of_reference_uid: str
    burned_in: bool
    planes: tuple[Plane, ...]
    pixels: PixelLayout
    attributes: Mapping[str, Values] = field(default_factory=dict, hash=False)


def read_header(path: Path) -> FileDataset:
    """The whole data set up to the pixels; values are converted when they are asked for.

    Raises:
        CannotUnderstandError: the file is not there or is not a DICOM file.
    """
    with _reading():
        return dcmread(path, stop_before_pixels=True)


def read_slice(path: Path) -> SliceHeader:
    """Read one object's header in about a millisecond; nothing behind the pixels is looked at.

    Raises:
        CannotUnderstandError: the file is not there or is not a DICOM file.
    """
    with _reading():
        with path.open("rb") as file:
            dataset = read_partial(file, _is_pixels, specific_tags=_WANTED)
            start = file.tell()
            head = file.read(12)
        syntax = text(dataset.file_meta, 0x00020010) or _IMPLICIT
        return _slice(dataset, syntax, _locate(syntax, start, head))


@contextmanager
def _reading() -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            # pydicom quotes the value that it warns about, and the value may be a person's.
            warnings.simplefilter("ignore")
            yield
    # A sequence of defined length may hold others to any depth, and pydicom calls itself for each;
    # and on damaged bytes it raises what its own steps happen to raise.
    except (
        InvalidDicomError,
        BytesLengthException,
        OSError,
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        NotImplementedError,
        RecursionError,
        struct.error,
    ) as error:
        raise CannotUnderstandError(
            f"An object of the spool cannot be read as DICOM ({type(error).__name__}). "
            "Send it again, or look at the disk if this happens to more than one."
        ) from error


def _is_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return int(tag) >= _PIXEL_TAGS_FROM


@dataclass(frozen=True, slots=True)
class _Pixels:
    """The element that holds the pixels: its value, or the first item of its value."""

    tag: int
    offset: int = 0
    length: int = 0
    items_offset: int = 0


def _locate(syntax: str, start: int, head: bytes) -> _Pixels:
    """The pixel element that starts with ``head``."""
    if syntax == _DEFLATED or len(head) < 12:
        return _Pixels(_PIXELS if syntax == _DEFLATED else 0)
    order = ">" if syntax == _BIG_ENDIAN else "<"
    group, element = struct.unpack(f"{order}HH", head[:4])
    tag = group << 16 | element
    if syntax == _IMPLICIT:
        offset, length = start + 8, struct.unpack("<L", head[4:8])[0]
    else:
        offset, length = start + 12, struct.unpack(f"{order}L", head[8:12])[0]
    if length == _UNDEFINED_LENGTH:
        return _Pixels(tag, items_offset=offset)
    return _Pixels(tag, offset, length)


def _slice(dataset: FileDataset, syntax: str, found: _Pixels) -> SliceHeader:
    planes = read_planes(dataset)
    rows, columns = unsigned(dataset, _ROWS) or 0, unsigned(dataset, _COLUMNS) or 0
    allocated = unsigned(dataset, _ALLOCATED) or 0
    stored = unsigned(dataset, _STORED) or allocated
    high_bit = unsigned(dataset, _HIGH_BIT)
    kinds = {_PIXELS: "integer", _FLOAT_PIXELS: "float", _DOUBLE_PIXELS: "double"}
    return SliceHeader(
        sop_instance_uid=text(dataset, _SOP_INSTANCE),
        sop_class_uid=text(dataset, _SOP_CLASS),
        series_instance_uid=text(dataset, _SERIES),
        modality=text(dataset, _MODALITY).upper(),
        image_type=tuple(value.upper() for value in texts(dataset, _IMAGE_TYPE)),
        body_part=text(dataset, _BODY_PART).upper(),
        study_description=readable_text(dataset, _STUDY_DESCRIPTION),
        series_description=readable_text(dataset, _SERIES_DESCRIPTION),
        series_number=integer(dataset, _SERIES_NUMBER),
        instance_number=integer(dataset, _INSTANCE_NUMBER),
        frame_of_reference_uid=text(dataset, _FRAME_OF_REFERENCE),
        burned_in=text(dataset, _BURNED_IN).upper() == "YES",
        planes=planes,
        pixels=PixelLayout(
            transfer_syntax_uid=syntax,
            frames=len(planes),
            rows=rows,
            columns=columns,
            samples=unsigned(dataset, _SAMPLES) or 1,
            photometric=text(dataset, _PHOTOMETRIC).upper(),
            bits_allocated=allocated,
            bits_stored=stored,
            high_bit=stored - 1 if high_bit is None else high_bit,
            signed=unsigned(dataset, _REPRESENTATION) == 1,
            kind=kinds.get(found.tag, "") if rows and columns else "",
            offset=found.offset,
            length_bytes=found.length,
            modality_table=MODALITY_LUT_SEQUENCE in dataset,
            items_offset=found.items_offset,
        ),
        attributes=read_attributes(dataset, planes, syntax),
    )
