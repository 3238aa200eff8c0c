"""The outlines of a label map within its slices, as closed polygons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Polygon = npt.NDArray[np.int64]
"""``(corner, 2)``: column and row of each corner; the last one is followed by the first."""

# Clockwise on the screen, so that a turn to the right is one more.
_EAST, _SOUTH, _WEST, _NORTH = range(4)


@dataclass(frozen=True, slots=True)
class Outline:
    """One closed line around pixels of one structure, or around a hole in it.

    ``corners`` lie between pixels, as PS3.3 C.10.5.1.2 counts them: 0 is the edge of the first
    pixel, 1 the edge between the first and the second. The structure is on the right of the line.
    """

    value: int
    slice_index: int
    corners: Polygon


def trace_volume(labels: npt.NDArray[np.uint8], indices: Sequence[int]) -> list[Outline]:
    """The outlines of all structures in some slices, by slice, then by value.

    Args:
        labels: ``(slice, row, column)``; 0 is background.
        indices: which slices.
    """
    return [outline for index in indices for outline in trace_slice(labels[index], index)]


def trace_slice(plane: npt.NDArray[np.uint8], index: int) -> list[Outline]:
    """The outlines of all structures in one slice, by value.

    Pixels that touch at a corner alone have outlines of their own.
    """
    rows_with, columns_with = (np.flatnonzero(plane.any(axis=axis)) for axis in (1, 0))
    if not len(rows_with):
        return []
    top, left = int(rows_with[0]), int(columns_with[0])
    inside = _list_edges(plane[top : rows_with[-1] + 1, left : columns_with[-1] + 1])
    # An edge is a corner and a direction. There is one pixel on the right of it, so corner and
    # direction tell whose edge it is, and all structures are followed at once.
    corners_per_direction = inside[0].size
    values = inside.reshape(4, -1)
    edges = np.flatnonzero(inside)
    directions, corners = np.divmod(edges, corners_per_direction)
    following = _follow(values, directions, corners, inside.shape[2])
    position = np.full(inside.size, -1)
    position[edges] = np.arange(len(edges))
    successors = position[following].tolist()
    width = inside.shape[2]
    outlines = []
    for loop in _find_loops(successors):
        at = np.array(loop)
        heading = directions[at]
        turns = at[heading != np.roll(heading, 1)]
        rows, columns = np.divmod(corners[turns], width)
        value = int(values[heading[0], corners[at[0]]])
        outlines.append(
            Outline(value, index, np.stack([columns + left, rows + top], axis=-1).astype(np.int64))
        )
    return sorted(outlines, key=lambda outline: outline.value)


def _list_edges(plane: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """``(direction, row, column)`` of corners: whose edge leaves that way, 0 where none does."""
    rows, columns = plane.shape
    around = np.pad(plane, 1)
    above, below = around[:-2, 1:-1], around[2:, 1:-1]
    before, behind = around[1:-1, :-2], around[1:-1, 2:]
    edges = np.zeros((4, rows + 1, columns + 1), np.uint8)
    edges[_EAST, :-1, :-1] = np.where(plane != above, plane, 0)
    edges[_SOUTH, :-1, 1:] = np.where(plane != behind, plane, 0)
    edges[_WEST, 1:, 1:] = np.where(plane != below, plane, 0)
    edges[_NORTH, 1:, :-1] = np.where(plane != before, plane, 0)
    return edges


def _follow(
    values: npt.NDArray[np.uint8],
    directions: npt.NDArray[np.int64],
    corners: npt.NDArray[np.int64],
    width: int,
) -> npt.NDArray[np.int64]:
    """The edge after each edge, as direction times corners plus corner.

    Where two ways lead on, that to the right is taken: it stays at the same pixel.
    """
    steps = np.array([1, width, -1, -width])
    ends = corners + steps[directions]
    own = values[directions, corners]
    right, ahead, left = ((directions + turn) % 4 for turn in (1, 0, 3))
    to_right = values[right, ends] == own
    to_ahead = values[ahead, ends] == own
    heading = np.where(to_right, right, np.where(to_ahead, ahead, left))
    found: npt.NDArray[np.int64] = heading * values.shape[1] + ends
    return found


def _find_loops(successors: list[int]) -> list[list[int]]:
    """The cycles of a permutation, each from its smallest member on."""
    loops = []
    is_done = bytearray(len(successors))
    for first in range(len(successors)):
        if is_done[first]:
            continue
        loop, at = [], first
        while not is_done[at]:
            is_done[at] = 1
            loop.append(at)
            at = successors[at]
        loops.append(loop)
    return loops


def simplify(polygons: Sequence[Polygon], tolerance_px: float) -> list[Polygon]:
    """The same polygons with fewer corners, none of those left out farther away than told.

    Douglas and Peucker's way, from two corners that are far apart, for all polygons at once: one
    by one, those of a body would take seconds. What would have fewer than three corners stays as
    it is.
    """
    if not polygons:
        return []
    rolled = [_roll(corners) for corners in polygons]
    rings = np.concatenate([np.vstack([one, one[:1]]) for one in rolled]).astype(np.float64)
    lengths = np.array([len(one) + 1 for one in rolled])
    ends = np.cumsum(lengths)
    kept = np.zeros(len(rings), bool)
    kept[ends - 1] = kept[ends - lengths] = True
    kept[ends - lengths + [_find_opposite(one) for one in rolled]] = True
    while len(farthest := _find_farthest(rings, kept, tolerance_px)):
        kept[farthest] = True
    found = []
    for corners, end, length in zip(rolled, ends.tolist(), lengths.tolist(), strict=True):
        fewer = corners[kept[end - length : end - 1]]
        found.append(fewer if len(fewer) >= 3 else corners)
    return found


def _roll(corners: Polygon) -> Polygon:
    """Begin at an outermost corner, which is never left out."""
    return np.roll(corners, -int(np.argmin(corners.sum(axis=1))), axis=0)


def _find_opposite(corners: Polygon) -> int:
    return int(np.argmax(((corners - corners[0]) ** 2).sum(axis=1)))


def _find_farthest(
    rings: npt.NDArray[np.float64], kept: npt.NDArray[np.bool_], tolerance_px: float
) -> npt.NDArray[np.int64]:
    """Between every two kept points, that which is farthest from the line, if too far from it."""
    places = np.flatnonzero(kept)
    span = np.cumsum(kept) - 1
    span[-1] = len(places) - 2
    starts, ends = rings[places[:-1]], rings[places[1:]]
    along = (ends - starts)[span]
    away = rings - starts[span]
    across = np.abs(along[:, 0] * away[:, 1] - along[:, 1] * away[:, 0])
    length = np.hypot(along[:, 0], along[:, 1])
    straight = np.hypot(away[:, 0], away[:, 1])
    offsets = np.where(length > 0, across / np.maximum(length, 1e-9), straight)
    offsets[kept] = 0.0
    largest = np.maximum.reduceat(offsets, places[:-1])
    candidates = np.flatnonzero((offsets > tolerance_px) & (offsets == largest[span]))
    found: npt.NDArray[np.int64] = candidates[np.unique(span[candidates], return_index=True)[1]]
    return found
