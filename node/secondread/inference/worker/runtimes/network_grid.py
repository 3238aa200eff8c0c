"""The axes and the spacing that a network was trained with, and the way back.

The axes of the source are put into the order that comes nearest to the orientation, and turned
round where they run the other way, as nibabel and MONAI do it: a volume that lies askew stays so.
Then each axis is sampled at the network's spacing. Both grids have the same middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["LETTERS", "NetworkGrid", "is_orientation", "lay"]

Float32 = NDArray[np.float32]
_Kind = TypeVar("_Kind", bound=np.generic)

LETTERS = "RLAPSI"
"""Where an axis may run to: right, left, anterior, posterior, superior, inferior."""


@dataclass(frozen=True, slots=True)
class NetworkGrid:
    """How a network's volume lies in the source.

    Attributes:
        axes: for each axis of the network the axis of the source, (slice, row, column) = (0, 1, 2).
        flipped: for each axis of the network whether it runs against that of the source.
        source_shape: (slice, row, column).
        shape: of the network's volume.
        spacing_mm: of the network's volume, along its axes.
        steps: source voxels to one voxel of the network, along the network's axes.
    """

    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    source_shape: tuple[int, ...]
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    steps: tuple[float, ...]

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel of the network."""
        return float(np.prod(self.spacing_mm)) / 1000

    def bring(self, voxels: NDArray[np.generic]) -> Float32:
        """Give a volume (slice, row, column) along the network's axes: (x, y, z) float32.

        What is not a finite number becomes 0.
        """
        turned = voxels.transpose(self.axes)[self._turn()]
        image = np.nan_to_num(turned.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        return _sample(np.ascontiguousarray(image), self.shape, self.steps)

    def take_back(self, image: Float32) -> Float32:
        """Give (x, y, z) on the network's grid at every voxel of the source."""
        shape = tuple(self.source_shape[axis] for axis in self.axes)
        return self.turn_back(_sample(image, shape, tuple(1 / step for step in self.steps)))

    def turn_back(self, image: NDArray[_Kind]) -> NDArray[_Kind]:
        """Give (x, y, z), at the spacing of the source, along the axes of the source."""
        return image[self._turn()].transpose(np.argsort(self.axes))

    def _turn(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1 if flipped else 1) for flipped in self.flipped)


def is_orientation(letters: str) -> bool:
    """Whether three letters name one end of each axis of the patient, such as ``RAS``."""
    return sorted(LETTERS.find(letter) // 2 for letter in letters) == [0, 1, 2]


def lay(
    orientation: str,
    spacing_mm: Sequence[float] | None,
    shape: tuple[int, ...],
    affine_lps: NDArray[np.float64],
) -> NetworkGrid:
    """Lay a network's grid over a source.

    Args:
        orientation: where each axis of the network runs to, such as ``RAS``.
        spacing_mm: along the axes of the network, or None for those of the source.
        shape: (slice, row, column).
        affine_lps: 4x4, (slice, row, column, 1) → LPS mm.
    """
    linear = np.diag([-1.0, -1.0, 1.0]) @ affine_lps[:3, :3]
    source_mm = np.linalg.norm(linear, axis=0)
    wanted = np.zeros((3, 3))
    for axis, letter in enumerate(orientation):
        at = LETTERS.index(letter)
        wanted[axis, at // 2] = 1.0 if at % 2 == 0 else -1.0
    # (network axis, source axis): the cosine between them
    along = wanted @ (linear / source_mm)
    axes = max(
        permutations(range(3)), key=lambda order: sum(abs(along[a, s]) for a, s in enumerate(order))
    )
    given_mm = [float(source_mm[axis]) for axis in axes]
    grid_mm = given_mm if spacing_mm is None else [float(value) for value in spacing_mm]
    return NetworkGrid(
        axes=(axes[0], axes[1], axes[2]),
        flipped=(along[0, axes[0]] < 0, along[1, axes[1]] < 0, along[2, axes[2]] < 0),
        source_shape=tuple(shape),
        shape=tuple(
            max(1, round(shape[axis] * given / grid))
            for axis, given, grid in zip(axes, given_mm, grid_mm, strict=True)
        ),
        spacing_mm=tuple(grid_mm),
        steps=tuple(grid / given for grid, given in zip(grid_mm, given_mm, strict=True)),
    )


def _sample(image: Float32, shape: tuple[int, ...], steps: tuple[float, ...]) -> Float32:
    """Sample linearly about the middle, ``steps`` voxels apart; the border goes on outside."""
    if image.shape == shape and np.allclose(steps, 1.0, atol=1e-6):
        return image
    middles = [((n - 1) / 2, (m - 1) / 2) for n, m in zip(image.shape, shape, strict=True)]
    offset = [ours - theirs * step for (ours, theirs), step in zip(middles, steps, strict=True)]
    sampled: Float32 = ndimage.affine_transform(
        image, np.array(steps), offset, output_shape=shape, order=1, mode="nearest"
    )
    return sampled
