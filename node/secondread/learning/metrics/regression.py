"""Figures of numbers against true numbers; `truth` and `found` are of shape (case,)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_REACH = 1.96


def figures(truth: FloatArray, found: FloatArray) -> dict[str, float]:
    """Mean absolute error, root of the mean squared one, bias, limits, variance explained (R²).

    The limits are those of agreement (Bland and Altman, Lancet 1986): within lie 95 % of errors.
    """
    errors = found - truth
    reach = _REACH * float(errors.std(ddof=1)) if errors.size > 1 else float("nan")
    spread = float(((truth - truth.mean()) ** 2).sum())
    return {
        "mean_absolute_error": float(np.abs(errors).mean()),
        "root_mean_squared_error": float(np.sqrt((errors**2).mean())),
        "bias": float(errors.mean()),
        "limit_low": float(errors.mean()) - reach,
        "limit_high": float(errors.mean()) + reach,
        "r_squared": 1 - float((errors**2).sum()) / spread if spread > 0 else float("nan"),
    }
