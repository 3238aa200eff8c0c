"""What the pixels say, against what the model said, voxel for voxel.

The bits of a BINARY object are not unpacked to compare them. Most of its words of 64 bits are
zero; the others are compared with the 64 voxels that they stand for, and all bits are counted. So
a voxel too many is seen where it is, and a voxel too few in the count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from secondread.errors import ResultError
from secondread.results.gate.opened import Opened, Pixels, read_masks, read_planes

_CHUNK_BYTES = 1 << 20
_THREADS = 2
_DIFFERS = "The segmentation, read back, is not the model's answer."
_LENGTH = "The segmentation's pixel data has not the length of its frames."
_TWICE = "The segmentation has two frames for the same segment and slice: they overlap."

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a segmentation should show.

    Attributes:
        labels: ``(slice, row, column)``.
        values: label value of each segment number, 0 of number 0.
        voxels: how many voxels the segments have together.
        is_all: whether the labels show nothing but these segments.
    """

    labels: Bytes
    values: Bytes
    voxels: int
    is_all: bool


def find_binary_faults(
    opened: Opened, pixels: Pixels, segments: Places, slices: Places, wanted: Wanted
) -> Iterator[str]:
    """Faults of the bits of a BINARY segmentation (PS3.3 C.8.20.2.3, PS3.5 8.1.1 and 8.2.16).

    Args:
        opened: the object.
        pixels: its pixels, one bit per voxel, native or each frame deflated.
        segments: number of each frame's segment.
        slices: on which slice of the labels each frame lies.
        wanted: what they should show.
    """
    size = wanted.labels.shape[1] * wanted.labels.shape[2]
    needed = (len(segments) * size + 7) // 8
    if not pixels.is_encapsulated and pixels.length != needed + needed % 2:
        yield _LENGTH
        return
    if len(np.unique(segments * (wanted.labels.shape[0] + 1) + slices)) != len(segments):
        yield _TWICE
        return
    values = wanted.values[segments]
    if pixels.is_encapsulated:
        count = _count_planes(opened, pixels, values, slices, wanted.labels)
    elif size % 8 == 0:
        count = _count_words(pixels, values, slices, wanted.labels)
    else:
        count = _count_bits(pixels, values, slices, wanted.labels)
    if count != wanted.voxels:
        yield _DIFFERS


def _count_words(pixels: Pixels, values: Bytes, slices: Places, labels: Bytes) -> int:
    """How many bits are set; -1 where one is set that should not be, or the other way round."""
    bounds = np.linspace(0, len(values), _THREADS + 1).astype(int).tolist()
    with ThreadPoolExecutor(_THREADS) as pool:
        counts = list(
            pool.map(
                lambda part: _count_part(pixels, part, (values, slices), labels),
                pairwise(bounds),
            )
        )
    return -1 if -1 in counts else sum(counts)


def _count_part(
    pixels: Pixels, part: tuple[int, int], frames: tuple[Bytes, Places], labels: Bytes
) -> int:
    """As above, of the frames from one place to another. The disk and numpy work side by side."""
    first, last = part
    values, slices = frames
    size = labels.shape[1] * labels.shape[2]
    kind, width = (np.dtype("<u8"), 64) if size % 64 == 0 else (np.dtype("u1"), 8)
    length = size // width
    rows = labels.reshape(-1, width)
    at_once = max(1, _CHUNK_BYTES // (length * kind.itemsize))
    buffer = np.empty((at_once, length), kind)
    count = 0
    with pixels.path.open("rb") as file:
        file.seek(pixels.at + first * length * kind.itemsize)
        for start in range(first, last, at_once):
            words = buffer[: min(at_once, last - start)].reshape(-1)
            if file.readinto(words.data) != words.nbytes:
                return -1
            at = np.flatnonzero(words)
            frame, word = np.divmod(at, length)
            frame += start
            found = words[at]
            expected = rows[slices[frame] * length + word] == values[frame][:, None]
            packed = np.packbits(expected, axis=1, bitorder="little").view(kind).reshape(-1)
            if not np.array_equal(packed, found):
                return -1
            count += int(np.bitwise_count(found).sum(dtype=np.int64))
    return count


def _count_bits(pixels: Pixels, values: Bytes, slices: Places, labels: Bytes) -> int:
    """As above, of frames that do not start at a byte."""
    size = labels.shape[1] * labels.shape[2]
    packed = pixels.map_bytes()
    count = 0
    for index, (value, place) in enumerate(zip(values, slices, strict=True)):
        start = index * size
        first, last = start // 8, -(-(start + size) // 8)
        bits = np.unpackbits(packed[first:last], bitorder="little")
        bits = bits[start - first * 8 :][:size]
        if not np.array_equal(bits.view(np.bool_), labels[place].reshape(-1) == value):
            return -1
        count += int(np.count_nonzero(bits))
    return count


def _count_planes(
    opened: Opened, pixels: Pixels, values: Bytes, slices: Places, labels: Bytes
) -> int:
    """As above, of frames that are encoded one by one."""
    count = 0
    planes = read_masks(opened, pixels, len(values))
    for value, place, plane in zip(values, slices, planes, strict=True):
        if not np.array_equal(plane, labels[place] == value):
            return -1
        count += int(np.count_nonzero(plane))
    return count


def find_label_map_faults(
    opened: Opened, pixels: Pixels, slices: Places, wanted: Wanted
) -> Iterator[str]:
    """Faults of the numbers of a LABELMAP segmentation (PS3.3 C.8.20.2.3)."""
    if len(np.unique(slices)) != len(slices):
        yield _TWICE
        return
    numbers = np.zeros(256, np.uint8)
    numbers[wanted.values[1:]] = np.arange(1, len(wanted.values))
    same = wanted.is_all and bool((numbers[wanted.values] == wanted.values).all())

    def is_shown(part: tuple[int, int]) -> bool:
        places = slices[part[0] : part[1]].tolist()
        planes = _list_planes(opened, pixels, len(slices), part)
        return all(
            np.array_equal(plane, wanted.labels[place] if same else numbers[wanted.labels[place]])
            for place, plane in zip(places, planes, strict=True)
        )

    # Native frames can be read from anywhere; encoded ones follow one another.
    threads = 1 if pixels.is_encapsulated else _THREADS
    bounds = np.linspace(0, len(slices), threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        if not all(pool.map(is_shown, pairwise(bounds))):
            yield _DIFFERS
            return
    left_out = np.ones(len(wanted.labels), bool)
    left_out[slices] = False
    if numbers[wanted.labels[left_out]].any():
        yield _DIFFERS


def _list_planes(
    opened: Opened, pixels: Pixels, frames: int, part: tuple[int, int] | None = None
) -> Iterator[npt.NDArray[np.generic]]:
    header = opened.header
    needed = int(header.Rows) * int(header.Columns) * int(header.BitsAllocated) // 8 * frames
    if not pixels.is_encapsulated and pixels.length != needed + needed % 2:
        raise ResultError(_LENGTH)
    yield from read_planes(opened, pixels, frames, part)


def find_fraction_faults(
    opened: Opened,
    segments: Places,
    slices: Places,
    wanted: Wanted,
    fractions: Sequence[Bytes] | None,
) -> Iterator[str]:
    """Faults of the fractions of a FRACTIONAL segmentation.

    Args:
        opened: the object.
        segments: number of each frame's segment.
        slices: on which slice each frame lies.
        wanted: what the object should show; its labels are the certain parts.
        fractions: ``(slice, row, column)`` of each segment, 255 is certain; None where the model
            answered no probabilities.
    """
    pixels = opened.pixels
    if pixels is None:
        return
    whole = int(opened.header.MaximumFractionalValue)
    shown = np.zeros((len(wanted.values), wanted.labels.shape[0]), bool)
    planes = _list_planes(opened, pixels, len(segments))
    for segment, place, plane in zip(segments, slices, planes, strict=False):
        if shown[segment, place]:
            yield _TWICE
            return
        shown[segment, place] = True
        if fractions is None:
            expected = (wanted.labels[place] == wanted.values[segment]) * float(whole)
        else:
            expected = fractions[segment - 1][place] * (whole / 255.0)
        if np.abs(plane - expected).max(initial=0.0) > (0.0 if whole == 255 else 0.5):
            yield "The segmentation, read back, has not the model's probabilities."
            return
    if int(shown.sum()) != len(segments):
        yield _DIFFERS
        return
    for segment in range(1, len(wanted.values)):
        for place in np.flatnonzero(~shown[segment]):
            left_out = (
                wanted.labels[place] == wanted.values[segment]
                if fractions is None
                else fractions[segment - 1][place]
            )
            if left_out.any():
                yield "The segmentation leaves out frames that are not empty."
                return
