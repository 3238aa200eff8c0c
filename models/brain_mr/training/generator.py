"""Domain randomisation: from a label map to an MR-like image that never existed.

Only shapes come from data. Contrast, bias field, resolution, noise, position, skull stripping and
field of view are drawn anew for every sample, so the network cannot lean on any of them.
Every grid here is right-anterior-superior: axis 0 runs to the patient's right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F
from anatomy import (
    CLASS_COUNT,
    CSF_CLASS,
    EXTRA_CEREBRAL,
    FINE_IDS,
    NAMES,
    class_of_fine,
    fine_of_id,
    side_of_fine,
)
from numpy.typing import NDArray
from scipy import ndimage

GRID = (80, 96, 80)
SPACING_MM = 2.0
TOP_TO_CENTRE_MM = 76.0
T1_SHARE = 0.8
"""Share of samples whose contrast is T1-like; the rest is arbitrary (and one in eight T2-like)."""

T1_LIKE: dict[str, tuple[float, float]] = {
    "cerebral_white_matter": (0.85, 1.0),
    "cerebral_cortex": (0.50, 0.78),
    "lateral_ventricle": (0.08, 0.28),
    "thalamus": (0.66, 0.90),
    "caudate": (0.54, 0.76),
    "putamen": (0.60, 0.82),
    "pallidum": (0.74, 0.97),
    "brain_stem": (0.78, 0.96),
    "accumbens": (0.54, 0.78),
    "ventral_dc": (0.74, 0.95),
    "csf": (0.06, 0.32),
}
"""Ranges relative to the brightest white matter; what is missing follows a relative (below)."""

FOLLOWS = {
    "inferior_lateral_ventricle": "lateral_ventricle",
    "third_ventricle": "lateral_ventricle",
    "fourth_ventricle": "lateral_ventricle",
    "cerebellum_white_matter": "cerebral_white_matter",
    "cerebellum_cortex": "cerebral_cortex",
    "hippocampus": "cerebral_cortex",
    "amygdala": "cerebral_cortex",
}
BONE_ID, MARROW_ID, AIR_MIXED_IDS = 515, 516, (502, 509, 511)
BRIGHT_IDS = (507, 516)
CHOROID_IDS = (136, 137, 163, 164)


@dataclass(frozen=True)
class HeadMap:
    """One label map: (x, y, z) uint8 indices into `FINE_IDS` at 1 mm, and where its head is."""

    name: str
    fine: NDArray[np.uint8]
    centre: NDArray[np.float64]


def read_map(path: Path) -> HeadMap:
    """Read a NIfTI label map and turn it to right-anterior-superior, left side at low x."""
    image = nib.as_closest_canonical(nib.load(path))  # type: ignore[attr-defined]
    fine = fine_of_id()[np.asanyarray(image.dataobj)]
    fine[:, :, 0] = 0
    head = ndimage.binary_opening(fine[::2, ::2, ::2] > 0, iterations=2)
    x, y, z = np.nonzero(head)
    top = z.max()
    near = z > top - 65
    centre = np.array([2 * x[near].mean(), 2 * y[near].mean(), 2 * top - TOP_TO_CENTRE_MM])
    return HeadMap(path.name, np.ascontiguousarray(fine), centre)


def rotation(angles_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compose rotations about x, y and z into one 3x3 matrix."""
    out = np.eye(3)
    for axis, angle in enumerate(angles_rad):
        i, j = [(1, 2), (0, 2), (0, 1)][axis]
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        out = out @ turn
    return out


class Generator:
    """Draw (image, target, side) from label maps; one instance per worker and seed."""

    def __init__(
        self,
        maps: Sequence[HeadMap],
        seed: int,
        t1_share: float = T1_SHARE,
        grid: tuple[int, int, int] = GRID,
        spacing_mm: float = SPACING_MM,
    ) -> None:
        self.maps = maps
        self.grid, self.spacing_mm = grid, spacing_mm
        self.rng = np.random.default_rng(seed)
        self.torch_rng = torch.Generator().manual_seed(seed)
        self.t1_share = t1_share
        self.classes = class_of_fine()
        self.sides = side_of_fine()
        axes = [spacing_mm * (np.arange(n, dtype=np.float32) - (n - 1) / 2) for n in grid]
        self.points = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(3, -1)
        self.shift_mm = (9.0, 30.0)
        self.folds: tuple[tuple[tuple[int, int, int], float], ...] = (
            ((5, 6, 5), 2.5),
            ((10, 12, 10), 1.2),
        )
        self.texture_cells = (20, 24, 20)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Yield samples for ever."""
        while True:
            yield self.sample()

    def sample(self, index: int | None = None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Draw one sample.

        Returns:
            image (1, x, y, z) float32; target (x, y, z, class) uint8, quarters of the voxel;
            side (x, y, z, 2) uint8, quarters that have a side and quarters on the right.
        """
        head = self.maps[self.rng.integers(len(self.maps)) if index is None else index]
        flip = bool(self.rng.random() < 0.5)
        labels = self._deform(head.fine, head.centre, flip)
        image = self._paint(labels)
        target = np.zeros((self.points.shape[1], CLASS_COUNT), np.uint8)
        side = np.zeros((self.points.shape[1], 2), np.uint8)
        rows = np.arange(len(target))
        for one in labels:
            target[rows, self.classes[one]] += 1
            sides = self.sides[one]
            side[:, 0] += sides > 0
            side[:, 1] += sides == (1 if flip else 2)
        image = self._strip(image, target.reshape(*self.grid, CLASS_COUNT))
        image = self._acquire(image)
        return (
            image[None],
            torch.from_numpy(target.reshape(*self.grid, CLASS_COUNT)),
            torch.from_numpy(side.reshape(*self.grid, 2)),
        )

    def _coarse(self, channels: int, cells: Sequence[int], sd: float) -> torch.Tensor:
        field = torch.randn(1, channels, *cells, generator=self.torch_rng) * sd
        return F.interpolate(field, size=self.grid, mode="trilinear", align_corners=True)[0]

    def _deform(
        self, fine: NDArray[np.uint8], centre: NDArray[np.float64], flip: bool
    ) -> list[NDArray[np.uint8]]:
        """Look the labels up at four points of every voxel: 4 x (voxel,) uint8."""
        rng = self.rng
        linear = rotation(np.deg2rad(rng.uniform(-18, 18, 3)))
        linear = linear @ np.diag(rng.uniform(0.85, 1.18) * rng.uniform(0.95, 1.05, 3))
        linear += rng.uniform(-0.04, 0.04, (3, 3)) * (1 - np.eye(3))
        usual, widest = self.shift_mm
        if rng.random() < 0.3:
            shift = rng.uniform(-widest, widest, 3)
        else:
            shift = np.clip(rng.normal(0, usual, 3), -widest, widest)
        where = linear.astype(np.float32) @ self.points
        where += (centre - shift).astype(np.float32)[:, None]
        for cells, biggest in self.folds:
            where += self._coarse(3, cells, rng.uniform(0, biggest)).reshape(3, -1).numpy()
        if flip:
            where[0] = 2 * np.float32(centre[0]) - where[0]
        half = 0.25 * self.spacing_mm
        corners = half * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
        flat = fine.reshape(-1)
        out = []
        for corner in corners:
            step = (linear @ corner).astype(np.float32)
            at = (where + step[:, None] + np.float32(0.5)).astype(np.int32)
            inside = np.ones(at.shape[1], bool)
            for axis, size in enumerate(fine.shape):
                inside &= (at[axis] >= 0) & (at[axis] < size)
            index = (at[0] * fine.shape[1] + at[1]) * fine.shape[2] + at[2]
            index[~inside] = 0
            out.append(flat[index])
        return out

    def _contrast(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Draw mean and standard deviation of the intensity of every fine label."""
        rng = self.rng
        kind = rng.random()
        by_class = rng.uniform(0.0, 1.0, len(NAMES))
        if kind < self.t1_share or kind > 1 - (1 - self.t1_share) / 8:
            for name, (low, high) in T1_LIKE.items():
                by_class[NAMES.index(name)] = rng.uniform(low, high)
            for name, other in FOLLOWS.items():
                value = by_class[NAMES.index(other)] + rng.normal(0, 0.025)
                by_class[NAMES.index(name)] = value
            if kind >= self.t1_share:
                by_class = 1.05 - by_class
        mean = by_class[self.classes] + rng.normal(0, 0.015, len(FINE_IDS))
        for i in EXTRA_CEREBRAL:
            mean[FINE_IDS.index(i)] = rng.uniform(0.05, 1.1)
        for i in CHOROID_IDS:
            mean[FINE_IDS.index(i)] = rng.uniform(0.2, 0.6) if kind < 0.9 else rng.uniform(0, 1)
        if kind < 0.9:
            mean[FINE_IDS.index(BONE_ID)] = rng.uniform(0.0, 0.3)
            for i in AIR_MIXED_IDS:
                mean[FINE_IDS.index(i)] *= rng.uniform(0.2, 1.0)
        if rng.random() < 0.4:
            # Fat under the skin beside a surface coil outshines the brain several times.
            for i in BRIGHT_IDS:
                mean[FINE_IDS.index(i)] *= rng.uniform(1.0, 3.5)
        mean[0] = 0.0 if rng.random() < 0.5 else abs(rng.normal(0, 0.06))
        spread = rng.uniform(0.005, 0.07, len(FINE_IDS))
        spread[0] = rng.uniform(0, 0.03) if mean[0] else 0.0
        return np.clip(mean, 0, 3.5).astype(np.float32), spread.astype(np.float32)

    def _paint(self, labels: list[NDArray[np.uint8]]) -> torch.Tensor:
        mean, spread = self._contrast()
        image = sum(mean[one] for one in labels) / len(labels)
        grain = torch.randn(len(labels[0]), generator=self.torch_rng).numpy()
        image = image + grain * spread[labels[0]]
        texture = self._coarse(1, self.texture_cells, self.rng.uniform(0, 0.3)).numpy().reshape(-1)
        outer = np.array([i in EXTRA_CEREBRAL for i in FINE_IDS], np.float32)
        outer[FINE_IDS.index(BONE_ID)] = 0.3
        image = image * (1 + texture * outer[labels[0]])
        return torch.from_numpy(np.maximum(image, 0).astype(np.float32).reshape(self.grid))

    def _strip(self, image: torch.Tensor, target: NDArray[np.uint8]) -> torch.Tensor:
        """Remove the skull in a quarter of the samples, the face or a field of view in others."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.26:
            brain = 4 - target[..., 0].astype(np.float32)
            if rng.random() < 0.6:
                brain -= target[..., CSF_CLASS]
                brain = ndimage.gaussian_filter(brain, rng.uniform(0.4, 2.5), truncate=2.5)
                keep = brain > 4 * rng.uniform(0.08, 0.5)
            else:
                keep = brain > 2
            return image * torch.from_numpy(keep)
        if kind < 0.40:
            image = image.clone()
            for axis in range(3):
                if rng.random() < 0.4:
                    cut = int(rng.uniform(0.0, 0.22) * self.grid[axis])
                    part = (
                        slice(0, cut) if rng.random() < 0.65 else slice(self.grid[axis] - cut, None)
                    )
                    image[(slice(None),) * axis + (part,)] = 0.0
        return image

    def _acquire(self, image: torch.Tensor) -> torch.Tensor:
        """Bias field, blur, thick slices, noise, gamma and scale."""
        rng = self.rng
        cells = int(rng.integers(2, 5))
        image = image * self._coarse(1, (cells,) * 3, rng.uniform(0, 0.35))[0].exp()
        if rng.random() < 0.5:
            blurred = ndimage.gaussian_filter(image.numpy(), rng.uniform(0.2, 0.75), truncate=2.5)
            image = torch.from_numpy(blurred)
        if rng.random() < 0.3:
            axis, factor = int(rng.integers(3)), float(rng.uniform(1.3, 3.5))
            thick = ndimage.gaussian_filter1d(image.numpy(), 0.35 * factor, axis=axis)
            size = list(self.grid)
            size[axis] = max(8, round(self.grid[axis] / factor))
            kwargs = {"mode": "trilinear", "align_corners": False}
            small = F.interpolate(torch.from_numpy(thick)[None, None], size=size, **kwargs)
            image = F.interpolate(small, size=self.grid, **kwargs)[0, 0]
        noise = torch.randn(self.grid, generator=self.torch_rng) * float(rng.uniform(0, 0.06))
        image = (image + noise).abs() if rng.random() < 0.5 else image + noise * (image > 0)
        image = normalise(image.clamp_min(0.0))
        image = image.pow(float(np.exp(rng.normal(0, 0.2))))
        return image * float(rng.uniform(0.85, 1.15))


def normalise(image: torch.Tensor) -> torch.Tensor:
    """Scale so that the 99th percentile of the voxels above a tenth of the brightest is 1.

    The same rule as `bright_end` and `normalise` of `secondread.inference.worker.canonical`.
    """
    sample = image.reshape(-1)[::7].numpy()
    high = float(np.percentile(sample, 99.5))
    inside = sample[sample > 0.1 * high]
    if inside.size < 50 or high <= 0:
        return image
    return (image / float(np.percentile(inside, 99))).clamp_max(1.5)
