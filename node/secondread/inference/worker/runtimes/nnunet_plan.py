"""What an nnU-Net folder says of the way from voxels to labels: ``plans.json``, ``dataset.json``.

Names in these files are looked up in tables here; nothing is imported or called because a file
names it, and what is not in a table is an error that names it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from secondread.errors import ManifestError
from secondread.inference.worker.runtimes.intensity import Intensity
from secondread.inference.worker.runtimes.nnunet_grid import Resampling

__all__ = ["NnunetPlan", "read_json", "read_nnunet_plan"]

_SPLINES, _TORCH = "resample_data_or_seg_to_shape", "resample_torch_fornnunet"
_SMALLEST = 1e-8
_HIGHEST_ORDER = 5
_FINEST_MM, _COARSEST_MM = 0.01, 100.0
_ORIENTS_ITSELF = "NibabelIOWithReorient"
_USUAL: Mapping[str, str] = MappingProxyType(
    {"preprocessor_name": "DefaultPreprocessor", "label_manager": "LabelManager"}
)


@dataclass(frozen=True, slots=True)
class NnunetPlan:
    """One configuration.

    Attributes:
        patch: of the network; 2 sides for one of slices.
        spacing_mm: of its axes, as many.
        transpose: which axis of the array (z, y, x) each of its axes is.
        intensity: how an image is normalised.
        masked: whether only what is not 0 is.
        of_image: how it is brought to the spacing.
        of_answer: how an answer is brought back.
        architecture: of the network.
        channels: what it answers, as dataset.json calls it, in their order; '' is background.
        regions: whether each channel decides for itself, later ones over earlier ones.
        orients_itself: whether the images were turned to RAS when they were read.
    """

    patch: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    transpose: tuple[int, int, int]
    intensity: Intensity
    masked: bool
    of_image: Resampling
    of_answer: Resampling
    architecture: Mapping[str, Any]
    channels: tuple[str, ...]
    regions: bool
    orients_itself: bool


def read_nnunet_plan(
    plans: Mapping[str, Any], dataset: Mapping[str, Any], configuration: str
) -> NnunetPlan:
    """Read a configuration.

    Args:
        plans: ``plans.json``.
        dataset: ``dataset.json``.
        configuration: such as ``3d_fullres``.

    Raises:
        ManifestError: it is not there, or asks for what this runtime does not do.
    """
    try:
        chosen = _configuration(plans, configuration)
        channels, regions = _channels(dataset)
        forward = [int(axis) for axis in plans["transpose_forward"]]
        if sorted(forward) != [0, 1, 2]:
            raise ManifestError("The nnU-Net plan has a transpose_forward that is no permutation.")
        patch, spacing_mm = _sides(chosen)
        return NnunetPlan(
            patch=patch,
            spacing_mm=spacing_mm,
            transpose=(forward[0], forward[1], forward[2]),
            intensity=_intensity(plans, chosen),
            masked=bool(chosen["use_mask_for_norm"][0]),
            of_image=_resampling(chosen, "data", 3),
            of_answer=_resampling(chosen, "probabilities", 1),
            architecture=chosen["architecture"],
            channels=channels,
            regions=regions,
            orients_itself=plans.get("image_reader_writer") == _ORIENTS_ITSELF,
        )
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ManifestError(
            f"The plan of this nnU-Net folder is not as nnU-Net writes it: {error!r}. Folders of "
            "before version 2.4 have to be planned again."
        ) from None


def read_json(path: Path) -> Mapping[str, Any]:
    """Read a table.

    Raises:
        ManifestError: it is absent, or not one.
    """
    try:
        found = json.loads(path.read_bytes())
    except (OSError, RecursionError, ValueError) as error:
        raise ManifestError(f"'{path.name}' is not valid JSON: {error}.") from None
    if not isinstance(found, dict):
        raise ManifestError(f"'{path.name}' is no table.")
    return found


def _configuration(plans: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Give a configuration with all that it inherits."""
    every: Mapping[str, Any] = plans["configurations"]
    chosen: dict[str, Any] = {}
    at: str | None = name
    passed: set[str] = set()
    while at is not None and at not in passed:
        if at not in every:
            raise ManifestError(
                f"The nnU-Net plan has no configuration '{at}'; it has: {', '.join(every)}."
            )
        passed.add(at)
        chosen = {**every[at], **chosen}
        at = every[at].get("inherits_from")
    if chosen.get("previous_stage"):
        raise ManifestError(
            f"The configuration '{name}' refines the answer of another one; of such a cascade, "
            "only the first network can be run here."
        )
    for key, usual in _USUAL.items():
        value = chosen.get(key, plans.get(key, usual))
        if value != usual:
            raise ManifestError(f"The nnU-Net plan has the {key} '{value}'; known: {usual}.")
    return chosen


def _sides(chosen: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Give the network's patch and its spacing in mm, both of two axes or both of three."""
    patch = tuple(int(n) for n in chosen["patch_size"])
    spacing_mm = tuple(float(mm) for mm in chosen["spacing"])
    if len(patch) not in {2, 3} or len(spacing_mm) != len(patch) or min(patch) < 1:
        raise ManifestError("The nnU-Net plan has a patch that is none, or not of its spacing.")
    if not all(_FINEST_MM <= mm <= _COARSEST_MM for mm in spacing_mm):
        raise ManifestError(
            f"The nnU-Net plan has a spacing that is not of {_FINEST_MM:g} to {_COARSEST_MM:g} mm."
        )
    return patch, spacing_mm


def _channels(dataset: Mapping[str, Any]) -> tuple[tuple[str, ...], bool]:
    """Give what the network answers, and whether as regions."""
    images = dataset.get("channel_names", dataset.get("modality"))
    if not isinstance(images, dict) or len(images) != 1:
        raise ManifestError(
            "This nnU-Net takes several images at a time; the node gives a model one volume."
        )
    labels = {str(name): value for name, value in dataset["labels"].items() if name != "ignore"}
    regions = any(isinstance(value, list) and len(value) > 1 for value in labels.values())
    if not regions:
        numbers = {int(v[0] if isinstance(v, list) else v): name for name, v in labels.items()}
        if sorted(numbers) != list(range(len(labels))):
            raise ManifestError("The labels of dataset.json are not numbered 0, 1, 2 …")
        return ("", *(numbers[n] for n in sorted(numbers) if n)), False
    names = [name for name, value in labels.items() if value not in (0, [0])]
    if len(dataset["regions_class_order"]) != len(names):
        raise ManifestError("dataset.json gives its regions no regions_class_order.")
    return tuple(names), True


def _intensity(plans: Mapping[str, Any], chosen: Mapping[str, Any]) -> Intensity:
    scheme = chosen["normalization_schemes"][0]
    if scheme == "CTNormalization":
        rows = plans["foreground_intensity_properties_per_channel"]["0"]
        return Intensity(
            "fixed",
            low=float(rows["percentile_00_5"]),
            high=float(rows["percentile_99_5"]),
            mean=float(rows["mean"]),
            deviation=max(float(rows["std"]), _SMALLEST),
        )
    known = {
        "ZScoreNormalization": Intensity("zscore"),
        "NoNormalization": Intensity("none"),
        "RescaleTo01Normalization": Intensity("percentile", low=0, high=100),
        "RGBTo01Normalization": Intensity("fixed", deviation=255),
    }
    if scheme not in known:
        raise ManifestError(
            f"The nnU-Net plan normalises with '{scheme}'; known: CTNormalization, "
            f"{', '.join(known)}."
        )
    return known[scheme]


def _resampling(chosen: Mapping[str, Any], what: str, order: int) -> Resampling:
    function = chosen[f"resampling_fn_{what}"]
    options = chosen[f"resampling_fn_{what}_kwargs"]
    apart = options.get("force_separate_z", False if function == _SPLINES else None)
    if function == _SPLINES:
        orders = int(options.get("order", order)), int(options.get("order_z", 0))
        if not all(0 <= n <= _HIGHEST_ORDER for n in orders):
            raise ManifestError("The nnU-Net plan resamples by splines of an order that none has.")
        return Resampling(*orders, apart)
    if function == _TORCH and options.get("mode", "linear") == "linear":
        return Resampling(1, 0, apart)
    raise ManifestError(
        f"The nnU-Net plan resamples with '{function}'; known: {_SPLINES}, {_TORCH} (linear)."
    )
