"""Runs of one grey level along a line, as IBSI defines them (arXiv:1612.07003, section 3.7).

GLRLM in three dimensions: all 13 directions, added up before anything is worked out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["describe_runs"]

Levels = NDArray[np.int64]


def describe_runs(levels: Levels, directions: Sequence[Sequence[int]]) -> dict[str, float]:
    """Features of the runs of grey levels (x, y, z) from 1; 0 is outside."""
    found = [_runs(levels, np.array(direction)) for direction in directions]
    level = np.concatenate([one for one, _ in found]).astype(np.float64)
    length = np.concatenate([other for _, other in found]).astype(np.float64)
    count = len(level)
    by_level = np.unique(level, return_counts=True)[1]
    by_length = np.unique(length, return_counts=True)[1]
    shares = np.unique(np.stack((level, length)), axis=1, return_counts=True)[1] / count
    short, low, long, high = 1 / length**2, 1 / level**2, length**2, level**2
    return {
        "short_runs_emphasis": float(short.mean()),
        "long_runs_emphasis": float(long.mean()),
        "low_grey_level_run_emphasis": float(low.mean()),
        "high_grey_level_run_emphasis": float(high.mean()),
        "short_run_low_grey_level_emphasis": float((short * low).mean()),
        "short_run_high_grey_level_emphasis": float((short * high).mean()),
        "long_run_low_grey_level_emphasis": float((long * low).mean()),
        "long_run_high_grey_level_emphasis": float((long * high).mean()),
        "grey_level_non_uniformity": float((by_level**2).sum()) / count,
        "grey_level_non_uniformity_normalised": float((by_level**2).sum()) / count**2,
        "run_length_non_uniformity": float((by_length**2).sum()) / count,
        "run_length_non_uniformity_normalised": float((by_length**2).sum()) / count**2,
        "run_percentage": count / float(np.count_nonzero(levels) * len(directions)),
        "grey_level_variance": float(level.var()),
        "run_length_variance": float(length.var()),
        "run_entropy": float(-(shares * np.log2(shares)).sum()),
    }


def _runs(levels: Levels, direction: NDArray[np.intp]) -> tuple[Levels, Levels]:
    """The level and the length of every run along a direction, (run,) each."""
    # An empty border, so that a step from a voxel inside never leaves the array.
    padded = np.pad(levels, 1)
    inside = np.argwhere(padded)
    here = padded[tuple(inside.T)]
    start = padded[tuple((inside - direction).T)] != here
    at, level = inside[start], here[start]
    length = np.ones(len(at), np.int64)
    going = np.arange(len(at))
    while going.size:
        at[going] += direction
        going = going[padded[tuple(at[going].T)] == level[going]]
        length[going] += 1
    return level, length
