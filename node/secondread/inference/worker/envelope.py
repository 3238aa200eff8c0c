"""The `[envelope]` of a manifest: declared plausibility checks on a model's own answer.

A check is a table in the manifest::

    [[envelope.checks]]
    name = "brain_volume_ml"
    measure = "volume_ml"         # a key of MEASURES
    classes = [1, 2, 3]           # arguments of that measure
    low = 600.0
    high = 2200.0
    refusal = "The image does not look like a human head: it holds {value:.0f} mL of brain."

The first check that fails gives the refusal. Checks that need only the image are made before the
network runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from secondread.inference.worker.canonical import Foreground
from secondread.inference.worker.prediction import Check

__all__ = ["IMAGE_MEASURES", "MEASURES", "Evidence", "judge", "sort_rules"]

Limits = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What checks may look at, on the canonical grid.

    Attributes:
        foreground: the object that was found, or None.
        image: (x, y, z) float32, normalised.
        classes: (x, y, z) uint8, the network's class per voxel, dropped classes included.
        confidence: (x, y, z) float32, probability of that class.
        right: (x, y, z) bool, right side of the patient, or None for a model without sides.
        spacing_mm: spacing of the grid.
    """

    foreground: Foreground | None
    image: NDArray[np.float32] | None = None
    classes: NDArray[np.uint8] | None = None
    confidence: NDArray[np.float32] | None = None
    right: NDArray[np.bool_] | None = None
    spacing_mm: float = 1.0

    def chosen(self, classes: Sequence[int]) -> NDArray[np.bool_]:
        """Give the voxels of some classes."""
        assert self.classes is not None
        return np.isin(self.classes, classes)

    def volume_ml(self, classes: Sequence[int]) -> float:
        """Give the volume of some classes."""
        return float(self.chosen(classes).sum()) * self.spacing_mm**3 / 1000


def _foreground_ml(evidence: Evidence, check: Limits) -> float:
    return evidence.foreground.volume_ml if evidence.foreground else 0.0


def _foreground_extent_mm(evidence: Evidence, check: Limits) -> float:
    """Smallest extent of the object along the patient's axes."""
    return min(evidence.foreground.extent_mm) if evidence.foreground else 0.0


def _volume_ml(evidence: Evidence, check: Limits) -> float:
    return evidence.volume_ml(check["classes"])


def _confidence(evidence: Evidence, check: Limits) -> float:
    """Mean probability of the winning class inside some classes."""
    inside = evidence.chosen(check["classes"])
    assert evidence.confidence is not None
    return float(evidence.confidence[inside].mean()) if inside.any() else 0.0


def _share(evidence: Evidence, check: Limits) -> float:
    """Volume of some classes over the volume of others (``of``)."""
    whole = evidence.volume_ml(check["of"])
    return evidence.volume_ml(check["classes"]) / whole if whole else 0.0


def _asymmetry(evidence: Evidence, check: Limits) -> float:
    """|left - right| / (left + right) of some classes; 1 when there are none."""
    inside = evidence.chosen(check["classes"])
    if evidence.right is None or not inside.any():
        return 1.0
    right = float((inside & evidence.right).sum()) / float(inside.sum())
    return abs(2 * right - 1)


def _connected(evidence: Evidence, check: Limits) -> float:
    """Share of some classes that lies in their biggest connected piece."""
    parts, count = ndimage.label(evidence.chosen(check["classes"]))
    sizes = np.bincount(parts.ravel())[1:]
    return float(sizes.max() / sizes.sum()) if count else 0.0


def _layout_mm(evidence: Evidence, check: Limits) -> float:
    """How far the structures' centroids lie from a reference layout, root mean square in mm.

    ``layout`` is a list of [class, x, y, z] in RAS mm. Position, size and turn of the head are
    fitted away; a structure that was not found counts as ``missing_mm`` away.
    """
    found, expected, missing = [], [], 0
    for number, *place in check["layout"]:
        at = np.argwhere(evidence.chosen([int(number)]))
        if len(at) * evidence.spacing_mm**3 / 1000 < float(check.get("min_ml", 0.2)):
            missing += 1
        else:
            found.append(at.mean(axis=0) * evidence.spacing_mm)
            expected.append(place)
    squares = missing * float(check.get("missing_mm", 40.0)) ** 2
    if len(found) >= 4:
        squares += _misfit_mm2(np.array(expected, float), np.array(found, float))
    return math.sqrt(squares / max(1, len(check["layout"])))


def _misfit_mm2(reference: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """Sum of squared residuals after the best similarity transform (Umeyama 1991)."""
    a, b = reference - reference.mean(axis=0), found - found.mean(axis=0)
    u, s, vt = np.linalg.svd(a.T @ b)
    s[-1] *= np.sign(np.linalg.det(u @ vt))
    u[:, -1] *= np.sign(np.linalg.det(u @ vt))
    scale = np.clip(s.sum() / (a**2).sum(), 0.7, 1.4)
    return float(((b - scale * a @ u @ vt) ** 2).sum())


Measure = Callable[[Evidence, Limits], float]
IMAGE_MEASURES: Mapping[str, Measure] = MappingProxyType(
    {"foreground_ml": _foreground_ml, "foreground_extent_mm": _foreground_extent_mm}
)
"""Measures that need no network."""
MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        **IMAGE_MEASURES,
        "volume_ml": _volume_ml,
        "confidence": _confidence,
        "share": _share,
        "asymmetry": _asymmetry,
        "connected": _connected,
        "layout_mm": _layout_mm,
    }
)
"""Name in a manifest → measure."""


def sort_rules(rules: Sequence[Limits]) -> tuple[list[Limits], list[Limits]]:
    """Split checks into those that need only the image and those that need the answer.

    Raises:
        ValueError: a rule names a measure that does not exist.
    """
    for rule in rules:
        if rule["measure"] not in MEASURES:
            known = ", ".join(sorted(MEASURES))
            raise ValueError(f"Unknown measure {rule['measure']!r}; known measures: {known}")
    early = [rule for rule in rules if rule["measure"] in IMAGE_MEASURES]
    return early, [rule for rule in rules if rule["measure"] not in IMAGE_MEASURES]


def judge(evidence: Evidence, rules: Sequence[Limits]) -> tuple[tuple[Check, ...], str | None]:
    """Make checks; give them all, and the refusal of the first that failed."""
    checks: list[Check] = []
    refusal: str | None = None
    for rule in rules:
        low, high = float(rule.get("low", -math.inf)), float(rule.get("high", math.inf))
        value = MEASURES[rule["measure"]](evidence, rule)
        check = Check(str(rule["name"]), value, low, high, low <= value <= high)
        checks.append(check)
        if not check.passed and refusal is None:
            refusal = str(rule["refusal"]).format(value=value, low=low, high=high)
    return tuple(checks), refusal
