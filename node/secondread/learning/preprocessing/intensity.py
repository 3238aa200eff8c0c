"""Intensities brought to one scale, in the two ways in which hippocampus_mr was trained.

Other recipes take `percentile` and `zscore`, which the runtimes know as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secondread.inference.worker.runtimes.intensity import scale, standardise


@dataclass(frozen=True)
class Percentiles:
    """``percentiles``: the percentiles ``low`` and ``high`` become 0 and 1.

    What lies below 0 is cut to 0, what lies above ``ceiling`` to that: a bright vessel or a ring of
    fat then moves the mean no more than it should.
    """

    low: float = 1.0
    high: float = 99.5
    ceiling: float = 1.2

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.floating]:
        """Scale an image (x, y, z) by its percentiles."""
        low, high = np.percentile(image, (self.low, self.high))
        return scale(image, low, high, self.ceiling)


@dataclass(frozen=True)
class ZScore:
    """``z_score``: mean 0 and standard deviation 1 over the whole image."""

    def __call__(self, image: NDArray[np.floating]) -> NDArray[np.floating]:
        """Scale an image (x, y, z) by its mean and standard deviation."""
        return standardise(image, image.mean(), image.std())
