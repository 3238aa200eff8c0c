"""Stored values for the pixels of a file, so that a reader finds the voxels of the array again.

CT and MR images store integers of 16 bits and say by which line they become values (PS3.3 C.11.1).
Integers are stored exactly. So are multiples of a step, which is what a scanner's own rescale makes
of its integers. Anything else is rounded to 65,536 steps over the range of the volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.valuerep import format_number_as_ds

Array = npt.NDArray[Any]

_SPAN = 2**16 - 1
_SIGNED_MIN, _SIGNED_MAX = -(2**15), 2**15 - 1
_SAMPLE_SLICES = 8
"""Of how many slices the step is found; that it fits is seen on all."""


@dataclass(frozen=True, slots=True)
class Line:
    """``value = slope * stored + intercept``, as decimal strings can say it.

    Attributes:
        is_signed: whether stored values are int16, else uint16.
    """

    slope: float
    intercept: float
    is_signed: bool

    def store(self, voxels: Array) -> Array:
        """The stored values, int16 or uint16, little endian."""
        kind = np.dtype("<i2" if self.is_signed else "<u2")
        if voxels.dtype.kind == "i" and (self.slope, self.intercept) == (1.0, 0.0):
            return voxels.astype(kind)
        steps = np.rint((voxels.astype(np.float64) - self.intercept) / self.slope)
        bounds = (_SIGNED_MIN, _SIGNED_MAX) if self.is_signed else (0, _SPAN)
        return np.clip(steps, *bounds).astype(kind)

    def gives(self, voxels: Array) -> bool:
        """Whether a reader that rounds to float32 finds exactly these voxels."""
        values = self.store(voxels) * self.slope + self.intercept
        return np.array_equal(values.astype(np.float32), voxels.astype(np.float32))


def find_line(voxels: Array) -> Line:
    """The line for a volume ``(slice, row, column)`` of int16 or finite float32."""
    if voxels.dtype.kind == "i":
        return Line(1.0, 0.0, is_signed=True)
    low, high = float(voxels.min()), float(voxels.max())
    for line in (_whole(low, high), _steps(voxels, low, high)):
        if line is not None and all(line.gives(plane) for plane in voxels):
            return line
    intercept = _as_written(low)
    return Line(_as_written((high - intercept) / _SPAN) or 1.0, intercept, is_signed=False)


def _whole(low: float, high: float) -> Line | None:
    """For integers that are too large for int16."""
    if not low.is_integer() or high - low > _SPAN:
        return None
    return Line(1.0, 0.0 if low >= 0 and high <= _SPAN else low, is_signed=False)


def _steps(voxels: Array, low: float, high: float) -> Line | None:
    """For multiples of a step that was rounded to float32: the step that gives all of them."""
    chosen = np.linspace(0, len(voxels) - 1, _SAMPLE_SLICES).astype(int)
    values = np.unique(np.abs(voxels[chosen]).astype(np.float64))
    values = values[values > 0]
    if not len(values):
        return None
    step = float(np.diff(values, prepend=0.0).min())
    if (high - low) / step > _SPAN:
        return None
    # A larger value tells the step better, as long as it is known how many steps it is.
    for value in values:
        step = float(value) / max(1, round(float(value) / step))
    half = np.spacing(values.astype(np.float32)).astype(np.float64) / 2
    counts = np.maximum(np.rint(values / step), 1)
    least, most = float(((values - half) / counts).max()), float(((values + half) / counts).min())
    return Line(_as_written((least + most) / 2), 0.0, is_signed=low < 0)


def _as_written(value: float) -> float:
    """What a decimal string of 16 characters keeps of a number (PS3.5 6.2)."""
    return float(format_number_as_ds(value))
