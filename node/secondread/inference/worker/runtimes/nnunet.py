"""Run a folder that nnU-Net v2 has trained; nothing of nnU-Net is needed, and nothing imported.

Keys of `model.toml` that this runtime reads::

    [runtime]              weights = "fold_0/checkpoint_final.pth", or a list of folds whose answers
                           are averaged; all of them, plans.json and dataset.json among [files]
    [runtime.options]      configuration: that of the checkpoint, where absent; step = 0.5: from one
                           window to the next, as a share of it; mirror = true: with the mirrored
                           copies that the checkpoint allows
    [runtime.options.labels]       name in dataset.json = the value of the label that it becomes;
                           where absent, names of dataset.json are those of [[labels]]
    [preprocessing]        orientation: where x, y and z of the training images run to, such as
                           "RAS"; may be left out where the plan says that they were turned
    [envelope]             checks, see `secondread.inference.worker.envelope`

``plans.json`` and ``dataset.json`` lie beside the folders of the folds. In a check, ``classes`` are
labels. Where ``[output]`` promises probabilities, that of a label is the sum over its channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from secondread.bundles.entry import Entry
from secondread.bundles.package import MANIFEST_NAME, faults_of
from secondread.errors import ManifestError
from secondread.inference.worker import envelope
from secondread.inference.worker.networks.plans_unet import build_plans_unet, check_patch
from secondread.inference.worker.prediction import Prediction
from secondread.inference.worker.runtimes import nnunet_grid, windows
from secondread.inference.worker.runtimes.decoding import Decoding
from secondread.inference.worker.runtimes.network_grid import NetworkGrid, is_orientation, lay
from secondread.inference.worker.runtimes.nnunet_labels import Decider
from secondread.inference.worker.runtimes.nnunet_plan import (
    NnunetPlan,
    read_json,
    read_nnunet_plan,
)
from secondread.inference.worker.runtimes.nnunet_weights import (
    Checkpoint,
    fit,
    read_checkpoint,
)
from secondread.inference.worker.runtimes.voxelwise import examine, read_rules, refuse_declarations

__all__ = ["NnunetRuntime"]

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Place:
    """How an array of the plan lies in the source.

    Attributes:
        grid: the axes x, y, z of the training images, at the spacing of the source.
        order: for each axis of the array that of the grid.
    """

    grid: NetworkGrid
    order: tuple[int, ...]

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Along the axes of the array."""
        return tuple(self.grid.spacing_mm[axis] for axis in self.order)

    def put_back(
        self, part: NDArray[np.uint8], box: tuple[slice, ...], shape: tuple[int, ...]
    ) -> NDArray[np.uint8]:
        """Give (slice, row, column) for what lies in a box of an array of this shape."""
        whole = np.zeros(shape, np.uint8)
        whole[box] = part
        return np.ascontiguousarray(self.grid.turn_back(whole.transpose(np.argsort(self.order))))


def _place(
    plan: NnunetPlan,
    orientation: str,
    voxels: NDArray[np.generic],
    affine_lps: NDArray[np.float64],
) -> tuple[_Place, Float32]:
    """Lay an array of the plan over a volume, and fill it."""
    grid = lay(orientation, None, voxels.shape, np.asarray(affine_lps, np.float64))
    # Arrays of nnU-Net are (z, y, x), and then as the plan has them.
    order = tuple(2 - axis for axis in plan.transpose)
    return _Place(grid, order), grid.bring(voxels).transpose(order)


class NnunetRuntime:
    """A loaded folder, ready for any number of volumes."""

    def __init__(self, manifest: Mapping[str, Any], folder: Path, device: str = "cpu") -> None:
        """Load the networks.

        Args:
            manifest: the parsed `model.toml`.
            folder: where the model's files lie; their digests were checked by the caller.
            device: a torch device, such as ``cpu`` or ``cuda:0``.

        Raises:
            ManifestError: the manifest or the plan asks for what there is not, or the weights are
                no nnU-Net checkpoint of that plan.
        """
        with faults_of(folder / MANIFEST_NAME):
            wish = _read_wish(manifest)
            self._rules = read_rules(manifest, cube=False)
        checkpoints = [read_checkpoint(folder / name) for name in wish.weights]
        first = checkpoints[0]
        plans, dataset = (read_json(folder / name) for name in wish.tables)
        self._plan = read_nnunet_plan(plans, dataset, wish.configuration or first.configuration)
        with faults_of(folder / MANIFEST_NAME):
            self._orientation = _orientation(manifest, self._plan)
            self._decider = _decider(manifest, self._plan)
        sides = (*[1] * (3 - len(self._plan.patch)), *self._plan.patch)
        patch = (sides[0], sides[1], sides[2])
        self._windows = nnunet_grid.Tiles(patch=patch, overlap=1 - wish.step)
        axes = first.mirror_axes if wish.mirror else ()
        if any(axis not in range(len(self._plan.patch)) for axis in axes):
            raise ManifestError("The checkpoint mirrors along an axis that its network lacks.")
        self._mirrored = [chosen for n in range(len(axes) + 1) for chosen in combinations(axes, n)]
        self._device = torch.device(device)
        self._networks = [
            _network(self._plan, checkpoint, name).to(self._device)
            for name, checkpoint in zip(wish.weights, checkpoints, strict=True)
        ]

    def predict(self, voxels: NDArray[np.generic], affine_lps: NDArray[np.float64]) -> Prediction:
        """Label a volume ``(slice, row, column)``; ``affine_lps`` maps its voxels to LPS mm.

        Raises:
            ValueError: not a volume, or an affine that cannot be inverted.
            InvalidPredictionError: the network answers values that are not finite.
        """
        checks, refusal = examine(self._rules, voxels, affine_lps)
        nothing = np.zeros(voxels.shape, np.uint8)
        if refusal is not None:
            return Prediction(nothing, refusal, checks)
        plan = self._plan
        place, array = _place(plan, self._orientation, voxels, affine_lps)
        box, inside = nnunet_grid.nonzero_box(array)
        image = plan.intensity.apply(array[box].copy(), inside if plan.masked else None)
        given_mm = place.spacing_mm
        wanted_mm = (*given_mm[: 3 - len(plan.spacing_mm)], *plan.spacing_mm)
        shape = nnunet_grid.new_shape(image.shape, given_mm, wanted_mm)
        seen = plan.of_image.apply(image, shape, given_mm, wanted_mm)
        logits = windows.run(seen, self._windows, self._answer)
        if late := envelope.sort_rules(self._rules)[1]:
            more, refusal = envelope.judge(self._evidence(seen, logits, wanted_mm), late)
            checks += more
            if refusal is not None:
                return Prediction(nothing, refusal, checks)

        def back(number: int) -> Float32:
            return plan.of_answer.apply(logits[number], image.shape, wanted_mm, given_mm)

        found = self._decider.decide(back)
        shares = found.probabilities
        if shares is not None:
            shares = np.stack([place.put_back(part, box, array.shape) for part in shares])
        labels = place.put_back(found.labels, box, array.shape)
        return Prediction(labels, None, checks, shares)

    @torch.inference_mode()
    def _answer(self, image: Float32) -> Float32:
        """Give (channel, x, y, z) for (x, y, z): the mean over folds and mirrored copies."""
        x = torch.from_numpy(image)[None, None].to(self._device)
        flat = len(self._plan.patch) < image.ndim
        x = x[:, :, 0] if flat else x
        total: torch.Tensor | None = None
        for network in self._networks:
            for axes in self._mirrored:
                at = [axis + 2 for axis in axes]
                said = network(x.flip(at)).flip(at).float()
                total = said if total is None else total + said
        assert total is not None
        mean = (total / (len(self._networks) * len(self._mirrored)))[0].cpu().numpy()
        return np.asarray(mean[:, None] if flat else mean, np.float32)

    def _evidence(
        self, image: Float32, logits: Float32, spacing_mm: tuple[float, ...]
    ) -> envelope.Evidence:
        """What checks look at, on the network's grid; its spacing is that of a cube as big."""
        decoding = Decoding(
            "sigmoid" if self._plan.regions else "softmax",
            "threshold" if self._plan.regions else "argmax",
            self._decider.labels,
        )
        shares = decoding.activate(logits.copy())
        found = decoding.judge(lambda number: shares[number])
        return envelope.Evidence(
            foreground=None,
            image=image,
            classes=found.labels,
            confidence=found.confidence,
            spacing_mm=math.prod(spacing_mm) ** (1 / 3),
        )


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a manifest says of the way, besides labels; see the head of this module."""

    weights: tuple[str, ...]
    tables: tuple[str, str]
    configuration: str
    step: float
    mirror: bool


def _read_wish(manifest: Mapping[str, Any]) -> _Wish:
    refuse_declarations(manifest)
    given = manifest["runtime"]["weights"]
    names = (given,) if isinstance(given, str) else tuple(given)
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError("its weights are neither a file nor a list of files")
    options = manifest["runtime"].get("options", {})
    entry = Entry("[runtime.options]", options, ("configuration", "step", "mirror", "labels"))
    step = entry.number("step") if entry.has("step") else 0.5
    if not 0 < step <= 1:
        raise entry.fault(f"has the step {step:g}; it lies between 0 and 1")
    place = PurePosixPath(names[0]).parent.parent
    tables = (str(place / "plans.json"), str(place / "dataset.json"))
    if absent := [name for name in (*tables, *names) if name not in manifest["files"]]:
        raise ValueError(f"'{absent[0]}' is not among [files]")
    return _Wish(
        weights=names,
        tables=tables,
        configuration=entry.text("configuration") if entry.has("configuration") else "",
        step=step,
        mirror=entry.switch("mirror") if entry.has("mirror") else True,
    )


def _network(plan: NnunetPlan, checkpoint: Checkpoint, name: str) -> torch.nn.Module:
    try:
        empty = build_plans_unet(plan.architecture, 1, len(plan.channels))
        check_patch(plan.architecture, plan.patch)
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ManifestError(f"The network of the nnU-Net plan: {error}.") from None
    return fit(empty, checkpoint, name)


def _orientation(manifest: Mapping[str, Any], plan: NnunetPlan) -> str:
    entry = Entry("[preprocessing]", manifest.get("preprocessing", {}), ("orientation",))
    if not entry.has("orientation") and not plan.orients_itself:
        raise entry.fault(
            "lacks the key 'orientation': nnU-Net took the images of this training as they lay in "
            "their files, and only who made it knows where x, y and z ran to"
        )
    orientation = entry.text("orientation", "RAS")
    if not is_orientation(orientation):
        raise entry.fault(f"has the orientation '{orientation}', which is not three letters")
    return orientation


def _decider(manifest: Mapping[str, Any], plan: NnunetPlan) -> Decider:
    """Give each channel its label."""
    values = {str(row["name"]): int(row["value"]) for row in manifest.get("labels", ())}
    given = manifest["runtime"].get("options", {}).get("labels", values)
    names = set(plan.channels)
    if unknown := sorted(set(given) - names):
        raise ValueError(
            f"dataset.json has no label '{unknown[0]}'; it has: {sorted(names - {''})}"
        )
    if lost := [value for value in given.values() if value not in values.values()]:
        raise ValueError(f"a label of dataset.json becomes {lost[0]!r}, which [[labels]] lacks")
    labels = tuple(int(given.get(name, 0)) for name in plan.channels)
    promised = manifest.get("output", {}).get("probabilities", False)
    return Decider(labels, plan.regions, len(values) if promised else 0)
