"""How the values of a region are spread, as IBSI defines it (arXiv:1612.07003, 3.3 and 3.4)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["describe_values", "discretise"]

DEFAULT_BINS = 32


def describe_values(values: NDArray[np.float64], bins: int = DEFAULT_BINS) -> dict[str, float]:
    """Statistics of values (voxel,), by name; those of the histogram over ``bins`` grey levels.

    Kurtosis is excess kurtosis; skewness and kurtosis of a single value are 0.
    """
    mean, variance = float(values.mean()), float(values.var())
    away = values - mean
    tenth, quarter, median, three, ninetieth = map(
        float, np.percentile(values, (10, 25, 50, 75, 90))
    )
    middle = values[(values >= tenth) & (values <= ninetieth)]
    spread = variance > 0
    shares = np.bincount(discretise(values, bins))[1:] / len(values)
    shares = shares[shares > 0]
    return {
        "mean": mean,
        "sd": math.sqrt(variance),
        "variance": variance,
        "skewness": float((away**3).mean()) / variance**1.5 if spread else 0.0,
        "kurtosis": float((away**4).mean()) / variance**2 - 3 if spread else 0.0,
        "minimum": float(values.min()),
        "percentile_10": tenth,
        "median": median,
        "percentile_90": ninetieth,
        "maximum": float(values.max()),
        "interquartile_range": three - quarter,
        "range": float(np.ptp(values)),
        "mean_absolute_deviation": float(np.abs(away).mean()),
        "robust_mean_absolute_deviation": float(np.abs(middle - middle.mean()).mean()),
        "energy": float((values**2).sum()),
        "root_mean_square": math.sqrt(float((values**2).mean())),
        "entropy": float(-(shares * np.log2(shares)).sum()),
        "uniformity": float((shares**2).sum()),
    }


def discretise(values: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """Grey levels 1 to ``bins`` of equal width from the least value to the greatest (IBSI 2.7)."""
    low, width = float(values.min()), float(np.ptp(values)) / bins
    if width <= 0:
        return np.ones(values.shape, np.int64)
    levels: NDArray[np.int64] = np.clip(
        np.floor((values - low) / width).astype(np.int64), 0, bins - 1
    )
    return levels + 1
