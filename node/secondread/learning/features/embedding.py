"""What a trained network makes of an image on its way to an answer: activations, pooled.

Only networks of the allow-list are built, and their weights are read as plain tensors. A network
that has seen a case gives it away: so a fold takes the network of the same fold, and it is held
here that this one was taught without every subject that the fold holds out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from secondread.bundles.manifest import read_manifest, verify
from secondread.config.first_party import first_party_folder
from secondread.errors import DataError, RecipeError
from secondread.inference.worker.networks import build
from secondread.inference.worker.networks.unet3d import UNet3D
from secondread.learning.case import Loaded
from secondread.learning.preprocessing.steps import Preparation, make_preparation
from secondread.learning.recipe import FeatureSet, Recipe, read_recipe
from secondread.learning.training import segmentation
from secondread.learning.training.cases import find_cases, split
from secondread.learning.training.drawing import WEIGHTS_NAME
from secondread.learning.training.plan import RECIPE_NAME, SPLIT_NAME, Plan, digest_split

__all__ = ["FoldNetwork", "Source", "find_source"]

_BESIDE = "./"
_LAYERS: Mapping[str, Callable[[UNet3D], nn.Module]] = MappingProxyType(
    {
        "bottom": lambda net: net.encoders[-1],
        "half": lambda net: net.decoders[0] if len(net.decoders) else net.encoders[-1],
        "full": lambda net: net.full,
    }
)


@dataclass(frozen=True)
class FoldNetwork:
    """A network with the weights of one fold, and what its recipe makes of an image."""

    net: UNet3D
    recipe: Recipe
    preparation: Preparation
    layers: tuple[str, ...]

    def read(
        self, loaded: Loaded, *, drawn: bool = True
    ) -> tuple[dict[str, float], NDArray[np.uint8]]:
        """Look at a case as it was read: what the activations come to, and the labels drawn.

        Args:
            loaded: unprepared, since the network's own recipe says what it takes.
            drawn: whether the labels count; where they do not, mirrored copies are left out.

        Returns:
            The mean and the standard deviation of each channel of each layer, by name, and labels
            (x, y, z) on the grid of the case.
        """
        prepared, training = self.preparation.prepare(loaded), self.recipe.training
        if not drawn:
            training = dataclasses.replace(training, mirror=False)
        with _listening(self.net, self.layers) as heard:
            found = segmentation.segment(self.net, prepared.image, training)
        values = {
            f"{layer}_{channel}_{what}": float(value)
            for layer, (means, deviations) in heard.items()
            for what, row in (("mean", means), ("sd", deviations))
            for channel, value in enumerate(row)
        }
        return values, self.preparation.restore(found, prepared, loaded)


@dataclass(frozen=True)
class Source:
    """Where the networks of all folds come from.

    Attributes:
        recipe: by which they were trained.
        weights: a file for each fold, or one for all of them.
        split: what was written of its folds; '' where they are not known.
    """

    recipe: Recipe
    weights: tuple[Path, ...]
    split: str = ""

    def open(self, wanted: FeatureSet, fold: int, seed: int) -> FoldNetwork:
        """The network of a fold; with weights drawn by ``seed`` where the recipe asks for it.

        Raises:
            DataError: the weights are not there or are another network's.
        """
        widths = segmentation.check(self.recipe)
        classes = len(self.recipe.figures.labels) + 1
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            net = build(
                "unet3d", {"in_channels": 1, "out_channels": classes, "widths": tuple(widths)}
            )
        if not wanted.untrained:
            path = self._weights_of(fold)
            try:
                net.load_state_dict({name: one.float() for name, one in load_file(path).items()})
            except (OSError, RuntimeError) as error:
                raise DataError(f"The weights '{path.name}' cannot be used: {error}") from None
        preparation = make_preparation(self.recipe.preprocessing)
        return FoldNetwork(cast("UNet3D", net.eval()), self.recipe, preparation, wanted.layers)

    def _weights_of(self, fold: int) -> Path:
        """The file of a fold; the only one, where there is one for all of them."""
        place = fold if len(self.weights) > 1 else 0
        if place >= len(self.weights):
            raise DataError(
                f"The network of [features] has {len(self.weights)} files of weights, so fold "
                f"{fold} has none. Give this recipe as many folds."
            )
        return self.weights[place]

    def refuse_taught(self, plan: Plan, fold: int, held_out: Sequence[str]) -> None:
        """Go no further where the network of a fold was taught by a subject that it holds out.

        Raises:
            DataError: so it is, or the data that it was trained on are not there to be compared.
        """
        parts = split(find_cases(self.recipe, plan.data), self.recipe)
        if self.split and self.split != digest_split(parts):
            raise DataError(
                "The network of [features] was trained on other cases than are in the data now, so "
                "it cannot be told which of them taught it. Train it anew, or put the data back."
            )
        if len(self.weights) != len(parts):
            raise DataError(
                f"The network of [features] has {len(self.weights)} files of weights for "
                f"{len(parts)} folds; each fold needs its own."
            )
        blind = {case.subject for case in parts[fold]} if fold < len(parts) else set()
        if taught := sorted(set(held_out) - blind):
            raise DataError(
                f"The network of fold {fold} was taught by {len(taught)} of the {len(held_out)} "
                "subjects that this fold holds out, so its activations would give them away. Give "
                "this recipe the folds and the seed of the network's."
            )


def find_source(wanted: FeatureSet, plan: Plan) -> Source:
    """Find the recipe and the weights of ``network`` of [features].

    Raises:
        RecipeError: it is no network whose activations are known.
        DataError: there is no such run.
        ManifestError: there is no such model, or one of its files was changed.
    """
    if wanted.network.startswith(_BESIDE):
        folder = plan.out.parent / wanted.network.removeprefix(_BESIDE)
        if not (folder / RECIPE_NAME).is_file():
            raise DataError(f"There is no run '{wanted.network}' beside '{plan.out.name}'.")
        recipe = read_recipe(folder / RECIPE_NAME)
        weights = tuple(folder / f"fold{fold}" / WEIGHTS_NAME for fold in range(recipe.folds.count))
        dealt = folder / SPLIT_NAME
    else:
        manifest = read_manifest(first_party_folder(wanted.network))
        verify(manifest)
        path = manifest.folder / "training" / RECIPE_NAME
        if not path.is_file():
            raise RecipeError(f"The model '{manifest.id}' has no recipe, so its folds are unknown.")
        recipe, dealt = read_recipe(path), path.with_name(SPLIT_NAME)
        named: Any = manifest.raw["runtime"].get("weights", [])
        names = [named] if isinstance(named, str) else list(named)
        weights = tuple(manifest.folder / name for name in names)
    if recipe.estimator.kind != "unet3d":
        raise RecipeError(f"'{wanted.network}' is no unet3d, and no other is looked into.")
    return Source(recipe, weights, dealt.read_text("utf-8").strip() if dealt.is_file() else "")


@contextmanager
def _listening(
    net: UNet3D, layers: Sequence[str]
) -> Iterator[dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]]:
    """Collect means and deviations (channel,) of layers, of the first look and no mirrored one."""
    heard: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}

    def make_hook(layer: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            if layer not in heard:
                flat = output[0].flatten(1).double()
                heard[layer] = (flat.mean(1).numpy(), flat.std(1).numpy())

        return hook

    handles = [_LAYERS[layer](net).register_forward_hook(make_hook(layer)) for layer in layers]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()
