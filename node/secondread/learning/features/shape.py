"""The shape of a region, as IBSI defines it (arXiv:1612.07003, section 3.1).

The surface is that of marching cubes at half between inside and outside; axis lengths come from
the principal components of the voxels' centres. Angles and corners of single voxels count: a
ball of few voxels has a larger surface, and is less spherical, than the ball it stands for.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

from secondread.learning.features.region import Region

__all__ = ["describe_shape"]

_ML_PER_MM3 = 1e-3
_HALF = 0.5


def describe_shape(region: Region) -> dict[str, float]:
    """Volumes in mL, lengths in mm, areas in mm², and ratios, by name.

    A region of a single voxel has axes of no length; its ratios are 1.
    """
    part = region.cropped()
    spacing_mm = np.array(part.spacing_mm)
    vertices, triangles = _mesh(part.mask, spacing_mm)
    volume_mm3, area_mm2 = _enclose(vertices, triangles)
    lengths_mm = _axes(np.argwhere(part.mask) * spacing_mm)
    longest = max(lengths_mm[0], 1e-9)
    return {
        "volume_ml": volume_mm3 * _ML_PER_MM3,
        "voxel_volume_ml": float(part.mask.sum() * spacing_mm.prod()) * _ML_PER_MM3,
        "surface_mm2": area_mm2,
        "surface_to_volume_per_mm": area_mm2 / volume_mm3,
        "sphericity": (36 * math.pi * volume_mm3**2) ** (1 / 3) / area_mm2,
        "max_diameter_mm": _diameter(vertices),
        "major_axis_mm": lengths_mm[0],
        "minor_axis_mm": lengths_mm[1],
        "least_axis_mm": lengths_mm[2],
        "elongation": lengths_mm[1] / longest if lengths_mm[0] else 1.0,
        "flatness": lengths_mm[2] / longest if lengths_mm[0] else 1.0,
    }


def _mesh(
    mask: NDArray[np.bool_], spacing_mm: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Vertices (vertex, 3) in mm and triangles (triangle, 3) of the region's surface."""
    from skimage.measure import marching_cubes

    # One empty voxel around it, or what touches the border would have no surface there.
    padded = np.pad(mask, 1).astype(np.float32)
    vertices, triangles, _, _ = marching_cubes(padded, _HALF, spacing=tuple(spacing_mm))
    return vertices.astype(np.float64), triangles


def _enclose(vertices: NDArray[np.float64], triangles: NDArray[np.intp]) -> tuple[float, float]:
    """Volume and area of a closed surface: sums over its triangles."""
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    volume = abs(float(np.einsum("ij,ij->", a, np.cross(b, c)))) / 6
    area = float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()) / 2
    return volume, area


def _diameter(vertices: NDArray[np.float64]) -> float:
    """The largest distance between two points of a surface; both are corners of its hull."""
    try:
        corners = vertices[ConvexHull(vertices).vertices]
    except QhullError:
        corners = vertices
    return float(pdist(corners).max())


def _axes(places_mm: NDArray[np.float64]) -> tuple[float, float, float]:
    """Four times the root of each principal variance, the largest first."""
    if len(places_mm) < 2:
        return 0.0, 0.0, 0.0
    variances = np.clip(np.linalg.eigvalsh(np.cov(places_mm.T)), 0, None)
    least, minor, major = (4 * math.sqrt(one) for one in variances)
    return major, minor, least
