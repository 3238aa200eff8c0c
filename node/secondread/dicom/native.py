"""Native pixels, read from where they lie in their files (PS3.5 8.1.1)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from secondread.dicom.headers import PixelLayout
from secondread.dicom.stored_values import (
    Bits,
    StoredPlane,
    StoredVolume,
    put_values,
    stored_type,
    truncated,
    undecodable,
)

Array = npt.NDArray[Any]

_BIG_ENDIAN = "1.2.840.10008.1.2.2"


def read_native(
    planes: Sequence[StoredPlane],
    slices: Sequence[int],
    volume: StoredVolume,
    done: Callable[[int], None],
) -> None:
    """Read some slices of a volume.

    Args:
        planes: all planes of the volume.
        slices: which of them to read.
        volume: has room for all.
        done: called with the number of each slice as soon as its values are there.

    Raises:
        PixelDataError: the outcome is ``truncated-pixels`` or ``undecodable-pixels``.
    """
    descriptor, path = -1, ""
    try:
        for at in slices:
            item = planes[at]
            wanted = os.fspath(item.path)
            if wanted != path:
                if descriptor >= 0:
                    os.close(descriptor)
                    descriptor = -1
                descriptor, path = os.open(wanted, os.O_RDONLY | os.O_CLOEXEC), wanted
            low, high = _read_slice(descriptor, item, volume.values[at])
            volume.lows[at], volume.highs[at] = low, high
            done(at)
    except (OSError, ValueError) as error:
        raise undecodable(
            f"The pixels of an image cannot be read from the spool ({type(error).__name__})."
        ) from error
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _read_slice(descriptor: int, item: StoredPlane, target: Array) -> tuple[float, float]:
    layout = item.layout
    kind = stored_type(layout)
    frame_bytes = layout.rows * layout.columns * kind.itemsize
    if layout.length_bytes < layout.frames * frame_bytes:
        raise truncated()
    start = (item.plane.frame - 1) * frame_bytes
    if _in_pairs(descriptor, layout, kind):
        cells = _read_pairs(descriptor, layout, start, frame_bytes).view(kind)
        return put_values(cells.reshape(target.shape), Bits.of(layout), target)
    # Of the same type, the bytes go straight from the file to their place.
    cells = target if kind == target.dtype else np.empty(target.shape, kind)
    _fill(descriptor, layout.offset + start, cells)
    if layout.transfer_syntax_uid == _BIG_ENDIAN:
        cells.byteswap(inplace=True)
    return put_values(cells, Bits.of(layout), target)


def _fill(descriptor: int, offset: int, cells: Array) -> None:
    room = cells.data.cast("B")
    done = os.preadv(descriptor, [room], offset)
    while done < len(room):
        count = os.preadv(descriptor, [room[done:]], offset + done)
        if not count:
            raise truncated()
        done += count


def _in_pairs(descriptor: int, layout: PixelLayout, kind: np.dtype[Any]) -> bool:
    """Whether 8-bit pixels are the halves of swapped words: big endian with VR OW (PS3.5 7.3)."""
    if kind.itemsize != 1 or layout.transfer_syntax_uid != _BIG_ENDIAN:
        return False
    # The value follows tag, VR, two reserved bytes and length (PS3.5 7.1.2).
    return os.pread(descriptor, 2, layout.offset - 8) != b"OB"


def _read_pairs(descriptor: int, layout: PixelLayout, start: int, size: int) -> Array:
    # A frame of an odd number of bytes may start or end inside a pair.
    first, last = start & ~1, (start + size + 1) & ~1
    pairs = np.empty((last - first) // 2, np.uint16)
    _fill(descriptor, layout.offset + first, pairs)
    return pairs.byteswap().view(np.uint8)[start - first :][:size]
