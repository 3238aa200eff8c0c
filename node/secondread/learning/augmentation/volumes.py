"""Random changes of a volume and its labels, so that a network learns anatomy, not a scanner.

All is drawn from one seed, in the order of the fields of `Augmentation`: a recipe with the same
sizes and the same seed draws the same volumes on every machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 — torch's own name for it
from numpy.typing import NDArray
from torch import Tensor

from secondread.errors import RecipeError
from secondread.learning.recipe import Step, make_options

_PADDINGS = ("zeros", "border", "reflection")
_PLANES = ((1, 2), (0, 2), (0, 1))
_LEAST = 1e-6


@dataclass(frozen=True)
class Affine:
    """``affine``: turns about each axis, zoom, stretch and shift (in voxels)."""

    chance: float = 0.9
    turn_chance: float = 0.7
    turn_deg: float = 20.0
    zoom_sd: float = 0.09
    stretch_sd: float = 0.05
    shift_sd: float = 2.5


@dataclass(frozen=True)
class Elastic:
    """``elastic``: a smooth field of shifts in voxels, drawn on a coarse grid of ``cells``."""

    chance: float = 0.5
    cells: tuple[int, ...] = (4, 5, 4)
    sd: tuple[float, ...] = (0.2, 1.5)


@dataclass(frozen=True)
class Flip:
    """``flip``: left and right exchanged. Only for labels without a side."""

    chance: float = 0.5


@dataclass(frozen=True)
class Crop:
    """``crop``: the grid of training is cut from anywhere in a larger volume, not its middle."""

    chance: float = 1.0


@dataclass(frozen=True)
class Outside:
    """``outside``: what is seen where the field of view ends, drawn from ``paddings``."""

    paddings: tuple[str, ...] = _PADDINGS


@dataclass(frozen=True)
class Domain:
    """``domain``: domain randomisation, an image of arbitrary contrast drawn from the label map.

    Each label gets a brightness from ``level`` and noise from ``spread``; what has no label is told
    apart in ``parts`` by its own brightness first, so that the surroundings keep their shapes. Mean
    and deviation stay those of the image (Billot et al., SynthSeg, Medical Image Analysis 2023).
    """

    chance: float = 0.5
    level: tuple[float, ...] = (0.0, 1.0)
    spread: tuple[float, ...] = (0.0, 0.1)
    parts: int = 4


@dataclass(frozen=True)
class Bias:
    """``bias``: a smooth field of brightness, as a receive coil gives it."""

    chance: float = 0.3
    cells: tuple[int, ...] = (3, 3, 3)
    sd: tuple[float, ...] = (0.0, 0.3)


@dataclass(frozen=True)
class ThickSlices:
    """``thick_slices``: one axis coarser by a factor, then back on the grid."""

    chance: float = 0.25
    factor: tuple[float, ...] = (1.2, 2.5)


@dataclass(frozen=True)
class Blur:
    """``blur``: a mean over 3x3x3 voxels, mixed in with a weight."""

    chance: float = 0.2
    weight: tuple[float, ...] = (0.3, 0.9)


@dataclass(frozen=True)
class Gamma:
    """``gamma``: a power of the brightness between the darkest and the brightest voxel."""

    chance: float = 0.6
    log_sd: float = 0.25


@dataclass(frozen=True)
class Contrast:
    """``contrast``: brightness times a factor, plus a shift; always drawn."""

    factor: tuple[float, ...] = (0.8, 1.25)
    shift_sd: float = 0.1


@dataclass(frozen=True)
class Noise:
    """``noise``: white noise."""

    chance: float = 0.5
    sd: tuple[float, ...] = (0.0, 0.25)


@dataclass(frozen=True)
class Augmentation:
    """The steps of a recipe; a step that is None is not done, and draws nothing."""

    affine: Affine | None = None
    elastic: Elastic | None = None
    flip: Flip | None = None
    crop: Crop | None = None
    outside: Outside | None = None
    domain: Domain | None = None
    bias: Bias | None = None
    thick_slices: ThickSlices | None = None
    blur: Blur | None = None
    gamma: Gamma | None = None
    contrast: Contrast | None = None
    noise: Noise | None = None


_STEPS: dict[str, type[Any]] = {
    "affine": Affine,
    "elastic": Elastic,
    "flip": Flip,
    "crop": Crop,
    "outside": Outside,
    "domain": Domain,
    "bias": Bias,
    "thick_slices": ThickSlices,
    "blur": Blur,
    "gamma": Gamma,
    "contrast": Contrast,
    "noise": Noise,
}


def make_augmentation(steps: Sequence[Step]) -> Augmentation:
    """Make the recipe's steps of augmentation for volumes.

    Raises:
        RecipeError: a step is unknown, comes twice or out of order, or an option of it is wrong.
    """
    order = list(_STEPS)
    for step in steps:
        if step.name not in _STEPS:
            raise RecipeError(
                f"{step.where} is no step of augmentation; known: {', '.join(order)}."
            )
    places = [order.index(step.name) for step in steps]
    if places != sorted(set(places)):
        raise RecipeError(
            "The steps of [[augmentation]] are done in one order, each at most once: "
            f"{', '.join(order)}. Write them in this order."
        )
    made = {s.name: make_options(_STEPS[s.name], s.options, s.where) for s in steps}
    for step in steps:
        _check(made[step.name], step.where)
    return Augmentation(**made)


def _check(sizes: Any, where: str) -> None:
    for f in dataclasses.fields(sizes):
        value = getattr(sizes, f.name)
        if f.name.endswith("chance") and not 0 <= value <= 1:
            raise RecipeError(f"'{f.name}' of {where} is {value}, but must be between 0 and 1.")
        if f.name == "cells" and (len(value) != 3 or min(value) < 2):
            raise RecipeError(f"'cells' of {where} must be three numbers, each 2 or more.")
        if f.name == "paddings" and (not value or not set(value) <= set(_PADDINGS)):
            raise RecipeError(f"'paddings' of {where} are some of {', '.join(_PADDINGS)}.")
        is_range = isinstance(value, tuple) and f.name not in {"cells", "paddings"}
        if is_range and (len(value) != 2 or value[0] > value[1] or value[0] < 0):
            raise RecipeError(f"'{f.name}' of {where} must be two numbers, the smaller first.")
        if isinstance(value, float) and value < 0:
            raise RecipeError(f"'{f.name}' of {where} is {value}, but must be 0 or more.")
        if f.name == "parts" and value < 1:
            raise RecipeError(f"'parts' of {where} is {value}, but must be 1 or more.")
        if f.name == "factor" and min(value) <= 0:
            raise RecipeError(f"'factor' of {where} must be more than 0.")


class Augment:
    """Draws changed volumes on a grid of their own.

    Args:
        steps: what is done, and its sizes.
        grid: (x, y, z) voxels of what is drawn; the centre of the volume stays the centre.
        classes: how many labels there are, the background among them.
        seed: of this drawing; the generator ``rng`` may serve for choosing cases before it.
    """

    def __init__(
        self, steps: Augmentation, grid: tuple[int, ...], *, classes: int, seed: int
    ) -> None:
        self.steps = steps
        self.grid = grid
        self.classes = classes
        self.rng = np.random.default_rng(seed)
        self._torch_rng = torch.Generator().manual_seed(seed)
        axes = [np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in grid]
        self._points = torch.from_numpy(np.stack(np.meshgrid(*axes, indexing="ij"), -1))

    def __call__(
        self, image: NDArray[np.float32], labels: NDArray[np.uint8]
    ) -> tuple[Tensor, Tensor]:
        """Draw one.

        Args:
            image: (x, y, z), normalised.
            labels: (x, y, z), on the same grid.

        Returns:
            The image (1, x, y, z) and the labels (x, y, z) int64, on the grid of training.
        """
        at = self._at(image.shape)
        x = self._sample(image, at)
        one_hot = F.one_hot(torch.from_numpy(labels).long(), self.classes)
        one_hot = one_hot.permute(3, 0, 1, 2)[None].float()
        y = F.grid_sample(one_hot, at, mode="bilinear", padding_mode="zeros", align_corners=True)[
            0
        ].argmax(0)
        return self._shade(self._repaint(x, y))[None], y

    def draw_image(self, image: NDArray[np.float32]) -> Tensor:
        """Draw an image alone: (1, x, y, z) on the grid of training, from (x, y, z), normalised."""
        return self._shade(self._sample(image, self._at(image.shape)))[None]

    def _at(self, shape: tuple[int, ...]) -> Tensor:
        """Where each drawn voxel lies in a volume of this shape, as ``grid_sample`` wants it."""
        size = torch.tensor(shape, dtype=torch.float32)
        where = self._place()
        if self._hits(self.steps.crop):
            slack = np.maximum((np.array(shape) - np.array(self.grid)) / 2, 0)
            where = where + torch.from_numpy(self.rng.uniform(-slack, slack).astype(np.float32))
        # An axis of a single voxel has no length to measure along.
        return (2 * where / (size - 1).clamp(min=1)).flip(-1)[None]

    def _sample(self, image: NDArray[np.float32], at: Tensor) -> Tensor:
        """Give (x, y, z) on the grid of training; outside the image it is dark, or as drawn."""
        outside = self.steps.outside
        padding = outside.paddings[self.rng.integers(len(outside.paddings))] if outside else "zeros"
        x = torch.from_numpy(image)[None, None]
        low = float(x.min())
        x = F.grid_sample(x - low, at, mode="bilinear", padding_mode=padding, align_corners=True)
        drawn: Tensor = x[0, 0] + low
        return drawn

    def _hits(self, step: Any) -> bool:
        return step is not None and bool(self.rng.random() < step.chance)

    def _between(self, limits: tuple[float, ...]) -> float:
        return float(self.rng.uniform(limits[0], limits[1]))

    def _place(self) -> Tensor:
        """Where each drawn voxel lies in the volume: (x, y, z, 3), voxels from its centre."""
        rng, steps, where = self.rng, self.steps, self._points
        if self._hits(steps.affine) and steps.affine:
            linear = self._linear(steps.affine)
            where = where @ torch.from_numpy(linear.T.astype(np.float32))
            shift = rng.normal(0, steps.affine.shift_sd, 3).astype(np.float32)
            where = where + torch.from_numpy(shift)
        if self._hits(steps.elastic) and steps.elastic:
            field = self._coarse(steps.elastic.cells, self._between(steps.elastic.sd), 3)
            where = where + field.permute(1, 2, 3, 0)
        if self._hits(steps.flip):
            where = where * torch.tensor([-1.0, 1.0, 1.0])
        return where

    def _linear(self, sizes: Affine) -> NDArray[np.float64]:
        rng, linear = self.rng, np.eye(3)
        for i, j in _PLANES:
            turned = rng.random() < sizes.turn_chance
            angle = np.deg2rad(rng.uniform(-sizes.turn_deg, sizes.turn_deg)) if turned else 0.0
            turn = np.eye(3)
            turn[i, i] = turn[j, j] = np.cos(angle)
            turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
            linear = linear @ turn
        zoom = np.exp(rng.normal(0, sizes.zoom_sd))
        result: NDArray[np.float64] = linear @ np.diag(
            zoom * np.exp(rng.normal(0, sizes.stretch_sd, 3))
        )
        return result

    def _coarse(self, cells: tuple[int, ...], sd: float, channels: int) -> Tensor:
        field = torch.randn(1, channels, *cells, generator=self._torch_rng) * sd
        return F.interpolate(field, size=self.grid, mode="trilinear", align_corners=True)[0]

    def _repaint(self, x: Tensor, labels: Tensor) -> Tensor:
        """Draw another contrast for an image (x, y, z) from its labels (x, y, z)."""
        domain = self.steps.domain
        if domain is None or not self._hits(domain):
            return x
        regions = labels + domain.parts - 1
        rest = labels == 0
        if bool(rest.any()):
            shares = torch.arange(1, domain.parts) / domain.parts
            # Of some thousand voxels, evenly taken: a quantile needs no more.
            edges = torch.quantile(x[rest][:: max(1, int(rest.sum()) // 10_000)], shares)
            regions = torch.where(rest, torch.bucketize(x, edges), regions)
        count = self.classes + domain.parts - 1
        levels = torch.tensor(
            self.rng.uniform(domain.level[0], domain.level[1], count), dtype=torch.float32
        )
        spreads = torch.tensor(
            self.rng.uniform(domain.spread[0], domain.spread[1], count), dtype=torch.float32
        )
        white = torch.randn(x.shape, generator=self._torch_rng)
        drawn = levels[regions] + spreads[regions] * white
        scaled = (drawn - drawn.mean()) / drawn.std().clamp(min=_LEAST)
        return scaled * x.std() + x.mean()

    def _shade(self, x: Tensor) -> Tensor:
        """Change the brightness of an image (x, y, z), and how sharp it is."""
        rng, steps = self.rng, self.steps
        if self._hits(steps.bias) and steps.bias:
            x = x + self._coarse(steps.bias.cells, self._between(steps.bias.sd), 1)[0]
        if self._hits(steps.thick_slices) and steps.thick_slices:
            x = self._thicken(x, steps.thick_slices)
        if self._hits(steps.blur) and steps.blur:
            soft = F.avg_pool3d(F.pad(x[None, None], (1,) * 6, mode="replicate"), 3, 1)[0, 0]
            weight = self._between(steps.blur.weight)
            x = soft * weight + x * (1 - weight)
        if self._hits(steps.gamma) and steps.gamma:
            low, high = float(x.min()), float(x.max())
            power = float(np.exp(rng.normal(0, steps.gamma.log_sd)))
            x = ((x - low) / max(high - low, _LEAST)).pow(power) * (high - low) + low
        if steps.contrast:
            factor = self._between(steps.contrast.factor)
            x = x * factor + float(rng.normal(0, steps.contrast.shift_sd))
        if self._hits(steps.noise) and steps.noise:
            white = torch.randn(self.grid, generator=self._torch_rng)
            x = x + white * self._between(steps.noise.sd)
        return x

    def _thicken(self, x: Tensor, sizes: ThickSlices) -> Tensor:
        axis, factor = int(self.rng.integers(3)), self._between(sizes.factor)
        coarse = list(self.grid)
        coarse[axis] = max(1, round(coarse[axis] / factor))
        thick = F.interpolate(x[None, None], size=coarse, mode="trilinear", align_corners=False)
        return F.interpolate(thick, size=self.grid, mode="trilinear", align_corners=False)[0, 0]
