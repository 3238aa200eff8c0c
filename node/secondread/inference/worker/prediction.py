"""What every runtime answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Check", "Prediction"]


@dataclass(frozen=True, slots=True)
class Check:
    """One plausibility check: passed when ``low <= value <= high``."""

    name: str
    value: float
    low: float
    high: float
    passed: bool


@dataclass(frozen=True, slots=True)
class Prediction:
    """A label map, or the reason why there is none.

    Attributes:
        labels: (slice, row, column) uint8 on exactly the grid that went in; all 0 after a refusal.
        refusal: one sentence that a person can act on, or None.
        checks: every check that was made, failed ones included.
    """

    labels: NDArray[np.uint8]
    refusal: str | None
    checks: tuple[Check, ...]
