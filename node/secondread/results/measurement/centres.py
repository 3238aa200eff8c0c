"""A point within each structure, for viewers that need a place to write numbers at."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from secondread.results.measurement.diameters import Point


def find_centres(
    labels: npt.NDArray[np.uint8], affine_lps: npt.NDArray[np.float64], values: Collection[int]
) -> dict[int, Point]:
    """For each value, the voxel next to the centroid of its largest slice, LPS mm.

    It is always a voxel of the structure, whatever the shape of that is; of slices and of voxels
    that are equally good it is the first.

    Args:
        labels: ``(slice, row, column)``.
        affine_lps: voxel ``(slice, row, column)`` to LPS mm.
        values: those that are there.
    """
    areas = np.stack([np.bincount(plane.ravel(), minlength=256) for plane in labels])
    centres = {}
    for value in values:
        index = int(np.argmax(areas[:, value]))
        voxels = np.argwhere(labels[index] == value)
        distances = ((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1)
        row, column = voxels[int(np.argmin(distances))]
        x, y, z = (affine_lps @ (index, row, column, 1.0))[:3]
        centres[value] = (float(x), float(y), float(z))
    return centres
