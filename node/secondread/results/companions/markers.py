"""Places that a model points at, on the slices that they are on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from secondread.bundles.output import DeclaredPlace
from secondread.domain.answer import AnsweredPlace

_MIDDLE_PX = 0.5


@dataclass(frozen=True, slots=True)
class Marker:
    """A point or a line on one slice.

    Attributes:
        points: column and row, 0 at the edge of the first pixel (PS3.3 C.10.5.1.2).
        name: what the model calls it, with its probability where there is one.
        is_closed: whether the last point is followed by the first.
    """

    slice_index: int
    points: tuple[tuple[float, float], ...]
    name: str
    is_closed: bool


def list_markers(
    places: Sequence[AnsweredPlace], declared: Sequence[DeclaredPlace], slices: int
) -> Mapping[int, Sequence[Marker]]:
    """The places by slice.

    A line within one slice stays a line; of one that leads through several each point is marked
    on the slice that it is nearest to. A place outside the volume is on its first or last slice.
    """
    known = {one.id: one for one in declared}
    found: dict[int, list[Marker]] = {}
    for place in places:
        what = known.get(place.id)
        name = what.name.meaning if what else place.id
        if place.probability is not None:
            name = f"{name} ({100 * place.probability:.0f} %)"
        nearest = [min(max(round(point[0]), 0), slices - 1) for point in place.points]
        flat = [(column + _MIDDLE_PX, row + _MIDDLE_PX) for _, row, column in place.points]
        if len(set(nearest)) == 1:
            is_closed = what is not None and what.kind == "polygon"
            marker = Marker(nearest[0], tuple(flat), name, is_closed)
            found.setdefault(nearest[0], []).append(marker)
            continue
        for index, point in zip(nearest, flat, strict=True):
            found.setdefault(index, []).append(Marker(index, (point,), name, False))
    return found
