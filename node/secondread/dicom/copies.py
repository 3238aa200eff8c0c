"""Planes at one place: copies, of which one is enough, or images that cannot be one volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from secondread.dicom.headers import SliceHeader
from secondread.dicom.stacked import (
    Array,
    SamePixels,
    StackedPlane,
    positions_of,
    seniority,
    slice_name,
)
from secondread.errors import GeometryError, PixelDataError

SAME_POSITION_MM = 0.1
"""Two slices nearer than this are at one place."""
_SHARE_OF_WIDEST_GAP = 0.1


def same_place(along: Array) -> npt.NDArray[np.bool_]:
    """For places along the normal in order, n: whether each is that of the one before, n - 1."""
    gaps = np.diff(along)
    if not len(gaps):
        return np.zeros(0, np.bool_)
    if along[-1] - along[0] <= SAME_POSITION_MM:
        return np.ones(len(gaps), np.bool_)
    return np.asarray(gaps <= min(SAME_POSITION_MM, _SHARE_OF_WIDEST_GAP * float(gaps.max())))


def drop_copies(
    planes: Sequence[StackedPlane],
    headers: Sequence[SliceHeader],
    normal: Array,
    same_pixels: SamePixels | None,
) -> tuple[list[StackedPlane], list[StackedPlane]]:
    """Order planes along the normal and leave one at each place.

    Of copies the one with the lowest image number stays, then that with the first UID.

    Returns:
        The planes that stay, in order, and the copies.

    Raises:
        GeometryError: ``duplicate-positions`` or ``displaced-slices``.
    """
    positions = positions_of(planes)
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    again = np.concatenate([[False], same_place(along[order])])
    if not again.any():
        return [planes[index] for index in order], []
    kept: list[StackedPlane] = []
    dropped: list[StackedPlane] = []
    for members in np.split(order, np.flatnonzero(~again)[1:]):
        group = sorted(
            (planes[index] for index in members),
            key=lambda item: seniority(headers[item.header], item.plane),
        )
        first, others = group[0], group[1:]
        for other in others:
            _check_copy(first, other, headers, again, same_pixels)
        kept.append(first)
        dropped += others
    return kept, dropped


def _check_copy(
    first: StackedPlane,
    other: StackedPlane,
    headers: Sequence[SliceHeader],
    again: npt.NDArray[np.bool_],
    same_pixels: SamePixels | None,
) -> None:
    names = [slice_name(headers[item.header], item.plane) for item in (first, other)]
    one, another = positions_of([first, other])
    if float(np.linalg.norm(one - another)) > 2 * SAME_POSITION_MM:
        raise GeometryError(
            f"Two of its slices lie side by side in one plane: {names[0]} and {names[1]}.",
            outcome="displaced-slices",
        )
    why = ""
    if same_pixels is not None:
        try:
            if same_pixels(first, other):
                return
            why = "; their pixels differ"
        except PixelDataError as error:
            why = f"; their pixels cannot be compared: {str(error).rstrip('.')}"
    raise GeometryError(
        f"{_how_often(again)}, the first two are {names[0]} and {names[1]}{why}.",
        outcome="duplicate-positions",
    )


def _how_often(again: npt.NDArray[np.bool_]) -> str:
    count, places = len(again), len(again) - int(again.sum())
    if count % places == 0 and places > 1:
        return (
            f"Each of its {places} positions occurs {count // places} times, as with several "
            "echoes, phases or channels in one series"
        )
    if places == 1:
        return f"All of its {count} images share one position"
    return f"{int(again.sum())} of its {count} images lie at the position of another"
