"""The area of structures' surfaces, from the faces of their voxels and the way each face is turned.

The faces alone have too much area: those of a sphere half as much again, however small the voxels.
But each face stands for the piece of the true surface above it, which is smaller by the cosine of
the angle between the two. Which way that piece faces is estimated from the voxels around the face,
by a linear rule that is fitted to flat surfaces of all directions on the very grid that is
measured, so that thick slices and leaning stacks are as welcome as cubes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_REACH = 2.5
"""How far around a face voxels are looked at, in voxels of the coarsest side."""
_RIDGE = 0.1
"""Keeps the rule from trusting single voxels; a share of the mean variance."""
_PLANES = 4000
_GOLDEN = (1 + math.sqrt(5)) / 2
_SLAB_SLICES = 16
_FACES_AT_ONCE = 1 << 10
"""So few that the numbers about them stay in the processor's cache."""

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


def measure_surfaces(labels: npt.NDArray[np.uint8], affine_lps: _Floats) -> _Floats:
    """The surface of each structure in mm², by its value; where the volume ends, so does it.

    Args:
        labels: ``(slice, row, column)``.
        affine_lps: 4 x 4, any spacing and any tilt of the slices.

    Returns:
        One number for each value up to the largest; the first means nothing.
    """
    axes = affine_lps[:3, :3]
    rules = [_Rule.fit(axes, axis) for axis in range(3)]
    margin = 1 + np.max([np.abs(rule.offsets).max(axis=0) for rule in rules], axis=0)
    areas = np.zeros(int(labels.max(initial=0)) + 1)
    for slab, count in _list_slabs(labels, margin):
        steps = np.array(slab.strides)
        around = slab.ravel()
        inside = slice(margin[0] * steps[0], (margin[0] + count) * steps[0])
        for axis, rule in enumerate(rules):
            beyond = slice(inside.start + steps[axis], inside.stop + steps[axis])
            # The margins are background, so that no face is seen from one row to the next.
            faces = np.flatnonzero(around[inside] != around[beyond]) + inside.start
            for start in range(0, len(faces), _FACES_AT_ONCE):
                part = faces[start : start + _FACES_AT_ONCE]
                areas += _sum_faces(around, part, int(steps[axis]), rule, steps, len(areas))
    return areas


@dataclass(frozen=True, slots=True)
class _Rule:
    """How to tell which way a surface faces at a voxel's face towards its next along an axis.

    Attributes:
        offsets: of the voxels to look at from the first of the two, one a row.
        weights: 3 x voxels; their sum over the voxels that are in the structure, with those of
            the others taken off, points out of the structure.
        face: the face's area and normal as one vector, mm².
    """

    offsets: _Ints
    weights: npt.NDArray[np.float32]
    face: _Floats

    @staticmethod
    def fit(axes: _Floats, axis: int) -> _Rule:
        """Least squares over planes that part the two voxels, of all directions and heights."""
        offsets, at_mm = _look_around(axes, axis)
        number = np.arange(_PLANES) + 0.5
        height = 1 - 2 * number / _PLANES
        radius, turn = np.sqrt(1 - height**2), 2 * math.pi * _GOLDEN * number
        normals = np.column_stack([height, radius * np.cos(turn), radius * np.sin(turn)])
        # Half of what the plane can be moved before it passes one of the two voxels; the more,
        # the more of such faces a surface has.
        play = normals @ axes[:, axis] / 2
        normals, play = normals[play > 0], play[play > 0]
        moved = (2 * (np.arange(len(play)) * _GOLDEN % 1) - 1) * play
        is_inside = np.where(at_mm @ normals.T <= moved, 0.5, -0.5)
        weighted = is_inside * play
        spread = weighted @ is_inside.T
        spread += _RIDGE * np.trace(spread) / len(spread) * np.eye(len(spread))
        weights = np.linalg.solve(spread, weighted @ normals).T
        face = np.linalg.inv(axes)[axis] * abs(np.linalg.det(axes))
        return _Rule(offsets, weights.astype(np.float32), face)


def _look_around(axes: _Floats, axis: int) -> tuple[_Ints, _Floats]:
    """The voxels around a face: offsets from the first of its two, and mm from its middle.

    Where voxels are finer than the coarsest side, some are passed over.
    """
    spacing = np.linalg.norm(axes, axis=0)
    strides = np.maximum(1, np.rint(spacing.max() / spacing)).astype(int)
    reach = math.ceil(_REACH)
    spans = [stride * np.arange(-reach, reach + 1) for stride in strides]
    stride = strides[axis]
    beyond = stride * np.arange(reach) + (stride + 1) // 2
    spans[axis] = np.concatenate([1 - beyond[::-1], beyond])
    offsets = np.array(list(itertools.product(*spans)))
    middle = np.eye(3)[axis] / 2
    at_mm = (offsets - middle) @ axes.T
    near = np.linalg.norm(at_mm, axis=1) <= _REACH * spacing.max()
    return offsets[near], at_mm[near]


def _list_slabs(
    labels: npt.NDArray[np.uint8], margin: _Ints
) -> Iterator[tuple[npt.NDArray[np.uint8], int]]:
    """Some slices at a time with their surroundings, and how many; the first is one before all."""
    slices = max(_SLAB_SLICES, 2 * int(margin[0]))
    for start in range(-1, len(labels), slices):
        count = min(slices, len(labels) - start)
        low, high = start - int(margin[0]), start + count + int(margin[0])
        names = labels[max(low, 0) : max(high, 0)]
        rows = np.flatnonzero(names.any(axis=(0, 2)))
        if not len(rows):
            continue
        names = names[:, rows[0] : rows[-1] + 1]
        columns = np.flatnonzero(names.any(axis=(0, 1)))
        names = names[:, :, columns[0] : columns[-1] + 1]
        before, behind = max(-low, 0), max(high - len(labels), 0)
        ends = [(before, behind), (margin[1], margin[1]), (margin[2], margin[2])]
        yield np.pad(names, ends), count


def _sum_faces(
    around: npt.NDArray[np.uint8], faces: _Ints, step: int, rule: _Rule, steps: _Ints, size: int
) -> _Floats:
    """The true surface that some faces stand for, mm² by the value of the structure.

    A face between two structures belongs to the surface of each.
    """
    areas = np.zeros(size)
    near = around[faces[:, np.newaxis] + rule.offsets @ steps]
    for side, own in ((1.0, around[faces]), (-1.0, around[faces + step])):
        is_structure = own > 0
        names = own[is_structure]
        is_inside = near[is_structure] == names[:, np.newaxis]
        normals = (is_inside.astype(np.float32) - np.float32(0.5)) @ rule.weights.T
        lengths = np.linalg.norm(normals, axis=1)
        shares = side * (normals @ rule.face) / np.maximum(lengths, np.finfo(np.float32).tiny)
        areas += np.bincount(names, np.maximum(shares, 0.0), minlength=size)
    return areas
