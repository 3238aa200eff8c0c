"""A plane among those of its series: where it comes from, and what a person calls it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secondread.dicom.headers import SliceHeader
from secondread.dicom.planes import Plane

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StackedPlane:
    """A slice of a volume: which header it came from, and which of its planes it is."""

    header: int
    plane: Plane


SamePixels = Callable[[StackedPlane, StackedPlane], bool]
"""Whether two planes of one size show the same values."""


def all_planes(headers: Sequence[SliceHeader]) -> list[StackedPlane]:
    """Every plane of a series."""
    return [StackedPlane(at, plane) for at, header in enumerate(headers) for plane in header.planes]


def positions_of(planes: Sequence[StackedPlane]) -> Array:
    """``(plane, 3)``: LPS mm of the first voxels of planes that all have a position."""
    return np.array([item.plane.position_mm for item in planes], dtype=np.float64).reshape(-1, 3)


def is_placed(plane: Plane) -> bool:
    """Whether a plane says where it lies."""
    return not (
        plane.position_mm is None
        or plane.row_direction is None
        or plane.column_direction is None
        or plane.spacing_mm is None
    )


def seniority(header: SliceHeader, plane: Plane) -> tuple[bool, int, str, int]:
    """What decides between planes at one place, so that the order of arrival does not."""
    number = header.instance_number
    return number is None, number or 0, header.sop_instance_uid, plane.frame


def slice_name(header: SliceHeader, plane: Plane) -> str:
    """A slice as a person finds it: its number and its position, never its UID."""
    number = "?" if header.instance_number is None else str(header.instance_number)
    frame = f" frame {plane.frame}" if len(header.planes) > 1 else ""
    position = ", ".join(f"{value:.1f}" for value in plane.position_mm or ())
    return f"image {number}{frame} at ({position}) mm"
