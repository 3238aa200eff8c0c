"""What of a recipe hangs on which axis is which: exchanged sides, and slices."""

from __future__ import annotations

import re

from secondread.errors import RecipeError
from secondread.learning.recipe import Recipe

__all__ = ["check_sides", "check_slices"]

_SIDED = re.compile(r"(?<![a-z])(left|right)(?![a-z])", re.IGNORECASE)
_AXES = ("RL", "AP", "SI")


def check_sides(recipe: Recipe) -> None:
    """Hold that nothing exchanges left and right where a label has a side, or on another axis.

    Raises:
        RecipeError: ``flip`` or ``mirror`` would.
    """
    exchanging = [f"{step.where}" for step in recipe.augmentation if step.name == "flip"]
    if recipe.training.mirror:
        exchanging.append(
            "'mirror' of [training] (on where the recipe does not say mirror = false)"
        )
    if not exchanging:
        return
    if sided := [name for name in recipe.figures.labels if _SIDED.search(name)]:
        raise RecipeError(
            f"The label '{sided[0]}' has a side, but left and right would be exchanged by "
            f"{' and by '.join(exchanging)}. Leave out 'flip' and write mirror = false."
        )
    if _letters(recipe)[0] not in _AXES[0]:
        raise RecipeError(
            "Left and right are exchanged along the first axis, but 'orientation' of 'orient' "
            "begins with another one. Let it begin with R or L, or leave out 'flip' and write "
            "mirror = false."
        )


def check_slices(recipe: Recipe) -> None:
    """Hold that sagittal, coronal and axial are the first, second and third axis.

    Raises:
        RecipeError: a step of preprocessing puts the axes into another order.
    """
    if any(letter not in axis for letter, axis in zip(_letters(recipe), _AXES, strict=True)):
        raise RecipeError(
            "'slices' of [estimator] are cut from axes to the right or left, anterior or "
            "posterior, head or feet, in this order; give 'orient' such an orientation, as RAS."
        )


def _letters(recipe: Recipe) -> str:
    turns = [step.options for step in recipe.preprocessing if step.name == "orient"]
    return str(turns[-1].get("orientation", "RAS")) if turns else "RAS"
