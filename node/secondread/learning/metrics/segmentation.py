"""Figures of one segmented region: overlap, distances between the surfaces, volumes.

Distances follow the surface voxels (a voxel of the region with a face neighbour outside it) and are
taken in mm through the spacing of the grid, from voxel centre to voxel centre. HD95 is the greater
of the two directed 95th percentiles, as in Maier-Hein et al., 'Metrics reloaded', Nature Methods
2024; the mean surface distance is the mean over both surfaces' voxels together (ASSD).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

PERCENTILE = 95
# Bland and Altman, Lancet 1986: 95 % of differences that are normal lie within.
LIMITS_SD = 1.96
_MM3_PER_ML = 1000.0


@dataclass(frozen=True)
class LabelMeasures:
    """What became of one label in one case.

    Attributes:
        dice: overlap, 0–1; 1 where truth and answer are both empty, 0 where one of them is.
        hd95_mm: 95th percentile of the surface distances; None where truth or answer is empty.
        surface_mm: mean surface distance, likewise.
        truth_ml: volume of the reference.
        found_ml: volume of the answer.
    """

    dice: float
    hd95_mm: float | None
    surface_mm: float | None
    truth_ml: float
    found_ml: float

    @property
    def error_ml(self) -> float:
        """Answer less reference."""
        return self.found_ml - self.truth_ml

    @property
    def error_percent(self) -> float | None:
        """Answer less reference, in per cent of the reference; None where that is empty."""
        return 100 * self.error_ml / self.truth_ml if self.truth_ml > 0 else None


@dataclass(frozen=True)
class Agreement:
    """Bland and Altman's limits of agreement of volumes, in mL; None with fewer than two cases."""

    bias_ml: float
    low_ml: float | None
    high_ml: float | None


def measure(
    truth: npt.ArrayLike, found: npt.ArrayLike, spacing_mm: Sequence[float]
) -> LabelMeasures:
    """Compare two masks on one grid, of any number of axes.

    Args:
        truth: the reference; what is not zero belongs to the region.
        found: the answer, of the same shape.
        spacing_mm: the distance of neighbouring voxels along each axis of the arrays, in mm.

    Raises:
        ValueError: shapes differ, or the spacing does not suit them.
    """
    first = np.asarray(truth).astype(bool)
    second = np.asarray(found).astype(bool)
    if first.shape != second.shape or len(spacing_mm) != first.ndim:
        raise ValueError("Reference, answer and spacing are not of one grid.")
    if not all(step > 0 for step in spacing_mm):
        raise ValueError("The spacing of a grid is greater than zero along each axis.")
    voxel_ml = float(np.prod(spacing_mm)) / _MM3_PER_ML
    hd95_mm, surface_mm = None, None
    if first.any() and second.any():
        to_second, to_first = surface_distances(first, second, spacing_mm)
        hd95_mm = float(
            max(np.percentile(to_second, PERCENTILE), np.percentile(to_first, PERCENTILE))
        )
        surface_mm = float(np.concatenate([to_second, to_first]).mean())
    return LabelMeasures(
        dice=dice(first, second),
        hd95_mm=hd95_mm,
        surface_mm=surface_mm,
        truth_ml=float(first.sum()) * voxel_ml,
        found_ml=float(second.sum()) * voxel_ml,
    )


def dice(truth: BoolArray, found: BoolArray) -> float:
    """Twice what both have, by what each has; 1 where both are empty."""
    total = int(truth.sum()) + int(found.sum())
    return 2 * int((truth & found).sum()) / total if total else 1.0


def surface_distances(
    truth: BoolArray, found: BoolArray, spacing_mm: Sequence[float]
) -> tuple[FloatArray, FloatArray]:
    """The distance in mm of each surface voxel of one mask to the other's surface, both ways.

    Neither mask may be empty. The first array belongs to the surface of `truth`.
    """
    box = ndimage.find_objects((truth | found).astype(np.uint8))[0]
    first, second = _surface(truth[box]), _surface(found[box])
    to_second = ndimage.distance_transform_edt(~second, sampling=spacing_mm)
    to_first = ndimage.distance_transform_edt(~first, sampling=spacing_mm)
    return np.asarray(to_second)[first], np.asarray(to_first)[second]


def bland_altman(truth_ml: npt.ArrayLike, found_ml: npt.ArrayLike) -> Agreement:
    """Bias and 95 % limits of agreement of paired volumes, answer less reference."""
    differences = np.asarray(found_ml, np.float64) - np.asarray(truth_ml, np.float64)
    bias = float(differences.mean())
    if differences.size < 2:
        return Agreement(bias, None, None)
    reach = LIMITS_SD * float(differences.std(ddof=1))
    return Agreement(bias, bias - reach, bias + reach)


def _surface(mask: BoolArray) -> BoolArray:
    return mask & ~ndimage.binary_erosion(mask)
