"""The longest diameter of a structure in a slice and the one across it, as RECIST measures them.

A structure's outline in a slice is the contour at half height between its voxels and the others,
which crosses a voxel's edges in their middle; so the ends of a diameter are such middles, and a
structure of one voxel is one voxel long. Its convex hull has the same diameters.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Point = tuple[float, float, float]
"""LPS mm."""

_DIRECTIONS = 16
_BLUR = 1.0 / math.cos(math.pi / (2 * _DIRECTIONS))
"""A diameter is at most this much longer than the widest of evenly turned projections."""
_ON_LINE_MM = 1e-9
_EDGE_MIDDLES = np.array([(0, -1), (0, 1), (-1, 0), (1, 0)])
"""In half voxels from its middle."""

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Diameter:
    """The longest line across a structure within one slice, and the longest across that line.

    Attributes:
        source: place of the slice in the volume.
        longest: its two ends, LPS mm; ``perpendicular`` likewise.
    """

    source: int
    longest_mm: float
    longest: tuple[Point, Point]
    perpendicular_mm: float
    perpendicular: tuple[Point, Point]


def find_diameters(
    labels: npt.NDArray[np.uint8], affine_lps: _Floats, values: Collection[int]
) -> dict[int, Diameter]:
    """The diameters of each structure that has a voxel, over all slices.

    Args:
        labels: ``(slice, row, column)``.
        affine_lps: 4 x 4, any spacing and any tilt of the slices.
        values: of the structures.

    Returns:
        By the structure's value. Of slices with equal diameters it is one; the same one each time.
    """
    plane = _Plane.of(affine_lps)
    candidates: dict[int, list[tuple[float, int, slice]]] = {value: [] for value in values}
    for source, names in enumerate(labels):
        for value, width, rows in _bound(names, plane):
            if value in candidates:
                candidates[value].append((width, source, rows))
    found = {}
    for value, slices in candidates.items():
        best = _find_longest(labels, plane, value, slices)
        if best is not None:
            found[value] = _complete(best, plane, affine_lps)
    return found


class _Rows(NamedTuple):
    """The first and last column of each structure in each row, in the order of value and row."""

    values: npt.NDArray[np.uint8]
    rows: _Ints
    firsts: _Ints
    lasts: _Ints


class _Longest(NamedTuple):
    """The longest line in a slice; the points are ``(row, column)`` in half voxels."""

    length_mm: float
    source: int
    ends: _Ints
    hull: _Ints


@dataclass(frozen=True, slots=True)
class _Plane:
    """A slice's own millimetres.

    Attributes:
        to_mm: 2 x 2, from ``(row, column)``.
        directions: unit vectors in mm, evenly turned, one a row.
    """

    to_mm: _Floats
    directions: _Floats

    @staticmethod
    def of(affine_lps: _Floats) -> _Plane:
        angles = np.arange(_DIRECTIONS) * math.pi / _DIRECTIONS
        to_mm = np.linalg.qr(affine_lps[:3, 1:3])[1]
        return _Plane(to_mm, np.column_stack([np.cos(angles), np.sin(angles)]))


def _find_rows(names: npt.NDArray[np.uint8]) -> _Rows:
    """Only the ends of a structure's rows can be corners of its convex hull."""
    rows, columns = names.shape
    edged = np.zeros((rows, columns + 2), np.uint8)
    edged[:, 1:-1] = names
    flat = edged.ravel()
    # A change at i lies between i - 1 and i; rows begin and end with background, so that none
    # reaches across two of them.
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = changes[flat[changes] > 0]
    ends = changes[flat[changes - 1] > 0] - 1
    keys = flat[starts].astype(np.int64) * rows + starts // (columns + 2)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    heads = np.flatnonzero(np.diff(keys, prepend=-1))
    tails = np.append(heads[1:], len(keys)) - 1 if len(heads) else heads
    return _Rows(
        values=(keys[heads] // rows).astype(np.uint8),
        rows=keys[heads] % rows,
        firsts=starts[order[heads]] % (columns + 2) - 1,
        lasts=ends[order[tails]] % (columns + 2) - 1,
    )


def _bound(names: npt.NDArray[np.uint8], plane: _Plane) -> list[tuple[int, float, slice]]:
    """Each structure of a slice: its value, the most that its diameter can be, and its rows."""
    if not names.any():
        return []
    found = _find_rows(names)
    to_width = plane.directions @ plane.to_mm
    down = found.rows[:, np.newaxis] * to_width[:, 0]
    left = down + found.firsts[:, np.newaxis] * to_width[:, 1]
    right = down + found.lasts[:, np.newaxis] * to_width[:, 1]
    heads = np.flatnonzero(np.diff(found.values, prepend=0))
    tails = np.append(heads[1:], len(found.values)) - 1
    highest = np.maximum.reduceat(np.maximum(left, right), heads)
    lowest = np.minimum.reduceat(np.minimum(left, right), heads)
    widths = (highest - lowest + np.abs(to_width).max(axis=1)).max(axis=1) * _BLUR
    return [
        (int(found.values[head]), float(width), slice(found.rows[head], found.rows[tail] + 1))
        for head, tail, width in zip(heads, tails, widths, strict=True)
    ]


def _find_longest(
    labels: npt.NDArray[np.uint8],
    plane: _Plane,
    value: int,
    slices: list[tuple[float, int, slice]],
) -> _Longest | None:
    """The widest slices first, until no other can have a longer line."""
    best: _Longest | None = None
    seen: set[bytes] = set()
    for width, source, rows in sorted(slices, key=lambda one: (-one[0], one[1])):
        if best is not None and width <= best.length_mm:
            break
        found = _find_rows((labels[source, rows] == value).view(np.uint8))
        outline = np.concatenate([found.rows, found.firsts, found.lasts]).tobytes()
        if outline in seen:
            continue
        seen.add(outline)
        down = found.rows + rows.start
        ends = np.concatenate([[down, found.firsts], [down, found.lasts]], axis=1).T
        corners = 2 * _hull(ends)[:, np.newaxis] + _EDGE_MIDDLES
        hull = _hull(corners.reshape(-1, 2))
        points = hull @ plane.to_mm.T / 2
        apart = np.linalg.norm(points[:, np.newaxis] - points, axis=2)
        first, second = divmod(int(apart.argmax()), len(points))
        if best is None or apart[first, second] > best.length_mm:
            length_mm = float(apart[first, second])
            best = _Longest(length_mm, source, hull[[first, second]], hull)
    return best


def _hull(points: _Ints) -> _Ints:
    """Corners of the convex hull in order around it, in integers and so without rounding."""
    ordered = points[np.lexsort((points[:, 1], points[:, 0]))]
    heads = np.flatnonzero(np.diff(ordered[:, 0], prepend=ordered[0, 0] - 1))
    tails = np.append(heads[1:], len(ordered)) - 1
    left, right = _straighten(ordered[heads], 1), _straighten(ordered[tails], -1)
    return np.concatenate([left, right[::-1]])


def _straighten(chain: _Ints, side: int) -> _Ints:
    """One side of the hull: of points from row to row, those that bulge to this side (1: left).

    A point that lies on or behind the line between its neighbours is no corner, whatever becomes
    of them, so that all such points can go at once.
    """
    while len(chain) > 2:
        steps = np.diff(chain, axis=0)
        turns = steps[:-1, 0] * steps[1:, 1] - steps[:-1, 1] * steps[1:, 0]
        bulges = side * turns > 0
        if bulges.all():
            break
        chain = chain[np.concatenate([[True], bulges, [True]])]
    return chain


def _complete(best: _Longest, plane: _Plane, affine_lps: _Floats) -> Diameter:
    """Add the longest chord of the hull that is at right angles to the longest line."""
    points = best.hull @ plane.to_mm.T / 2
    ends = best.ends @ plane.to_mm.T / 2
    along = (ends[1] - ends[0]) / best.length_mm
    across = np.array([-along[1], along[0]])
    at, height = (points - ends[0]) @ along, (points - ends[0]) @ across
    order = np.argsort(at, kind="stable")
    # Nothing of the hull lies before one end of its longest line or behind the other, so that line
    # parts it into one side and the other; the longest chord has an end at a corner.
    on_one, on_other = order[height[order] >= -_ON_LINE_MM], order[height[order] <= _ON_LINE_MM]
    highest = np.interp(at[order], at[on_one], height[on_one])
    lowest = np.interp(at[order], at[on_other], height[on_other])
    widest = int(np.argmax(highest - lowest))
    middle = ends[0] + at[order[widest]] * along
    chord = np.array([middle + lowest[widest] * across, middle + highest[widest] * across])
    return Diameter(
        source=best.source,
        longest_mm=best.length_mm,
        longest=_place(ends, best.source, plane, affine_lps),
        perpendicular_mm=float(highest[widest] - lowest[widest]),
        perpendicular=_place(chord, best.source, plane, affine_lps),
    )


def _place(
    ends_mm: _Floats, source: int, plane: _Plane, affine_lps: _Floats
) -> tuple[Point, Point]:
    """Two points of a slice in LPS mm."""
    inside = np.linalg.solve(plane.to_mm, ends_mm.T)
    first, second = (
        (affine_lps[:3, 0] * source + affine_lps[:3, 1:3] @ place + affine_lps[:3, 3]).tolist()
        for place in inside.T
    )
    return (first[0], first[1], first[2]), (second[0], second[1], second[2])
