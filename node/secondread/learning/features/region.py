"""What features are worked out from: an image, a part of it, and the size of its voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Region"]


@dataclass(frozen=True)
class Region:
    """A part of an image.

    Attributes:
        image: (x, y, z).
        mask: (x, y, z), which voxels belong to it; at least one.
        spacing_mm: along x, y and z.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]

    @property
    def values(self) -> NDArray[np.float64]:
        """The values inside: (voxel,)."""
        inside: NDArray[np.float64] = self.image[self.mask].astype(np.float64)
        return inside

    def cropped(self) -> Region:
        """The same with nothing around it: the box that just holds the mask."""
        at = np.argwhere(self.mask)
        box = tuple(
            slice(int(a), int(b) + 1) for a, b in zip(at.min(axis=0), at.max(axis=0), strict=True)
        )
        return Region(self.image[box], self.mask[box], self.spacing_mm)
