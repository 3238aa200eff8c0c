"""Segmentations read back, ours and other people's, with none of the code that writes them.

The gate compares what this reads with what the model said. What is read and what is refused is in
``docs/reading.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset

from secondread.domain.form import SegmentationKind
from secondread.errors import ResultError
from secondread.results.reading.contents import LabelMap, SegmentationContents, StoredFrame
from secondread.results.reading.frames import Frame, SourceReference, read_frames
from secondread.results.reading.grid import check_size, find_grid
from secondread.results.reading.pixels import (
    Pixels,
    check_class,
    find_pixels,
    in_words,
    open_object,
    quietly,
)
from secondread.results.reading.segments import Segment, read_segments

__all__ = [
    "Frame",
    "LabelMap",
    "Segment",
    "SegmentationContents",
    "SourceReference",
    "StoredFrame",
    "decode",
    "read_contents",
    "read_frames",
    "read_segmentation",
]

_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
_WHAT = "segmentation of voxels"
_KINDS = {
    "BINARY": SegmentationKind.BINARY,
    "LABELMAP": SegmentationKind.LABELMAP,
    "FRACTIONAL": SegmentationKind.FRACTIONAL,
}
_BITS = {
    SegmentationKind.BINARY: (1,),
    SegmentationKind.LABELMAP: (8, 16),
    SegmentationKind.FRACTIONAL: (8,),
}
_BYTE_MAX = 255


def read_segmentation(path: Path) -> SegmentationContents:
    """Open a segmentation.

    The frames may be in any order and cover any part of their series, in any transfer syntax that
    is allowed for them but big endian.

    Raises:
        ResultError: it is not a segmentation, or not on one grid in the patient's space.
    """
    found, pixels = open_object(path, _CLASSES, _WHAT)
    with in_words("The segmentation"), quietly():
        return _describe(found, read_frames(found), pixels)


def read_contents(segmentation: Dataset, frames: Sequence[Frame]) -> SegmentationContents:
    """As ``read_segmentation``, from a data set whose frames have been read.

    Its pixels stay in memory; ``read_segmentation`` leaves them in their file.
    """
    with in_words("The segmentation"), quietly():
        return _describe(segmentation, frames, find_pixels(segmentation))


def decode(segmentation: Dataset, frames: Sequence[Frame]) -> LabelMap:
    """The label map of a data set whose frames have been read.

    Raises:
        ResultError: as ``read_segmentation`` and ``SegmentationContents.label_map``.
    """
    return read_contents(segmentation, frames).label_map()


def _describe(found: Dataset, frames: Sequence[Frame], pixels: Pixels) -> SegmentationContents:
    check_class(found, _CLASSES, _WHAT)
    kind = _kind_of(found)
    _check_pixels(kind, pixels, frames)
    grid = find_grid(frames)
    contents = SegmentationContents(
        kind=kind,
        fractional_type=str(found.get("SegmentationFractionalType", "")),
        maximum=int(found.get("MaximumFractionalValue") or 1),
        segments=read_segments(found),
        frames=tuple(frames),
        shape=(grid.slices, pixels.layout.rows, pixels.layout.columns),
        affine_lps=grid.affine_lps,
        places=grid.places,
        sop_class_uid=str(found.get("SOPClassUID", "")),
        sop_instance_uid=str(found.get("SOPInstanceUID", "")),
        frame_of_reference_uid=str(found.get("FrameOfReferenceUID", "")),
        series_uids=tuple(
            str(item.SeriesInstanceUID) for item in found.get("ReferencedSeriesSequence") or ()
        ),
        padding=_padding_of(found),
        pixels=pixels,
    )
    _check_frames(contents)
    return contents


def _kind_of(found: Dataset) -> SegmentationKind:
    kind = _KINDS.get(str(found.get("SegmentationType", "")))
    if kind is None:
        raise ResultError(
            "The segmentation does not say whether it is BINARY, LABELMAP or FRACTIONAL."
        )
    return kind


def _padding_of(found: Dataset) -> int | None:
    value = found.get("PixelPaddingValue")
    return None if value is None else int(value)


def _check_pixels(kind: SegmentationKind, pixels: Pixels, frames: Sequence[Frame]) -> None:
    layout = pixels.layout
    if layout.kind != "integer" or layout.bits_allocated not in _BITS[kind]:
        raise ResultError(
            f"The segmentation is called {kind.upper()} and stores {layout.bits_allocated} bits "
            "for each voxel, which such a one does not."
        )
    if layout.frames != len(frames):
        raise ResultError(
            f"The segmentation says that it has {layout.frames} frames, and describes "
            f"{len(frames)}."
        )


def _check_frames(contents: SegmentationContents) -> None:
    check_size(contents.shape)
    if contents.kind is SegmentationKind.FRACTIONAL and not 0 < contents.maximum <= _BYTE_MAX:
        raise ResultError("The largest fraction of the segmentation is no number of one byte.")
    numbers = {frame.segment for frame in contents.frames}
    if contents.kind is not SegmentationKind.LABELMAP:
        described = {segment.number for segment in contents.segments}
        if unknown := sorted(numbers - described):
            raise ResultError(f"Frames are of segments that are not described: {unknown}.")
    where = {
        (frame.segment, place)
        for frame, place in zip(contents.frames, contents.places, strict=True)
    }
    if len(where) < len(contents.frames):
        raise ResultError(
            "Two frames of one segment lie at one place: they are of several times or kinds, and "
            "one can be read."
        )
