"""Seeds of what a training draws: by the recipe's seed, what it is for, the fold and the step.

A recipe that says nothing is drawn for as recipes always were, so that it stays the same training:
its numbers follow one another, and neighbours meet. Fold 1 of seed 7 begins with the weights of
fold 0 of seed 8, and after 1,000 steps seed 7 draws what seed 8 drew at first. With
``independent_draws`` each of them is a hash of all four, so that no two have anything in common.

Folds are no matter of this module: `splits.grouped_folds` deals them by the recipe's seed itself.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from secondread.learning.recipe import Recipe

__all__ = ["Purpose", "draw_seed"]

Purpose = Literal["weights", "augmentation", "dropout", "untrained"]

_FOLD_STRIDE = 10**7
_SEED_STRIDE = 1000
_ONCE = ("weights", "untrained")
"""What is drawn once for a fold, before its first step."""
_BYTES = 8


def draw_seed(recipe: Recipe, purpose: Purpose, fold: int, step: int = 0) -> int:
    """Give the seed of a draw, less than 2 ** 63: what the generators of NumPy and torch take.

    Args:
        recipe: its seed, and whether its draws are independent.
        purpose: what is drawn.
        fold: which one is held out.
        step: counted from 0; 0 for what is drawn before the first.
    """
    if recipe.heading.independent_draws:
        words = f"{recipe.seed} {purpose} {fold} {step}".encode()
        return int.from_bytes(hashlib.sha256(words).digest()[:_BYTES]) >> 1
    if purpose in _ONCE:
        return recipe.seed + fold
    return recipe.seed * _SEED_STRIDE + fold * _FOLD_STRIDE + step
