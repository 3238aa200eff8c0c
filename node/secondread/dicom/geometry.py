"""From image planes to one volume: order, affine, and an exact refusal where there is none.

What is tolerated is the jitter of decimal strings, 16 characters at most and often fewer (PS3.5
table 6.2-1), and nothing else:

- a slice may lie `position_tolerance_mm` off the even grid that the volume stands for: 2 % of the
  distance between slices, at least 0.02 mm, at most 0.1 mm;
- directions and pixel spacings may differ so little that no corner voxel moves by 0.1 mm;
- the stack may lean by 0.25 degrees, which the affine then contains exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from secondread.dicom.headers import SliceHeader
from secondread.dicom.planes import Plane
from secondread.errors import GeometryError

Array = npt.NDArray[np.float64]

MINIMUM_SLICES = 3
"""With fewer there are no two gaps to compare, so a missing slice could not be noticed."""
LEAN_TOLERANCE_DEGREES = 0.25
CORNER_TOLERANCE_MM = 0.1
SAME_POSITION_MM = 0.05
"""Two slices nearer than this are at one place."""
_DIRECTION_TOLERANCE = 1e-3
_NAMED_GAPS_MAX = 3
_SPACING_MINIMUM_MM = 0.01


def position_tolerance_mm(spacing_mm: float) -> float:
    """How far a slice may lie from its place on the even grid."""
    return min(max(0.02, 0.02 * spacing_mm), 0.1)


@dataclass(frozen=True, slots=True)
class StackedPlane:
    """A slice of a volume: which header it came from, and which of its planes it is."""

    header: int
    plane: Plane


@dataclass(frozen=True, slots=True)
class Stack:
    """Planes in the order of the volume.

    Attributes:
        planes: slice 0 first; the positions grow along ``row_direction x column_direction``.
        affine_lps: 4 x 4; ``affine_lps @ (slice, row, column, 1)`` is LPS mm.
        rows: rows of every slice.
        columns: columns of every slice.
    """

    planes: tuple[StackedPlane, ...]
    affine_lps: Array
    rows: int
    columns: int

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels along (slice, row, column)."""
        lengths = np.linalg.norm(self.affine_lps[:3, :3], axis=0)
        return float(lengths[0]), float(lengths[1]), float(lengths[2])


def stack(headers: Sequence[SliceHeader]) -> Stack:
    """Order the planes of one series and fit the affine.

    Raises:
        GeometryError: the outcome is one of ``mosaic``, ``no-geometry``, ``unreadable-geometry``,
            ``not-enough-slices``, ``mixed-sizes``, ``mixed-frames-of-reference``,
            ``mixed-spacings``, ``mixed-orientations``, ``duplicate-positions``,
            ``gantry-tilt``, ``displaced-slices``, ``missing-slices``, ``uneven-spacing`` or
            ``no-frame-of-reference``.
    """
    planes = [
        StackedPlane(at, plane) for at, header in enumerate(headers) for plane in header.planes
    ]
    _check_planes(planes, headers)
    _check_headers(headers)
    rows, columns = headers[0].pixels.rows, headers[0].pixels.columns
    row, column, spacing = _common_frame(planes, rows, columns)
    normal = np.cross(row, column)
    positions = np.array([item.plane.position_mm for item in planes], dtype=np.float64)
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    ordered = tuple(planes[index] for index in order)
    positions, along = positions[order], along[order]
    names = [_name(headers[item.header], item.plane) for item in ordered]
    _check_duplicates(along, names)
    _check_line(positions, along, normal)
    _check_gaps(along, names)
    if not headers[0].frame_of_reference_uid:
        # Type 1 (PS3.3 C.7.4.1); without it no result can say in which space it lies.
        _refuse("no-frame-of-reference", "Its images name no Frame of Reference UID.")
    step = (positions[-1] - positions[0]) / (len(ordered) - 1)
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = column * spacing[0]
    affine[:3, 2] = row * spacing[1]
    affine[:3, 3] = positions[0]
    return Stack(ordered, affine, rows, columns)


def _refuse(outcome: str, message: str) -> NoReturn:
    raise GeometryError(message, outcome=outcome)


def _check_headers(headers: Sequence[SliceHeader]) -> None:
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


def _check_planes(planes: Sequence[StackedPlane], headers: Sequence[SliceHeader]) -> None:
    if any("MOSAIC" in header.image_type for header in headers):
        _refuse("mosaic", "It is a mosaic: one image holds many slices side by side.")
    bad = sorted({name for item in planes for name in item.plane.unreadable if "Image" in name})
    bad += sorted({name for item in planes for name in item.plane.unreadable if "Spacing" in name})
    if bad:
        _refuse(
            "unreadable-geometry",
            f"{' and '.join(bad)} cannot be read as numbers in at least one image.",
        )
    lacking = [item for item in planes if not _placed(item.plane)]
    if lacking:
        _refuse(
            "no-geometry",
            f"{len(lacking)} of its {len(planes)} images do not say where they lie in the "
            "patient (position, orientation or pixel spacing is absent).",
        )
    if len(planes) < MINIMUM_SLICES:
        count = "one slice" if len(planes) == 1 else f"{len(planes) or 'no'} slices"
        _refuse("not-enough-slices", f"It has {count}; a volume needs {MINIMUM_SLICES}.")


def _placed(plane: Plane) -> bool:
    return not (
        plane.position_mm is None
        or plane.row_direction is None
        or plane.column_direction is None
        or plane.spacing_mm is None
    )


def _common_frame(
    planes: Sequence[StackedPlane], rows: int, columns: int
) -> tuple[Array, Array, Array]:
    """Row direction, column direction and pixel spacing that all planes share."""
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


def _orientations(directions: Array) -> int:
    return max(2, len(np.unique(np.round(directions.reshape(len(directions), 6), 2), axis=0)))


def _check_duplicates(along: Array, names: Sequence[str]) -> None:
    """Raise when two slices lie at one place along the normal."""
    gaps = np.diff(along)
    same = gaps <= min(SAME_POSITION_MM, 0.1 * float(gaps.max()))
    if not same.any():
        return
    places = len(along) - int(same.sum())
    first = int(np.argmax(same))
    if len(along) % places == 0 and places > 1:
        how = (
            f"Each of its {places} positions occurs {len(along) // places} times, as with several "
            "echoes, phases or channels in one series"
        )
    else:
        how = f"{int(same.sum()) + 1} or more of its {len(along)} images share a position"
    _refuse(
        "duplicate-positions", f"{how}; the first two are {names[first]} and {names[first + 1]}."
    )


def _check_line(positions: Array, along: Array, normal: Array) -> None:
    """Raise unless the positions lie on a straight line along the normal.

    This goes before the gaps: a slice that is sent again mends a gap, but never a tilt.
    """
    extent_mm = float(along[-1] - along[0])
    tolerance = 2 * position_tolerance_mm(extent_mm / (len(along) - 1))
    lateral = positions - positions[0] - np.outer(along - along[0], normal)
    drift = lateral[-1]
    beside = np.linalg.norm(lateral - np.outer((along - along[0]) / extent_mm, drift), axis=1)
    if np.any(beside > tolerance):
        _refuse(
            "displaced-slices",
            "Its slices do not lie on one straight line: one is "
            f"{float(beside.max()):.2f} mm beside it.",
        )
    drift_mm = float(np.linalg.norm(drift))
    lean = float(np.degrees(np.arctan2(drift_mm, extent_mm)))
    if lean > LEAN_TOLERANCE_DEGREES and drift_mm > tolerance:
        _refuse(
            "gantry-tilt",
            "Its slices are not at a right angle to their stack: the gantry was tilted by "
            f"{lean:.1f} degrees.",
        )


def _check_gaps(along: Array, names: Sequence[str]) -> None:
    """Raise unless the distances along the normal, in mm, are even."""
    gaps = np.diff(along)
    multiples = np.round(gaps / gaps.min())
    unit = float(gaps.sum() / multiples.sum())
    tolerance = 2 * position_tolerance_mm(unit)
    places = along[0] + unit * np.concatenate([[0.0], np.cumsum(multiples)])
    # Wide gaps are holes only where the narrow one is the rule; else any two gaps would have a
    # common measure, and an uneven series would be told as one with slices missing.
    narrow_rules = 2 * int((multiples == 1).sum()) >= len(gaps)
    if narrow_rules and np.all(np.abs(along - places) <= tolerance):
        if multiples.max() > 1:
            _refuse_missing(gaps, multiples, unit, names)
        return
    _refuse(
        "uneven-spacing",
        f"The distance between its slices varies from {gaps.min():.2f} to {gaps.max():.2f} mm.",
    )


def _refuse_missing(gaps: Array, multiples: Array, unit: float, names: Sequence[str]) -> NoReturn:
    wide = np.flatnonzero(multiples > 1)
    missing = int((multiples - 1).sum())
    where = [
        f"between {names[at]} and {names[at + 1]}, which lie {gaps[at]:.2f} mm apart instead of "
        f"{unit:.2f} mm"
        for at in wide[:_NAMED_GAPS_MAX]
    ]
    if len(wide) > _NAMED_GAPS_MAX:
        where.append(f"and at {len(wide) - _NAMED_GAPS_MAX} more places")
    slices = "One slice is" if missing == 1 else f"{missing} slices are"
    _refuse("missing-slices", f"{slices} missing: {'; '.join(where)}.")


def _name(header: SliceHeader, plane: Plane) -> str:
    """A slice as a person finds it: its number and its position, never its UID."""
    number = "?" if header.instance_number is None else str(header.instance_number)
    frame = f" frame {plane.frame}" if len(header.planes) > 1 else ""
    position = ", ".join(f"{value:.1f}" for value in plane.position_mm or ())
    return f"image {number}{frame} at ({position}) mm"
