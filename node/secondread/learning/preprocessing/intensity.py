"""Intensities of a volume brought to one scale, whatever the scanner's was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secondread.errors import RecipeError
from secondread.learning.recipe import Step, make_options

_LEAST = 1e-6
"""Keeps a flat image from being divided by nothing."""


@dataclass(frozen=True)
class Percentiles:
    """``percentiles``: the percentiles ``low`` and ``high`` become 0 and 1.

    What lies below 0 is cut to 0, what lies above ``ceiling`` to that: a bright vessel or a ring of
    fat then moves the mean no more than it should.
    """

    low: float = 1.0
    high: float = 99.5
    ceiling: float = 1.2

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.floating]:
        """Scale an image (x, y, z) by its percentiles."""
        low, high = np.percentile(image, (self.low, self.high))
        scaled: NDArray[np.floating] = np.clip(
            (image - low) / max(high - low, _LEAST), 0, self.ceiling
        )
        return scaled


@dataclass(frozen=True)
class ZScore:
    """``z_score``: mean 0 and standard deviation 1 over the whole image."""

    def __call__(self, image: NDArray[np.floating]) -> NDArray[np.floating]:
        """Scale an image (x, y, z) by its mean and standard deviation."""
        scaled: NDArray[np.floating] = (image - image.mean()) / max(image.std(), _LEAST)
        return scaled


Scaling = Percentiles | ZScore
_STEPS: dict[str, type[Percentiles] | type[ZScore]] = {
    "percentiles": Percentiles,
    "z_score": ZScore,
}


def make_scaling(steps: Sequence[Step]) -> tuple[Scaling, ...]:
    """Make the recipe's steps of preprocessing for a network.

    Raises:
        RecipeError: a step is unknown, or an option of it is.
    """
    made: list[Scaling] = []
    for step in steps:
        if step.name not in _STEPS:
            raise RecipeError(
                f"{step.where} is no step that a network's preprocessing knows; "
                f"it knows {', '.join(_STEPS)}."
            )
        made.append(make_options(_STEPS[step.name], step.options, step.where))
        if isinstance(made[-1], Percentiles) and not 0 <= made[-1].low < made[-1].high <= 100:
            raise RecipeError(f"{step.where} needs 0 ≤ low < high ≤ 100.")
    return tuple(made)


def normalise(image: NDArray[np.float32], scaling: Sequence[Scaling]) -> NDArray[np.float32]:
    """Apply steps of scaling to an image (x, y, z), in their order."""
    scaled: NDArray[np.floating] = image
    for step in scaling:
        scaled = step(scaled.astype(np.float32) if scaled is image else scaled)
    return scaled.astype(np.float32)
