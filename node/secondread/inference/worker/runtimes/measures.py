"""What the classical runtime can say besides labels, as a model package asks for it.

::

    [runtime.options]
    softness = 50.0             # probabilities fall from 1 to 0 over so much around low and high

    [[runtime.options.numbers]]
    id = "spots"                # as [[output.numbers]] declares it
    measure = "pieces"          # pieces, or extent_mm: the longest side of the box around all
    label = 2

    [[runtime.options.findings]]
    id = "spots_seen"
    measure = "pieces"
    label = 2
    above = 0.5                 # the finding's value is yes above this, no otherwise
    yes = "present"
    no = "absent"

    [[runtime.options.places]]
    id = "largest_spot"         # the middle of the largest piece, where there is one
    label = 2

    [[runtime.options.maps]]
    id = "smooth"               # the values, smoothed
    smoothing_mm = 2.0
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from secondread.domain.answer import (
    AnsweredFinding,
    AnsweredNumber,
    AnsweredPlace,
    ModelAnswer,
)
from secondread.errors import ManifestError

__all__ = ["MEASURES", "Measured", "answer", "check_options", "maps"]


@dataclass(frozen=True, slots=True)
class Measured:
    """A labelled volume: values and labels are ``(slice, row, column)``."""

    values: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    spacing_mm: npt.NDArray[np.float64]


def _pieces(volume: Measured, label: int) -> float:
    return float(ndimage.label(volume.labels == label)[1])


def _extent_mm(volume: Measured, label: int) -> float:
    found = ndimage.find_objects((volume.labels == label).view(np.uint8))
    if not found:
        return 0.0
    sides = np.array([part.stop - part.start for part in found[0]])
    return float((sides * volume.spacing_mm).max())


MEASURES: Mapping[str, Callable[[Measured, int], float]] = MappingProxyType(
    {"pieces": _pieces, "extent_mm": _extent_mm}
)
"""Name in a manifest → measure of one label."""

_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "numbers": ("id", "measure", "label"),
        "findings": ("id", "measure", "label", "above", "yes", "no"),
        "places": ("id", "label"),
        "maps": ("id", "smoothing_mm"),
    }
)


def check_options(options: Mapping[str, Any]) -> None:
    """Look for what ``answer`` and ``maps`` could not do.

    Raises:
        ManifestError: an entry lacks something, or names a measure that does not exist.
    """
    for kind, keys in _KEYS.items():
        for row in options.get(kind, ()):
            if absent := [key for key in keys if key not in row]:
                raise ManifestError(
                    f"One of the {kind} of the classical runtime lacks the key '{absent[0]}'."
                )
            if "measure" in keys and row["measure"] not in MEASURES:
                raise ManifestError(
                    f"One of the {kind} of the classical runtime asks for the measure "
                    f"'{row['measure']}'; known: {', '.join(sorted(MEASURES))}."
                )


def answer(volume: Measured, options: Mapping[str, Any]) -> ModelAnswer:
    """The numbers, findings and places that the options ask for."""
    return ModelAnswer(
        numbers=tuple(
            AnsweredNumber(str(row["id"]), _measure(volume, row))
            for row in options.get("numbers", ())
        ),
        findings=tuple(
            AnsweredFinding(
                str(row["id"]),
                str(row["yes"] if _measure(volume, row) > float(row["above"]) else row["no"]),
            )
            for row in options.get("findings", ())
        ),
        places=tuple(
            AnsweredPlace(str(row["id"]), (middle,))
            for row in options.get("places", ())
            if (middle := _middle(volume.labels == int(row["label"]))) is not None
        ),
    )


def maps(volume: Measured, options: Mapping[str, Any]) -> dict[str, npt.NDArray[np.float32]]:
    """The maps that the options ask for, by their names."""
    return {
        str(row["id"]): ndimage.gaussian_filter(
            volume.values, float(row["smoothing_mm"]) / volume.spacing_mm
        )
        for row in options.get("maps", ())
    }


def _measure(volume: Measured, row: Mapping[str, Any]) -> float:
    return MEASURES[row["measure"]](volume, int(row["label"]))


def _middle(mask: npt.NDArray[np.bool_]) -> tuple[float, float, float] | None:
    """The voxel of the largest piece that is nearest to its centre of mass."""
    parts, count = ndimage.label(mask)
    if not count:
        return None
    at = np.argwhere(parts == 1 + int(np.bincount(parts.ravel())[1:].argmax()))
    nearest = at[((at - at.mean(axis=0)) ** 2).sum(axis=1).argmin()]
    return float(nearest[0]), float(nearest[1]), float(nearest[2])
