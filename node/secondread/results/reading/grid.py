"""The regular grid on which the frames of an object lie, or a sentence why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secondread.dicom.gaps import position_tolerance_mm
from secondread.dicom.pixels import VOXELS_MAX
from secondread.errors import ResultError
from secondread.results.reading.frames import Frame

Array = npt.NDArray[np.float64]

_SAME_PLANE_MM = 1e-3
_SAME_DIRECTION = 1e-4
_SAME_SPACING = 1e-3
_NOT_PERPENDICULAR = 1e-3
_ONE_GAP = 1.5
# Of a distance; what a writer may have rounded away of the one that it tells.
_ROUNDED = 0.01


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid of slices.

    Attributes:
        affine_lps: 4 x 4; ``affine_lps @ (slice, row, column, 1)`` is LPS mm.
        places: the slice of each frame, from 0.
    """

    affine_lps: Array
    places: tuple[int, ...]

    @property
    def slices(self) -> int:
        """From the first slice that has a frame to the last."""
        return max(self.places) + 1


def find_grid(frames: Sequence[Frame]) -> Grid:
    """Lay out frames; the slices grow along ``row_direction x column_direction``.

    Neighbouring slices are as far apart as the object says, where its frames fit that, for slices
    without a frame may be left out (PS3.3 C.8.20.2); else as far as the closest two frames.

    Raises:
        ResultError: the frames are not parallel, differ in spacing or lie on no one regular grid.
    """
    first = frames[0]
    _check_parallel(frames)
    along_columns, along_rows = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    normal = np.cross(along_columns, along_rows)
    if abs(np.linalg.norm(normal) - 1.0) > _NOT_PERPENDICULAR or min(first.pixel_spacing) <= 0:
        raise ResultError("The frames' directions or pixel spacing are no directions or spacing.")
    positions = np.array([frame.position for frame in frames])
    if not np.isfinite(positions).all():
        raise ResultError("The position of a frame is not a number.")
    depths = positions @ normal
    order = np.argsort(depths, kind="stable")
    gaps = np.diff(depths[order])
    step_mm, counts = _count_steps(gaps, first)
    places = np.zeros(len(frames), int)
    places[order] = np.concatenate([[0], np.cumsum(counts)])
    lowest, highest = order[0], order[-1]
    affine = np.eye(4)
    affine[:3, 0] = normal * step_mm
    if places[highest]:
        # Not the normal: the slices of a tilted gantry lean against their stack.
        affine[:3, 0] = (positions[highest] - positions[lowest]) / places[highest]
    affine[:3, 1] = along_rows * first.pixel_spacing[0]
    affine[:3, 2] = along_columns * first.pixel_spacing[1]
    affine[:3, 3] = positions[lowest]
    expected = affine[:3, 3] + places[:, None] * affine[:3, 0]
    if np.linalg.norm(positions - expected, axis=1).max() > 2 * position_tolerance_mm(step_mm):
        raise ResultError(
            "The frames do not lie on one regular grid: they are several stacks, or their "
            "distances differ."
        )
    return Grid(affine, tuple(places.tolist()))


def check_size(shape: tuple[int, int, int]) -> None:
    """Raise ``ResultError`` where a grid has more voxels than the node reads at once."""
    if shape[0] * shape[1] * shape[2] > VOXELS_MAX:
        raise ResultError(
            f"The object spans {shape[0]} slices of {shape[1]} x {shape[2]}: more voxels than the "
            "node reads at once."
        )


def _check_parallel(frames: Sequence[Frame]) -> None:
    kinds = {(frame.orientation, frame.pixel_spacing) for frame in frames}
    first = frames[0]
    for orientation, spacing in kinds:
        turned = np.abs(np.subtract(orientation, first.orientation)).max() > _SAME_DIRECTION
        scaled = np.abs(np.subtract(spacing, first.pixel_spacing)).max() > _SAME_SPACING
        if turned or scaled:
            raise ResultError(
                "The frames are not parallel or differ in spacing: they are several stacks, and "
                "one can be read."
            )


def _count_steps(gaps: Array, first: Frame) -> tuple[float, npt.NDArray[np.int_]]:
    """Distance between neighbouring slices, mm, and how many of it each gap between frames is.

    Only a single slice has to be believed what it says about its distance or thickness.
    """
    wide = gaps[gaps > _SAME_PLANE_MM]
    if not wide.size:
        step_mm = first.slice_step_mm or first.thickness_mm or 1.0
        return step_mm, np.zeros(len(gaps), int)
    told = first.slice_step_mm
    if told <= 0 or not _fits(wide, told):
        # The median of the narrow gaps, for one of them may be narrow by jitter.
        told = float(np.median(wide[wide < _ONE_GAP * wide.min()]))
    counts = np.where(gaps > _SAME_PLANE_MM, np.maximum(np.rint(gaps / told), 1), 0).astype(int)
    return float(gaps.sum() / counts.sum()), counts


def _fits(gaps: Array, step_mm: float) -> bool:
    counts = np.rint(gaps / step_mm)
    slack = np.minimum(
        2 * position_tolerance_mm(step_mm) + _ROUNDED * step_mm * counts, step_mm / 4
    )
    return bool((counts >= 1).all() and (np.abs(gaps - counts * step_mm) <= slack).all())
