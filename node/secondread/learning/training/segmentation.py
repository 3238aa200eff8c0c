"""Training of a 3D U-Net that draws labels, and its answer for a whole volume."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from secondread.errors import RecipeError
from secondread.inference.worker.networks import build
from secondread.inference.worker.networks.unet3d import UNet3D
from secondread.learning.augmentation.volumes import Augment, make_augmentation
from secondread.learning.case import Loaded
from secondread.learning.preprocessing.steps import make_preparation
from secondread.learning.recipe import Recipe, Training
from secondread.learning.seeds import draw_seed
from secondread.learning.training.loop import Lesson
from secondread.learning.training.loss import segmentation_loss
from secondread.learning.training.sides import check_sides

_DEFAULT_WIDTHS = (16, 32, 64, 128)


class Trainee(nn.Module):
    """A U-Net with a second head at half resolution, which only training needs."""

    def __init__(self, classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        options = {"in_channels": 1, "out_channels": classes, "widths": tuple(widths)}
        self.net = cast("UNet3D", build("unet3d", options))
        self.half_head = nn.Conv3d(widths[1], classes, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (batch, 1, x, y, z) to logits at full and at half resolution."""
        full, half = self.net.features(x)
        return self.net.head(full), self.half_head(half)


def check(recipe: Recipe) -> tuple[int, ...]:
    """Check what of a recipe only a U-Net knows; returns its channels per level.

    Raises:
        RecipeError: the options of [estimator] do not suit, or the grid cannot be halved so often.
    """
    options = dict(recipe.estimator.options)
    widths = options.pop("widths", _DEFAULT_WIDTHS)
    is_list = isinstance(widths, list | tuple) and len(widths) > 1
    if options or not is_list or not all(isinstance(w, int) and w > 0 for w in widths):
        raise RecipeError(
            "[estimator] of a unet3d takes one option: widths, a list of two or more channel "
            "numbers such as [16, 32, 64, 128]."
        )
    make_augmentation(recipe.augmentation)
    check_sides(recipe)
    multiple = 2 ** (len(widths) - 1)
    if any(size % multiple for size in recipe.training.grid):
        raise RecipeError(
            f"'grid' of [training] must be multiples of {multiple} with {len(widths)} widths."
        )
    return tuple(widths)


def make_trainee(recipe: Recipe, fold: int) -> Trainee:
    """The network with its first weights, which hang on seed and fold alone."""
    widths = check(recipe)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(draw_seed(recipe, "weights", fold))
        trainee = Trainee(len(recipe.figures.labels) + 1, widths)
    return trainee.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload,no-any-return]


def make_lesson(recipe: Recipe, fold: int, cases: Sequence[Loaded]) -> Lesson:
    """What the fold's network learns from.

    Args:
        recipe: a segmentation's.
        fold: which fold is held out.
        cases: all that are not held out, in a fixed order; each has labels.

    Raises:
        RecipeError: a step or an option of the recipe is wrong.
    """
    training = recipe.training
    preparation = make_preparation(recipe.preprocessing)
    steps = make_augmentation(recipe.augmentation)
    classes = len(recipe.figures.labels) + 1
    prepared = [preparation.prepare(each) for each in cases]
    pairs = [(each.image, labels_of(each)) for each in prepared]

    def loss(model: nn.Module, step: int) -> Tensor:
        seed = draw_seed(recipe, "augmentation", fold, step)
        augment = Augment(steps, training.grid, classes=classes, seed=seed)
        picks = augment.rng.integers(len(pairs), size=training.batch)
        drawn = [augment(*pairs[pick]) for pick in picks]
        x = torch.stack([image for image, _ in drawn])
        y = torch.stack([labels for _, labels in drawn])
        with torch.autocast("cpu", torch.bfloat16):
            full, half = model(x.to(memory_format=torch.channels_last_3d))
        coarse = y[:, ::2, ::2, ::2]
        supervised = segmentation_loss(half, coarse, smooth=training.smooth)
        fine = segmentation_loss(full, y, smooth=training.smooth)
        return fine + training.half_weight * supervised

    text = hashlib.sha256(recipe.text.encode()).hexdigest()
    return Lesson(f"Fold {fold}", make_trainee(recipe, fold), loss, text)


@torch.inference_mode()
def segment(net: UNet3D, image: NDArray[np.float32], training: Training) -> NDArray[np.uint8]:
    """Draw the labels of a whole volume.

    Args:
        net: a trained network.
        image: (x, y, z), normalised; padded with its edge to the grid and to what halves well.
        training: ``mirror`` adds the answer for the volume with left and right exchanged.

    Returns:
        Labels (x, y, z) on the image's grid.
    """
    shape, multiple = image.shape, net.multiple
    size = [max(-(-n // multiple) * multiple, g) for n, g in zip(shape, training.grid, strict=True)]
    pads = [((s - n) // 2, s - n - (s - n) // 2) for s, n in zip(size, shape, strict=True)]
    x = torch.from_numpy(np.pad(image, pads, mode="edge"))[None, None]
    with torch.autocast("cpu", torch.bfloat16):
        found = _probabilities(net, x)
        if training.mirror:
            found = found + _probabilities(net, x.flip(2)).flip(2)
    inner = tuple(slice(before, before + n) for (before, _), n in zip(pads, shape, strict=True))
    return found[0][(slice(None), *inner)].argmax(0).numpy().astype(np.uint8)


def labels_of(loaded: Loaded) -> NDArray[np.uint8]:
    """The labels of a case that was read for segmentation, which always has them."""
    assert loaded.labels is not None, "a segmentation learns from cases with labels"
    return loaded.labels


def _probabilities(net: UNet3D, x: Tensor) -> Tensor:
    logits: Tensor = net(x.to(memory_format=torch.channels_last_3d))
    return logits.float().softmax(1)
