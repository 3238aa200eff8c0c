"""Numbers about the structures of a label map: volume, signal, diameters and surface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from secondread.bundles.manifest import Label
from secondread.bundles.output import STATISTICS, USUAL_STATISTICS
from secondread.domain.volume import Volume
from secondread.errors import ResultError
from secondread.results.measurement.centres import find_centres
from secondread.results.measurement.diameters import Diameter, Point, find_diameters
from secondread.results.measurement.statistics import SHARES, find_percentiles, list_blocks
from secondread.results.measurement.surface import measure_surfaces

__all__ = ["MM3_PER_ML", "Diameter", "Point", "StructureMeasurements", "measure"]

MM3_PER_ML = 1000.0

_MM2_PER_CM2 = 100.0
_DIAMETERS = frozenset({"longest_diameter", "perpendicular_diameter"})
_SURFACE = "surface"


@dataclass(frozen=True, slots=True)
class StructureMeasurements:
    """One structure in numbers.

    ``signal_mean`` and ``signal_deviation`` (population) are in the volume's own unit: HU for CT,
    arbitrary for MR.

    Attributes:
        statistics: those of ``bundles.output.STATISTICS`` that the manifest asks for, by name, in
            mL, mm, cm², the volume's own unit, or as a count; empty for an empty structure.
        diameter: where the two diameters lie; None where they were not asked for.
        centre: a point within the structure, LPS mm; None where it is empty.
    """

    label: Label
    voxels: int
    volume_ml: float
    signal_mean: float
    signal_deviation: float
    statistics: Mapping[str, float] = field(default_factory=dict)
    diameter: Diameter | None = None
    centre: Point | None = None


@dataclass(frozen=True, slots=True)
class _Numbers:
    """What is known of all structures, each by the structure's value."""

    counts: npt.NDArray[np.float64]
    means: npt.NDArray[np.float64]
    deviations: npt.NDArray[np.float64]
    percentiles: Mapping[int, Mapping[str, float]]
    diameters: Mapping[int, Diameter]
    surfaces_mm2: npt.NDArray[np.float64]
    centres: Mapping[int, Point]


def measure(
    volume: Volume,
    labels: npt.NDArray[np.uint8],
    structures: Sequence[Label],
    statistics: Sequence[str] = USUAL_STATISTICS,
) -> tuple[StructureMeasurements, ...]:
    """Measure every structure, the empty ones with zeros.

    What each number is, and how exact, is in docs/measurements.md. No copy is made of the whole
    volume, nor of a whole structure.

    Args:
        volume: ``(slice, row, column)``.
        labels: uint8 of the same shape.
        structures: what to measure.
        statistics: which numbers, of ``bundles.output.STATISTICS``.

    Raises:
        ResultError: there is no such number.
    """
    unknown = sorted(set(statistics) - set(STATISTICS))
    if unknown:
        raise ResultError(f"The node has no measurement called '{unknown[0]}'; correct model.toml.")
    size = max((label.value for label in structures), default=0) + 1
    size = max(size, int(labels.max(initial=0)) + 1)
    counts, means, deviations = _sum_up(volume, labels, size)
    present = {label.value: int(counts[label.value]) for label in structures if counts[label.value]}
    shares = [name for name in statistics if name in SHARES]
    percentiles: dict[int, dict[str, float]] = {}
    if shares:
        found = find_percentiles(volume.voxels, labels, present, [SHARES[name] for name in shares])
        percentiles = {value: dict(zip(shares, row, strict=True)) for value, row in found.items()}
    diameters: Mapping[int, Diameter] = {}
    if not _DIAMETERS.isdisjoint(statistics):
        diameters = find_diameters(labels, volume.affine_lps, present)
    surfaces_mm2 = np.zeros(size)
    if _SURFACE in statistics:
        surfaces_mm2 = measure_surfaces(labels, volume.affine_lps)
    centres = find_centres(labels, volume.affine_lps, present)
    numbers = _Numbers(counts, means, deviations, percentiles, diameters, surfaces_mm2, centres)
    return tuple(_describe(label, volume.voxel_mm3, numbers, statistics) for label in structures)


def _sum_up(
    volume: Volume, labels: npt.NDArray[np.uint8], size: int
) -> tuple[npt.NDArray[np.float64], ...]:
    """Number, mean and population deviation of the voxels of each value; sums are in float64."""
    counts, sums, squares = np.zeros(size), np.zeros(size), np.zeros(size)
    shift = None
    for block, signal in list_blocks(volume.voxels, labels):
        names, values = block.astype(np.intp), signal.astype(np.float64)
        if shift is None:
            # A value of the data, so that the variance does not drown in the mean's square.
            shift = values[np.argmax(names > 0)]
        values -= shift
        counts += np.bincount(names, minlength=size)
        sums += np.bincount(names, values, minlength=size)
        squares += np.bincount(names, values * values, minlength=size)
    if shift is None:
        return counts, sums, squares
    divisor = np.maximum(counts, 1)
    means = sums / divisor
    deviations = np.sqrt(np.maximum(squares / divisor - means**2, 0.0))
    return counts, np.where(counts > 0, means + shift, 0.0), deviations


def _describe(
    label: Label, voxel_mm3: float, numbers: _Numbers, statistics: Sequence[str]
) -> StructureMeasurements:
    """One structure's share of the numbers."""
    value = label.value
    measured = StructureMeasurements(
        label=label,
        voxels=int(numbers.counts[value]),
        volume_ml=float(numbers.counts[value] * voxel_mm3 / MM3_PER_ML),
        signal_mean=float(numbers.means[value]),
        signal_deviation=float(numbers.deviations[value]),
    )
    if not measured.voxels:
        return measured
    known = {
        "volume": measured.volume_ml,
        "mean": measured.signal_mean,
        "deviation": measured.signal_deviation,
        "voxels": float(measured.voxels),
        **numbers.percentiles.get(value, {}),
    }
    diameter = numbers.diameters.get(value)
    if diameter is not None:
        known["longest_diameter"] = diameter.longest_mm
        known["perpendicular_diameter"] = diameter.perpendicular_mm
    if _SURFACE in statistics:
        known[_SURFACE] = float(numbers.surfaces_mm2[value] / _MM2_PER_CM2)
    wanted = {name: known[name] for name in statistics}
    return replace(
        measured, statistics=wanted, diameter=diameter, centre=numbers.centres.get(value)
    )
