"""Everything that is known about an analysed volume before anything is written about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from secondread.domain.answer import ModelAnswer
from secondread.results.earlier import EarlierReport


@dataclass(frozen=True, slots=True)
class Analysis:
    """A model's answer on the grid of the source, and what was found before.

    Attributes:
        labels: ``(slice, row, column)`` uint8, the values of the manifest.
        probabilities: ``(label, slice, row, column)`` uint8, 255 is certain, in the order of the
            manifest's labels; None where the model gives none.
        maps: ``(slice, row, column)`` float32 for each map that the manifest declares, by its id.
        answer: numbers, findings and places.
        earlier: the newest earlier report on the same patient by the same model, or None.
    """

    labels: npt.NDArray[np.uint8]
    probabilities: npt.NDArray[np.uint8] | None = None
    maps: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    answer: ModelAnswer = field(default_factory=ModelAnswer)
    earlier: EarlierReport | None = None
