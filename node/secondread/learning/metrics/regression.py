"""Figures of numbers against true numbers; `truth` and `found` are of shape (case,)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def figures(truth: FloatArray, found: FloatArray) -> dict[str, float]:
    """Mean absolute error, root of the mean squared one, bias, and the variance explained (R²)."""
    errors = found - truth
    spread = float(((truth - truth.mean()) ** 2).sum())
    return {
        "mean_absolute_error": float(np.abs(errors).mean()),
        "root_mean_squared_error": float(np.sqrt((errors**2).mean())),
        "bias": float(errors.mean()),
        "r_squared": 1 - float((errors**2).sum()) / spread if spread > 0 else float("nan"),
    }
