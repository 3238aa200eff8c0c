"""Segmentations read back, with none of the code that writes them.

The gate compares what this reads with what the model said, so it uses pydicom and numpy alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from secondread.errors import ResultError

_SAME_PLANE_MM = 1e-3
_OFF_GRID_MM = 1e-2
_SEGMENTS_MAX = 255

_SEGMENT = Tag("SegmentIdentificationSequence")
_POSITION = Tag("PlanePositionSequence")
_ORIENTATION = Tag("PlaneOrientationSequence")
_MEASURES = Tag("PixelMeasuresSequence")
_DERIVATION = Tag("DerivationImageSequence")

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
    """One frame of a segmentation.

    Attributes:
        position: Image Position (Patient), LPS mm.
        orientation: Image Orientation (Patient).
        pixel_spacing: mm between rows, then between columns.
        derivations: codes of the derivation, value and scheme.
    """

    segment: int
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_spacing: tuple[float, ...]
    sources: tuple[SourceReference, ...]
    derivations: tuple[tuple[str, str], ...]


class LabelMap(NamedTuple):
    """A segmentation as one map: ``(slice, row, column)`` uint8, and its affine to LPS mm."""

    labels: npt.NDArray[np.uint8]
    affine_lps: npt.NDArray[np.float64]


def read_segmentation(path: Path) -> LabelMap:
    """Read a BINARY segmentation as a label map on the geometry of its own frames.

    The frames may be in any order and cover any part of their series; slices between them that
    have no frame are background.

    Returns:
        The map, whose values are segment numbers, and its affine.

    Raises:
        ResultError: it is not a binary segmentation, its frames are not on one grid, or its
            segments overlap, which a label map cannot hold.
    """
    segmentation = pydicom.dcmread(path)
    return decode(segmentation, read_frames(segmentation))


def decode(segmentation: Dataset, frames: Sequence[Frame]) -> LabelMap:
    """As ``read_segmentation``, from a data set whose frames have been read."""
    if segmentation.get("SegmentationType") != "BINARY" or not frames:
        raise ResultError("This is not a binary segmentation with frames.")
    affine, places = _lay_out(segmentation, frames)
    rows, columns = int(segmentation.Rows), int(segmentation.Columns)
    labels = np.zeros((max(places) + 1, rows, columns), np.uint8)
    take = _pixel_reader(segmentation.PixelData, rows * columns)
    for index, (frame, place) in enumerate(zip(frames, places, strict=True)):
        if not 0 < frame.segment <= _SEGMENTS_MAX:
            raise ResultError(f"Segment number {frame.segment} does not fit a label map.")
        mask = take(index)
        plane = labels[place].reshape(-1)
        if plane[mask].any():
            raise ResultError("The segments overlap, which a label map cannot hold.")
        plane[mask] = frame.segment
    return LabelMap(labels, affine)


def read_frames(segmentation: Dataset) -> tuple[Frame, ...]:
    """Read the functional groups of every frame (PS3.3 C.7.6.16), shared ones included.

    Raises:
        ResultError: a frame lacks its segment, position, orientation or spacing.
    """
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    groups = _GroupReader(shared)
    try:
        return tuple(groups.read(item) for item in segmentation.PerFrameFunctionalGroupsSequence)
    except (AttributeError, IndexError, KeyError) as error:
        raise ResultError(f"A frame does not say what it is or where it lies: {error}.") from None


class _GroupReader:
    """Parses each distinct encoded group once: most frames share theirs with others."""

    def __init__(self, shared: Dataset) -> None:
        self._shared = dict(shared.items())
        self._parsed: dict[tuple[BaseTag, bytes], object] = {}

    def read(self, item: Dataset) -> Frame:
        own = dict(item.items())
        sources, derivations = self._parse(own, _DERIVATION, _derivation)
        return Frame(
            segment=self._parse(own, _SEGMENT, _segment),
            position=self._parse(own, _POSITION, _position),
            orientation=self._parse(own, _ORIENTATION, _orientation),
            pixel_spacing=self._parse(own, _MEASURES, _spacing),
            sources=sources,
            derivations=derivations,
        )

    def _parse(
        self, own: _Elements, tag: BaseTag, parse: Callable[[Dataset | None], Parsed]
    ) -> Parsed:
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


def _position(group: Dataset | None) -> tuple[float, ...]:
    return tuple(float(value) for value in _needed(group).ImagePositionPatient)


def _orientation(group: Dataset | None) -> tuple[float, ...]:
    return tuple(float(value) for value in _needed(group).ImageOrientationPatient)


def _spacing(group: Dataset | None) -> tuple[float, ...]:
    return tuple(float(value) for value in _needed(group).PixelSpacing)


def _derivation(
    group: Dataset | None,
) -> tuple[tuple[SourceReference, ...], tuple[tuple[str, str], ...]]:
    if group is None:
        return (), ()
    sources = tuple(
        SourceReference(
            str(image.ReferencedSOPClassUID),
            str(image.ReferencedSOPInstanceUID),
            int(image.get("ReferencedFrameNumber") or 0),
            _pair((image.get("PurposeOfReferenceCodeSequence") or [Dataset()])[0]),
        )
        for image in group.get("SourceImageSequence") or ()
    )
    return sources, tuple(_pair(code) for code in group.get("DerivationCodeSequence") or ())


def _pair(code: Dataset) -> tuple[str, str]:
    return str(code.get("CodeValue", "")), str(code.get("CodingSchemeDesignator", ""))


def _lay_out(
    segmentation: Dataset, frames: Sequence[Frame]
) -> tuple[npt.NDArray[np.float64], list[int]]:
    """The affine of the grid that the frames lie on, and each frame's slice in it."""
    first = frames[0]
    if any(
        frame.orientation != first.orientation or frame.pixel_spacing != first.pixel_spacing
        for frame in frames
    ):
        raise ResultError("The frames of the segmentation are not parallel or differ in spacing.")
    along_columns, along_rows = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    normal = np.cross(along_columns, along_rows)
    positions = np.array([frame.position for frame in frames])
    depths = positions @ normal
    step = _find_step(segmentation, depths)
    lowest, highest = int(np.argmin(depths)), int(np.argmax(depths))
    places = np.rint((depths - depths[lowest]) / step).astype(int)
    affine = np.eye(4)
    affine[:3, 0] = normal * step
    if places[highest]:
        # Not the normal: the slices of a tilted gantry lean against their stack.
        affine[:3, 0] = (positions[highest] - positions[lowest]) / places[highest]
    affine[:3, 1] = along_rows * first.pixel_spacing[0]
    affine[:3, 2] = along_columns * first.pixel_spacing[1]
    affine[:3, 3] = positions[lowest]
    expected = affine[:3, 3] + places[:, None] * affine[:3, 0]
    if np.abs(positions - expected).max() > _OFF_GRID_MM + _drift(step, places):
        raise ResultError("The frames of the segmentation do not lie on one regular grid.")
    return affine, places.tolist()


def _drift(step: float, places: npt.NDArray[np.int_]) -> float:
    """What a rounded step adds up to over the whole stack, in mm."""
    return float(1e-4 * step * places.max(initial=0))


def _find_step(segmentation: Dataset, depths: npt.NDArray[np.float64]) -> float:
    """Distance between neighbouring slices, mm: the smallest there is, averaged over the stack.

    Only a single slice has to be believed what it says about its distance or thickness.
    """
    ordered = np.sort(depths)
    gaps = np.diff(ordered)
    gaps = gaps[gaps > _SAME_PLANE_MM]
    if gaps.size:
        extent = float(ordered[-1] - ordered[0])
        return extent / round(extent / float(gaps.min()))
    measures = segmentation.SharedFunctionalGroupsSequence[0].get("PixelMeasuresSequence")
    item = measures[0] if measures else Dataset()
    return float(item.get("SpacingBetweenSlices") or item.get("SliceThickness") or 1.0)


def _pixel_reader(pixels: bytes, size: int) -> Callable[[int], npt.NDArray[np.bool_]]:
    """A function that gives frame ``index`` as a flat mask (bits without gaps, PS3.5 8.1.1)."""
    packed = np.frombuffer(pixels, np.uint8)
    if size % 8 == 0:
        length = size // 8
        return lambda index: np.unpackbits(
            packed[index * length : (index + 1) * length], bitorder="little"
        ).view(np.bool_)
    bits = np.unpackbits(packed, bitorder="little").view(np.bool_)
    return lambda index: bits[index * size : (index + 1) * size]
