"""What every runtime answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from secondread.domain.answer import ModelAnswer

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
        probabilities: (label, slice, row, column) uint8, 255 is certain, in the order of the
            labels; for a model whose manifest promises them, else None.
        maps: (slice, row, column) float32 by name, all that the manifest declares.
        answer: numbers, findings and places of those that the manifest declares.
        label_values: number in ``labels`` by name, as the manifest has it; filled in for models
            that build on this one.

    Whatever goes with a refusal is dropped.
    """

    labels: NDArray[np.uint8]
    refusal: str | None
    checks: tuple[Check, ...]
    probabilities: NDArray[np.uint8] | None = None
    maps: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    answer: ModelAnswer = field(default_factory=ModelAnswer)
    label_values: Mapping[str, int] = field(default_factory=dict)
