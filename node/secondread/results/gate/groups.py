"""The functional groups of frames (PS3.3 C.7.6.16), each distinct one taken apart once."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from secondread.results.gate.elements import (
    Node,
    Seen,
    count_of,
    encode_item,
    items_of,
    numbers_of,
    parse,
    read_items,
    split_elements,
    tag_of,
    text_of,
)

_GROUP = struct.Struct("<HH2s2xI")
_PER_FRAME = "PerFrameFunctionalGroupsSequence"
_SHARED = "SharedFunctionalGroupsSequence"
_CONTENT = tag_of("FrameContentSequence")
_SEGMENT = tag_of("SegmentIdentificationSequence")
_SEGMENT_NUMBER = tag_of("ReferencedSegmentNumber")
_PLANE_POSITION, _POSITION = tag_of("PlanePositionSequence"), tag_of("ImagePositionPatient")
_PLANE_ORIENTATION, _ORIENTATION = (
    tag_of("PlaneOrientationSequence"),
    tag_of("ImageOrientationPatient"),
)
_MEASURES, _SPACING = tag_of("PixelMeasuresSequence"), tag_of("PixelSpacing")
_DERIVATION = tag_of("DerivationImageSequence")
_DERIVATION_CODE = tag_of("DerivationCodeSequence")
_SOURCE, _PURPOSE = tag_of("SourceImageSequence"), tag_of("PurposeOfReferenceCodeSequence")
_CLASS, _INSTANCE = tag_of("ReferencedSOPClassUID"), tag_of("ReferencedSOPInstanceUID")
_FRAME = tag_of("ReferencedFrameNumber")
_CODE_VALUE, _SCHEME = tag_of("CodeValue"), tag_of("CodingSchemeDesignator")
_REAL_WORLD = tag_of("RealWorldValueMappingSequence")


@dataclass(frozen=True, slots=True)
class Source:
    """An image that a frame derives from; ``frame`` is 0 for a single-frame one."""

    sop_class_uid: str
    sop_instance_uid: str
    frame: int
    purpose: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Plane:
    """Where frames lie and what they derive from; empty where the file does not say.

    Attributes:
        position: Image Position (Patient), LPS mm.
        orientation: Image Orientation (Patient).
        spacing: Pixel Spacing, mm between rows, then between columns.
        derivations: codes of the derivation, value and scheme.
        mapping: Real World Value Mapping, encoded.
    """

    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]
    sources: tuple[Source, ...]
    derivations: tuple[tuple[str, str], ...]
    mapping: tuple[Node, ...] = ()

    @property
    def is_in_patient(self) -> bool:
        """Whether it says where it lies."""
        return (len(self.position), len(self.orientation), len(self.spacing)) == (3, 6, 2)


@dataclass(frozen=True, slots=True)
class Frames:
    """All frames of an object.

    Attributes:
        segments: Referenced Segment Number of each frame, 0 where it has none.
        places: for each frame, its place in ``planes``.
        planes: the distinct ones.
    """

    segments: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    planes: tuple[Plane, ...]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.segments)


def read_frames(header: Dataset) -> Frames:
    """Read the groups of every frame, the shared ones included.

    Raises:
        ValueError: a group cannot be taken apart.
        AttributeError: the object has no functional groups.
    """
    shared = header.get(_SHARED) or []
    common = split_elements(encode_item(shared[0])) if shared else {}
    segments, places = [], []
    planes: dict[tuple[bytes, ...], int] = {}
    parsed: list[Plane] = []
    numbers: dict[bytes, int] = {}
    seen: Seen = {}
    for item in read_items(header, _PER_FRAME):
        own = _split(item)
        own.pop(_CONTENT, None)
        segment = own.pop(_SEGMENT, None) or common.get(_SEGMENT, b"")
        if segment not in numbers:
            numbers[segment] = _segment(segment)
        segments.append(numbers[segment])
        key = tuple(own.values())
        place = planes.get(key)
        if place is None:
            place = planes[key] = len(parsed)
            parsed.append(_plane({**common, **own}, seen))
        places.append(place)
    return Frames(np.array(segments, np.int64), np.array(places, np.int64), tuple(parsed))


def _split(item: bytes) -> dict[int, bytes]:
    """The groups of a frame by their tags, as bytes with their headers: all are sequences."""
    found, at, end = {}, 0, len(item)
    while at < end:
        group, element, vr, length = _GROUP.unpack_from(item, at)
        last = at + 12 + length
        if vr != b"SQ" or last > end:
            return split_elements(item)
        found[group << 16 | element] = item[at:last]
        at = last
    return found


def _segment(element: bytes) -> int:
    items = items_of(parse(element), _SEGMENT) if element else []
    return count_of(items[0], _SEGMENT_NUMBER) if items else 0


def _plane(groups: dict[int, bytes], seen: Seen) -> Plane:
    node = parse(b"".join(groups.values()), seen)
    derivation = _first(node, _DERIVATION)
    return Plane(
        position=numbers_of(_first(node, _PLANE_POSITION), _POSITION),
        orientation=numbers_of(_first(node, _PLANE_ORIENTATION), _ORIENTATION),
        spacing=numbers_of(_first(node, _MEASURES), _SPACING),
        sources=tuple(
            Source(
                text_of(image, _CLASS),
                text_of(image, _INSTANCE),
                int(text_of(image, _FRAME).split("\\")[0] or 0),
                _code(_first(image, _PURPOSE)),
            )
            for image in items_of(derivation, _SOURCE)
        ),
        derivations=tuple(_code(code) for code in items_of(derivation, _DERIVATION_CODE)),
        mapping=tuple(items_of(node, _REAL_WORLD)),
    )


def _first(node: Node, tag: int) -> Node:
    items = items_of(node, tag)
    return items[0] if items else {}


def _code(node: Node) -> tuple[str, str]:
    return text_of(node, _CODE_VALUE), text_of(node, _SCHEME)
