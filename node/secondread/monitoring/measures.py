"""The numbers of one study that are watched: its voxels, its label map, and what the model said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from secondread.domain.answer import ModelAnswer

SAMPLE_VOXELS = 200_000
"""Of a volume about so many voxels are looked at, evenly spread."""
CHECKS_MAX = 60
"""Values of plausibility checks that are kept."""
_PERCENTILES = (1, 25, 50, 75, 99)
_MM3_PER_ML = 1000.0

Check = tuple[str, float, float, float, bool]
"""Name, value, low, high and whether it passed."""


def intensity_measures(voxels: npt.NDArray[Any]) -> dict[str, float]:
    """Statistics of a volume, ``(slice, row, column)``, in the units of its values.

    They are of a sample, so that of a volume on disk only some slices are read.
    """
    if not voxels.size:
        return {}
    sample = _sample(voxels)
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return {}
    percentiles = np.percentile(sample, _PERCENTILES)
    return {
        "intensity_mean": float(sample.mean()),
        "intensity_sd": float(sample.std()),
        "intensity_zero_share": float((sample == 0).mean()),
        **{
            f"intensity_p{percent:02d}": float(value)
            for percent, value in zip(_PERCENTILES, percentiles, strict=True)
        },
    }


def _sample(voxels: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    step = max(1, int(np.ceil((voxels.size / SAMPLE_VOXELS) ** (1 / 3))))
    # An even step would see every second voxel of an interpolated image, and no other.
    step += step > 1 and step % 2 == 0
    return voxels[::step, ::step, ::step].astype(np.float64).ravel()


def volume_measures(
    labels: npt.NDArray[np.uint8],
    affine_lps: Sequence[Sequence[float]],
    names: Mapping[int, str],
) -> dict[str, float]:
    """The volume of every label, mL.

    Args:
        labels: ``(slice, row, column)``.
        affine_lps: 4 x 4, voxel (slice, row, column) to mm.
        names: label value to name.
    """
    counts = np.zeros(256, np.int64)
    # Slice by slice, for counting makes each voxel eight bytes long.
    for part in labels:
        counts += np.bincount(part.reshape(-1), minlength=256)
    voxel_mm3 = abs(float(np.linalg.det(np.asarray(affine_lps, np.float64)[:3, :3])))
    return {
        f"volume_ml.{name}": float(counts[value]) * voxel_mm3 / _MM3_PER_ML
        for value, name in names.items()
    }


def answer_measures(answer: ModelAnswer) -> dict[str, float]:
    """The numbers of an answer and the probabilities of its findings."""
    found = {f"number.{one.id}": float(one.value) for one in answer.numbers}
    for one in answer.findings:
        if one.probability is not None:
            found[f"probability.{one.id}"] = float(one.probability)
    return found


def check_measures(checks: Iterable[Check]) -> dict[str, float]:
    """The values of the model's own checks, and how many passed and failed."""
    rows = list(checks)
    failed = sum(not passed for *_, passed in rows)
    return {
        "checks_passed": float(len(rows) - failed),
        "checks_failed": float(failed),
        **{f"check.{name}": float(value) for name, value, *_ in rows[:CHECKS_MAX]},
    }
