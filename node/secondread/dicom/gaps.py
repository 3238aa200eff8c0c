"""The distances between slices: even, or which slices are missing and where."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from secondread.errors import GeometryError

Array = npt.NDArray[np.float64]

_NAMED_GAPS_MAX = 3


def position_tolerance_mm(spacing_mm: float) -> float:
    """How far a slice may lie from its place on the even grid."""
    return min(max(0.02, 0.02 * spacing_mm), 0.1)


def check_gaps(along: Array, name_of: Callable[[int], str], lean_degrees: float = 0.0) -> None:
    """Raise unless the places along the normal, in mm and in order, are evenly spaced.

    ``name_of`` names a slice as a person finds it; ``lean_degrees`` is what a person may want to
    know besides.

    Raises:
        GeometryError: ``missing-slices`` or ``uneven-spacing``.
    """
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
            raise _missing(gaps, multiples, unit, name_of)
        return
    lean = f"; they also lean by {lean_degrees:.1f} degrees" if lean_degrees else ""
    raise GeometryError(
        "The distance between its slices varies from "
        f"{gaps.min():.2f} to {gaps.max():.2f} mm{lean}.",
        outcome="uneven-spacing",
    )


def _missing(
    gaps: Array, multiples: Array, unit: float, name_of: Callable[[int], str]
) -> GeometryError:
    wide = np.flatnonzero(multiples > 1)
    missing = int((multiples - 1).sum())
    where = [
        f"between {name_of(at)} and {name_of(at + 1)}, which lie {gaps[at]:.2f} mm apart instead "
        f"of {unit:.2f} mm"
        for at in wide[:_NAMED_GAPS_MAX]
    ]
    if len(wide) > _NAMED_GAPS_MAX:
        where.append(f"and at {len(wide) - _NAMED_GAPS_MAX} more places")
    slices = "One slice is" if missing == 1 else f"{missing} slices are"
    return GeometryError(f"{slices} missing: {'; '.join(where)}.", outcome="missing-slices")
