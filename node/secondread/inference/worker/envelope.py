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
network runs. docs/models.md has the table of measures and their arguments.
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

__all__ = ["IMAGE_MEASURES", "MEASURES", "SIDES", "Evidence", "judge", "sort_rules"]

Limits = Mapping[str, Any]

SIDES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "right": (0, 1),
        "left": (0, -1),
        "front": (1, 1),
        "back": (1, -1),
        "top": (2, 1),
        "bottom": (2, -1),
    }
)
"""Where a check looks, as the patient has it: axis of a RAS grid, and which way along it."""
EDGE_MM = 6.0
"""How near to the end of what was scanned a structure is cut; a network is not sure at the edge."""
OUTERMOST_PERCENT = 1.0
"""A structure reaches as far as all but so much of it: a few stray voxels are no brain."""
MIDDLE_PERCENT = (5.0, 95.0)
"""Between which planes none may be blank: at the ends a stray voxel may stand alone."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What checks may look at, on the canonical grid.

    Attributes:
        foreground: the object that was found, or None.
        voxels: (slice, row, column), the image as it came, or None.
        image: (x, y, z) float32, normalised.
        classes: (x, y, z) uint8, the network's class per voxel, dropped classes included.
        confidence: (x, y, z) float32, probability of that class.
        right: (x, y, z) bool, right side of the patient, or None for a model without sides.
        scanned: (x, y, z) bool, what lies within the image as it came; None is all of the grid.
        spacing_mm: spacing of the grid.
    """

    foreground: Foreground | None
    voxels: NDArray[np.generic] | None = None
    image: NDArray[np.float32] | None = None
    classes: NDArray[np.uint8] | None = None
    confidence: NDArray[np.float32] | None = None
    right: NDArray[np.bool_] | None = None
    scanned: NDArray[np.bool_] | None = None
    spacing_mm: float = 1.0

    def chosen(self, classes: Sequence[int]) -> NDArray[np.bool_]:
        """Give the voxels of some classes."""
        assert self.classes is not None
        return np.isin(self.classes, classes)

    def within_scan(self, classes: Sequence[int]) -> NDArray[np.bool_]:
        """Give the voxels of some classes that were scanned; networks guess beyond, too."""
        chosen = self.chosen(classes)
        return chosen if self.scanned is None else chosen & self.scanned

    def volume_ml(self, classes: Sequence[int]) -> float:
        """Give the volume of some classes."""
        return float(self.chosen(classes).sum()) * self.spacing_mm**3 / 1000


def _foreground_ml(evidence: Evidence, check: Limits) -> float:
    return evidence.foreground.volume_ml if evidence.foreground else 0.0


def _foreground_extent_mm(evidence: Evidence, check: Limits) -> float:
    """Smallest extent of the object along the patient's axes."""
    return min(evidence.foreground.extent_mm) if evidence.foreground else 0.0


def _share_below(evidence: Evidence, check: Limits) -> float:
    """Share of the image's own voxels below ``value``, such as air in Hounsfield units."""
    if evidence.voxels is None or not evidence.voxels.size:
        return 0.0
    return float(np.count_nonzero(evidence.voxels < check["value"]) / evidence.voxels.size)


def _blank_planes(evidence: Evidence, check: Limits) -> float:
    """Number of planes of the image, along any axis, that are blank between two that are not."""
    if evidence.voxels is None or not evidence.voxels.size:
        return 0.0
    blank = 0
    for axis in range(evidence.voxels.ndim):
        others = tuple(one for one in range(evidence.voxels.ndim) if one != axis)
        filled = np.flatnonzero(
            evidence.voxels.max(axis=others) != evidence.voxels.min(axis=others)
        )
        inner = filled[_within(filled, *MIDDLE_PERCENT)]
        if len(inner):
            blank += int(inner[-1] - inner[0] + 1 - len(inner))
    return float(blank)


def _within(values: NDArray[np.intp], low: float, high: float) -> NDArray[np.bool_]:
    """Tell which values lie between two percentiles of them."""
    if not len(values):
        return np.zeros(0, np.bool_)
    ends = np.percentile(values, (low, high))
    return np.asarray((values >= ends[0]) & (values <= ends[1]), np.bool_)


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


def _cut_cm2(evidence: Evidence, check: Limits) -> float:
    """Section of some classes at the end of what was scanned, looking towards ``side``."""
    axis, way = SIDES[check["side"]]
    found = np.moveaxis(evidence.within_scan(check["classes"]), axis, 0)[::way]
    beyond = np.zeros_like(found)
    if evidence.scanned is not None:
        beyond = ~np.moveaxis(evidence.scanned, axis, 0)[::way]
    at_end = np.zeros(found.shape[1:], np.bool_)
    for step in range(1, round(EDGE_MM / evidence.spacing_mm) + 1):
        at_end |= (found[:-step] & beyond[step:]).any(axis=0) | found[-step:].any(axis=0)
    return float(at_end.sum()) * evidence.spacing_mm**2 / 100


def _reach_mm(evidence: Evidence, check: Limits) -> float:
    """How far some classes reach to one ``side`` from the middle of others (``from``).

    0 when there is none of the one or of the other.
    """
    axis, way = SIDES[check["side"]]
    there = np.nonzero(evidence.within_scan(check["classes"]))[axis]
    middle = np.nonzero(evidence.within_scan(check["from"]))[axis]
    if not len(there) or not len(middle):
        return 0.0
    percent = OUTERMOST_PERCENT if way < 0 else 100 - OUTERMOST_PERCENT
    return float(way * (np.percentile(there, percent) - middle.mean())) * evidence.spacing_mm


def _explained(evidence: Evidence, check: Limits) -> float:
    """How much of the image's variance within some classes the classes explain (eta squared).

    It looks at the image, not at what the network says of itself: where labels follow what is to be
    seen, voxels of one class are alike, and those of different classes are not.
    """
    assert evidence.image is not None
    assert evidence.classes is not None
    inside = evidence.within_scan(check["classes"])
    values, classes = evidence.image[inside].astype(np.float64), evidence.classes[inside]
    if not len(values) or not values.var() > 0:
        return 0.0
    count = np.maximum(np.bincount(classes), 1)
    means = np.bincount(classes, values) / count
    return float(np.mean((means[classes] - values.mean()) ** 2) / values.var())


def _brightness(evidence: Evidence, check: Limits) -> float:
    """Mean of the image within some classes over that within others (``of``); 0 without any."""
    assert evidence.image is not None
    inside, others = (evidence.within_scan(check[key]) for key in ("classes", "of"))
    if not inside.any() or not others.any():
        return 0.0
    whole = float(evidence.image[others].mean(dtype=np.float64))
    return float(evidence.image[inside].mean(dtype=np.float64)) / whole if whole > 0 else 0.0


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
    {
        "foreground_ml": _foreground_ml,
        "foreground_extent_mm": _foreground_extent_mm,
        "share_below": _share_below,
        "blank_planes": _blank_planes,
    }
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
        "cut_cm2": _cut_cm2,
        "reach_mm": _reach_mm,
        "explained": _explained,
        "brightness": _brightness,
    }
)
"""Name in a manifest → measure."""
_ARGUMENTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(("foreground_ml", "foreground_extent_mm", "blank_planes"), ()),
        **dict.fromkeys(("volume_ml", "confidence", "asymmetry"), ("classes",)),
        **dict.fromkeys(("connected", "explained"), ("classes",)),
        **dict.fromkeys(("share", "brightness"), ("classes", "of")),
        "share_below": ("value",),
        "cut_cm2": ("classes", "side"),
        "reach_mm": ("classes", "from", "side"),
        "layout_mm": ("layout",),
    }
)
"""What each measure cannot do without."""
_PLACE_PARTS = 4


def sort_rules(rules: Sequence[Limits]) -> tuple[list[Limits], list[Limits]]:
    """Split checks into those that need only the image and those that need the answer.

    Raises:
        ValueError: a rule names a measure or a side that does not exist, lacks something, or has a
            value of the wrong kind.
    """
    for rule in rules:
        if rule["measure"] not in MEASURES:
            known = ", ".join(sorted(MEASURES))
            raise ValueError(f"Unknown measure {rule['measure']!r}; known measures: {known}")
        if rule.get("side", "top") not in SIDES:
            raise ValueError(f"Unknown side {rule['side']!r}; known sides: {', '.join(SIDES)}")
        _check_rule(rule)
    early = [rule for rule in rules if rule["measure"] in IMAGE_MEASURES]
    return early, [rule for rule in rules if rule["measure"] not in IMAGE_MEASURES]


def _check_rule(rule: Limits) -> None:
    """Find at the beginning what would else stop a model in the middle of its work.

    Raises:
        ValueError: there is something.
    """
    what = f"The check '{rule.get('name', rule['measure'])}' of the envelope"
    for key in ("name", "refusal", *_ARGUMENTS[rule["measure"]]):
        if key not in rule:
            raise ValueError(f"{what} lacks the key '{key}'")
    for key in {"low", "high", "value", "min_ml", "missing_mm"} & set(rule):
        if type(rule[key]) not in {int, float}:
            raise ValueError(f"{what} has a {key} that is no number")
    for key in {"classes", "of", "from"} & set(rule):
        if not isinstance(rule[key], list | tuple) or any(type(n) is not int for n in rule[key]):
            raise ValueError(f"{what} has {key} that are no list of whole numbers")
    if any(len(row) != _PLACE_PARTS for row in rule.get("layout", ())):
        raise ValueError(f"{what} has a layout whose rows are not [class, x, y, z]")
    try:
        str(rule["refusal"]).format(value=0.0, low=0.0, high=0.0)
    except (AttributeError, LookupError, ValueError):
        raise ValueError(
            f"{what} has a refusal with something in braces that is not value, low or high"
        ) from None


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
