"""Segmentations: the gate's own checks, and what can be said of anybody's (PS3.3 A.51, A.90)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from secondread.bundles.manifest import Label
from secondread.domain.form import SegmentationKind
from secondread.results.analysis import Analysis
from secondread.results.context import ResultContext
from secondread.results.gate.elements import items_of, read_sequence, tag_of, text_of
from secondread.results.gate.evidence import uid_of
from secondread.results.gate.groups import Frames, read_frames
from secondread.results.gate.opened import Opened, Pixels
from secondread.results.gate.planes import (
    find_layout_faults,
    find_plane_faults,
    place_frames,
    read_source_planes,
)
from secondread.results.gate.required import LABEL_MAP, is_empty
from secondread.results.gate.segments import find_description_faults, find_segment_faults
from secondread.results.gate.voxels import (
    Wanted,
    find_binary_faults,
    find_fraction_faults,
    find_label_map_faults,
)
from secondread.results.measurement.measurements import StructureMeasurements

_DERIVATION = ("113076", "DCM")
_INSTANCES, _INSTANCE = tag_of("ReferencedInstanceSequence"), tag_of("ReferencedSOPInstanceUID")
_SERIES_UID = tag_of("SeriesInstanceUID")
_OWN_SERIES = Tag("SeriesInstanceUID")
_BITS = {"BINARY": (1,), "FRACTIONAL": (8,), "LABELMAP": (8, 16)}
_FRACTIONS = frozenset({"PROBABILITY", "OCCUPANCY"})
_ELSEWHERE = "The segmentation's grid is not the volume's: it would be drawn elsewhere."


@dataclass(frozen=True, slots=True)
class Shown:
    """What a segmentation should show.

    Attributes:
        segments: label of each segment number.
        measured: every structure of the manifest, measured in the model's answer.
        is_whole: whether it should show all structures that were found.
    """

    segments: Mapping[int, Label]
    measured: tuple[StructureMeasurements, ...]
    is_whole: bool


def find_own_faults(
    opened: Opened, context: ResultContext, analysis: Analysis, shown: Shown
) -> Iterator[str]:
    """Faults of a segmentation that the node made, but for those of its origin."""
    header = opened.header
    kind = str(header.SegmentationType)
    wanted = context.form.segmentation
    if wanted is SegmentationKind.FRACTIONAL and analysis.probabilities is None:
        # Without probabilities there are no fractions, and the bits say it all.
        wanted = SegmentationKind.BINARY
    if kind != wanted.name or (header.SOPClassUID == LABEL_MAP) != (kind == "LABELMAP"):
        yield "The segmentation is of another kind than its destination wants."
    if header.get("FrameOfReferenceUID") != context.reference.get("FrameOfReferenceUID"):
        yield "The segmentation's Frame of Reference is not the source's."
    if header.get("ContentQualification") != context.qualification:
        yield (
            f"The segmentation is qualified {header.get('ContentQualification')}, "
            f"the configuration says {context.qualification}."
        )
    if is_empty(header, "ContentCreatorName"):
        yield "The segmentation lacks ContentCreatorName."
    yield from _find_encoding_faults(opened)
    yield from find_description_faults(header, context, shown.segments)
    yield from _find_reference_faults(header, context)
    yield from _find_frame_faults(opened, context, analysis, shown)


def _find_reference_faults(header: Dataset, context: ResultContext) -> Iterator[str]:
    listed = {
        (text_of(series, _SERIES_UID), text_of(instance, _INSTANCE))
        for series in read_sequence(header, "ReferencedSeriesSequence")
        for instance in items_of(series, _INSTANCES)
    }
    wanted = {(str(one[_OWN_SERIES].value), uid_of(one)) for one in context.sources}
    if listed != wanted:
        yield "The Referenced Series Sequence does not list exactly the source images."


def _find_frame_faults(
    opened: Opened, context: ResultContext, analysis: Analysis, shown: Shown
) -> Iterator[str]:
    header = opened.header
    frames = read_frames(header)
    if frames.count != int(header.NumberOfFrames):
        yield "The number of frames is not that of the functional groups."
        return
    is_label_map = header.SOPClassUID == LABEL_MAP
    numbers = set(np.unique(frames.segments).tolist())
    if numbers != ({0} if is_label_map else set(shown.segments)):
        yield "The frames and the segments do not belong together."
        return
    yield from find_plane_faults(frames, read_source_planes(context.sources), _DERIVATION)
    slices = place_frames(frames, context.analysed)
    if slices is None or _is_misplaced(frames, slices, context):
        yield _ELSEWHERE
        return
    if opened.pixels is None:
        yield "The segmentation lacks PixelData."
        return
    yield from _find_voxel_faults(opened, opened.pixels, (frames, slices), analysis, shown, context)


def _is_misplaced(
    frames: Frames, slices: np.ndarray[tuple[int], np.dtype[np.int64]], context: ResultContext
) -> bool:
    """Whether a frame names another source than the slice that it lies on came from."""
    sources = context.analysed.sources
    for index, place in set(zip(frames.places.tolist(), slices.tolist(), strict=True)):
        one = sources[place]
        named = {
            (image.sop_instance_uid, image.frame or 1) for image in frames.planes[index].sources
        }
        if (one.sop_instance_uid, one.frame) not in named:
            return True
    return False


def _find_voxel_faults(
    opened: Opened,
    pixels: Pixels,
    placed: tuple[Frames, np.ndarray[tuple[int], np.dtype[np.int64]]],
    analysis: Analysis,
    shown: Shown,
    context: ResultContext,
) -> Iterator[str]:
    header, (frames, slices) = opened.header, placed
    size = (int(header.Rows), int(header.Columns))
    if size != analysis.labels.shape[1:]:
        yield _ELSEWHERE
        return
    values = np.zeros(len(shown.segments) + 1, np.uint8)
    for number, label in shown.segments.items():
        values[number] = label.value
    voxels = {one.label.value: one.voxels for one in shown.measured}
    found = {value for value, count in voxels.items() if count}
    if shown.is_whole and not found <= set(values.tolist()):
        yield "The segmentation leaves out a structure that was found."
    wanted = Wanted(
        analysis.labels,
        values,
        sum(voxels[int(value)] for value in values[1:]),
        is_all=found <= set(values.tolist()),
    )
    kind = str(header.SegmentationType)
    if kind == "BINARY":
        yield from find_binary_faults(opened, pixels, frames.segments, slices, wanted)
    elif kind == "LABELMAP":
        yield from find_label_map_faults(opened, pixels, slices, wanted)
    else:
        fractions = None
        if analysis.probabilities is not None:
            order = {label.value: index for index, label in enumerate(context.manifest.labels)}
            rows = [order[int(value)] for value in values[1:]]
            fractions = [analysis.probabilities[row] for row in rows]
        yield from find_fraction_faults(opened, frames.segments, slices, wanted, fractions)


def find_faults(opened: Opened) -> Iterator[str]:
    """Faults of anybody's segmentation, as far as it can be judged by itself."""
    header = opened.header
    yield from _find_encoding_faults(opened)
    yield from find_segment_faults(header)
    yield from _find_listed_faults(header)
    if str(header.get("DimensionOrganizationType", "")) == "TILED_FULL":
        return
    frames = read_frames(header)
    if frames.count != int(header.NumberOfFrames):
        yield "The number of frames is not that of the functional groups."
        return
    known = {int(item.SegmentNumber) for item in header.SegmentSequence}
    numbers = set(np.unique(frames.segments).tolist())
    if header.SOPClassUID == LABEL_MAP:
        numbers.discard(0)
    if not numbers <= known:
        yield "A frame belongs to a segment that is not described."
    elif header.SOPClassUID != LABEL_MAP and (absent := known - numbers):
        listed = ", ".join(str(number) for number in sorted(absent))
        yield f"There is no frame for segment {listed}."
    yield from find_layout_faults(frames)
    if any(not plane.sources or not plane.derivations for plane in frames.planes):
        yield "A frame does not say from which source image it derives."


def _find_listed_faults(header: Dataset) -> Iterator[str]:
    """Every image that a frame names is also in the list of references (PS3.3 C.12.5)."""
    if "FrameOfReferenceUID" not in header:
        yield "It names no Frame of Reference, so nothing says in which space it lies."
    if is_empty(header, "ReferencedSeriesSequence"):
        yield "It has no Referenced Series Sequence, so nothing says where its sources are."


def _find_encoding_faults(opened: Opened) -> Iterator[str]:
    header = opened.header
    kind = str(header.SegmentationType)
    bits = int(header.BitsAllocated)
    if bits not in _BITS.get(kind, ()):
        yield f"A segmentation of the type '{kind}' cannot have {bits} bits for each voxel."
    if int(header.SamplesPerPixel) != 1 or int(header.PixelRepresentation) != 0:
        yield "The pixels of a segmentation are one unsigned number each, and these are not."
    if int(header.BitsStored) != bits or int(header.HighBit) != bits - 1:
        yield "Bits Stored and High Bit do not belong to Bits Allocated."
    if kind == "FRACTIONAL":
        if str(header.get("SegmentationFractionalType", "")) not in _FRACTIONS:
            yield "A fractional segmentation must say of what its values are fractions."
        if not 0 < int(header.get("MaximumFractionalValue") or 0) <= 255:
            yield "A fractional segmentation must say which value stands for the whole."
    if opened.pixels is None:
        yield "The segmentation lacks PixelData."
    elif not opened.pixels.is_encapsulated:
        size = int(header.Rows) * int(header.Columns) * int(header.NumberOfFrames) * bits
        needed = (size + 7) // 8
        if opened.pixels.length not in {needed, needed + needed % 2}:
            yield "The segmentation's pixel data has not the length of its frames."
