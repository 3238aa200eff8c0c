"""A leaning stack on an orthogonal grid, for a model; and its labels back on the source's slices.

A gantry that was tilted gives slices that are parallel but lean against their stack, so the grid of
their voxels is sheared. Each slice is moved within its own plane, by a shift that is the same for
all of its voxels; nothing is interpolated between slices. The canvas grows so that no voxel is
lost. What no slice covers is filled with the least value of the volume, which in a CT is air or the
scanner's own padding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from secondread.dicom.geometry import tilt_degrees
from secondread.domain.answer import ModelAnswer
from secondread.domain.volume import Volume

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class StraightGrid:
    """The orthogonal grid around a leaning stack.

    Attributes:
        shape: ``(slice, row, column)`` of the grid.
        source_shape: of the volume.
        affine_lps: of the grid, 4 x 4; its columns are at right angles.
        starts: for each slice, the row and the column of the grid at which its first voxel lies, to
            the nearest voxel.
        rests: for each slice, by how many rows and columns it truly lies after that; -0.5 to 0.5.
    """

    shape: tuple[int, int, int]
    source_shape: tuple[int, int, int]
    affine_lps: npt.NDArray[np.float64]
    starts: npt.NDArray[np.int64]
    rests: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rectified:
    """A volume on an orthogonal grid.

    Attributes:
        volume: the source itself where it does not lean.
        grid: None where it does not lean.
        fill: the value of voxels that no slice covers.
    """

    volume: Volume
    grid: StraightGrid | None
    fill: float

    @property
    def moved(self) -> bool:
        """Whether the slices were moved at all."""
        return self.grid is not None


def is_tilted(volume: Volume) -> bool:
    """Whether the slices of a volume lean against their stack, so that ``rectify`` moves them."""
    return tilt_degrees(volume.affine_lps, len(volume.voxels)) > 0.0


def straight_grid(volume: Volume) -> StraightGrid | None:
    """The grid that ``rectify`` uses, from the affine and the shape alone; None where none is due.

    The same volume gives the same grid, so that what was rectified once can be restored later.
    """
    slices, rows, columns = volume.voxels.shape
    if not is_tilted(volume):
        return None
    step, down, across = volume.affine_lps[:3, :3].T
    spacing = np.array([np.linalg.norm(down), np.linalg.norm(across)])
    row = across / spacing[1]
    normal = np.cross(row, down)
    normal /= np.linalg.norm(normal)
    # At a right angle to both to the last digit, whatever the digits of the header.
    column = np.cross(normal, row)
    drift = np.array([step @ column, step @ row]) / spacing
    places = np.arange(slices)[:, None] * drift
    places -= np.floor(places.min(axis=0))
    starts = np.floor(places + 0.5).astype(np.int64)
    grown = np.array([rows, columns]) + starts.max(axis=0)
    origin = (
        volume.affine_lps[:3, 3]
        - (column * places[0, 0] * spacing[0])
        - (row * places[0, 1] * spacing[1])
    )
    affine = np.eye(4)
    affine[:3, 0] = (step @ normal) * normal
    affine[:3, 1] = column * spacing[0]
    affine[:3, 2] = row * spacing[1]
    affine[:3, 3] = origin
    return StraightGrid(
        shape=(slices, int(grown[0]), int(grown[1])),
        source_shape=(slices, rows, columns),
        affine_lps=affine,
        starts=starts,
        rests=places - starts,
    )


def rectify(volume: Volume) -> Rectified:
    """Put a leaning stack on an orthogonal grid; a volume that does not lean stays as it is.

    Values between two voxels of a slice are interpolated linearly, and rounded where the volume
    holds integers; the same volume gives the same bytes. The sources stay those of the slices.
    """
    grid = straight_grid(volume)
    if grid is None:
        return Rectified(volume, None, 0.0)
    fill = volume.voxels.min()
    voxels = np.full(grid.shape, fill, dtype=volume.voxels.dtype)
    _, rows, columns = grid.source_shape
    for index, pixels in enumerate(volume.voxels):
        row, column = grid.starts[index]
        moved = _move(pixels.astype(np.float64), float(grid.rests[index, 0]), 0)
        moved = _move(moved, float(grid.rests[index, 1]), 1)
        if voxels.dtype.kind != "f":
            np.rint(moved, out=moved)
        voxels[index, row : row + rows, column : column + columns] = moved
    straight = Volume(voxels=voxels, affine_lps=grid.affine_lps, sources=volume.sources)
    return Rectified(straight, grid, float(fill))


def restore(labels: Array, rectified: Rectified | StraightGrid | None) -> Array:
    """Labels, or other values, on the grid of ``rectify``, back on the slices of the source volume.

    Each voxel of the source takes the value of the grid's voxel that is nearest to its centre. The
    nearest of no two of one slice are the same, so a label that was drawn there comes back to where
    it belongs. Without a grid the labels are the source's already and are returned as they are.

    Args:
        labels: ``(slice, row, column)`` of ``StraightGrid.shape``, or several of these stacked,
            such as probabilities ``(label, slice, row, column)``.
        rectified: what ``rectify`` or ``straight_grid`` gave for the source volume.

    Raises:
        ValueError: the labels are not on that grid.
    """
    grid = rectified.grid if isinstance(rectified, Rectified) else rectified
    if grid is None:
        return labels
    if labels.shape[-3:] != grid.shape:
        raise ValueError(f"Labels of {labels.shape} are not on a grid of {grid.shape}.")
    _, rows, columns = grid.source_shape
    result = np.empty((*labels.shape[:-3], *grid.source_shape), labels.dtype)
    for index, (row, column) in enumerate(grid.starts):
        result[..., index, :, :] = labels[..., index, row : row + rows, column : column + columns]
    return result


def restore_answer(answer: ModelAnswer, rectified: Rectified | StraightGrid | None) -> ModelAnswer:
    """An answer whose places lie in voxels of the source volume instead of the grid of ``rectify``.

    The place in the patient is the same to the last digit. One that lies where no slice of the
    source reaches has an index below 0 or beyond the last.
    """
    grid = rectified.grid if isinstance(rectified, Rectified) else rectified
    if grid is None:
        return answer
    offsets = grid.starts + grid.rests
    drift = offsets[1] - offsets[0]

    def back(point: tuple[float, float, float]) -> tuple[float, float, float]:
        row, column = np.array(point[1:]) - (offsets[0] + drift * point[0])
        return point[0], float(row), float(column)

    places = tuple(
        replace(place, points=tuple(back(point) for point in place.points))
        for place in answer.places
    )
    return replace(answer, places=places)


def _move(pixels: npt.NDArray[np.float64], by: float, axis: int) -> npt.NDArray[np.float64]:
    """Move a slice by part of a voxel towards greater indices; its edge goes on as it is."""
    if by == 0.0:
        return pixels
    neighbour = np.roll(pixels, 1 if by > 0 else -1, axis)
    edge = 0 if by > 0 else -1
    if axis == 0:
        neighbour[edge] = pixels[edge]
    else:
        neighbour[:, edge] = pixels[:, edge]
    return (1 - abs(by)) * pixels + abs(by) * neighbour
