"""A whole CT on a coarse grid along the axes of the patient, and labels back from it.

Unlike ``canonical.py``, which centres a grid of fixed shape on a head, this grid covers all that
was scanned, in Hounsfield units. Axis 0 runs to the patient's right, axis 1 to anterior, axis 2 to
the head (RAS), so that left is always the side of the lower index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from secondread.inference.worker.canonical import CanonicalGrid, affine_to_ras, shrink

__all__ = ["AIR_HU", "Border", "PatientImage", "labels_back", "on_patient_grid"]

AIR_HU = -1024.0
"""Where nothing was scanned, and the floor below which padding values of scanners lie."""
CEILING_HU = 3071.0


@dataclass(frozen=True, slots=True)
class PatientImage:
    """A volume on a grid along the patient.

    Attributes:
        hu: (x, y, z) float32, HU, ``AIR_HU`` where nothing was scanned.
        seen: (x, y, z), where something was scanned.
        grid: shape, spacing and place.
    """

    hu: NDArray[np.float32]
    seen: NDArray[np.bool_]
    grid: CanonicalGrid

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel, mL."""
        return float(self.grid.spacing_mm**3 / 1000)


@dataclass(frozen=True, slots=True)
class Border:
    """Voxels of a coarse grid whose label is decided in the source: ``below`` a density or not."""

    code: int
    level_hu: float
    below: int
    above: int


def on_patient_grid(
    voxels: NDArray[np.generic], affine_lps: NDArray[np.float64], spacing_mm: float
) -> PatientImage:
    """Sample a volume ``(slice, row, column)`` in HU every ``spacing_mm`` over all of its extent.

    Finer axes are averaged first, which keeps them from aliasing.
    """
    # Signed integers of 16 bits and more hold both ends, and stay as small as they came.
    small = voxels.dtype.kind == "i" and voxels.dtype.itemsize > 1
    kept: NDArray[Any] = voxels if small else voxels.astype(np.float32)
    clipped = np.clip(kept, kept.dtype.type(AIR_HU), kept.dtype.type(CEILING_HU))
    # `shrink` moves the lowest value to 0 where that is negative.
    floor = min(0.0, float(clipped.min()))
    data, affine = shrink(clipped, affine_to_ras(affine_lps), spacing_mm)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in data.shape])).reshape(3, -1)
    world = affine[:3, :3] @ corners + affine[:3, 3:]
    low, high = world.min(axis=1), world.max(axis=1)
    shape = np.maximum(np.floor((high - low) / spacing_mm + 0.5).astype(int) + 1, 2)
    middle = (low + high) / 2
    grid = CanonicalGrid(
        (int(shape[0]), int(shape[1]), int(shape[2])),
        spacing_mm,
        (float(middle[0]), float(middle[1]), float(middle[2])),
    )
    to_source = np.linalg.inv(affine) @ grid.affine_ras
    hu = ndimage.affine_transform(
        data,
        to_source[:3, :3],
        to_source[:3, 3],
        output_shape=grid.shape,
        order=1,
        mode="nearest",
    )
    hu += floor
    seen = _inside(to_source, grid.shape, data.shape)
    hu[~seen] = AIR_HU
    return PatientImage(hu, seen, grid)


def _inside(
    to_source: NDArray[np.float64], shape: tuple[int, int, int], source: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Which voxels of a grid lie within the voxels of the source, half a voxel around included."""
    seen = np.ones(shape, np.bool_)
    x, y, z = np.ogrid[: shape[0], : shape[1], : shape[2]]
    for axis, count in enumerate(source):
        at = to_source[axis, 0] * x + to_source[axis, 1] * y + to_source[axis, 2] * z
        at = at + to_source[axis, 3]
        seen &= (at > -0.75) & (at < count - 0.25)
    return seen


def labels_back(
    labels: NDArray[np.uint8],
    grid: CanonicalGrid,
    voxels: NDArray[np.generic],
    affine_lps: NDArray[np.float64],
    borders: Sequence[Border] = (),
) -> NDArray[np.uint8]:
    """Give every voxel ``(slice, row, column)`` of the source a label: the nearest of the grid.

    Where that is the code of a border, the voxel's own density decides.
    """
    to_grid = np.linalg.inv(grid.affine_ras) @ affine_to_ras(affine_lps)
    out = np.empty(voxels.shape, np.uint8)
    rows, columns = np.ogrid[: voxels.shape[1], : voxels.shape[2]]
    flat = np.ascontiguousarray(labels).reshape(-1)
    strides = (labels.shape[1] * labels.shape[2], labels.shape[2], 1)
    for index in range(voxels.shape[0]):
        where = np.zeros(voxels.shape[1:], np.int64)
        for axis in range(3):
            offset = to_grid[axis, 0] * index + to_grid[axis, 3]
            at = (to_grid[axis, 1] * rows + offset) + to_grid[axis, 2] * columns
            near = np.clip(np.rint(at), 0, labels.shape[axis] - 1).astype(np.int64)
            where += near * strides[axis]
        plane = flat[where]
        for border in borders:
            here = plane == border.code
            plane[here] = np.where(
                voxels[index][here] < border.level_hu, border.below, border.above
            )
        out[index] = plane
    return out
