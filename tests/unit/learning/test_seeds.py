"""What neighbouring seeds, folds and steps draw: the same in part as ever, or nothing in common."""

from __future__ import annotations

from itertools import product

import pytest

pytest.importorskip("nibabel", reason="the extra train is not installed")
import torch

from secondread.learning.recipe import Recipe, parse_recipe
from secondread.learning.seeds import Purpose, draw_seed
from secondread.learning.training import grading, segmentation
from tests.learning_runs import SMALL_UNET

PURPOSES: tuple[Purpose, ...] = ("weights", "augmentation", "dropout", "untrained")
TEXT = (
    """
[recipe]
name = "small"
task = "segmentation"
seed = 7
[data]
reader = "nifti"
images = "images"
labels = "labels"
subject = '^case_(\\d+)$'
"""
    + SMALL_UNET
)
TOLD = '[target]\nsource = "labels"\nmeasure = "volume"\nlabels = [1]\n'
GRADER = TEXT.replace("segmentation", "regression").replace("unet3d", "cnn3d") + TOLD


def recipe_of(seed: int, text: str = TEXT, *, independent: bool = True) -> Recipe:
    line = f"seed = {seed}\nindependent_draws = {str(independent).lower()}"
    return parse_recipe(text.replace("seed = 7", line))


def test_no_two_draws_have_their_seed_in_common() -> None:
    # Seeds, folds and steps that meet where numbers are added up.
    seeds, folds, steps = (7, 8, 9, 10_007, 2**32 - 1), (0, 1, 2), (0, 1, 1000, 2000)
    drawn = [
        draw_seed(recipe_of(seed), purpose, fold, step)
        for seed, purpose, fold, step in product(seeds, PURPOSES, folds, steps)
    ]
    assert len(set(drawn)) == len(drawn)
    assert 0 <= min(drawn) <= max(drawn) < 2**63


def test_a_recipe_that_says_nothing_is_the_training_that_it_was() -> None:
    # The weights of hippocampus_mr, and the figures of the documents, were drawn by these.
    for recipe in (parse_recipe(TEXT), recipe_of(7, independent=False)):
        assert draw_seed(recipe, "augmentation", 2, 30) == 7 * 1000 + 2 * 10**7 + 30
        assert draw_seed(recipe, "dropout", 2, 30) == 7 * 1000 + 2 * 10**7 + 30
        assert draw_seed(recipe, "weights", 2) == draw_seed(recipe, "untrained", 2) == 9


def test_the_seeds_of_a_recipe_are_the_same_on_every_machine() -> None:
    assert draw_seed(recipe_of(7), "weights", 1) == 6659545117582985252


@pytest.mark.parametrize("kind", ["unet3d", "cnn3d"])
def test_neighbours_begin_with_other_weights(kind: str) -> None:
    def first(recipe: Recipe, fold: int) -> torch.Tensor:
        if kind == "unet3d":
            return next(segmentation.make_trainee(recipe, fold).parameters())
        return next(grading.make_grader(recipe, fold, torch.tensor([1.0, 2.0])).parameters())

    text = TEXT if kind == "unet3d" else GRADER
    before = [recipe_of(seed, text, independent=False) for seed in (7, 8)]
    after = [recipe_of(seed, text) for seed in (7, 8)]
    assert torch.equal(first(before[0], 1), first(before[1], 0))
    assert not torch.equal(first(after[0], 1), first(after[1], 0))
    assert torch.equal(first(after[0], 1), first(after[0], 1))
