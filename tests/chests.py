"""A made-up chest in Hounsfield units, for tests and the bench of models."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEP_MM = 4.0

Volume = tuple[NDArray[np.int16], NDArray[np.float64]]


def thorax(*, gap_mm: float = 20.0, gas: bool = True) -> Volume:
    """A made-up chest (slice, row, column), axial, head last; its right lung is the larger one."""
    z, y, x = np.meshgrid(
        np.arange(-200, 200, STEP_MM),
        np.arange(-136, 136, STEP_MM),
        np.arange(-196, 196, STEP_MM),
        indexing="ij",
    )
    hu = np.full(x.shape, -1000.0)
    hu[(x / 170) ** 2 + (y / 115) ** 2 < 1] = 40
    for side, wide, deep in ((1, 52, 75), (-1, 62, 80)):  # x runs to the patient's left
        middle = side * (wide + gap_mm / 2)
        lung = ((x - middle) / wide) ** 2 + (y / deep) ** 2 + ((z - 40) / 110) ** 2 < 1
        hu[lung] = -840
        hu[lung & ((y - 10) ** 2 + (z - 40) ** 2 < 6**2)] = 40
    hu[((x - 2) ** 2 + (y - 10) ** 2 < 9**2) & (z > 60)] = -1000
    if gas:
        hu[((x - 70) / 45) ** 2 + ((y + 40) / 30) ** 2 + ((z + 140) / 35) ** 2 < 1] = -1000
    noise = np.random.default_rng(8).normal(0, 12, hu.shape)
    affine = np.array(
        [[0, 0, STEP_MM, -196], [0, STEP_MM, 0, -136], [STEP_MM, 0, 0, -200], [0, 0, 0, 1.0]]
    )
    return np.rint(hu + noise).astype(np.int16), affine
