"""The functional groups of every frame of somebody's object (PS3.3 C.7.6.16).

An object of a hundred segments has some ten thousand frames, and most of them share their groups
with others. So the items are split as bytes, and each distinct group is parsed once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from secondread.errors import ResultError

_SEGMENT = Tag("SegmentIdentificationSequence")
_POSITION = Tag("PlanePositionSequence")
_ORIENTATION = Tag("PlaneOrientationSequence")
_MEASURES = Tag("PixelMeasuresSequence")
_DERIVATION = Tag("DerivationImageSequence")
_PER_FRAME = "PerFrameFunctionalGroupsSequence"
_ON_A_SLIDE = "PlanePositionSlideSequence"

_ITEM = 0xFFFEE000
_UNDEFINED_LENGTH = 0xFFFF_FFFF
_TAG_AND_LENGTH = struct.Struct("<HHL")
_LONG_LENGTH = struct.Struct("<L")
_SHORT_LENGTH = struct.Struct("<H")
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())

_Elements = dict[BaseTag, DataElement | RawDataElement]
Parsed = TypeVar("Parsed")


@dataclass(frozen=True, slots=True)
class SourceReference:
    """One source image of a frame; ``frame`` is 0 for a single-frame source."""

    sop_class_uid: str
    sop_instance_uid: str
    frame: int
    purpose: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a segmentation or a parametric map.

    Attributes:
        segment: its segment's number; 0 where a frame is not of one segment alone.
        position: Image Position (Patient), LPS mm.
        orientation: Image Orientation (Patient).
        pixel_spacing: mm between rows, then between columns.
        derivations: codes of the derivation, value and scheme.
        slice_step_mm: Spacing Between Slices, or 0 where the object has none.
        thickness_mm: Slice Thickness, or 0 where the object has none.
    """

    segment: int
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_spacing: tuple[float, ...]
    sources: tuple[SourceReference, ...]
    derivations: tuple[tuple[str, str], ...]
    slice_step_mm: float = 0.0
    thickness_mm: float = 0.0


class _Measures(NamedTuple):
    pixel_spacing: tuple[float, ...]
    slice_step_mm: float
    thickness_mm: float


def read_frames(found: Dataset) -> tuple[Frame, ...]:
    """Read the functional groups of every frame, those that all frames share included.

    Raises:
        ResultError: there are no frames, or one lacks its position, orientation or spacing, or in
            a segmentation of one bit per voxel or of probabilities its segment.
    """
    if _PER_FRAME not in found:
        raise ResultError("The object has no functional groups that say where its frames lie.")
    shared = (found.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    names_segments = found.get("SegmentationType", "LABELMAP") != "LABELMAP"
    groups = _GroupReader(shared, names_segments)
    try:
        frames = tuple(groups.read(own) for own in _own_groups(found))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, struct.error) as error:
        raise ResultError(
            f"A frame does not say what it is or where it lies: {_tell(error)}."
        ) from None
    if not frames:
        raise ResultError("The object has no frames.")
    return frames


def read_groups(found: Dataset, keyword: str) -> Iterator[Dataset | None]:
    """The first item of one functional group of every frame, or of the shared one."""
    tag = Tag(keyword)
    shared = (found.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    reader = _GroupReader(shared, names_segments=False)
    for own in _own_groups(found):
        yield reader.parse(own, tag, lambda group: group)


def _tell(error: Exception) -> str:
    if isinstance(error, AttributeError) and error.name:
        return f"{error.name} is absent"
    if isinstance(error, KeyError):
        return str(error.args[0]) if error.args else "a functional group is absent"
    return "a value is not what it should be"


def _own_groups(found: Dataset) -> Iterator[_Elements]:
    element: object = found.get_item(_PER_FRAME)
    if isinstance(element, RawDataElement) and element.value and element.is_little_endian:
        split = list(_split_items(element.value, element.is_implicit_VR))
        if None not in split:
            yield from (own for own in split if own is not None)
            return
    for item in found[_PER_FRAME].value or ():
        yield dict(item.items())


def _split_items(data: bytes, is_implicit: bool) -> Iterator[_Elements | None]:
    """The elements of each item of a sequence; None where one has no length (PS3.5 7.5)."""
    at = 0
    while at < len(data):
        group, element, length = _TAG_AND_LENGTH.unpack_from(data, at)
        if group << 16 | element != _ITEM or length == _UNDEFINED_LENGTH:
            yield None
            return
        at += 8
        if at + length > len(data):
            raise ValueError("cut short")
        yield _split_elements(data, at, at + length, is_implicit)
        at += length


def _split_elements(data: bytes, at: int, end: int, is_implicit: bool) -> _Elements | None:
    found: _Elements = {}
    while at < end:
        group, element, length = _TAG_AND_LENGTH.unpack_from(data, at)
        vr = None if is_implicit else data[at + 4 : at + 6]
        at += 8
        if vr is not None and vr in _LONG_VRS:
            (length,) = _LONG_LENGTH.unpack_from(data, at)
            at += 4
        elif vr is not None:
            (length,) = _SHORT_LENGTH.unpack_from(data, at - 2)
        if length == _UNDEFINED_LENGTH:
            return None
        if at + length > end:
            raise ValueError("cut short")
        tag = BaseTag(group << 16 | element)
        found[tag] = RawDataElement(
            tag,
            vr.decode("ascii") if vr else None,
            length,
            data[at : at + length],
            0,
            is_implicit,
            True,
        )
        at += length
    return found


class _GroupReader:
    """Parses each distinct encoded group once."""

    def __init__(self, shared: Dataset, names_segments: bool) -> None:
        self._shared: _Elements = dict(shared.items())
        self._names_segments = names_segments
        self._parsed: dict[tuple[BaseTag, bytes], object] = {}

    def read(self, own: _Elements) -> Frame:
        if _POSITION not in own and (_ON_A_SLIDE in own or _POSITION not in self._shared):
            raise KeyError("it has no place in the patient, as on a slide or in a projection")
        sources, derivations = self.parse(own, _DERIVATION, _derivation)
        measures = self.parse(own, _MEASURES, _measures)
        return Frame(
            self.parse(own, _SEGMENT, _segment) if self._names_segments else 0,
            self.parse(own, _POSITION, _position),
            self.parse(own, _ORIENTATION, _orientation),
            measures.pixel_spacing,
            sources,
            derivations,
            measures.slice_step_mm,
            measures.thickness_mm,
        )

    def parse(
        self, own: _Elements, tag: BaseTag, parse: Callable[[Dataset | None], Parsed]
    ) -> Parsed:
        """What ``parse`` makes of a group of a frame, or of the shared one."""
        element = own.get(tag) or self._shared.get(tag)
        if not isinstance(element, RawDataElement) or element.value is None:
            items: Sequence[Dataset] = element.value if isinstance(element, DataElement) else ()
            return parse(items[0] if items else None)
        key = (tag, element.value)
        if key not in self._parsed:
            sequence = convert_raw_data_element(element).value
            self._parsed[key] = parse(sequence[0] if sequence else None)
        found: Parsed = self._parsed[key]  # type: ignore[assignment]
        return found


def _needed(group: Dataset | None) -> Dataset:
    if group is None:
        raise KeyError("a functional group is absent")
    return group


def _segment(group: Dataset | None) -> int:
    return int(_needed(group).ReferencedSegmentNumber)


def _numbers(values: Sequence[object], count: int) -> tuple[float, ...]:
    numbers = tuple(float(str(value)) for value in values)
    if len(numbers) != count:
        raise ValueError("another number of values than there should be")
    return numbers


def _position(group: Dataset | None) -> tuple[float, ...]:
    return _numbers(_needed(group).ImagePositionPatient, 3)


def _orientation(group: Dataset | None) -> tuple[float, ...]:
    return _numbers(_needed(group).ImageOrientationPatient, 6)


def _measures(group: Dataset | None) -> _Measures:
    item = _needed(group)
    return _Measures(
        _numbers(item.PixelSpacing, 2),
        abs(float(item.get("SpacingBetweenSlices") or 0.0)),
        float(item.get("SliceThickness") or 0.0),
    )


def _derivation(
    group: Dataset | None,
) -> tuple[tuple[SourceReference, ...], tuple[tuple[str, str], ...]]:
    if group is None:
        return (), ()
    sources = tuple(
        SourceReference(
            str(image.ReferencedSOPClassUID),
            str(image.ReferencedSOPInstanceUID),
            _first_number(image.get("ReferencedFrameNumber")),
            _pair((image.get("PurposeOfReferenceCodeSequence") or [Dataset()])[0]),
        )
        for image in group.get("SourceImageSequence") or ()
    )
    return sources, tuple(_pair(code) for code in group.get("DerivationCodeSequence") or ())


def _first_number(value: object) -> int:
    """A source may name several frames of itself (PS3.3 10.3)."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = value[0] if value else None
    return int(str(value)) if value else 0


def _pair(code: Dataset) -> tuple[str, str]:
    return str(code.get("CodeValue", "")), str(code.get("CodingSchemeDesignator", ""))
