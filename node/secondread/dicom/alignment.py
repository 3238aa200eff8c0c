"""Whether planes can be slices of one volume at all: alike in size, direction and spacing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from secondread.dicom.headers import SliceHeader
from secondread.dicom.stacked import Array, StackedPlane, is_placed
from secondread.errors import GeometryError

MINIMUM_SLICES = 3
"""With fewer there are no two gaps to compare, so a missing slice could not be noticed."""
CORNER_TOLERANCE_MM = 0.1
_DIRECTION_TOLERANCE = 1e-3
_SPACING_MINIMUM_MM = 0.01
_NEAR_AN_AXIS_DEGREES = 20.0


def check_planes(planes: Sequence[StackedPlane], headers: Sequence[SliceHeader]) -> None:
    """Raise unless every plane says where it lies.

    Raises:
        GeometryError: ``mosaic``, ``unreadable-geometry``, ``no-geometry`` or
            ``not-enough-slices``.
    """
    if any("MOSAIC" in header.image_type for header in headers):
        _refuse("mosaic", "It is a mosaic: one image holds many slices side by side.")
    bad = sorted({name for item in planes for name in item.plane.unreadable if "Image" in name})
    bad += sorted({name for item in planes for name in item.plane.unreadable if "Spacing" in name})
    if bad:
        _refuse(
            "unreadable-geometry",
            f"{' and '.join(bad)} cannot be read as numbers in at least one image.",
        )
    lacking = [item for item in planes if not is_placed(item.plane)]
    if lacking:
        _refuse(
            "no-geometry",
            f"{len(lacking)} of its {len(planes)} images do not say where they lie in the "
            "patient (position, orientation or pixel spacing is absent).",
        )
    check_count(len(planes))


def check_count(count: int) -> None:
    """Raise ``not-enough-slices`` where there are too few for a volume."""
    if count < MINIMUM_SLICES:
        words = "one slice" if count == 1 else f"{count or 'no'} slices"
        _refuse("not-enough-slices", f"It has {words}; a volume needs {MINIMUM_SLICES}.")


def check_headers(headers: Sequence[SliceHeader]) -> None:
    """Raise ``mixed-sizes`` or ``mixed-frames-of-reference``."""
    sizes = {(header.pixels.rows, header.pixels.columns) for header in headers}
    if len(sizes) > 1:
        listed = ", ".join(f"{rows} x {columns}" for rows, columns in sorted(sizes))
        _refuse("mixed-sizes", f"Its images have different sizes: {listed} (rows x columns).")
    frames = {header.frame_of_reference_uid for header in headers}
    if len(frames) > 1:
        _refuse(
            "mixed-frames-of-reference",
            f"Its images belong to {len(frames)} different frames of reference, so their "
            "positions cannot be compared.",
        )


def common_frame(
    planes: Sequence[StackedPlane], rows: int, columns: int
) -> tuple[Array, Array, Array]:
    """Row direction, column direction and pixel spacing that all planes share.

    Raises:
        GeometryError: ``unreadable-geometry``, ``mixed-orientations`` or ``mixed-spacings``.
    """
    spacings = np.array([item.plane.spacing_mm for item in planes], dtype=np.float64)
    if np.any(spacings < _SPACING_MINIMUM_MM):
        _refuse("unreadable-geometry", "Its Pixel Spacing is zero or negative.")
    directions = np.array(
        [(item.plane.row_direction, item.plane.column_direction) for item in planes],
        dtype=np.float64,
    )
    lengths = np.linalg.norm(directions, axis=2)
    dots = np.einsum("ij,ij->i", directions[:, 0], directions[:, 1])
    if np.any(np.abs(lengths - 1) > _DIRECTION_TOLERANCE) or np.any(
        np.abs(dots) > _DIRECTION_TOLERANCE
    ):
        _refuse(
            "unreadable-geometry",
            "Its Image Orientation (Patient) is not two unit vectors at a right angle.",
        )
    spacing: Array = spacings.mean(axis=0)
    size = np.array([rows - 1, columns - 1])
    mean = directions.mean(axis=0)
    reach = (size * spacing)[::-1]
    if np.any(np.linalg.norm(directions - mean, axis=2) * reach > CORNER_TOLERANCE_MM):
        _refuse(
            "mixed-orientations",
            f"Its images lie in {_orientations(directions)} different orientations, as in a "
            "localizer; a volume needs parallel slices.",
        )
    if np.any(np.abs(spacings - spacing) * size > CORNER_TOLERANCE_MM):
        _refuse("mixed-spacings", "Its images have different pixel spacings.")
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    return mean[0], mean[1], spacing


def orientation_name(normal: Array) -> str:
    """How slices with this normal lie: the nearest axis of the patient, within 20 degrees."""
    shares = np.abs(normal) / np.linalg.norm(normal)
    nearest = int(np.argmax(shares))
    if shares[nearest] < np.cos(np.radians(_NEAR_AN_AXIS_DEGREES)):
        return "oblique"
    return ("sagittal", "coronal", "axial")[nearest]


def _orientations(directions: Array) -> int:
    return max(2, len(np.unique(np.round(directions.reshape(len(directions), 6), 2), axis=0)))


def _refuse(outcome: str, message: str) -> NoReturn:
    raise GeometryError(message, outcome=outcome)
