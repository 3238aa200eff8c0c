"""Thresholds and connected components, as a model package declares them.

::

    [preprocessing]
    smoothing_mm = 1.0          # Gaussian, standard deviation; 0 for none

    [[runtime.options.structures]]
    label = 1                   # later structures are written over earlier ones
    low = 600.0                 # in modality units after rescale
    high = 4000.0
    opening_mm = 2.0            # optional
    keep_largest = true         # optional

A voxel's probability of a structure, where ``[output]`` promises one, is how far its value lies
within ``low`` and ``high``: 0.5 at these, and 0 or 1 half of ``softness`` beside them. It is 0
where another structure was written over it, or where it was removed. What else such a model can
answer is in ``runtimes/measures.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from secondread.errors import ManifestError
from secondread.inference.worker.prediction import Check, Prediction
from secondread.inference.worker.runtimes import measures

__all__ = ["ClassicalRuntime"]


class ClassicalRuntime:
    """Labels voxels by their value."""

    def __init__(self, manifest: Mapping[str, Any], _folder: Path, _device: str) -> None:
        """Read the structures.

        Raises:
            ManifestError: a structure lacks its label or its range, or the options ask for what
                there is not.
        """
        self._smoothing_mm = float(manifest["preprocessing"].get("smoothing_mm", 0.0))
        self._options = manifest["runtime"].get("options", {})
        measures.check_options(self._options)
        self._softness = float(self._options.get("softness", 0.0))
        promised = manifest.get("output", {}).get("probabilities", False)
        self._label_count = len(manifest.get("labels", ())) if promised else 0
        try:
            self._structures = tuple(
                {
                    **row,
                    "label": int(row["label"]),
                    "low": float(row["low"]),
                    "high": float(row["high"]),
                }
                for row in self._options.get("structures", ())
            )
        except KeyError as error:
            raise ManifestError(
                f"A structure of the classical runtime lacks the key {error}."
            ) from None

    def predict(
        self, voxels: npt.NDArray[np.generic], affine_lps: npt.NDArray[np.float64]
    ) -> Prediction:
        """Label a volume ``(slice, row, column)``; refuses one that has a single value."""
        spacing_mm = np.linalg.norm(affine_lps[:3, :3], axis=0)
        values = np.asarray(voxels, dtype=np.float32)
        labels = np.zeros(values.shape, dtype=np.uint8)
        spread = float(np.ptp(values))
        check = Check("spread of values", spread, 1.0, float(np.finfo(np.float32).max), spread >= 1)
        if not check.passed:
            reason = "The image is empty: all its voxels have the same value."
            return Prediction(labels, reason, (check,))
        if self._smoothing_mm:
            values = ndimage.gaussian_filter(values, self._smoothing_mm / spacing_mm)
        room = (self._label_count, *values.shape) if self._label_count else None
        probabilities = None if room is None else np.zeros(room, np.uint8)
        for structure in self._structures:
            mask, label = self._mask(values, structure, spacing_mm), structure["label"]
            labels[mask] = label
            if probabilities is not None:
                self._weigh(values, structure, mask, probabilities)
        volume = measures.Measured(values, labels, spacing_mm)
        return Prediction(
            labels,
            None,
            (check,),
            probabilities,
            measures.maps(volume, self._options),
            measures.answer(volume, self._options),
        )

    def _weigh(
        self,
        values: npt.NDArray[np.float32],
        structure: Mapping[str, Any],
        mask: npt.NDArray[np.bool_],
        probabilities: npt.NDArray[np.uint8],
    ) -> None:
        """Write the probabilities of a structure; ``mask`` is what was kept of it."""
        low, high = structure["low"], structure["high"]
        within = np.minimum(values - low, high - values)
        if self._softness:
            shares = np.clip(0.5 + within / self._softness, 0.0, 1.0)
        else:
            shares = mask.astype(np.float32)
        shares[(within >= 0) & ~mask] = 0.0
        probabilities[:, mask] = 0
        probabilities[structure["label"] - 1] = np.rint(255 * shares)

    def _mask(
        self,
        values: npt.NDArray[np.float32],
        structure: Mapping[str, Any],
        spacing_mm: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.bool_]:
        mask = (values >= structure["low"]) & (values <= structure["high"])
        if opening_mm := float(structure.get("opening_mm", 0.0)):
            reach = np.maximum(np.round(opening_mm / spacing_mm), 1).astype(int)
            mask = ndimage.binary_opening(mask, np.ones(2 * reach + 1, dtype=bool))
        if structure.get("keep_largest", False):
            parts, count = ndimage.label(mask)
            if count > 1:
                sizes = np.bincount(parts.reshape(-1))
                sizes[0] = 0
                mask = parts == int(sizes.argmax())
        return np.asarray(mask, dtype=np.bool_)
