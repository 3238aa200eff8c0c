"""The chest on CT by rules: lungs, airways, pulmonary vessels and body, and what they measure.

The steps are in ``chest_anatomy.py``; this module refuses what is no chest and puts the answer
together. ``model.toml`` of ``models/chest_ct`` says what the labels and numbers are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from secondread.domain.answer import AnsweredFinding, AnsweredNumber, ModelAnswer
from secondread.errors import ManifestError
from secondread.inference.worker.algorithms import chest_anatomy as anatomy
from secondread.inference.worker.algorithms.patient_grid import (
    Border,
    Box,
    PatientImage,
    box_of,
    labels_back,
    on_patient_grid,
)
from secondread.inference.worker.prediction import Check, Prediction

__all__ = ["ChestCt"]

LEFT, RIGHT, AIRWAYS, LEFT_VESSELS, RIGHT_VESSELS, BODY = 1, 2, 3, 4, 5, 6
LEFT_BORDER, RIGHT_BORDER = 101, 102
"""Codes on the coarse grid for what the density of each voxel decides."""
BORDERS = (
    Border(LEFT_BORDER, anatomy.LUNG_HU, LEFT, BODY),
    Border(RIGHT_BORDER, anatomy.LUNG_HU, RIGHT, BODY),
)

SPREAD_HU = 500.0
_NO_LIMIT = float(np.finfo(np.float32).max)
BODY_ML = (1500.0, 150_000.0)
SOFT_HU, SOFT_SHARE = (-200.0, 200.0), 0.25
LUNGS_ML = (60.0, 12_000.0)
SIDE_SHARE = 0.03
"""The smaller lung has at least this share of both."""
EDGE_SHARE = 0.45
"""A table or a shoulder may touch the sides of the scan; where more is body, the chest is cut."""
CUT_CM2 = 8.0
"""More lung than this in the first or last plane, and a part of it lies beyond the scan."""
LAA_HU = -950.0
LAA_SLICE_MM = 3.0
# Sharp kernels and those for lung and bone: noise alone puts lung below -950 HU there. The smooth
# and medium ones of each maker, by the names that come through the boundary.
SOFT_KERNEL = re.compile(
    r"[BIJ][123]\d[A-Z]?|(BR|QR|BF)[234]\d[A-Z]?|STANDARD|STND|STD|SOFT|SMOOTH|A|B|FC0\d|FC1[0-8]"
)


@dataclass(frozen=True, slots=True)
class _Found:
    """Both lungs with their vessels, airways, vessels and body, each (x, y, z)."""

    lungs: anatomy.Lungs
    airways: NDArray[np.bool_]
    vessels: NDArray[np.bool_]
    body: NDArray[np.bool_]

    def within(self, box: Box) -> _Found:
        """A part of it."""
        lungs = anatomy.Lungs(self.lungs.left[box], self.lungs.right[box])
        return _Found(lungs, self.airways[box], self.vessels[box], self.body[box])


class ChestCt:
    """Labels a CT of a chest in Hounsfield units."""

    takes = ("attributes",)

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Read the options: ``spacing_mm`` of the grid that all is worked out on.

        Raises:
            ManifestError: there is an option that this algorithm does not have.
        """
        if unknown := set(options) - {"spacing_mm"}:
            raise ManifestError(f"The algorithm 'chest_ct' has no option '{min(unknown)}'.")
        self._spacing_mm = float(options.get("spacing_mm", 2.0))

    def predict(
        self,
        voxels: NDArray[np.generic],
        affine_lps: NDArray[np.float64],
        attributes: Mapping[str, Any] | None = None,
    ) -> Prediction:
        """Label a volume ``(slice, row, column)``, or say why it is no chest."""
        checks = _Checks()
        values = np.asarray(voxels)
        spread = float(values.max()) - float(values.min())
        checks.make("spread_hu", spread, SPREAD_HU, np.inf)
        if not checks.passed():
            return checks.refuse(values.shape, "its values hardly differ")
        image = on_patient_grid(values, affine_lps, self._spacing_mm)
        body = anatomy.body_mask(image)
        checks.make("body_ml", body.sum() * image.voxel_ml, *BODY_ML)
        inside = image.hu[body]
        soft = ((inside > SOFT_HU[0]) & (inside < SOFT_HU[1])).mean() if inside.size else 0.0
        checks.make("soft_tissue_share", float(soft), SOFT_SHARE, 1.0)
        if not checks.passed():
            return checks.refuse(
                values.shape, "it has no body with the Hounsfield units of soft tissue"
            )
        # Nothing is looked for beside the body, but all planes stay: they tell where the scan ends.
        across, along, _ = box_of(body, 2)
        box = (across, along, slice(0, body.shape[2]))
        part = image.within(box)
        found = _find(part, body[box])
        left_ml, right_ml = (
            float(side.sum()) * image.voxel_ml for side in (found.lungs.left, found.lungs.right)
        )
        checks.make("lungs_ml", left_ml + right_ml, *LUNGS_ML)
        if not checks.passed():
            return checks.refuse(
                values.shape,
                f"air-filled lungs of plausible size were not found ({left_ml + right_ml:.0f} mL; "
                f"{LUNGS_ML[0]:.0f} to {LUNGS_ML[1]:.0f} mL would be plausible), and gas of the "
                "bowel is no lung",
            )
        beside = _edge_share(found, body)
        checks.make("body_at_edge_share", beside, 0.0, EDGE_SHARE)
        if not checks.passed():
            return checks.refuse(
                values.shape, "its field of view cuts off the chest at the sides, lungs and all"
            )
        smaller = min(left_ml, right_ml) / (left_ml + right_ml)
        checks.make("smaller_lung_share", smaller, SIDE_SHARE, 0.5)
        if not checks.passed():
            return checks.refuse(values.shape, "only one lung was found in it")
        labels = labels_back(_labels(found), part.grid, values, affine_lps, BORDERS)
        answer = _answer(values, labels, affine_lps, _view(found, part), attributes or {})
        return Prediction(labels, None, tuple(checks.made), answer=answer)


class _Checks:
    """The checks that were made."""

    def __init__(self) -> None:
        self.made: list[Check] = []

    def make(self, name: str, value: float, low: float, high: float) -> None:
        passed = low <= value <= high
        self.made.append(Check(name, float(value), low, min(high, _NO_LIMIT), bool(passed)))

    def passed(self) -> bool:
        return all(check.passed for check in self.made)

    def refuse(self, shape: tuple[int, ...], because: str) -> Prediction:
        reason = (
            f"The image does not look like a CT of a chest: {because}; check that the series "
            "shows the lungs, in Hounsfield units."
        )
        return Prediction(np.zeros(shape, np.uint8), reason, tuple(self.made))


def _find(image: PatientImage, body: NDArray[np.bool_]) -> _Found:
    airways = anatomy.find_airways(image, body)
    lungs = anatomy.find_lungs(image, body, airways)
    if airways.any() and not _belong(airways, lungs):
        # Gas of the stomach or the bowel, which is neither.
        airways = np.zeros_like(airways)
    if not lungs.any():
        return _Found(anatomy.Lungs(lungs, lungs), airways, lungs, body)
    sides = anatomy.split_sides(lungs, body)
    left = anatomy.close_lung(sides.left, image) & body & ~airways & ~sides.right
    right = anatomy.close_lung(sides.right, image) & body & ~airways & ~left
    vessels = anatomy.find_vessels(image, left | right)
    return _Found(anatomy.Lungs(left, right), airways, vessels, body)


def _belong(airways: NDArray[np.bool_], lungs: NDArray[np.bool_]) -> bool:
    """Whether airways begin above the middle of the lungs, as a trachea does."""
    if not lungs.any():
        return False
    planes = np.flatnonzero(lungs.any(axis=(0, 1)))
    return bool(np.flatnonzero(airways.any(axis=(0, 1)))[-1] > (planes[0] + planes[-1]) / 2)


def _labels(found: _Found) -> NDArray[np.uint8]:
    """Labels on the coarse grid, with the borders of the lungs left to the source."""
    labels = np.where(found.body, BODY, 0).astype(np.uint8)
    both = found.lungs.left | found.lungs.right
    box = box_of(both, 2)
    _label_lungs(labels[box], found.within(box))
    labels[found.airways] = AIRWAYS
    return labels


def _label_lungs(labels: NDArray[np.uint8], found: _Found) -> None:
    both = found.lungs.left | found.lungs.right
    for side, label, border, vessels in (
        (found.lungs.left, LEFT, LEFT_BORDER, LEFT_VESSELS),
        (found.lungs.right, RIGHT, RIGHT_BORDER, RIGHT_VESSELS),
    ):
        around = ndimage.binary_dilation(side, anatomy.ball(1.0)) & found.body & ~both
        core = ndimage.binary_erosion(
            side | ~found.body | (both & ~side), anatomy.ball(1.0), border_value=1
        )
        labels[around | (side & ~core)] = border
        labels[side & core] = label
        labels[side & found.vessels] = vessels


def _edge_share(found: _Found, whole: NDArray[np.bool_]) -> float:
    """How much of the sides of the scan is body, at the height of the lungs."""
    planes = (found.lungs.left | found.lungs.right).any(axis=(0, 1))
    body = whole[:, :, planes]
    sides = (body[1], body[-2], body[:, 1], body[:, -2])
    return sum(int(side.sum()) for side in sides) / sum(side.size for side in sides)


def _view(found: _Found, image: PatientImage) -> str:
    """Whether the scan holds both lungs from end to end: a value of the finding."""
    both = found.lungs.left | found.lungs.right
    planes = np.flatnonzero(image.seen.any(axis=(0, 1)))
    cm2 = both.sum(axis=(0, 1)) * image.grid.spacing_mm**2 / 100
    above, below = cm2[planes[-1] - 1] > CUT_CM2, cm2[planes[0] + 1] > CUT_CM2
    if above and below:
        return "cut_above_and_below"
    if above or below:
        return "cut_above" if above else "cut_below"
    return "complete"


def _answer(
    values: NDArray[np.generic],
    labels: NDArray[np.uint8],
    affine_lps: NDArray[np.float64],
    view: str,
    attributes: Mapping[str, Any],
) -> ModelAnswer:
    """Numbers of whole lungs, and whether the lungs are whole."""
    voxel_ml = abs(float(np.linalg.det(affine_lps[:3, :3]))) / 1000
    findings = [AnsweredFinding("lungs_in_view", view)]
    if view != "complete":
        findings.append(AnsweredFinding("emphysema_index", "not_given_partial"))
        return ModelAnswer(findings=tuple(findings))
    counts, sum_hu, low = _measured(values, labels)
    left = float(counts[LEFT] + counts[LEFT_VESSELS]) * voxel_ml
    right = float(counts[RIGHT] + counts[RIGHT_VESSELS]) * voxel_ml
    inside = max(1, int(counts[LEFT] + counts[RIGHT]))
    vessels = float(counts[LEFT_VESSELS] + counts[RIGHT_VESSELS]) * voxel_ml
    numbers = [
        AnsweredNumber("left_lung_volume", left),
        AnsweredNumber("right_lung_volume", right),
        AnsweredNumber("lung_volume", left + right),
        AnsweredNumber("lung_density", sum_hu / inside),
        AnsweredNumber("vessel_volume", vessels),
    ]
    why_not = _emphysema_obstacle(attributes)
    findings.append(AnsweredFinding("emphysema_index", why_not or "given"))
    if why_not is None:
        numbers.append(AnsweredNumber("low_attenuation_950", 100 * low / inside))
    return ModelAnswer(numbers=tuple(numbers), findings=tuple(findings))


def _measured(
    values: NDArray[np.generic], labels: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], float, int]:
    """Voxels of each label; of both lungs without vessels the sum of HU and the voxels below -950.

    A slice at a time, for labels as indices take eight bytes a voxel.
    """
    counts, sum_hu, low = np.zeros(BODY + 1, np.int64), 0.0, 0
    for plane, labelled in zip(values, labels, strict=True):
        counts += np.bincount(labelled.ravel(), minlength=BODY + 1)
        lung = plane[(labelled == LEFT) | (labelled == RIGHT)]
        sum_hu += float(lung.sum(dtype=np.float64))
        low += int((lung < LAA_HU).sum())
    return counts, sum_hu, low


def _emphysema_obstacle(attributes: Mapping[str, Any]) -> str | None:
    """Why LAA-950 would mislead: it is only comparable with thin slices and smooth kernels."""
    thickness, kernel = attributes.get("SliceThickness"), attributes.get("ConvolutionKernel")
    if thickness is None or kernel is None:
        return "not_given_unknown"
    if float(thickness) > LAA_SLICE_MM:
        return "not_given_thick_slices"
    return None if SOFT_KERNEL.fullmatch(str(kernel)) else "not_given_sharp_kernel"
