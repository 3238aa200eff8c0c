"""A run of a network that tells one thing of a whole image: a class, or a number."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 — torch's own name for it
from numpy.typing import NDArray
from torch import Tensor, nn

from secondread.errors import RecipeError
from secondread.learning import leaks
from secondread.learning.augmentation.volumes import Augment, Augmentation, make_augmentation
from secondread.learning.case import Case, Loaded
from secondread.learning.networks.graders import Grader, Sizes
from secondread.learning.preprocessing.steps import make_preparation
from secondread.learning.recipe import Recipe, Target, Training, make_options
from secondread.learning.seeds import draw_seed
from secondread.learning.target import Truth, check_target, make_truth, measure_case
from secondread.learning.training import checkpoint, loop
from secondread.learning.training.cases import find_cases, load_case, split
from secondread.learning.training.drawing import keep_weights
from secondread.learning.training.fold_figures import fold_figures
from secondread.learning.training.loop import Lesson, Report
from secondread.learning.training.plan import (
    FoldResult,
    Plan,
    hold_split,
    make_row,
    prepare_folder,
    write_rows,
)
from secondread.learning.training.sides import check_sides, check_slices

_AXES = ("sagittal", "coronal", "axial")
_LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class Options:
    """``[estimator]`` of such a network: which ``slices`` are cut is for the 2D networks alone."""

    widths: tuple[int, ...] = (8, 16, 32)
    slices: str = "coronal"
    hidden: int = 32
    dropout: float = 0.0


@dataclass(frozen=True)
class Known:
    """A case as a network sees it: its image (x, y, z), normalised, and what is known of it."""

    case: Case
    image: NDArray[np.float32]
    known: float | str


def run(plan: Plan, folds: Sequence[int], report: Report) -> tuple[FoldResult, ...]:
    """Train a network that tells one thing; `training.run.run` says what is raised."""
    recipe = plan.recipe
    preparation = make_preparation(recipe.preprocessing)
    check(recipe)
    prepare_folder(plan, folds, checkpoint.FILE_NAME)
    cases = find_cases(recipe, plan.data)
    parts = split(cases, recipe)
    leaks.refuse(parts)
    hold_split(plan, parts)
    known = {}
    for number, case in enumerate(cases, 1):
        loaded = load_case(recipe, case)
        known[case.id] = see(loaded, preparation.prepare(loaded).image, recipe)
        report("Images", number, len(cases))
    torch.set_num_threads(plan.threads)
    return tuple(_run_fold(plan, fold, parts, known, report) for fold in folds)


def see(loaded: Loaded, image: NDArray[np.float32], recipe: Recipe) -> Known:
    """Put a case's image (x, y, z), normalised, beside what is known of the case.

    Raises:
        DataError: nothing is known of it.
    """
    return Known(loaded.case, image, measure_case(check_target(recipe), loaded))


def check(recipe: Recipe) -> Sizes:
    """Check what of a recipe only these networks know; returns what they are built of.

    Raises:
        RecipeError: an option is wrong, the grid is too small, or the augmentation changes the
            very volume that is to be told.
    """
    target = check_target(recipe)
    options = make_options(Options, recipe.estimator.options, "[estimator]")
    widths = options.widths
    if not widths or min(*widths, options.hidden) < 1:
        raise RecipeError("[estimator] needs widths and hidden of 1 or more.")
    if not 0 <= options.dropout < 1:
        raise RecipeError("'dropout' of [estimator] must be 0 or more, and less than 1.")
    if options.slices not in _AXES:
        raise RecipeError(f"'slices' of [estimator] must be one of {', '.join(_AXES)}.")
    if min(recipe.training.grid) < 2 ** (len(widths) - 1):
        raise RecipeError(
            f"'grid' of [training] is too small to be halved {len(widths) - 1} times."
        )
    check_sides(recipe)
    if recipe.estimator.kind != "cnn3d":
        check_slices(recipe)
    elif _voxels_left(recipe.training, len(widths)) == 1:
        raise RecipeError(
            "With batch = 1 and this 'grid' of [training] a single voxel is left at the lowest "
            "level, which has no spread to be normalised by: take a larger batch or grid, or "
            "fewer widths."
        )
    _check_augmentation(recipe, target)
    return Sizes(widths, _AXES.index(options.slices), options.hidden, options.dropout)


def _voxels_left(training: Training, levels: int) -> int:
    """How many voxels of a batch there are at the lowest level."""
    return training.batch * math.prod(size >> (levels - 1) for size in training.grid)


def _check_augmentation(recipe: Recipe, target: Target) -> None:
    steps = make_augmentation(recipe.augmentation)
    if steps.domain:
        raise RecipeError("'domain' draws images from label maps; only a unet3d is given these.")
    if target.source != "labels":
        return
    if steps.crop or steps.elastic:
        name = "crop" if steps.crop else "elastic"
        raise RecipeError(f"The target is a {target.measure}, and '{name}' would change it.")
    affine = steps.affine
    if target.measure == "volume" and affine and (affine.zoom_sd or affine.stretch_sd):
        raise RecipeError(
            "The target is a volume, and 'affine' would change it: set zoom_sd = 0 and "
            "stretch_sd = 0."
        )


def make_lesson(recipe: Recipe, fold: int, taught: Sequence[Known], truth: Truth) -> Lesson:
    """What the fold's network learns from.

    Args:
        recipe: a classification's or a regression's.
        fold: which fold is held out.
        taught: all that are not held out, in a fixed order.
        truth: what is to be told of what is known.
    """
    training = recipe.training
    steps = make_augmentation(recipe.augmentation)
    targets = torch.tensor([truth(each.known) for each in taught])
    grader = make_grader(recipe, fold, targets)

    def loss(model: nn.Module, step: int) -> Tensor:
        seed = draw_seed(recipe, "augmentation", fold, step)
        augment = Augment(steps, training.grid, classes=1, seed=seed)
        picks = augment.rng.integers(len(taught), size=training.batch)
        x = torch.stack([augment.draw_image(taught[pick].image) for pick in picks])
        y = targets[torch.from_numpy(picks)]
        # What is left out by dropout hangs on the step alone, so that a resumed run is the same.
        with torch.random.fork_rng(devices=()), torch.autocast("cpu", torch.bfloat16):
            torch.manual_seed(draw_seed(recipe, "dropout", fold, step))
            answers = model(x).float()
        if recipe.task == "classification":
            return F.binary_cross_entropy_with_logits(answers, y)
        return F.smooth_l1_loss(answers, (y - grader.centre) / grader.spread)

    text = hashlib.sha256(recipe.text.encode()).hexdigest()
    return Lesson(f"Fold {fold}", grader, loss, text)


def make_grader(recipe: Recipe, fold: int, targets: Tensor) -> Grader:
    """The network with its first weights, which hang on seed and fold alone."""
    centre, spread = 0.0, 1.0
    if recipe.task == "regression":
        centre = float(targets.mean())
        spread = max(float(targets.std(correction=0)), _LEAST_SPREAD)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(draw_seed(recipe, "weights", fold))
        return Grader(recipe.estimator.kind, check(recipe), centre, spread)


@torch.inference_mode()
def tell(grader: Grader, image: NDArray[np.float32], recipe: Recipe) -> float:
    """Tell the probability of class 1, or the number, of an image (x, y, z), normalised."""
    training = recipe.training
    plain = Augment(Augmentation(), training.grid, classes=1, seed=0)
    x = plain.draw_image(image)[None]
    if training.mirror:
        x = torch.cat((x, x.flip(2)))
    with torch.autocast("cpu", torch.bfloat16):
        answer = grader.answer(x).mean()
    return float(answer.sigmoid() if recipe.task == "classification" else answer)


def _run_fold(
    plan: Plan,
    fold: int,
    parts: Sequence[Sequence[Case]],
    known: Mapping[str, Known],
    report: Report,
) -> FoldResult:
    recipe, folder = plan.recipe, plan.folder(fold)
    held_out = {case.id for case in parts[fold]}
    taught = [each for name, each in known.items() if name not in held_out]
    truth = make_truth(recipe, [each.known for each in taught])
    lesson = make_lesson(recipe, fold, taught, truth)
    average = loop.train(lesson, recipe.training, folder, resume=plan.resume, report=report)
    grader = cast("Grader", average).eval()
    weights = {name: value.contiguous() for name, value in grader.state_dict().items()}
    keep_weights(weights, folder)
    rows = []
    what = f"Fold {fold}, held-out cases"
    for number, case in enumerate(parts[fold], 1):
        each = known[case.id]
        found = tell(grader, each.image, recipe)
        rows.append(make_row(plan, fold, case, (truth(each.known), found)))
        report(what, number, len(parts[fold]))
    write_rows(plan, fold, rows)
    return FoldResult(fold, len(taught), len(rows), fold_figures(recipe.task, rows))
