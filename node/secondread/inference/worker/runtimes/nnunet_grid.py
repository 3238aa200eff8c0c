"""How nnU-Net brings an image to its spacing, and its answer back.

After `nnunetv2` 2.8 (Apache-2.0): ``preprocessing/resampling/default_resampling.py`` and
``inference/sliding_window_prediction.py``. Axes are those of its plans.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from secondread.inference.worker.runtimes.windows import Windows

__all__ = ["Resampling", "Tiles", "new_shape", "nonzero_box"]

Float32 = NDArray[np.float32]
Box = tuple[slice, ...]

_ANISOTROPY = 3.0
"""From which ratio of the longest to the shortest side of a voxel on the longest goes by itself."""
_HIGHEST_WEIGHT = 10.0
_DEVIATION = 1 / 8


@dataclass(frozen=True, slots=True)
class Resampling:
    """Splines within a volume, or within slices where these are far apart.

    Attributes:
        order: of the splines.
        order_across: of those from slice to slice, where slices go by themselves.
        apart: whether they do; None decides it by the spacing.
    """

    order: int
    order_across: int = 0
    apart: bool | None = None

    def apply(
        self,
        image: Float32,
        shape: Sequence[int],
        given_mm: Sequence[float],
        wanted_mm: Sequence[float],
    ) -> Float32:
        """Resample (x, y, z) to another shape."""
        if image.shape == tuple(shape):
            return image
        axis = self._axis(given_mm, wanted_mm)
        exact = image.astype(np.float64)
        if axis is None:
            return _resize(exact, shape, self.order).astype(np.float32)
        inner = [n for other, n in enumerate(shape) if other != axis]
        planes = [_resize(plane, inner, self.order) for plane in np.moveaxis(exact, axis, 0)]
        stack = np.stack(planes, axis=axis)
        return _across(stack, axis, shape[axis], self.order_across).astype(np.float32)

    def _axis(self, given_mm: Sequence[float], wanted_mm: Sequence[float]) -> int | None:
        """Give the axis that goes by itself."""
        if self.apart is False:
            return None
        for spacing in (given_mm, wanted_mm):
            if self.apart or max(spacing) / min(spacing) > _ANISOTROPY:
                longest = [axis for axis, mm in enumerate(spacing) if mm == max(spacing)]
                return longest[0] if len(longest) == 1 else None
        return None


@dataclass(frozen=True, slots=True)
class Tiles(Windows):
    """Windows as nnU-Net lays and weighs them; ``patch`` has a 1 where a network takes slices."""

    def starts(self, length: int, size: int) -> list[int]:
        """Give where windows begin along an axis."""
        if size == 1:
            return list(range(length))
        count = math.ceil((length - size) / (size * (1 - self.overlap))) + 1
        return [round(at) for at in np.linspace(0, length - size, count)]

    def weights(self, size: tuple[int, ...]) -> Float32:
        """Give a Gaussian about the middle voxel, in the half precision that it has there."""
        point = np.zeros(size)
        point[tuple(n // 2 for n in size)] = 1
        # Along a single voxel there is nothing to blur.
        deviations = [0 if n == 1 else n * _DEVIATION for n in size]
        blurred = ndimage.gaussian_filter(point, deviations, mode="constant")
        half = (blurred / blurred.max() * _HIGHEST_WEIGHT).astype(np.float16)
        return np.asarray(np.where(half > 0, half, half[half > 0].min()), np.float32)


def nonzero_box(image: Float32) -> tuple[Box, NDArray[np.bool_]]:
    """Give where anything but 0 lies, and within that what does, holes filled."""
    inside = np.asarray(ndimage.binary_fill_holes(image != 0), np.bool_)
    boxes = ndimage.find_objects(inside.astype(np.uint8))
    box: Box = boxes[0] if boxes else tuple(slice(0, n) for n in image.shape)
    return box, inside[box]


def new_shape(
    shape: Sequence[int], given_mm: Sequence[float], wanted_mm: Sequence[float]
) -> tuple[int, ...]:
    """Give how many voxels there are at another spacing."""
    sides = zip(shape, given_mm, wanted_mm, strict=True)
    return tuple(max(1, round(given / wanted * n)) for n, given, wanted in sides)


def _resize(image: NDArray[np.float64], shape: Sequence[int], order: int) -> NDArray[np.float64]:
    """Do what ``skimage.transform.resize`` does with the border's values beyond the border."""
    if image.shape == tuple(shape):
        return image
    found = _zoom(image, shape, order)
    # Splines of higher orders overshoot.
    return np.clip(found, image.min(), image.max()) if order > 1 else found


def _across(image: NDArray[np.float64], axis: int, length: int, order: int) -> NDArray[np.float64]:
    count = image.shape[axis]
    if count == length:
        return image
    if order > 0:
        shape = [length if other == axis else n for other, n in enumerate(image.shape)]
        return _zoom(image, shape, order)
    at = np.floor(count / length * (np.arange(length) + 0.5)).astype(int)
    return np.asarray(image.take(np.clip(at, 0, count - 1), axis=axis), np.float64)


def _zoom(image: NDArray[np.float64], shape: Sequence[int], order: int) -> NDArray[np.float64]:
    # Its types want the order as a literal.
    zoom: Callable[..., Any] = ndimage.zoom
    factors = [after / before for before, after in zip(image.shape, shape, strict=True)]
    return np.asarray(zoom(image, factors, order=order, mode="nearest", grid_mode=True), np.float64)
