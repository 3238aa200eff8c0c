"""The features that a recipe asks for, of one case, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from secondread.errors import DataError, RecipeError
from secondread.learning.case import Loaded
from secondread.learning.features.first_order import describe_values
from secondread.learning.features.region import Region
from secondread.learning.features.shape import describe_shape
from secondread.learning.features.texture import describe_texture
from secondread.learning.recipe import FeatureSet, Recipe

__all__ = ["EMBEDDING", "OF_REGIONS", "check_features", "describe", "needs_network"]

_Describe = Callable[[Region, int], dict[str, float]]

EMBEDDING = "embedding"
OF_REGIONS: Mapping[str, _Describe] = MappingProxyType(
    {
        "shape": lambda region, _bins: describe_shape(region),
        "first_order": lambda region, bins: describe_values(region.values, bins),
        "texture": describe_texture,
    }
)
"""Group in a recipe → its features of a region, over so many grey levels."""

REGIONS = ("labels", "network", "image")
LAYERS = ("bottom", "half", "full")
_BINS = range(2, 257)


def check_features(recipe: Recipe) -> FeatureSet:
    """Check ``[features]``; returns it.

    Raises:
        RecipeError: it is absent, names what there is not, or would tell the target.
    """
    wanted = recipe.features
    if wanted is None:
        raise RecipeError("A hybrid lacks the section [features], which says what it learns from.")
    known = (*OF_REGIONS, EMBEDDING)
    _check_among(wanted.groups, known, "'groups'")
    _check_among((wanted.region,), REGIONS, "'region'")
    _check_among(wanted.layers, LAYERS, "'layers'")
    if wanted.bins not in _BINS:
        raise RecipeError(f"'bins' of [features] is {wanted.bins}, but must be 2 to 256.")
    if any(label < 1 for label in wanted.labels):
        raise RecipeError("'labels' of [features] must be numbers of labels, 1 or more.")
    if needs_network(wanted) != bool(wanted.network):
        raise RecipeError(
            "'network' of [features] is needed for an embedding and for regions that a network "
            "draws, and for nothing else."
        )
    if wanted.untrained and wanted.region == "network":
        raise RecipeError("A network that is 'untrained' draws no region; leave one of them out.")
    by_hand = _uses_regions(wanted) and wanted.region == "labels"
    if by_hand and recipe.target is not None and recipe.target.source == "labels":
        raise RecipeError(
            "The target is measured on the label maps, and so would be the features: they would "
            "hold the answer. Take 'region' of [features] from the network or the image."
        )
    return wanted


def needs_network(wanted: FeatureSet) -> bool:
    """Whether features come from a network's activations or from what it draws."""
    return EMBEDDING in wanted.groups or (_uses_regions(wanted) and wanted.region == "network")


def describe(loaded: Loaded, wanted: FeatureSet) -> dict[str, float]:
    """The features of the regions of a prepared case, those of an embedding not among them.

    Args:
        loaded: its labels are those of the regions; with the region ``image`` they do not count.
        wanted: the recipe's, checked.

    Returns:
        By name. Of a region that is empty the ``volume_ml`` and ``voxel_volume_ml`` are 0 and all
        else is NaN, which an estimator takes for unknown.

    Raises:
        DataError: regions are labels, and the case has none.
    """
    spacing_mm = tuple(float(s) for s in np.linalg.norm(loaded.affine_ras[:3, :3], axis=0))
    found: dict[str, float] = {}
    for prefix, mask in _masks(loaded, wanted):
        empty = not mask.any()
        part = np.ones_like(mask) if empty else mask
        region = Region(loaded.image, part, (spacing_mm[0], spacing_mm[1], spacing_mm[2]))
        for group in wanted.groups:
            if group == EMBEDDING:
                continue
            for name, value in OF_REGIONS[group](region, wanted.bins).items():
                if empty:
                    value = 0.0 if name.endswith("volume_ml") else float("nan")
                found[f"{prefix}{group}_{name}"] = value
    return found


def _masks(loaded: Loaded, wanted: FeatureSet) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    if not _uses_regions(wanted):
        return
    if wanted.region == "image":
        yield "", np.ones(loaded.image.shape, np.bool_)
        return
    if loaded.labels is None:
        raise DataError(f"The case {loaded.case.id} has no labels to take features from.")
    if not wanted.labels:
        yield "", loaded.labels > 0
    for label in wanted.labels:
        yield f"label{label}_", loaded.labels == label


def _uses_regions(wanted: FeatureSet) -> bool:
    return any(group != EMBEDDING for group in wanted.groups)


def _check_among(names: tuple[str, ...], known: tuple[str, ...], what: str) -> None:
    if not names:
        raise RecipeError(f"{what} of [features] names nothing; it knows {', '.join(known)}.")
    if bad := [name for name in names if name not in known]:
        raise RecipeError(f"{what} of [features] knows no '{bad[0]}'; it knows {', '.join(known)}.")
