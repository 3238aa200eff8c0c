"""Steps that take noise out of an image."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from secondread.errors import RecipeError
from secondread.learning.case import Loaded

METHODS = ("median", "gaussian", "diffusion")
_STABLE_RATE = 1 / 6
"""More than this, and diffusion over six neighbours swings (Perona and Malik, 1990)."""
_NOISE_OF_MEDIAN = 1.4826
"""From the median of absolute values to the standard deviation, where they are normal."""


@dataclass(frozen=True)
class Denoise:
    """``denoise``: by one of three methods.

    ``median``: the median of a cube of ``size`` voxels. ``gaussian``: a Gaussian mean of ``sd_mm``,
    the same in mm along every axis. ``diffusion``: ``rounds`` of anisotropic diffusion, which
    smooths within tissues and stops at edges (Perona and Malik, IEEE PAMI 1990, equation 7 with
    exp(-(d/k)²)); ``k`` is ``edge`` times the usual difference between neighbours.
    """

    method: str
    size: int = 3
    sd_mm: float = 1.0
    rounds: int = 5
    rate: float = 0.125
    edge: float = 3.0

    def check(self, where: str) -> None:
        """Raise RecipeError where a size is out of its range."""
        if self.method not in METHODS:
            known = ", ".join(METHODS)
            raise RecipeError(f"{where} has the method '{self.method}'; it knows {known}.")
        if self.size < 1 or self.size % 2 == 0:
            raise RecipeError(f"{where} has size = {self.size}, but it must be odd, such as 3.")
        if self.sd_mm <= 0 or self.rounds < 1 or self.edge <= 0:
            raise RecipeError(f"{where} needs sd_mm, rounds and edge of more than 0.")
        if not 0 < self.rate <= _STABLE_RATE:
            raise RecipeError(f"{where} needs a rate above 0 and of 1/6 at most.")

    def __call__(self, loaded: Loaded) -> Loaded:
        """Denoise the image of a case; labels stay as they are."""
        if self.method == "median":
            image = ndimage.median_filter(loaded.image, self.size, mode="nearest")
        elif self.method == "gaussian":
            spacing_mm = np.linalg.norm(loaded.affine_ras[:3, :3], axis=0)
            image = ndimage.gaussian_filter(loaded.image, self.sd_mm / spacing_mm, mode="nearest")
        else:
            image = self._diffuse(loaded.image)
        return dataclasses.replace(loaded, image=np.asarray(image, np.float32))

    def _diffuse(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        found = image.astype(np.float32)
        scale = self.edge * _usual_difference(found)
        if scale <= 0:
            return found
        for _ in range(self.rounds):
            change = np.zeros_like(found)
            for axis in range(found.ndim):
                step = np.diff(found, axis=axis)
                flow = step * np.exp(-np.square(step / scale))
                # What flows out of one voxel flows into its neighbour: the mean stays.
                before, after = _ends(found.ndim, axis)
                change[before] += flow
                change[after] -= flow
            found += np.float32(self.rate) * change
        return found


def _usual_difference(image: NDArray[np.float32]) -> float:
    """Between neighbours, where there is anything: edges are too few to count in a median."""
    steps = np.concatenate([np.abs(np.diff(image, axis=axis)).ravel() for axis in range(3)])
    steps = steps[steps > 0]
    return float(_NOISE_OF_MEDIAN * np.median(steps)) if steps.size else 0.0


def _ends(count: int, axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """All but the last, and all but the first, along one of ``count`` axes."""
    whole = [slice(None)] * count
    before, after = list(whole), list(whole)
    before[axis], after[axis] = slice(None, -1), slice(1, None)
    return tuple(before), tuple(after)
