"""Texture of a region in three dimensions, as IBSI defines it (arXiv:1612.07003, 3.6 to 3.10).

Three matrices: grey levels that lie beside each other (GLCM; all 13 directions, distance 1, added
up before anything is worked out: "3D, merged"), runs of one level (GLRLM, likewise), and how far a
voxel is from the mean of its neighbours (NGTDM). scikit-image has the first alone, in two
dimensions and without a mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from secondread.learning.features.first_order import DEFAULT_BINS, discretise
from secondread.learning.features.region import Region
from secondread.learning.features.runs import describe_runs

__all__ = ["describe_texture"]

Float64 = NDArray[np.float64]
Levels = NDArray[np.int64]

_DIRECTIONS = tuple(one for one in product((-1, 0, 1), repeat=3) if one > (0, 0, 0))
_OUTSIDE = 0


def describe_texture(region: Region, bins: int = DEFAULT_BINS) -> dict[str, float]:
    """Features of all matrices by name, over ``bins`` grey levels of the region's own range."""
    part = region.cropped()
    levels = np.full(part.mask.shape, _OUTSIDE, np.int64)
    levels[part.mask] = discretise(part.values, bins)
    return describe_levels(levels)


def describe_levels(levels: Levels) -> dict[str, float]:
    """The same of grey levels (x, y, z) from 1; 0 is outside."""
    return {
        **{f"glcm_{name}": value for name, value in _co_occurrence(levels).items()},
        **{f"glrlm_{name}": value for name, value in describe_runs(levels, _DIRECTIONS).items()},
        **{f"ngtdm_{name}": value for name, value in _neighbourhood(levels).items()},
    }


def _co_occurrence(levels: Levels) -> dict[str, float]:
    count = int(levels.max())
    matrix = np.zeros((count, count))
    for one, other in _pairs(levels):
        at = (one - 1) * count + other - 1
        matrix += np.bincount(at, minlength=count * count).reshape(count, count)
    matrix = matrix + matrix.T
    if not matrix.any():
        matrix[0, 0] = 1.0  # a single voxel lies beside nothing, which is as even as can be
    shares = matrix / matrix.sum()
    i, j = np.indices(shares.shape) + 1.0
    mean = float((i * shares).sum())
    variance = float(((i - mean) ** 2 * shares).sum())
    apart, beyond = np.abs(i - j), i + j - 2 * mean
    known = shares[shares > 0]
    return {
        "joint_maximum": float(shares.max()),
        "joint_average": mean,
        "joint_variance": variance,
        "joint_entropy": float(-(known * np.log2(known)).sum()),
        "contrast": float((apart**2 * shares).sum()),
        "dissimilarity": float((apart * shares).sum()),
        "inverse_difference": float((shares / (1 + apart)).sum()),
        "inverse_difference_moment": float((shares / (1 + apart**2)).sum()),
        "angular_second_moment": float((shares**2).sum()),
        "correlation": (float((i * j * shares).sum()) - mean**2) / variance if variance else 1.0,
        "autocorrelation": float((i * j * shares).sum()),
        "cluster_tendency": float((beyond**2 * shares).sum()),
        "cluster_shade": float((beyond**3 * shares).sum()),
        "cluster_prominence": float((beyond**4 * shares).sum()),
    }


def _pairs(levels: Levels) -> Iterator[tuple[Levels, Levels]]:
    """Neighbours inside along each direction: two arrays (pair,) of their levels."""
    for direction in _DIRECTIONS:
        here, there = [], []
        for step in direction:
            here.append(slice(None, -step) if step > 0 else slice(-step, None))
            there.append(slice(step, None) if step > 0 else slice(None, step or None))
        one, other = levels[tuple(here)], levels[tuple(there)]
        inside = (one != _OUTSIDE) & (other != _OUTSIDE)
        yield one[inside], other[inside]


def _neighbourhood(levels: Levels) -> dict[str, float]:
    """NGTDM of distance 1: 26 neighbours, of which those inside count."""
    inside = (levels != _OUTSIDE).astype(np.float64)
    around = np.ones((3, 3, 3))
    around[1, 1, 1] = 0
    neighbours = ndimage.convolve(inside, around, mode="constant")
    sums = ndimage.convolve(levels.astype(np.float64), around, mode="constant")
    counted = (inside > 0) & (neighbours > 0)
    found = levels[counted]
    if not found.size:
        return dict.fromkeys(("coarseness", "contrast", "busyness", "complexity", "strength"), 0.0)
    distances = np.abs(found - sums[counted] / neighbours[counted])
    shares = np.bincount(found) / found.size
    present = np.flatnonzero(shares)
    s = np.bincount(found, distances)[present].astype(np.float64)
    return _describe_distances(present.astype(np.float64), shares[present], s, found.size)


def _describe_distances(i: Float64, p: Float64, s: Float64, voxels: int) -> dict[str, float]:
    """Of grey levels ``i`` that are there, their shares ``p`` and their sums of distances ``s``."""
    apart = i[:, None] - i
    weighted = float((p * s).sum())
    swings = float(np.abs((i * p)[:, None] - i * p).sum())
    levels, total = len(i), float(s.sum())
    return {
        # A region without any change has no coarsest texture; IBSI sets it to a million.
        "coarseness": 1 / weighted if weighted else 1e6,
        "contrast": float((np.outer(p, p) * apart**2).sum())
        / (levels * (levels - 1))
        * total
        / voxels
        if levels > 1
        else 0.0,
        "busyness": weighted / swings if swings else 0.0,
        "complexity": float((np.abs(apart) * ((p * s)[:, None] + p * s) / (p[:, None] + p)).sum())
        / voxels,
        "strength": float(((p[:, None] + p) * apart**2).sum()) / total if total else 0.0,
    }
