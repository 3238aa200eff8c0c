"""A small volume with known answers, for tests of runtimes."""

from __future__ import annotations

from typing import Any

import numpy as np

AFFINE = np.array([[0.0, 0, 2, -40], [0, 2, 0, -40], [4, 0, 0, -40], [0, 0, 0, 1]])
"""Slices to the head, rows to posterior, columns to the left."""


def bright_blocks() -> Any:
    """(slice, row, column): a block of brain with a block of thalamus, off the middle."""
    voxels = np.zeros((14, 22, 25), np.int16)
    voxels[2:11, 4:16, 3:20] = 500
    voxels[4:7, 5:9, 5:9] = 900
    return voxels


def truth(voxels: Any) -> Any:
    """Its labels."""
    return np.select([voxels == 900, voxels == 500], [2, 1], 0)
