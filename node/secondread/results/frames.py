"""The frames of a BINARY segmentation and their functional groups, encoded as bytes.

A head with 30 structures has some 2,500 frames. One pydicom data set per frame costs seconds, and
all but two numbers of it are those of the slice. So what belongs to the slice is encoded once per
slice, and the two numbers are packed between (Explicit VR Little Endian, PS3.5 7.1.2 and 7.5).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from secondread.errors import ResultError

_ITEM = struct.Struct("<HHI")
_LONG = struct.Struct("<HH2s2xI")
_PIXEL_BYTES_MAX = 0xFFFF_FFFE
_FRAME_CONTENT = _LONG.pack(0x0020, 0x9111, b"SQ", 24) + _ITEM.pack(0xFFFE, 0xE000, 16)
_DIMENSION_INDEX = struct.Struct("<HH2sHII")
_SEGMENT = _LONG.pack(0x0062, 0x000A, b"SQ", 18) + _ITEM.pack(0xFFFE, 0xE000, 10)
_SEGMENT_NUMBER = struct.Struct("<HH2sHH")


@dataclass(frozen=True, slots=True)
class Plane:
    """What a slice's frames share: the derivation and the position, each an encoded sequence."""

    derivation: bytes
    position: bytes


@dataclass(frozen=True, slots=True)
class EncodedFrames:
    """The end of the file: Per-Frame Functional Groups Sequence and Pixel Data, and their count."""

    count: int
    tail: bytes


def encode_sequence(keyword: str, item: Dataset) -> bytes:
    """One sequence of one item as a data element, of explicit length."""
    holder = Dataset()
    setattr(holder, keyword, [item])
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, holder)
    return buffer.getvalue()


def encode_frames(
    labels: npt.NDArray[np.uint8], values: Sequence[int], planes: Sequence[Plane]
) -> EncodedFrames:
    """Encode one frame for every (structure, slice) in which the structure has a voxel.

    Args:
        labels: ``(slice, row, column)``.
        values: label values; the segment number is the place in this list, from 1.
        planes: one for each slice.

    Raises:
        ResultError: the pixel data would be longer than an element may be (PS3.5 7.1.1).
    """
    presence = np.array([np.bincount(plane.ravel(), minlength=256) > 0 for plane in labels])
    items: list[bytes] = []
    packer = _BitPacker()
    for segment, value in enumerate(values, start=1):
        identification = _SEGMENT + _SEGMENT_NUMBER.pack(0x0062, 0x000B, b"US", 2, segment)
        for index in np.flatnonzero(presence[:, value]).tolist():
            packer.add(labels[index] == value)
            plane = planes[index]
            dimensions = _DIMENSION_INDEX.pack(0x0020, 0x9157, b"UL", 8, segment, index + 1)
            groups = (
                plane.derivation + _FRAME_CONTENT + dimensions + plane.position + identification
            )
            items.append(_ITEM.pack(0xFFFE, 0xE000, len(groups)))
            items.append(groups)
    per_frame = b"".join(items)
    pixels = packer.finish()
    if max(len(pixels), len(per_frame)) > _PIXEL_BYTES_MAX:
        raise ResultError("The segmentation is larger than one DICOM object can be (4 GiB).")
    tail = b"".join(
        (
            _LONG.pack(0x5200, 0x9230, b"SQ", len(per_frame)),
            per_frame,
            _LONG.pack(0x7FE0, 0x0010, b"OB", len(pixels)),
            pixels,
        )
    )
    return EncodedFrames(len(items) // 2, tail)


class _BitPacker:
    """One bit per pixel, frame after frame without gaps, least significant first (PS3.5 8.1.1)."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._rest: npt.NDArray[np.bool_] = np.zeros(0, bool)

    def add(self, frame: npt.NDArray[np.bool_]) -> None:
        """Append a frame; what does not fill a byte waits for the next one."""
        bits = frame.ravel()
        if self._rest.size:
            bits = np.concatenate([self._rest, bits])
        whole = bits.size // 8 * 8
        self._parts.append(np.packbits(bits[:whole], bitorder="little").tobytes())
        self._rest = bits[whole:].copy()

    def finish(self) -> bytes:
        """All frames, padded to an even number of bytes."""
        self._parts.append(np.packbits(self._rest, bitorder="little").tobytes())
        pixels = b"".join(self._parts)
        return pixels + b"\0" * (len(pixels) % 2)
