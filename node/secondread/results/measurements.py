"""Numbers about the structures of a label map: volume and signal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from secondread.bundles.manifest import Label
from secondread.domain.volume import Volume

MM3_PER_ML = 1000.0


Point = tuple[float, float, float]
"""LPS mm."""


@dataclass(frozen=True, slots=True)
class Diameter:
    """The longest line across a structure within one slice, and the longest across that line.

    Attributes:
        source: place of the slice in the volume.
        longest: its two ends, LPS mm; ``perpendicular`` likewise.
    """

    source: int
    longest_mm: float
    longest: tuple[Point, Point]
    perpendicular_mm: float
    perpendicular: tuple[Point, Point]


@dataclass(frozen=True, slots=True)
class StructureMeasurements:
    """One structure in numbers.

    ``signal_mean`` and ``signal_deviation`` (population) are in the volume's own unit: HU for CT,
    arbitrary for MR.

    Attributes:
        statistics: those of ``bundles.output.STATISTICS`` that the manifest asks for, by name, in
            mL, mm, cm², the volume's own unit, or as a count; empty for an empty structure.
        diameter: where the two diameters lie; None where they were not asked for.
    """

    label: Label
    voxels: int
    volume_ml: float
    signal_mean: float
    signal_deviation: float
    statistics: Mapping[str, float] = field(default_factory=dict)
    diameter: Diameter | None = None


def measure(
    volume: Volume, labels: npt.NDArray[np.uint8], structures: Sequence[Label]
) -> tuple[StructureMeasurements, ...]:
    """Measure every structure, the empty ones with zeros.

    Args:
        volume: ``(slice, row, column)``; sums are taken in float64 slice by slice, so that no copy
            of the whole is made.
        labels: uint8 of the same shape.
        structures: what to measure.
    """
    size = max((label.value for label in structures), default=0) + 1
    size = max(size, int(labels.max(initial=0)) + 1)
    counts, sums, squares = np.zeros(size), np.zeros(size), np.zeros(size)
    # Shifted by a value of the data, so that the variance does not drown in the mean's square.
    shift = float(volume.voxels.flat[int(np.argmax(labels > 0))])
    for plane, signal in zip(labels, volume.voxels, strict=True):
        if not plane.any():
            continue
        names = plane.ravel()
        values = signal.ravel().astype(np.float64) - shift
        counts += np.bincount(names, minlength=size)
        sums += np.bincount(names, values, minlength=size)
        squares += np.bincount(names, values * values, minlength=size)
    divisor = np.maximum(counts, 1)
    means = sums / divisor
    deviations = np.sqrt(np.maximum(squares / divisor - means**2, 0.0))
    return tuple(
        StructureMeasurements(
            label=label,
            voxels=int(counts[label.value]),
            volume_ml=float(counts[label.value] * volume.voxel_mm3 / MM3_PER_ML),
            signal_mean=float(means[label.value] + shift) if counts[label.value] else 0.0,
            signal_deviation=float(deviations[label.value]),
        )
        for label in structures
    )
