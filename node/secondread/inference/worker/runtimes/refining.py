"""A second, finer network for a box of each half of the brain that the first one found.

Keys of `model.toml`::

    [runtime.options.refine]
    weights = "refine.safetensors"
    grid = [56, 88, 64]      # voxels of a box: to the right, to anterior, to the head
    spacing_mm = 1.0
    anchors = [7, 8, 9]      # classes of the first network; a box lies about their middle
    offset_mm = [-2, 0, -4]  # from there to the middle of the left box, RAS; mirrored on the right
    fade_mm = 4.0            # at its border a box counts for nothing, this far within for all
    classes = [14, 15, 0]    # what channel 1, 2, 3 is for the first network; 0 = left to that
    [runtime.options.refine.network]   # keyword arguments of the network

The network sees a left half only: the right one is mirrored, and so is its answer. Channel 0 is
whatever is none of the others, the other half too. What the finer network gives to the classes
that it decides is taken; what it leaves is shared out as the first network would among the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from secondread.errors import InvalidPredictionError, ManifestError
from secondread.inference.worker import canonical
from secondread.inference.worker.networks import build, fill

__all__ = ["Box", "Refiner", "refine"]

LEAST_ANCHOR_ML = 2.0
"""Where less than this is found of the anchors on one side, that side is left as it is."""
LITTLE = 1e-6
"""Probability of the background that is taken for granted: what else would be left?"""

_KEYS = ("weights", "grid", "spacing_mm", "anchors", "offset_mm", "classes")
_OTHER_KEYS = ("fade_mm", "network")


@dataclass(frozen=True, slots=True)
class Box:
    """What the finer network found in one half.

    Attributes:
        grid: where the box lies.
        table: (voxel, class) float32, the probability of each of ``classes`` in this half.
        classes: the classes of the first network that it decides.
        right: this is the patient's right half.
        fade_mm: how far within its border the box counts for all.
    """

    grid: canonical.CanonicalGrid
    table: NDArray[np.float32]
    classes: NDArray[np.intp]
    right: bool
    fade_mm: float


class Refiner:
    """The finer network and where to look with it."""

    def __init__(
        self,
        options: Mapping[str, Any],
        network: str,
        folder: Path,
        device: torch.device,
        precision: torch.dtype,
    ) -> None:
        """Load the weights.

        Args:
            options: ``[runtime.options.refine]``.
            network: what kind of network it is.
            folder: where the weights lie.
            device: where it runs.
            precision: what it reckons with.

        Raises:
            ManifestError: a key is missing or not known, or does not fit the network.
            ValueError: weights that do not fit the network.
        """
        _check_keys(options)
        self._device, self._precision = device, precision
        self._shape = tuple(int(n) for n in options["grid"])
        self._spacing_mm = float(options["spacing_mm"])
        self._anchors = list(options["anchors"])
        self._offset = np.array(options["offset_mm"], np.float64)
        self._fade_mm = float(options.get("fade_mm", 0.0))
        becomes = np.array([0, *options["classes"]], np.intp)
        self._channels = np.flatnonzero(becomes)
        self._classes = becomes[self._channels]
        empty = build(network, options.get("network", {}))
        multiple = int(getattr(empty, "multiple", 1))
        if any(n < 1 or n % multiple for n in self._shape):
            raise ManifestError(
                f"The grid of [runtime.options.refine] is {list(self._shape)}; its network takes "
                f"multiples of {multiple}."
            )
        self._network = fill(empty, folder / str(options["weights"])).to(device)

    def look(
        self,
        voxels: NDArray[Any],
        affine_lps: NDArray[np.float64],
        classes: NDArray[np.uint8],
        right: NDArray[np.bool_],
        grid: canonical.CanonicalGrid,
        ceiling: float,
    ) -> list[Box]:
        """Run the network on both halves.

        Args:
            voxels: (slice, row, column), any real type.
            affine_lps: (slice, row, column, 1) → LPS mm.
            classes: (x, y, z), what the first network found.
            right: (x, y, z), where it found the right half.
            grid: the grid of both.
            ceiling: where brightness is cut off, in units of the bright end of a box.

        Raises:
            InvalidPredictionError: the network's answer is not finite.
        """
        boxes = []
        anchors = np.isin(classes, self._anchors)
        for is_right in (False, True):
            at = np.argwhere(anchors & (right == is_right))
            if len(at) * grid.spacing_mm**3 < 1000 * LEAST_ANCHOR_ML:
                continue
            affine = grid.affine_ras
            middle = affine[:3, :3] @ at.mean(axis=0) + affine[:3, 3]
            middle += self._offset * (-1 if is_right else 1, 1, 1)
            x, y, z = self._shape
            box = canonical.CanonicalGrid(
                (x, y, z), self._spacing_mm, (float(middle[0]), float(middle[1]), float(middle[2]))
            )
            raw = canonical.resample(voxels, affine_lps, box)
            image = canonical.normalise(raw, canonical.bright_end(raw), ceiling)
            found = self._infer(image[::-1] if is_right else image)
            found = found[::-1] if is_right else found
            table = np.ascontiguousarray(found.reshape(-1, found.shape[-1]))
            boxes.append(Box(box, table, self._classes, is_right, self._fade_mm))
        return boxes

    @torch.inference_mode()
    def _infer(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the probabilities (x, y, z, class) of the classes that this network decides."""
        x = torch.from_numpy(np.ascontiguousarray(image))[None, None].to(self._device)
        x = x.contiguous(memory_format=torch.channels_last_3d)
        enabled = self._precision is not torch.float32
        with torch.autocast(self._device.type, self._precision, enabled=enabled):
            logits: torch.Tensor = self._network(x)
        found = torch.softmax(logits[0].permute(1, 2, 3, 0).float(), dim=-1)
        if not torch.isfinite(found.sum()):
            raise InvalidPredictionError("The network answered values that are not finite.")
        return found.cpu().numpy()[..., self._channels]


def _check_keys(options: Mapping[str, Any]) -> None:
    if absent := [key for key in _KEYS if key not in options]:
        raise ManifestError(f"[runtime.options.refine] lacks the key '{absent[0]}'.")
    if unknown := sorted(options.keys() - {*_KEYS, *_OTHER_KEYS}):
        raise ManifestError(f"[runtime.options.refine] has the key '{unknown[0]}', not known.")
    channels = int(options.get("network", {}).get("out_channels", 0))
    if channels != len(options["classes"]) + 1:
        raise ManifestError(
            f"[runtime.options.refine] names {len(options['classes'])} classes; its network has "
            f"{channels} channels, and the first is none of them."
        )


def refine(
    rows: NDArray[np.float32], points_ras: NDArray[np.float64], boxes: Sequence[Box]
) -> NDArray[np.float32]:
    """Put what the finer network found in the place of what the first one did.

    Args:
        rows: (voxel, channel), probabilities of the first network's classes and, last, that of the
            right side; changed in place.
        points_ras: (3, voxel), where they lie, mm.
        boxes: of `Refiner.look`.

    Returns:
        ``rows``. The side is then that of the likeliest class.
    """
    for box in boxes:
        grid = box.grid
        at = (points_ras - grid.affine_ras[:3, 3:]) / grid.spacing_mm
        last = np.array(grid.shape)[:, None] - 1
        depth = np.minimum(at, last - at).min(axis=0) * grid.spacing_mm
        inside = np.flatnonzero(depth >= 0)
        if not inside.size:
            continue
        fine = canonical.interpolate(box.table, at[:, inside], grid.shape)
        share = np.ones(inside.size)
        if box.fade_mm > 0:
            share = np.minimum(1.0, depth[inside] / box.fade_mm)
        rows[inside] = _merge(rows[inside], fine, box, share.astype(np.float32)[:, None])
    return rows


def _merge(
    rows: NDArray[np.float32],
    fine: NDArray[np.float32],
    box: Box,
    share: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Merge the probabilities of both networks, the finer one's by its share, per voxel."""
    side = rows[:, -1:] if box.right else 1 - rows[:, -1:]
    here, there = rows[:, :-1] * side, rows[:, :-1] * (1 - side)
    rest = here.copy()
    rest[:, box.classes] = 0
    rest[:, 0] += LITTLE
    others = rest.sum(axis=1, keepdims=True) + there.sum(axis=1, keepdims=True)
    scale = (1 - fine.sum(axis=1, keepdims=True)) / others
    rest *= scale
    rest[:, box.classes] = fine
    here += share * (rest - here)
    there += share * (scale - 1) * there
    out = np.empty_like(rows)
    out[:, :-1] = here + there
    winner = out[:, :-1].argmax(axis=1)[:, None]
    mine = np.take_along_axis(here, winner, 1)
    mine = mine / np.maximum(np.take_along_axis(out, winner, 1), LITTLE)
    out[:, -1:] = mine if box.right else 1 - mine
    return out
