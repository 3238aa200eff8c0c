"""The bias field of an MR image: a slow change of brightness that the coil made, taken out.

This is no N4 (Tustison et al., IEEE TMI 2010), and knows less: a polynomial is fitted to the
logarithm of the image, as Sled's N3 (IEEE TMI 1998) and its heirs hold the field to be a smooth
factor. What lies far from the fit, in units of the usual distance, is another tissue and is left
out of the next fit, until the fit stands still. So it suits organs in which one tissue prevails,
and a head whose white matter does; it cannot tell a tissue that grows brighter from a field.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from secondread.errors import RecipeError
from secondread.learning.case import Loaded

Float64 = NDArray[np.float64]

DEGREES = range(1, 6)
_FAR = 1.5
"""In units of the usual distance: an image has two or three tissues, and one is followed."""
_NOISE_OF_MEDIAN = 1.4826
_STILL = 1e-4
_SAMPLES = 40_000
"""Voxels that a fit looks at, evenly taken: a polynomial of few terms needs no more."""
_STRONGEST = np.log(4.0)
"""A field beyond four times, or a quarter, of the middle is none that a coil makes."""


@dataclass(frozen=True)
class BiasField:
    """``bias_field``: divide by a smooth field, a polynomial of ``degree`` in the logarithm.

    ``foreground`` is the share of the bright end of the image (99th percentile) above which a voxel
    counts in the fit; ``rounds`` the most fits. The mean of the foreground stays what it was.
    """

    degree: int = 2
    foreground: float = 0.15
    rounds: int = 20

    def check(self, where: str) -> None:
        """Raise RecipeError where a size is out of its range."""
        if self.degree not in DEGREES:
            raise RecipeError(f"{where} has degree = {self.degree}, but it is 1 to {DEGREES[-1]}.")
        if not 0 < self.foreground < 1 or self.rounds < 1:
            raise RecipeError(f"{where} needs 0 < foreground < 1, and rounds of 1 or more.")

    def __call__(self, loaded: Loaded) -> Loaded:
        """Correct the image of a case; one that is nowhere above 0 stays as it is."""
        image = loaded.image
        mask = image > self.foreground * np.percentile(image, 99)
        mask &= image > 0
        terms = _terms(self.degree)
        if mask.sum() < 10 * len(terms):
            return loaded
        weights = self._fit(image, mask, terms)
        logarithm = np.clip(_evaluate(weights, terms, image.shape), -_STRONGEST, _STRONGEST)
        corrected = image * np.exp(-logarithm).astype(np.float32)
        corrected *= np.float32(image[mask].mean() / corrected[mask].mean())
        return dataclasses.replace(loaded, image=corrected.astype(np.float32))

    def _fit(
        self, image: NDArray[np.float32], mask: NDArray[np.bool_], terms: list[tuple[int, ...]]
    ) -> Float64:
        """Weights of the terms but the constant, which is 0: a field has no brightness."""
        at = np.argwhere(mask)
        at = at[:: max(1, len(at) // _SAMPLES)]
        values = np.log(image[tuple(at.T)].astype(np.float64))
        rows = _rows(terms, at, image.shape)
        kept = np.ones(len(values), np.bool_)
        weights: Float64 = np.zeros(len(terms))
        for _ in range(self.rounds):
            found: Float64 = np.linalg.lstsq(rows[kept], values[kept], rcond=None)[0].astype(
                np.float64
            )
            distances = values - rows @ found
            middle = np.median(distances[kept])
            usual = _NOISE_OF_MEDIAN * np.median(np.abs(distances[kept] - middle))
            if np.abs(found - weights).max() < _STILL or usual <= 0:
                weights = found
                break
            weights = found
            kept = np.abs(distances - middle) < _FAR * usual
        weights[0] = 0.0
        return weights


def _terms(degree: int) -> list[tuple[int, ...]]:
    """Powers of x, y and z whose sum is no more than the degree, the constant first."""
    powers = product(range(degree + 1), repeat=3)
    return sorted((one for one in powers if sum(one) <= degree), key=lambda one: (sum(one), one))


def _rows(terms: list[tuple[int, ...]], at: NDArray[np.intp], shape: tuple[int, ...]) -> Float64:
    """(voxel, term): each term at each voxel, in coordinates from -1 to 1."""
    places = 2 * at / np.maximum(np.array(shape) - 1, 1) - 1
    return np.stack([np.prod(places ** np.array(one), axis=1) for one in terms], axis=1)


def _evaluate(weights: Float64, terms: list[tuple[int, ...]], shape: tuple[int, ...]) -> Float64:
    """(x, y, z): the polynomial at every voxel, axis by axis, since its terms are products."""
    axes = [np.linspace(-1, 1, n) if n > 1 else np.full(1, -1.0) for n in shape]
    found = np.zeros(shape)
    for weight, (a, b, c) in zip(weights, terms, strict=True):
        plane = weight * axes[0][:, None] ** a * axes[1][None, :] ** b
        found += plane[:, :, None] * axes[2] ** c
    return found
