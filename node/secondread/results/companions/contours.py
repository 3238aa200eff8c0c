"""Closed planar contours of a label map: outlines whose holes hang on by keyholes.

A CLOSED_PLANAR contour has no inner side; a hole is joined to the line around it by a channel of no
width, there and back (PS3.3 C.8.8.6.3). Every way to fill a polygon gives the same then, whether a
reader unites the contours of a slice or lets them cancel each other. The lines run along the edges
of pixels, so the centre of a pixel is never near one, and what is filled is the mask itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

from secondread.results.companions.outlines import Polygon, trace_slice


@dataclass(frozen=True, slots=True)
class Contour:
    """One closed line around connected pixels of one structure in one slice.

    Attributes:
        corners: ``(corner, 2)`` column and row; 0 is the edge before the first pixel, and the last
            corner is followed by the first.
    """

    value: int
    slice_index: int
    corners: Polygon


def find_contours(labels: npt.NDArray[np.uint8]) -> Iterator[Contour]:
    """The contours of all structures, by slice, then by value.

    Pixels that touch at a corner alone have contours of their own.

    Args:
        labels: ``(slice, row, column)``; 0 is background.
    """
    for index, plane in enumerate(labels):
        outlines = trace_slice(plane, index)
        for value, own in groupby(outlines, key=lambda outline: outline.value):
            for corners in join_holes(plane, [one.corners for one in own], value):
                yield Contour(value, index, corners)


def join_holes(
    plane: npt.NDArray[np.uint8], outlines: Sequence[Polygon], value: int
) -> list[Polygon]:
    """The outlines around a structure, each with the holes that it has.

    Args:
        plane: ``(row, column)``, a slice of the label map.
        outlines: all of the structure in this slice.
        value: the structure's.
    """
    is_hole = [_area(corners) < 0 for corners in outlines]
    if not any(is_hole):
        return list(outlines)
    # The line west of a hole's first corner is an outer one or a hole that comes before it, so
    # from the last hole to the first each is complete when it is hung to the next.
    lines = _Lines([_begin_at_top_left(corners) for corners in outlines], plane.shape)
    holes = [at for at, one in enumerate(is_hole) if one]
    mask = plane == value
    for at in sorted(holes, key=lines.order_of, reverse=True):
        lines.hang(at, _find_line_to_the_west(mask, lines.corners[at][0]))
    return [lines.build(at) for at, one in enumerate(is_hole) if not one]


def _area(corners: Polygon) -> int:
    """Twice the area: greater than 0 where the line turns to the right, with rows downwards."""
    columns, rows = corners.T
    return int((columns * np.roll(rows, -1) - np.roll(columns, -1) * rows).sum())


def _begin_at_top_left(corners: Polygon) -> Polygon:
    first = int(np.lexsort((corners[:, 0], corners[:, 1]))[0])
    return np.roll(corners, -first, axis=0)


def _find_line_to_the_west(mask: npt.NDArray[np.bool_], corner: Polygon) -> Polygon:
    """Where the way to the west first comes to the end of the structure above it or below it."""
    column, row = int(corner[0]), int(corner[1])
    ends = np.flatnonzero(~(mask[row - 1, :column] & mask[row, :column]))
    return np.array([int(ends[-1]) + 1 if ends.size else 0, row], corner.dtype)


class _Lines:
    """Outlines of one structure, and the holes that hang on their vertical edges."""

    def __init__(self, corners: Sequence[Polygon], shape: tuple[int, ...]) -> None:
        self.corners = corners
        self._hung: dict[int, list[tuple[int, int, Polygon]]] = {}
        # The structure is on both sides of the channel, so where it ends there is one line only.
        self._line_at = np.zeros((shape[0] + 1, shape[1] + 1), np.int32)
        self._edge_at = np.zeros_like(self._line_at)
        for line, own in enumerate(corners):
            following = np.roll(own, -1, axis=0)
            for edge in np.flatnonzero(own[:, 0] == following[:, 0]).tolist():
                low, high = sorted((int(own[edge, 1]), int(following[edge, 1])))
                self._line_at[low : high + 1, own[edge, 0]] = line
                self._edge_at[low : high + 1, own[edge, 0]] = edge

    def order_of(self, line: int) -> tuple[int, int]:
        """By the row, then the column of the first corner."""
        column, row = self.corners[line][0].tolist()
        return row, column

    def hang(self, hole: int, end: Polygon) -> None:
        """Join a hole to the line that goes through ``end``."""
        own = self.build(hole)
        column, row = end.tolist()
        line, edge = int(self._line_at[row, column]), int(self._edge_at[row, column])
        away = int(abs(self.corners[line][edge, 1] - row))
        channel = np.concatenate([end[None], own, own[:1], end[None]])
        self._hung.setdefault(line, []).append((edge, away, channel))

    def build(self, line: int) -> Polygon:
        """A line with all that hangs on it."""
        own, parts, done = self.corners[line], list[Polygon](), 0
        hung = self._hung.get(line, [])
        for edge, _, channel in sorted(hung, key=lambda one: one[:2]):
            parts += [own[done : edge + 1], channel]
            done = edge + 1
        joined = np.concatenate([*parts, own[done:]])
        found: Polygon = joined[(joined != np.roll(joined, 1, axis=0)).any(axis=1)]
        return found
