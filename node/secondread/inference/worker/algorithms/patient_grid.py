"""A whole CT on a coarse grid along the axes of the patient, and labels back from it.

Unlike ``canonical.py``, which centres a grid of fixed shape on a head, this grid covers all that
was scanned, in Hounsfield units. Axis 0 runs to the patient's right, axis 1 to anterior, axis 2 to
the head (RAS), so that left is always the side of the lower index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from secondread.inference.worker.canonical import CanonicalGrid, affine_to_ras, shrink

__all__ = ["AIR_HU", "Border", "Box", "PatientImage", "box_of", "labels_back", "on_patient_grid"]

Box = tuple[slice, slice, slice]

AIR_HU = -1024.0
"""Where nothing was scanned, and the floor below which padding values of scanners lie."""
CEILING_HU = 3071.0
SLICES_AT_ONCE = 16
TURN_VOXELS = 1e-6
"""Axes that drift less than this from one another, from end to end, lie along one another."""


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

    def within(self, box: Box) -> PatientImage:
        """A part of it, where it lies."""
        low = np.array([part.start for part in box])
        high = np.array([part.stop for part in box])
        shape = self.hu[box].shape
        moved = (low + high - np.array(self.hu.shape)) / 2 * self.grid.spacing_mm
        x, y, z = (float(n) for n in np.array(self.grid.centre_ras) + moved)
        grid = CanonicalGrid((shape[0], shape[1], shape[2]), self.grid.spacing_mm, (x, y, z))
        return PatientImage(self.hu[box], self.seen[box], grid)


@dataclass(frozen=True, slots=True)
class Border:
    """Voxels of a coarse grid whose label is decided in the source: ``below`` a density or not."""

    code: int
    level_hu: float
    below: int
    above: int


def box_of(mask: NDArray[np.bool_], margin: int) -> Box:
    """The box around a mask (x, y, z) that is not empty, with a margin where there is room."""
    parts = []
    for axis, count in enumerate(mask.shape):
        at = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        parts.append(slice(max(0, int(at[0]) - margin), min(count, int(at[-1]) + margin + 1)))
    return parts[0], parts[1], parts[2]


def on_patient_grid(
    voxels: NDArray[np.generic], affine_lps: NDArray[np.float64], spacing_mm: float
) -> PatientImage:
    """Sample a volume ``(slice, row, column)`` in HU every ``spacing_mm`` over all of its extent.

    Finer axes are averaged first, which keeps them from aliasing.
    """
    data, affine = _averaged(voxels, affine_to_ras(affine_lps), spacing_mm)
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
    hu = _sampled(data, to_source, grid.shape)
    hu += AIR_HU
    seen = _inside(to_source, grid.shape, data.shape)
    hu[~seen] = AIR_HU
    return PatientImage(hu, seen, grid)


def _averaged(
    voxels: NDArray[np.generic], affine: NDArray[np.float64], spacing_mm: float
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Average as `shrink` does, some slices at a time; HU above ``AIR_HU``, and the affine.

    So the volume is never copied whole as floating point. Nothing is negative, or `shrink` would
    move each part by an amount of its own.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    several = int(np.clip(np.floor(spacing_mm / spacing[0] + 0.25), 1, len(voxels)))
    whole = max(several, SLICES_AT_ONCE // several * several)
    # Signed integers of 16 bits and more hold both ends, and stay as small as they came.
    small = voxels.dtype.kind == "i" and voxels.dtype.itemsize > 1
    number = voxels.dtype.type if small else np.float32
    parts = []
    for start in range(0, len(voxels) // several * several, whole):
        stop = min(start + whole, len(voxels) // several * several)
        clipped = np.clip(voxels[start:stop].astype(number), number(AIR_HU), number(CEILING_HU))
        clipped -= number(AIR_HU)
        parts.append(shrink(clipped, affine, spacing_mm))
    return np.concatenate([part for part, _ in parts]), parts[0][1]


def _sampled(
    data: NDArray[np.float32], to_source: NDArray[np.float64], shape: tuple[int, int, int]
) -> NDArray[np.float32]:
    """Interpolate linearly; much faster where the axes of both grids lie along one another."""
    along = np.abs(to_source[:3, :3]).argmax(axis=0)
    scale = to_source[along, (0, 1, 2)]
    turned = np.zeros((3, 3))
    turned[along, (0, 1, 2)] = scale
    if sorted(along) == [0, 1, 2] and np.allclose(turned, to_source[:3, :3], rtol=0, atol=1e-6):
        offset = to_source[along, 3]
        for axis in np.flatnonzero(scale < 0):
            # The fast way knows no mirrors.
            data = np.flip(data, along[axis])
            scale[axis], offset[axis] = -scale[axis], data.shape[along[axis]] - 1 - offset[axis]
        # The same numbers in another order of axes, which is read four times as fast.
        turned_data = np.ascontiguousarray(data.transpose(along))
        out = ndimage.affine_transform(
            turned_data, scale, offset, output_shape=shape, order=1, mode="nearest"
        )
        return np.asarray(out, np.float32)
    out = ndimage.affine_transform(
        data, to_source[:3, :3], to_source[:3, 3], output_shape=shape, order=1, mode="nearest"
    )
    return np.asarray(out, np.float32)


def _positions(
    affine: NDArray[np.float64], axis: int, indices: Sequence[NDArray[np.intp]]
) -> NDArray[np.float64]:
    """One coordinate of many voxels; it stays a line or a plane where other axes have no part."""
    at = np.asarray(affine[axis, 3])
    for scale, index in zip(affine[axis, :3], indices, strict=True):
        if abs(scale) * index.size > TURN_VOXELS:
            at = at + scale * index
    return np.asarray(at, np.float64)


def _inside(
    to_source: NDArray[np.float64], shape: tuple[int, int, int], source: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Which voxels of a grid lie within the voxels of the source, half a voxel around included."""
    seen = np.ones(shape, np.bool_)
    indices = np.ogrid[: shape[0], : shape[1], : shape[2]]
    for axis, count in enumerate(source):
        at = _positions(to_source, axis, indices)
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
        where = np.zeros((1, 1), np.intp)
        for axis in range(3):
            at = _positions(to_grid, axis, (np.array([[index]]), rows, columns))
            near = np.clip(np.rint(at), 0, labels.shape[axis] - 1).astype(np.intp)
            where = where + near * strides[axis]
        plane = np.broadcast_to(flat[where], voxels.shape[1:]).copy()
        for border in borders:
            here = plane == border.code
            plane[here] = np.where(
                voxels[index][here] < border.level_hu, border.below, border.above
            )
        out[index] = plane
    return out
