"""The functional groups of a segmentation's frames, encoded as bytes.

A body with 100 structures has some 7,000 frames. One pydicom data set per frame costs seconds, and
all but two numbers of it are those of the slice. So what belongs to the slice is encoded once per
slice, and the two numbers are packed between.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from highdicom.sr.coding import CodedConcept
from pydicom.dataset import Dataset

from secondread.results import coding
from secondread.results.elements import (
    encode_dataset,
    encode_item,
    encode_sequence,
    encode_short,
    encode_text,
)
from secondread.results.slices import SliceGeometry

LABEL_MAP = 0
"""Stands for the segment of a frame that shows all of them."""

_FRAME_CONTENT = 0x0020_9111
_DIMENSION_INDEX_VALUES = 0x0020_9157
_SEGMENT_IDENTIFICATION = 0x0062_000A
_REFERENCED_SEGMENT_NUMBER = 0x0062_000B
_PER_FRAME_FUNCTIONAL_GROUPS = 0x5200_9230


class FramePlace(NamedTuple):
    """Where a frame lies: its segment's number, or ``LABEL_MAP``, and its slice from 0."""

    segment: int
    slice_index: int


@dataclass(frozen=True, slots=True)
class Plane:
    """What a slice's frames share: the derivation and the position, each an encoded sequence."""

    derivation: bytes
    position: bytes


def encode_planes(slices: Sequence[SliceGeometry]) -> tuple[Plane, ...]:
    """Derivation Image and Plane Position of each slice (PS3.3 C.7.6.16.2.6 and C.7.6.16.2.3)."""
    purpose = CodedConcept(*coding.SOURCE_PURPOSE, "Source image for image processing operation")
    segmentation = CodedConcept(*coding.SEGMENTATION_DERIVATION, "Segmentation")
    why = Dataset()
    why.SpatialLocationsPreserved = "YES"
    why.PurposeOfReferenceCodeSequence = [purpose]
    how = Dataset()
    how.DerivationCodeSequence = [segmentation]
    # The same for all slices.
    end_of_image, end_of_derivation = encode_dataset(why), encode_dataset(how)
    return tuple(_encode_plane(one, end_of_image, end_of_derivation) for one in slices)


def _encode_plane(one: SliceGeometry, end_of_image: bytes, end_of_derivation: bytes) -> Plane:
    image = encode_text(0x0008_1150, b"UI", one.sop_class_uid)
    image += encode_text(0x0008_1155, b"UI", one.sop_instance_uid)
    if one.frame:
        image += encode_text(0x0008_1160, b"IS", str(one.frame))
    derivation = _sequence(0x0008_2112, image + end_of_image) + end_of_derivation
    position = encode_text(0x0020_0032, b"DS", "\\".join(one.position))
    return Plane(_sequence(0x0008_9124, derivation), _sequence(0x0020_9113, position))


def encode_groups(places: Iterable[FramePlace], planes: Sequence[Plane]) -> bytes:
    """The Per-Frame Functional Groups Sequence (PS3.3 C.7.6.16).

    Args:
        places: of the frames, in their order.
        planes: one for each slice.
    """
    items: list[bytes] = []
    for segment, slice_index in places:
        plane = planes[slice_index]
        groups = b"".join(
            (plane.derivation, _content(segment, slice_index), plane.position, _identify(segment))
        )
        items.append(encode_item(groups))
    return encode_sequence(_PER_FRAME_FUNCTIONAL_GROUPS, b"".join(items))


def _content(segment: int, slice_index: int) -> bytes:
    """Frame Content: where the frame stands in each dimension (PS3.3 C.7.6.17).

    The dimensions of a label map are its slices alone.
    """
    at = slice_index + 1
    values = (at,) if segment == LABEL_MAP else (segment, at)
    packed = struct.pack(f"<{len(values)}I", *values)
    return _sequence(_FRAME_CONTENT, encode_short(_DIMENSION_INDEX_VALUES, b"UL", packed))


def _identify(segment: int) -> bytes:
    if segment == LABEL_MAP:
        return b""
    number = encode_short(_REFERENCED_SEGMENT_NUMBER, b"US", struct.pack("<H", segment))
    return _sequence(_SEGMENT_IDENTIFICATION, number)


def _sequence(tag: int, content: bytes) -> bytes:
    return encode_sequence(tag, encode_item(content))
