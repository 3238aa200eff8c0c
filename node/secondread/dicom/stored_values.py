"""Stored values: what the pixel cells of an object hold, before the Modality LUT (PS3.5 8.1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from secondread.dicom.headers import PixelLayout
from secondread.dicom.planes import Plane
from secondread.errors import PixelDataError

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class StoredPlane:
    """A plane and the file that holds its pixels."""

    path: Path
    layout: PixelLayout
    plane: Plane


@dataclass(frozen=True, slots=True)
class StoredVolume:
    """Stored values of planes of one size.

    Attributes:
        values: ``(slice, row, column)``, C order, in one type that holds all of them.
        lows: the smallest value of each slice; not a number where one of its values is not.
        highs: the largest value of each slice.
    """

    values: Array
    lows: npt.NDArray[np.float64]
    highs: npt.NDArray[np.float64]

    @classmethod
    def empty(cls, shape: tuple[int, int, int], kind: np.dtype[Any]) -> StoredVolume:
        """Room for slices that are still to be read."""
        return cls(np.empty(shape, kind), np.zeros(shape[0]), np.zeros(shape[0]))


class Decoder(Protocol):
    """Something that decodes compressed pixels, such as a pool of processes."""

    def decode(self, planes: list[StoredPlane], kind: np.dtype[Any]) -> StoredVolume:
        """The stored values of planes of one size, in their order.

        Raises:
            PixelDataError: a plane cannot be decoded.
        """


def stored_type(layout: PixelLayout) -> np.dtype[Any]:
    """The type of one pixel cell, in the byte order of this machine."""
    if layout.kind != "integer":
        return np.dtype(np.float32 if layout.kind == "float" else np.float64)
    return np.dtype(f"{'i' if layout.signed else 'u'}{layout.bits_allocated // 8}")


@dataclass(frozen=True, slots=True)
class Bits:
    """Which bits of a cell are its value: ``stored`` bits, the topmost of them is ``high``."""

    stored: int
    high: int
    signed: bool

    @classmethod
    def of(cls, layout: PixelLayout) -> Bits:
        """The bits that the header names."""
        return cls(layout.bits_stored, layout.high_bit, layout.signed)


def put_values(cells: Array, bits: Bits, target: Array) -> tuple[float, float]:
    """Put the values of cells where they belong; above and below them may be overlays.

    Args:
        cells: integers or floats of one slice; of floats every bit is the value.
        bits: where the value lies in an integer cell.
        target: the same shape; may be ``cells`` itself.

    Returns:
        The smallest and the largest value.
    """
    if cells.dtype.kind == "f":
        if cells is not target:
            target[...] = cells
        return float(target.min()), float(target.max())
    width = cells.dtype.itemsize * 8
    kind = np.dtype(f"{'i' if bits.signed else 'u'}{cells.dtype.itemsize}")
    values = cells.view(kind)
    low, high = int(values.min()), int(values.max())
    least, most = _limits(bits)
    if bits.high == bits.stored - 1 and least <= low and high <= most:
        # Nothing stands above the value, or copies of its sign only.
        if values is not target and cells is not target:
            target[...] = values
        return low, high
    above, below = width - 1 - bits.high, bits.high + 1 - bits.stored
    shifted = np.left_shift(values, above)
    np.right_shift(shifted, above + below, out=shifted)
    target[...] = shifted
    return float(shifted.min()), float(shifted.max())


def _limits(bits: Bits) -> tuple[int, int]:
    if bits.signed:
        return -(1 << (bits.stored - 1)), (1 << (bits.stored - 1)) - 1
    return 0, (1 << bits.stored) - 1


def truncated() -> PixelDataError:
    """The error of an object that has fewer pixels than its header says."""
    return PixelDataError(
        "An image has fewer pixels than its header says: it was cut short.",
        outcome="truncated-pixels",
    )


def undecodable(reason: str) -> PixelDataError:
    """The error of an object whose compressed pixels are damaged or are not what they should be."""
    return PixelDataError(reason, outcome="undecodable-pixels")
