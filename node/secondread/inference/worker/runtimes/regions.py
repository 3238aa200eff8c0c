"""Run small networks inside the regions that another model has found, the left and the right.

A kind of its own, ``[runtime] kind = "regions"``: where ``torch`` looks for its place in the whole
volume, here a model of ``[[upstream]]`` has found it. Keys of `model.toml` that it reads::

    [runtime]              network, weights: a file, or a list of them whose answers are averaged
    [runtime.options]      precision = "bfloat16" | "float32"; mirror = true | false: with mirrored
                           copies besides
    [runtime.options.network]      keyword arguments of the network
    [runtime.options.decoding]     classes: per class of the network [left label, right label], the
                           background first; keep_largest: of the structure on each side
    [preprocessing]        grid, spacing_mm: of a region, aligned with the patient (RAS);
                           statistics_grid: the middle part that the brightness is taken from
    [preprocessing.region] upstream: a model id; left, right: names of its labels, together the
                           region of a side; trained_side: the side that the training data show;
                           offset_mm: [outward, anterior, superior], added to the middle; min_ml;
                           passes: with more than one, the next is centred on what the last one
                           found, if that lies recentre_above_mm off
    [preprocessing.region.refusal]  missing: a sentence, {side} and {value} (mL) in it
    [envelope]             checks, see `secondread.inference.worker.envelope`; ``classes`` are
                           labels here, and both sides are looked at together

The middle of a region is that of the bounding box of its labels. The other side is mirrored, so
that a network sees one side only, and its answer mirrored back. Probabilities of labels are given
where ``[output]`` promises them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from secondread.errors import InvalidPredictionError, ManifestError, ModelError
from secondread.inference.worker import canonical, envelope
from secondread.inference.worker.networks import build, fill
from secondread.inference.worker.prediction import Prediction
from secondread.inference.worker.runtimes import intensity

__all__ = ["RegionsRuntime", "normalise"]

SIDES = ("left", "right")
POSSIBLE = 0.05
"""Where no class but the background is likelier than this, no label is looked for."""
_PRECISIONS = {"bfloat16": torch.bfloat16, "float32": torch.float32}
_CERTAIN = 255.0
_DARK, _BRIGHT = 1.0, 99.5
"""Percentiles of the region that become 0 and 1 before what is left is standardised."""
_CEILING = 1.2


@dataclass(frozen=True, slots=True)
class _Region:
    """One side: where it lies, what it looks like and what the networks say of it.

    Attributes:
        image: (x, y, z) float32 RAS, as it is and not mirrored.
        channels: (x, y, z, class) float32, probabilities.
    """

    side: str
    grid: canonical.CanonicalGrid
    image: NDArray[np.float32]
    channels: NDArray[np.float32]


class RegionsRuntime:
    """Loaded networks, ready for any number of volumes; not for two threads at once."""

    takes = ("upstream",)

    def __init__(self, manifest: Mapping[str, Any], folder: Path, device: str = "cpu") -> None:
        """Load the weights.

        Args:
            manifest: the parsed `model.toml`.
            folder: where the model's files lie; their digests were checked by the caller.
            device: a torch device, such as ``cpu`` or ``cuda:0``.

        Raises:
            ManifestError: the manifest declares what this runtime does not give, or lacks what it
                needs.
            ValueError: it names a network or a measure that does not exist, or weights that do not
                fit the network.
        """
        options = manifest["runtime"]["options"]
        wanted = manifest["preprocessing"]
        self._region = dict(wanted["region"])
        if self._region["trained_side"] not in SIDES:
            raise ManifestError("trained_side of the regions runtime is either left or right.")
        size = [int(n) for n in wanted["grid"]]
        self._size = (size[0], size[1], size[2])
        self._spacing_mm = float(wanted["spacing_mm"])
        self._statistics = tuple(int(n) for n in wanted.get("statistics_grid", size))
        self._device = torch.device(device)
        self._precision = _PRECISIONS.get(options.get("precision", "float32"))
        if self._precision is None:
            raise ManifestError(f"Unknown precision; known: {', '.join(_PRECISIONS)}.")
        self._mirror = bool(options.get("mirror", False))
        decoding = options["decoding"]
        self._classes = np.array(decoding["classes"], np.uint8)
        self._keep_largest = bool(decoding.get("keep_largest", False))
        self._check(manifest.get("labels", ()))
        early, self._rules = envelope.sort_rules(manifest.get("envelope", {}).get("checks", []))
        output = manifest.get("output", {})
        if early or any(output.get(name) for name in ("maps", "numbers", "findings", "places")):
            raise ManifestError(
                "The regions runtime checks no foreground and gives no maps, numbers, findings or "
                "places, of which the manifest declares some."
            )
        promised = output.get("probabilities", False)
        self._label_count = len(manifest.get("labels", ())) if promised else 0
        files = manifest["runtime"]["weights"]
        names = [files] if isinstance(files, str) else list(files)
        self._networks = [self._load(manifest["runtime"], folder / name) for name in names]

    def _check(self, labels: Sequence[Mapping[str, Any]]) -> None:
        """Find at the beginning what would stop a volume, or show a side as the other.

        Raises:
            ManifestError: there is something.
        """
        region = self._region
        if self._classes.ndim != 2 or self._classes.shape[1] != len(SIDES):
            raise ManifestError("The classes of the regions runtime are not [left, right] each.")
        if int(region.get("passes", 1)) < 1:
            raise ManifestError("The regions runtime looks at a region once at least: passes.")
        try:
            str(region["refusal"]["missing"]).format(side=SIDES[0], value=0.0)
        except (AttributeError, LookupError, ValueError):
            raise ManifestError(
                "The refusal 'missing' of the regions runtime has something in braces that is not "
                "side or value, or is not there."
            ) from None
        sides = {row.get("value"): row.get("laterality", "") for row in labels}
        for column, side in enumerate(SIDES):
            other = SIDES[1 - column]
            for number in self._classes[:, column].tolist():
                if sides.get(number, "") == other:
                    raise ManifestError(
                        f"The classes of the regions runtime give the {side} side the label "
                        f"{number}, which [[labels]] says lies {other}."
                    )

    def _load(self, runtime: Mapping[str, Any], path: Path) -> torch.nn.Module:
        network = build(runtime["network"], runtime["options"].get("network", {}))
        return fill(network, path).to(self._device)

    def predict(
        self,
        voxels: NDArray[Any],
        affine_lps: NDArray[np.float64],
        upstream: Mapping[str, Prediction] | None = None,
    ) -> Prediction:
        """Segment one volume.

        Args:
            voxels: (slice, row, column), any real type.
            affine_lps: 4x4, (slice, row, column, 1) → LPS mm.
            upstream: what the models before this one have answered on the same volume.

        Raises:
            ModelError: the model that finds the regions did not run, or has no such labels.
        """
        affine = np.asarray(affine_lps, np.float64)
        nothing = np.zeros(voxels.shape, np.uint8)
        middles, refusal = self._find(upstream or {}, affine)
        if refusal is not None:
            return Prediction(nothing, refusal, ())
        regions = [self._look(voxels, affine, *found) for found in middles.items()]
        checks, refusal = envelope.judge(self._evidence(regions), self._rules)
        if refusal is not None:
            return Prediction(nothing, refusal, checks)
        shape = (voxels.shape[0], voxels.shape[1], voxels.shape[2])
        probabilities = None
        if self._label_count:
            probabilities = np.zeros((self._label_count, *shape), np.uint8)
        for region in regions:
            shown = region.channels[..., 0] < 1 - POSSIBLE
            numbers = self._classes[:, SIDES.index(region.side)]
            parts = canonical.sample_back(region.channels, shown, region.grid, shape, affine)
            for at, rows in parts:
                found = numbers[rows.argmax(axis=1)]
                # Two regions may overlap in the middle; what one of them has found stays.
                nothing[at] = np.where(found > 0, found, nothing[at])
                if probabilities is not None:
                    self._weigh(probabilities, at, rows, numbers)
        return Prediction(nothing, None, checks, probabilities)

    def _weigh(
        self,
        probabilities: NDArray[np.uint8],
        at: Any,
        rows: NDArray[np.float32],
        numbers: NDArray[np.uint8],
    ) -> None:
        for number in sorted({int(number) for number in numbers} - {0}):
            shares = rows[:, numbers == number].sum(axis=1)
            known = probabilities[(number - 1, *at)]
            found = np.rint(_CERTAIN * np.clip(shares, 0, 1)).astype(np.uint8)
            probabilities[(number - 1, *at)] = np.maximum(known, found)

    def _find(
        self, upstream: Mapping[str, Prediction], affine: NDArray[np.float64]
    ) -> tuple[dict[str, tuple[float, float, float]], str | None]:
        """Give the middle of each side, RAS mm, or the refusal of one that is not there."""
        name = str(self._region["upstream"])
        if name not in upstream:
            raise ModelError(f"The model '{name}', which finds the regions, did not run.")
        answer = upstream[name]
        to_ras = canonical.affine_to_ras(affine)
        voxel_ml = abs(float(np.linalg.det(to_ras[:3, :3]))) / 1000
        middles: dict[str, tuple[float, float, float]] = {}
        for side in SIDES:
            absent = [one for one in self._region[side] if one not in answer.label_values]
            if absent:
                raise ModelError(f"The model '{name}' has no label '{absent[0]}'.")
            values = [answer.label_values[one] for one in self._region[side]]
            at = np.argwhere(np.isin(answer.labels, values))
            volume_ml = len(at) * voxel_ml
            if not len(at) or volume_ml < float(self._region.get("min_ml", 0.0)):
                sentence = str(self._region["refusal"]["missing"])
                return {}, sentence.format(side=side, value=volume_ml)
            middles[side] = self._middle(at @ to_ras[:3, :3].T + to_ras[:3, 3], side)
        return middles, None

    def _middle(self, at_mm: NDArray[np.float64], side: str) -> tuple[float, float, float]:
        """Give the middle of the box around points (point, 3), along the patient's axes."""
        middle = (at_mm.min(axis=0) + at_mm.max(axis=0)) / 2
        outward, anterior, superior = map(float, self._region.get("offset_mm", (0, 0, 0)))
        middle += (outward if side == "right" else -outward, anterior, superior)
        return float(middle[0]), float(middle[1]), float(middle[2])

    def _look(
        self,
        voxels: NDArray[Any],
        affine: NDArray[np.float64],
        side: str,
        middle: tuple[float, float, float],
    ) -> _Region:
        """Resample and run the networks, again where the middle was found to lie elsewhere."""
        mirrored = side != self._region["trained_side"]
        for turn in range(passes := int(self._region.get("passes", 1))):
            grid = canonical.CanonicalGrid(self._size, self._spacing_mm, middle)
            image = normalise(canonical.resample(voxels, affine, grid), self._statistics)
            seen = image[::-1] if mirrored else image
            channels = self._infer(np.ascontiguousarray(seen))
            channels = np.ascontiguousarray(channels[::-1] if mirrored else channels)
            if self._keep_largest:
                _keep_largest(channels)
            at = np.argwhere(channels.argmax(axis=-1) > 0)
            if turn == passes - 1 or not len(at):
                break
            better = (at.min(axis=0) + at.max(axis=0)) / 2
            better = grid.affine_ras[:3, :3] @ better + grid.affine_ras[:3, 3]
            if math.dist(better, middle) < float(self._region.get("recentre_above_mm", 0.0)):
                break
            middle = (float(better[0]), float(better[1]), float(better[2]))
        return _Region(side, grid, image, channels)

    @torch.inference_mode()
    def _infer(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give probabilities (x, y, z, class), the mean over networks and mirrored copies."""
        x = torch.from_numpy(image)[None, None].to(self._device)
        shares = list(self._shares(x))
        mean: NDArray[np.float32] = torch.stack(shares).mean(0).permute(1, 2, 3, 0).cpu().numpy()
        if not np.isfinite(mean).all():
            raise InvalidPredictionError("The network answered values that are not finite.")
        return mean

    def _shares(self, x: torch.Tensor) -> Iterator[torch.Tensor]:
        for network in self._networks:
            yield self._run(network, x)
            if self._mirror:
                yield self._run(network, x.flip(2)).flip(1)

    def _run(self, network: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        x = x.contiguous(memory_format=torch.channels_last_3d)
        enabled = self._precision is not torch.float32
        with torch.autocast(self._device.type, self._precision, enabled=enabled):
            logits: torch.Tensor = network(x)
        return logits[0].float().softmax(0)

    def _evidence(self, regions: list[_Region]) -> envelope.Evidence:
        """Both sides beside each other, so that checks can compare them."""
        classes = [
            self._classes[region.channels.argmax(axis=-1), SIDES.index(region.side)]
            for region in regions
        ]
        sides = [np.full(self._size, region.side == "right") for region in regions]
        return envelope.Evidence(
            foreground=None,
            image=np.concatenate([region.image for region in regions]),
            classes=np.concatenate(classes),
            confidence=np.concatenate([region.channels.max(axis=-1) for region in regions]),
            right=np.concatenate(sides),
            spacing_mm=self._spacing_mm,
        )


def normalise(
    image: NDArray[np.float32], statistics_grid: tuple[int, ...] | None = None
) -> NDArray[np.float32]:
    """Scale a region (x, y, z) as in training: percentiles to 0 and 1, cut off, standardised.

    Args:
        image: as it was resampled.
        statistics_grid: (x, y, z) voxels in the middle that percentiles, mean and deviation are
            taken from; None is all.
    """
    size = statistics_grid or image.shape
    starts = [max(0, (n - m) // 2) for n, m in zip(image.shape, size, strict=True)]
    inner = tuple(slice(a, a + m) for a, m in zip(starts, size, strict=True))
    low, high = np.percentile(image[inner], (_DARK, _BRIGHT))
    scaled = intensity.scale(image, low, high, _CEILING)
    middle, spread = float(scaled[inner].mean()), float(scaled[inner].std())
    return intensity.standardise(scaled, middle, spread).astype(np.float32)


def _keep_largest(channels: NDArray[np.float32]) -> None:
    """Make background of all but the biggest piece of what is not background."""
    parts, count = ndimage.label(channels.argmax(axis=-1) > 0)
    if count > 1:
        sizes = np.bincount(parts.ravel())[1:]
        loose = (parts > 0) & (parts != 1 + int(sizes.argmax()))
        channels[loose] = np.eye(1, channels.shape[-1], dtype=np.float32)
