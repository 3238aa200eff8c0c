"""From image planes to one volume: order, affine, and an exact refusal where there is none.

What is tolerated is the jitter of decimal strings, 16 characters at most and often fewer (PS3.5
table 6.2-1), and nothing else:

- a slice may lie `position_tolerance_mm` off the even grid that the volume stands for: 2 % of the
  distance between slices, at least 0.02 mm, at most 0.1 mm;
- directions and pixel spacings may differ so little that no corner voxel moves by 0.1 mm;
- two slices whose places along the normal differ by less than 0.1 mm, and by less than a tenth of
  the widest gap, lie at one place.

Slices that lean against their stack, as those of a tilted gantry do, are no error: the affine is
sheared and says so exactly. A lean of up to 0.25 degrees counts as none; the affine contains it.
Every outcome is explained in ``docs/geometry.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from secondread.dicom.alignment import (
    CORNER_TOLERANCE_MM,
    MINIMUM_SLICES,
    check_count,
    check_headers,
    check_planes,
    common_frame,
    orientation_name,
)
from secondread.dicom.copies import SAME_POSITION_MM, drop_copies
from secondread.dicom.gaps import check_gaps, position_tolerance_mm
from secondread.dicom.headers import SliceHeader
from secondread.dicom.kinds import check_kinds
from secondread.dicom.stacked import (
    Array,
    SamePixels,
    StackedPlane,
    all_planes,
    positions_of,
    slice_name,
)
from secondread.errors import GeometryError

__all__ = [
    "CORNER_TOLERANCE_MM",
    "LEAN_TOLERANCE_DEGREES",
    "MINIMUM_SLICES",
    "SAME_POSITION_MM",
    "Array",
    "SamePixels",
    "Stack",
    "StackedPlane",
    "orientation_name",
    "position_tolerance_mm",
    "stack",
    "tilt_degrees",
]

LEAN_TOLERANCE_DEGREES = 0.25


@dataclass(frozen=True, slots=True)
class Stack:
    """Planes in the order of the volume.

    Attributes:
        planes: slice 0 first; the positions grow along ``row_direction x column_direction``.
        affine_lps: 4 x 4; ``affine_lps @ (slice, row, column, 1)`` is LPS mm. Sheared where the
            slices lean against their stack.
        rows: rows of every slice.
        columns: columns of every slice.
        tilt_degrees: by which the slices lean against their stack; 0.0 where they do not.
        dropped: planes that show what one of ``planes`` shows at the same place.
    """

    planes: tuple[StackedPlane, ...]
    affine_lps: Array
    rows: int
    columns: int
    tilt_degrees: float = 0.0
    dropped: tuple[StackedPlane, ...] = ()

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Between neighbouring slices along their normal, between rows, and between columns."""
        step, down, across = self.affine_lps[:3, :3].T
        return (
            float(step @ self.normal),
            float(np.linalg.norm(down)),
            float(np.linalg.norm(across)),
        )

    @property
    def normal(self) -> Array:
        """``row_direction x column_direction``, of length 1."""
        return _normal(self.affine_lps)

    @property
    def orientation(self) -> str:
        """``axial``, ``sagittal``, ``coronal`` or ``oblique``."""
        return orientation_name(self.normal)


def stack(
    headers: Sequence[SliceHeader],
    planes: Sequence[StackedPlane] | None = None,
    same_pixels: SamePixels | None = None,
) -> Stack:
    """Order planes of one series and fit the affine; the order in which they come is nothing.

    Args:
        headers: of the series.
        planes: those of them that are to be one volume; all where None.
        same_pixels: asked of planes at one place, so that copies can be left out; where it is None,
            every two such planes are an error, as they are where it raises PixelDataError.

    Raises:
        GeometryError: the outcome is one of ``mosaic``, ``no-geometry``, ``unreadable-geometry``,
            ``not-enough-slices``, ``mixed-sizes``, ``mixed-frames-of-reference``,
            ``mixed-spacings``, ``mixed-orientations``, ``mixed-kinds``, ``duplicate-positions``,
            ``displaced-slices``, ``missing-slices``, ``uneven-spacing`` or
            ``no-frame-of-reference``.
    """
    if planes is None:
        planes = all_planes(headers)
    used = [headers[index] for index in sorted({item.header for item in planes})]
    check_planes(planes, used)
    check_headers(used)
    rows, columns = used[0].pixels.rows, used[0].pixels.columns
    row, column, spacing = common_frame(planes, rows, columns)
    check_kinds(planes)
    normal = np.cross(row, column)
    kept, dropped = drop_copies(planes, headers, normal, same_pixels)
    check_count(len(kept))

    def name_of(at: int) -> str:
        return slice_name(headers[kept[at].header], kept[at].plane)

    positions = positions_of(kept)
    along = positions @ normal
    _check_line(positions, along, normal, name_of)
    affine = np.eye(4)
    affine[:3, 0] = (positions[-1] - positions[0]) / (len(kept) - 1)
    affine[:3, 1] = column * spacing[0]
    affine[:3, 2] = row * spacing[1]
    affine[:3, 3] = positions[0]
    lean = tilt_degrees(affine, len(kept))
    check_gaps(along, name_of, lean)
    if not used[0].frame_of_reference_uid:
        # Type 1 (PS3.3 C.7.4.1); without it no result can say in which space it lies.
        raise GeometryError(
            "Its images name no Frame of Reference UID.", outcome="no-frame-of-reference"
        )
    return Stack(
        planes=tuple(kept),
        affine_lps=affine,
        rows=rows,
        columns=columns,
        tilt_degrees=lean,
        dropped=tuple(dropped),
    )


def tilt_degrees(affine_lps: Array, slices: int) -> float:
    """By how much the slices of a volume lean against their stack; 0.0 for what counts as none."""
    step, normal = affine_lps[:3, 0], _normal(affine_lps)
    distance_mm = float(step @ normal)
    drift_mm = float(np.linalg.norm(step - distance_mm * normal))
    degrees = float(np.degrees(np.arctan2(drift_mm, distance_mm)))
    within_jitter = drift_mm * (slices - 1) <= 2 * position_tolerance_mm(distance_mm)
    return 0.0 if degrees <= LEAN_TOLERANCE_DEGREES or within_jitter else degrees


def _normal(affine_lps: Array) -> Array:
    normal: Array = np.cross(affine_lps[:3, 2], affine_lps[:3, 1])
    return normal / np.linalg.norm(normal)


def _check_line(
    positions: Array, along: Array, normal: Array, name_of: Callable[[int], str]
) -> None:
    """Raise unless the positions lie on a straight line, which may lean against the normal.

    This goes before the gaps: a slice that is sent again mends a gap, but never a displacement.
    """
    extent_mm = float(along[-1] - along[0])
    tolerance = 2 * position_tolerance_mm(extent_mm / (len(along) - 1))
    lateral = positions - np.outer(along, normal)
    ends = lateral[0] + np.outer((along - along[0]) / extent_mm, lateral[-1] - lateral[0])
    if np.all(np.linalg.norm(lateral - ends, axis=1) <= tolerance):
        return
    # The line that most slices keep to tells which one does not; it may be one of the ends.
    slope = np.median(np.diff(lateral, axis=0) / np.diff(along)[:, None], axis=0)
    rest = lateral - np.outer(along, slope)
    beside = np.linalg.norm(rest - np.median(rest, axis=0), axis=1)
    farthest = int(np.argmax(beside))
    raise GeometryError(
        f"Its slices do not lie on one straight line: {name_of(farthest)} is "
        f"{float(beside[farthest]):.2f} mm beside it.",
        outcome="displaced-slices",
    )
