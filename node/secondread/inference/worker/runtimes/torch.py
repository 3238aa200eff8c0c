"""Run a packaged torch network; everything that is particular to a model stands in its manifest.

Keys of `model.toml` that this runtime reads::

    [runtime]              network, weights
    [runtime.options]      precision = "bfloat16" | "float32"; mirror = true | false;
                           numbers, see `secondread.inference.worker.runtimes.torch_measures`;
                           refine, see `secondread.inference.worker.runtimes.refining`
    [runtime.options.network]      keyword arguments of the network
    [runtime.options.decoding]     classes, side_channel, single_piece,
                           keep_largest, connects, bridge_mm
    [preprocessing]        grid, spacing_mm, centre_below_top_mm, ceiling, passes,
                           recentre_above_mm, recentre_below_top_mm
    [envelope]             checks, see `secondread.inference.worker.envelope`

``decoding.classes[k]`` says which label class k becomes: ``[value]``, or ``[left, right]`` for a
structure whose side the logit ``side_channel`` tells (positive = patient's right); 0 means that
the class is not among the outputs. ``single_piece`` lists classes, or groups of classes that are
looked at as one, of which only the biggest piece counts. With ``keep_largest`` the same holds for
all outputs and the classes in ``connects`` together, and what hangs on by a bridge of less than
``bridge_mm`` is cut off. With more than one pass, the next is centred on what the last one found,
if that lies ``recentre_above_mm`` off: on its middle, or ``recentre_below_top_mm`` below its top.

Where ``[output]`` promises probabilities, that of a label is the sum over the classes that become
it, 0 where no label is looked for. Findings, places and maps this runtime does not give.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from secondread.errors import InvalidPredictionError, ManifestError
from secondread.inference.worker import canonical, envelope
from secondread.inference.worker.networks import build, fill
from secondread.inference.worker.prediction import Prediction
from secondread.inference.worker.runtimes import torch_measures
from secondread.inference.worker.runtimes.refining import Box, Refiner, refine

__all__ = ["TorchRuntime"]

PRECISIONS = {"bfloat16": torch.bfloat16, "float32": torch.float32}
POSSIBLE = 0.05
"""Where no class but the background is likelier than this, no label is looked for."""

_FLAT = (
    "The image is a single slice, and this model needs a volume; check that all images of the "
    "series have arrived."
)
_CERTAIN = 255.0
"""How a probability of 1 is kept."""


class TorchRuntime:
    """A loaded network, ready for any number of volumes; not for two threads at once."""

    def __init__(self, manifest: Mapping[str, Any], folder: Path, device: str = "cpu") -> None:
        """Load the weights.

        Args:
            manifest: the parsed `model.toml`.
            folder: where the model's files lie; their digests were checked by the caller.
            device: a torch device, such as ``cpu`` or ``cuda:0``.

        Raises:
            ManifestError: the manifest declares what this runtime does not give.
            ValueError: the manifest names a network, measure or precision that does not exist, or
                weights that do not fit the network.
        """
        runtime = manifest["runtime"]
        self._options = options = runtime["options"]
        torch_measures.check_options(options)
        self._device = torch.device(device)
        self._precision = PRECISIONS.get(options.get("precision", "float32"))
        if self._precision is None:
            raise ValueError(f"Unknown precision; known precisions: {', '.join(PRECISIONS)}")
        self._mirror = bool(options.get("mirror", False))
        self._preprocessing = dict(manifest["preprocessing"])
        rules = manifest.get("envelope", {}).get("checks", [])
        self._early, self._late = envelope.sort_rules(rules)
        decoding = options["decoding"]
        self._pairs = np.array([(c[0], c[-1]) for c in decoding["classes"]], np.uint8)
        self._is_output = np.any(self._pairs > 0, axis=1)
        self._is_output[list(decoding.get("connects", ()))] = True
        self._side = decoding.get("side_channel")
        self._single = [np.atleast_1d(group) for group in decoding.get("single_piece", ())]
        self._keep_largest = bool(decoding.get("keep_largest", False))
        bridge_mm = float(decoding.get("bridge_mm", 0.0))
        self._bridge_voxels = round(bridge_mm / 2 / float(self._preprocessing["spacing_mm"]))
        output = manifest.get("output", {})
        if output.get("maps"):
            raise ManifestError("The torch runtime gives no maps, which the manifest declares.")
        self._gives_probabilities = bool(output.get("probabilities", False))
        self._weights = _label_weights(self._pairs, len(manifest.get("labels", ())))
        empty = build(runtime["network"], options.get("network", {}))
        self._network = fill(empty, folder / runtime["weights"]).to(self._device)
        self._refiner = self._load_refiner(runtime, folder)

    def _load_refiner(self, runtime: Mapping[str, Any], folder: Path) -> Refiner | None:
        options = self._options.get("refine")
        if options is None:
            return None
        if self._side is None:
            raise ManifestError("[runtime.options.refine] needs a decoding.side_channel.")
        named = {*options.get("classes", ()), *options.get("anchors", ())}
        if not all(0 <= int(number) < len(self._pairs) for number in named):
            raise ManifestError("[runtime.options.refine] names a class that does not exist.")
        assert self._precision is not None
        return Refiner(options, runtime["network"], folder, self._device, self._precision)

    def predict(self, voxels: NDArray[Any], affine_lps: NDArray[np.float64]) -> Prediction:
        """Segment one volume.

        Args:
            voxels: (slice, row, column), any real type.
            affine_lps: 4x4, (slice, row, column, 1) → LPS mm.

        Raises:
            ValueError: not a volume, or an affine that cannot be inverted.
        """
        affine = np.asarray(affine_lps, np.float64)
        if voxels.ndim != 3 or not voxels.size:
            raise ValueError(f"Not a volume: shape {voxels.shape}")
        if affine.shape != (4, 4) or not abs(np.linalg.det(affine[:3, :3])) > 1e-9:
            raise ValueError("The affine is not an invertible 4x4 matrix")
        nothing = np.zeros(voxels.shape, np.uint8)
        if min(voxels.shape) < 2:
            return Prediction(nothing, _FLAT, ())
        foreground = canonical.locate(
            voxels, affine, self._preprocessing.get("centre_below_top_mm")
        )
        first, refusal = envelope.judge(envelope.Evidence(foreground, voxels), self._early)
        if foreground is None and refusal is None:
            refusal = "The image is empty: nothing stands out from the background."
        if foreground is None or refusal is not None:
            return Prediction(nothing, refusal, first)
        grid, image, channels = self._run(voxels, affine, foreground.centre_ras)
        classes, shown = self._clean(channels)
        evidence = envelope.Evidence(
            foreground=foreground,
            voxels=voxels,
            image=image,
            classes=classes,
            confidence=channels[..., : len(self._pairs)].max(axis=-1),
            right=None if self._side is None else channels[..., -1] > 0.5,
            scanned=canonical.scanned(voxels.shape, affine, grid),
            spacing_mm=grid.spacing_mm,
        )
        checks, refusal = envelope.judge(evidence, self._late)
        checks = first + checks
        if refusal is not None:
            return Prediction(nothing, refusal, checks)
        shape = (voxels.shape[0], voxels.shape[1], voxels.shape[2])
        labels, probabilities = nothing, self._room(shape)
        boxes = self._look_closer(voxels, affine, classes, channels, grid)
        for at, rows in canonical.sample_back(channels, shown, grid, shape, affine):
            if boxes:
                refine(rows, canonical.places(at, affine), boxes)
            labels[at] = self._decide(rows)
            if probabilities is not None:
                probabilities[:, *at] = self._weigh(rows)
        numbers = torch_measures.answer(classes, grid.spacing_mm, self._options)
        return Prediction(labels, None, checks, probabilities, answer=numbers)

    def _look_closer(
        self,
        voxels: NDArray[Any],
        affine: NDArray[np.float64],
        classes: NDArray[np.uint8],
        channels: NDArray[np.float32],
        grid: canonical.CanonicalGrid,
    ) -> list[Box]:
        if self._refiner is None:
            return []
        ceiling = float(self._preprocessing.get("ceiling", 1.5))
        right = channels[..., -1] > 0.5
        return self._refiner.look(voxels, affine, classes, right, grid, ceiling)

    def _room(self, shape: tuple[int, int, int]) -> NDArray[np.uint8] | None:
        if not self._gives_probabilities:
            return None
        return np.zeros((self._weights.shape[1] // 2, *shape), np.uint8)

    def _run(
        self,
        voxels: NDArray[Any],
        affine: NDArray[np.float64],
        centre: tuple[float, float, float],
    ) -> tuple[canonical.CanonicalGrid, NDArray[np.float32], NDArray[np.float32]]:
        """Resample and run the network, again with a better centre.

        Gives the grid, the image (x, y, z) and the probabilities (x, y, z, channel).
        """
        wanted = self._preprocessing
        size = tuple(int(n) for n in wanted["grid"])
        shape, spacing_mm = (size[0], size[1], size[2]), float(wanted["spacing_mm"])
        passes = int(wanted.get("passes", 1))
        for turn in range(passes):
            grid = canonical.CanonicalGrid(shape, spacing_mm, centre)
            raw = canonical.resample(voxels, affine, grid)
            ceiling = float(wanted.get("ceiling", 1.5))
            image = canonical.normalise(raw, canonical.bright_end(raw), ceiling)
            channels = self._infer(image)
            found = self._find(channels)
            if turn == passes - 1 or not found.any():
                break
            middle = _middle(found, wanted.get("recentre_below_top_mm"), spacing_mm)
            better = grid.affine_ras[:3, :3] @ middle + grid.affine_ras[:3, 3]
            if math.dist(better, centre) < float(wanted.get("recentre_above_mm", 0.0)):
                break
            centre = (float(better[0]), float(better[1]), float(better[2]))
        return grid, image, channels

    def _find(self, channels: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Tell where a class that is among the outputs wins, loose pieces left out: (x, y, z)."""
        winner = channels[..., : len(self._pairs)].argmax(axis=-1)
        found: NDArray[np.bool_] = self._is_output[winner]
        for group in self._single:
            part = np.isin(winner, group)
            found &= ~part | _main_piece(part, self._bridge_voxels)
        return _main_piece(found, self._bridge_voxels) if self._keep_largest else found

    @torch.inference_mode()
    def _infer(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give probabilities (x, y, z, class), and last that of the right side where told."""
        x = torch.from_numpy(np.ascontiguousarray(image))[None, None].to(self._device)
        total = self._activate(self._logits(x))
        if self._mirror:
            mirrored = self._activate(self._logits(x.flip(2))).flip(0)
            if self._side is not None:
                mirrored[..., -1] = 1 - mirrored[..., -1]
            total = (total + mirrored) / 2
        if not torch.isfinite(total.sum()):
            raise InvalidPredictionError("The network answered values that are not finite.")
        return total.cpu().numpy()

    def _logits(self, x: torch.Tensor) -> torch.Tensor:
        x = x.contiguous(memory_format=torch.channels_last_3d)
        enabled = self._precision is not torch.float32
        with torch.autocast(self._device.type, self._precision, enabled=enabled):
            logits: torch.Tensor = self._network(x)
        return logits[0].permute(1, 2, 3, 0).float()

    def _activate(self, logits: torch.Tensor) -> torch.Tensor:
        probabilities = torch.softmax(logits[..., : len(self._pairs)], dim=-1)
        if self._side is None:
            return probabilities
        right = torch.sigmoid(logits[..., self._side : self._side + 1])
        return torch.cat((probabilities, right), dim=-1)

    def _clean(self, channels: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Give the class of every voxel, and where an output label is possible.

        Loose pieces are made background, in ``channels`` too.
        """
        winner = channels[..., : len(self._pairs)].argmax(axis=-1)
        loose = self._is_output[winner] & ~self._find(channels)
        channels[loose] = np.eye(1, channels.shape[-1], dtype=np.float32)
        classes = np.where(loose, 0, winner).astype(np.uint8)
        return classes, channels[..., 0] < 1 - POSSIBLE

    def _decide(self, rows: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Give the label of each row of probabilities."""
        winner = rows[:, : len(self._pairs)].argmax(axis=1)
        right = 0 if self._side is None else (rows[:, -1] > 0.5).astype(np.intp)
        labels: NDArray[np.uint8] = self._pairs[winner, right]
        return labels

    def _weigh(self, rows: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Give the probability of each label, (label, voxel), of rows of probabilities.

        That of a class on one side is that of the class times that of the side.
        """
        left, right = np.split(rows[:, : len(self._pairs)] @ self._weights, 2, axis=1)
        if self._side is not None:
            left += rows[:, -1:] * right
        np.clip(left, 0, _CERTAIN, out=left)
        left += 0.5
        scaled: NDArray[np.uint8] = left.T.astype(np.uint8)
        return scaled


def _label_weights(pairs: NDArray[np.uint8], count: int) -> NDArray[np.float32]:
    """Give how much each class counts for each label, (class, 2 · label), of `_CERTAIN`.

    The first half is for the left, the second what changes on the right.
    """
    weights = np.zeros((2, len(pairs), count), np.float32)
    for number, sides in enumerate(pairs):
        for side, label in enumerate(sides):
            if 0 < label <= count:
                weights[side, number, label - 1] = _CERTAIN
    return np.hstack((weights[0], weights[1] - weights[0]))


def _middle(
    mask: NDArray[np.bool_], below_top_mm: float | None, spacing_mm: float
) -> NDArray[np.float64]:
    """Give the middle of an object's bounding box, in voxels.

    With ``below_top_mm`` the middle lies that far below its top and only what is above counts, so
    that what leaks out at its foot pulls nothing.
    """
    if below_top_mm is not None:
        top = int(np.flatnonzero(mask.any(axis=(0, 1)))[-1])
        middle_z = top - below_top_mm / spacing_mm
        mask = mask.copy()
        mask[:, :, : max(0, int(middle_z))] = False
    box = ndimage.find_objects(mask.view(np.uint8))[0]
    middle = np.array([(part.start + part.stop - 1) / 2 for part in box])
    if below_top_mm is not None:
        middle[2] = middle_z
    return middle


def _main_piece(mask: NDArray[np.bool_], bridge_voxels: int) -> NDArray[np.bool_]:
    """Keep the biggest piece of a mask, without what hangs on it by a thin bridge.

    A bridge is at most ``2 * bridge_voxels`` wide.
    """
    if bridge_voxels == 0:
        return _largest(mask)
    core = _largest(ndimage.binary_erosion(mask, iterations=bridge_voxels, border_value=1))
    # Growing twice as far as was eroded, within the mask, gives thin gyri back.
    kept: NDArray[np.bool_] = mask & ndimage.binary_dilation(core, iterations=2 * bridge_voxels)
    return kept


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the biggest connected piece of a mask."""
    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    kept: NDArray[np.bool_] = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    return kept
