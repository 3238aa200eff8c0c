"""``[[preprocessing]]`` of a recipe: what becomes of a case before anything learns from it.

The steps are taken in the order of the recipe. Those of the intensities that the runtimes know
(`window`, `percentile`, `zscore`, `fixed`) are theirs, with the same keys and the same code, so
that a package says in `[preprocessing.intensity]` what its recipe said.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from secondread.bundles.entry import EntryFault
from secondread.errors import RecipeError
from secondread.inference.worker.runtimes.intensity import Intensity, read_intensity
from secondread.learning.case import Loaded
from secondread.learning.preprocessing.bias import BiasField
from secondread.learning.preprocessing.denoising import Denoise
from secondread.learning.preprocessing.grid import Orient, Resample, restore_labels
from secondread.learning.preprocessing.intensity import Percentiles, ZScore
from secondread.learning.recipe import Step, make_options

Move = Callable[[Loaded], Loaded]


class _Checked(Protocol):
    def check(self, where: str) -> None: ...

    def __call__(self, loaded: Loaded) -> Loaded: ...


_ON_CASES: Mapping[str, type[_Checked]] = MappingProxyType(
    {"orient": Orient, "resample": Resample, "denoise": Denoise, "bias_field": BiasField}
)
_ON_IMAGES: Mapping[str, type[Percentiles] | type[ZScore]] = MappingProxyType(
    {"percentiles": Percentiles, "z_score": ZScore}
)
_OF_RUNTIMES = ("window", "percentile", "zscore", "fixed")
STEPS = (*_ON_CASES, *_OF_RUNTIMES, *_ON_IMAGES)
"""Every step that a recipe may name."""


@dataclass(frozen=True)
class Preparation:
    """The steps of a recipe, checked and in their order."""

    moves: tuple[Move, ...]

    def prepare(self, loaded: Loaded) -> Loaded:
        """Take all steps: image, labels and affine of the case that they leave."""
        for move in self.moves:
            loaded = move(loaded)
        return loaded

    def restore(
        self, labels: NDArray[np.uint8], prepared: Loaded, source: Loaded
    ) -> NDArray[np.uint8]:
        """Labels (x, y, z) that were found in a prepared case, on the grid of its source."""
        return restore_labels(labels, prepared, source)


@dataclass(frozen=True)
class _Scaled:
    """A step that changes the values of an image and nothing else."""

    scale: Callable[[NDArray[np.float32]], NDArray[np.floating]]

    def __call__(self, loaded: Loaded) -> Loaded:
        return dataclasses.replace(loaded, image=np.asarray(self.scale(loaded.image), np.float32))


def make_preparation(steps: Sequence[Step]) -> Preparation:
    """Make the steps of a recipe.

    Raises:
        RecipeError: a step is unknown, or an option of it is unknown, missing or out of its range.
    """
    return Preparation(tuple(_make(step) for step in steps))


def _make(step: Step) -> Move:
    if step.name in _ON_CASES:
        move = make_options(_ON_CASES[step.name], step.options, step.where)
        move.check(step.where)
        return move
    if step.name in _OF_RUNTIMES:
        return _Scaled(_read_intensity(step).apply)
    if step.name in _ON_IMAGES:
        scaling = make_options(_ON_IMAGES[step.name], step.options, step.where)
        if isinstance(scaling, Percentiles) and not 0 <= scaling.low < scaling.high <= 100:
            raise RecipeError(f"{step.where} needs 0 ≤ low < high ≤ 100.")
        return _Scaled(scaling)
    raise RecipeError(
        f"{step.where} is no step that preprocessing knows; it knows {', '.join(STEPS)}."
    )


def _read_intensity(step: Step) -> Intensity:
    try:
        return read_intensity({"kind": step.name, **step.options})
    except EntryFault as fault:
        raise RecipeError(f"{step.where} {fault.what}.") from None
