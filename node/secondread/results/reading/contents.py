"""What a segmentation holds: its segments one by one, or all of them as one label map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from secondread.domain.form import SegmentationKind
from secondread.errors import ResultError
from secondread.results.reading.frames import Frame
from secondread.results.reading.pixels import FrameReader, Pixels
from secondread.results.reading.segments import Segment

Array = npt.NDArray[Any]


class LabelMap(NamedTuple):
    """A segmentation as one map: ``(slice, row, column)``, and its affine to LPS mm.

    The labels are segment numbers; uint8, or uint16 where a number is larger than 255.
    """

    labels: Array
    affine_lps: npt.NDArray[np.float64]


class StoredFrame(NamedTuple):
    """One frame: the segment's number or 0 in a label map, the slice, and what is stored of it."""

    segment: int
    place: int
    values: Array


@dataclass(frozen=True, slots=True)
class SegmentationContents:
    """A segmentation that was opened; its pixels are read whenever they are asked for.

    Attributes:
        kind: ``BINARY``, ``LABELMAP`` or ``FRACTIONAL``.
        fractional_type: ``PROBABILITY``, ``OCCUPANCY`` or, of the other kinds, empty.
        maximum: the stored number of a fractional one that means 1.
        segments: without the background that some label maps describe.
        frames: in the order of the object.
        shape: ``(slice, row, column)`` of the grid, from the first slice that has a frame to the
            last; slices between them that have none are background.
        affine_lps: 4 x 4; ``affine_lps @ (slice, row, column, 1)`` is LPS mm.
        places: the slice of each frame.
        series_uids: the series that it says it is about (Referenced Series Sequence).
        padding: Pixel Padding Value of a label map, which is no segment; None where it has none.
    """

    kind: SegmentationKind
    fractional_type: str
    maximum: int
    segments: tuple[Segment, ...]
    frames: tuple[Frame, ...]
    shape: tuple[int, int, int]
    affine_lps: npt.NDArray[np.float64]
    places: tuple[int, ...]
    sop_class_uid: str
    sop_instance_uid: str
    frame_of_reference_uid: str
    series_uids: tuple[str, ...]
    padding: int | None
    pixels: Pixels = field(repr=False)

    @property
    def labels(self) -> Array:
        """The labels of ``label_map``."""
        return self.label_map().labels

    def label_map(self) -> LabelMap:
        """All segments as one map.

        Raises:
            ResultError: the segments overlap or are probabilities, which a label map cannot hold; a
                voxel has a number that no segment describes; or the pixels cannot be read.
        """
        labels = np.zeros(self.shape, self._label_type())
        for place, plane in self._label_planes(labels):
            if labels[place] is not plane:
                labels[place] = plane
        return LabelMap(labels, self.affine_lps)

    def label_planes(self) -> Iterator[tuple[int, Array]]:
        """Slice by slice what ``label_map`` gives, so that nobody has to hold it all.

        Each plane is valid until the next one. Slices without a frame are left out.

        Raises:
            ResultError: as ``label_map``.
        """
        return self._label_planes(None)

    def mask(self, number: int, at_least: float = 0.5) -> npt.NDArray[np.bool_]:
        """The voxels of one segment, ``(slice, row, column)``; of a fractional one by threshold.

        Raises:
            ResultError: there is no such segment, or the pixels cannot be read.
        """
        found = np.zeros(self.shape, bool)
        threshold = at_least * self.maximum
        for frame in self._stored_of(number):
            if self.kind is SegmentationKind.FRACTIONAL:
                found[frame.place] = frame.values >= threshold
            elif self.kind is SegmentationKind.LABELMAP:
                found[frame.place] = frame.values == number
            else:
                found[frame.place] = frame.values
        return found

    def fractions(self, number: int) -> npt.NDArray[np.uint8]:
        """What a fractional segmentation stores of one segment; ``maximum`` means 1.

        Raises:
            ResultError: it is not fractional, there is no such segment, or the pixels cannot be
                read.
        """
        if self.kind is not SegmentationKind.FRACTIONAL:
            raise ResultError("The segmentation holds no probabilities.")
        found = np.zeros(self.shape, np.uint8)
        for frame in self._stored_of(number):
            found[frame.place] = frame.values
        return found

    def probability(self, number: int) -> npt.NDArray[np.float32]:
        """Between 0 and 1 for each voxel; of what is not fractional, one or the other.

        Raises:
            ResultError: as ``mask``.
        """
        if self.kind is not SegmentationKind.FRACTIONAL:
            return self.mask(number).astype(np.float32)
        return (self.fractions(number) / np.float32(self.maximum)).astype(np.float32, copy=False)

    def stored_frames(self) -> Iterator[StoredFrame]:
        """Every frame in the order of the object, each valid until the next one.

        The values are bool in a binary segmentation, uint8 in a fractional one, and uint8 or uint16
        in a label map.

        Raises:
            ResultError: the pixels cannot be read.
        """
        return self._stored(range(len(self.frames)))

    def _stored_of(self, number: int) -> Iterator[StoredFrame]:
        if all(segment.number != number for segment in self.segments):
            raise ResultError(f"The segmentation has no segment {number}.")
        is_map = self.kind is SegmentationKind.LABELMAP
        wanted = [at for at, one in enumerate(self.frames) if is_map or one.segment == number]
        return self._stored(wanted)

    def _stored(self, indices: Sequence[int]) -> Iterator[StoredFrame]:
        target = np.empty(self.shape[1:], self.pixels.kind)
        with self.pixels.reader() as reader:
            for index in indices:
                if self.pixels.is_bits:
                    values: Array = reader.mask(index).view(np.bool_)
                else:
                    reader.values(index, target)
                    values = target
                yield StoredFrame(self.frames[index].segment, self.places[index], values)

    def _label_type(self) -> type[np.unsignedinteger[Any]]:
        largest = max((segment.number for segment in self.segments), default=0)
        return np.uint8 if largest <= np.iinfo(np.uint8).max else np.uint16

    def _label_planes(self, room: Array | None) -> Iterator[tuple[int, Array]]:
        """As ``label_planes``; each plane lies in its place in ``room`` where there is one."""
        if self.kind is SegmentationKind.FRACTIONAL:
            raise ResultError("The segmentation holds probabilities, which a label map cannot.")
        if self.kind is SegmentationKind.LABELMAP:
            return self._map_planes(room)
        return self._merged_planes(room)

    def _map_planes(self, room: Array | None) -> Iterator[tuple[int, Array]]:
        check = _NumberCheck(self.segments, self.padding)
        kind = self.pixels.kind
        own = np.empty(self.shape[1:], kind)
        with self.pixels.reader() as reader:
            for index, place in enumerate(self.places):
                plane = own if room is None or room.dtype != kind else room[place]
                check.clean(plane, reader.values(index, plane))
                yield place, plane

    def _merged_planes(self, room: Array | None) -> Iterator[tuple[int, Array]]:
        own = np.empty(self.shape[1:], self._label_type())
        order = sorted(range(len(self.places)), key=self.places.__getitem__)
        with self.pixels.reader() as reader:
            for place, indices in groupby(order, key=self.places.__getitem__):
                plane = own if room is None else room[place]
                plane[...] = 0
                flat, voxels = plane.reshape(-1), 0
                for index in indices:
                    voxels += _put_bits(reader, index, flat, self.frames[index].segment)
                # Where two segments share a voxel, fewer voxels are marked than the frames have.
                if voxels != np.count_nonzero(plane):
                    raise ResultError("The segments overlap, which a label map cannot hold.")
                yield place, plane


def _put_bits(reader: FrameReader, index: int, flat: Array, number: int) -> int:
    """Add ``number`` wherever a frame has a bit; gives the count of these voxels.

    Only from the first byte that is not zero to the last: most of most frames is empty.
    """
    packed, skipped = reader.bits(index)
    if skipped or flat.size % 8:
        mask = reader.mask(index).reshape(-1)
        return _add(mask, flat, number)
    filled = np.flatnonzero(packed.view(np.uint64) if packed.size % 8 == 0 else packed)
    if not filled.size:
        return 0
    wide = 8 if packed.size % 8 == 0 else 1
    first, end = int(filled[0]) * wide, (int(filled[-1]) + 1) * wide
    mask = np.unpackbits(packed[first:end], bitorder="little")
    return _add(mask, flat[first * 8 : end * 8], number)


def _add(mask: npt.NDArray[np.uint8], target: Array, number: int) -> int:
    voxels = int(np.count_nonzero(mask.view(np.bool_)))
    if number == 1 and target.dtype == np.uint8:
        target += mask
    else:
        target += mask * target.dtype.type(number)
    return voxels


class _NumberCheck:
    """Every voxel of a label map has the number of a segment or none."""

    def __init__(self, segments: Sequence[Segment], padding: int | None) -> None:
        numbers = {segment.number for segment in segments}
        if 0 in numbers:
            raise ResultError(
                "Segment 0 is a structure here, which a label map cannot tell from background."
            )
        self._padding = padding if padding not in numbers else None
        self._largest = max(numbers, default=0)
        self._allowed = np.zeros(1 << 16, bool)
        self._allowed[[0, *numbers]] = True
        self._without_gaps = numbers == set(range(1, self._largest + 1))

    def clean(self, plane: Array, highest: float) -> None:
        """Make zeros of padding, and raise where a number means nothing."""
        if self._padding:
            plane[plane == self._padding] = 0
        elif self._without_gaps and highest <= self._largest:
            return
        if not self._allowed[plane].all():
            raise ResultError("A voxel has a number that no segment of the label map describes.")
