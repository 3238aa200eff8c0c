"""Steps that move a case to other axes or another spacing: its image, its labels and its affine."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from secondread.errors import RecipeError
from secondread.inference.worker.runtimes.network_grid import (
    LETTERS,
    NetworkGrid,
    is_orientation,
    lay,
)
from secondread.learning.case import Loaded

_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_AXES = 3
_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True)
class Orient:
    """``orient``: the axes run to ``orientation``, such as ``RAS`` or ``LPS``.

    Nothing is resampled. Readers give RAS. Voxels that lie askew stay so: the nearest axes count.
    """

    orientation: str = "RAS"

    def check(self, where: str) -> None:
        """Raise RecipeError where the letters name no orientation."""
        if not is_orientation(self.orientation):
            raise RecipeError(
                f"{where} has the orientation '{self.orientation}', but it is three letters of "
                f"{LETTERS}, one for each axis of the patient."
            )

    def __call__(self, loaded: Loaded) -> Loaded:
        """Turn a case."""
        return _lay_out(loaded, lay(self.orientation, None, loaded.image.shape, _lps_of(loaded)))


@dataclass(frozen=True)
class Resample:
    """``resample``: voxels of ``spacing_mm`` along x, y and z, about the same middle.

    The image is sampled linearly or from the nearest voxel (``order = "linear"`` or ``"nearest"``),
    as the node does it for a network of such a spacing; labels always come from the nearest. Linear
    sampling does not average: before a much coarser grid comes a ``denoise`` with ``gaussian``.
    """

    spacing_mm: tuple[float, ...]
    order: str = "linear"

    def check(self, where: str) -> None:
        """Raise RecipeError where the spacing is none or the order is unknown."""
        if len(self.spacing_mm) != _AXES or min(self.spacing_mm) <= 0:
            raise RecipeError(f"{where} needs spacing_mm = [x, y, z], each more than 0.")
        if self.order not in {"linear", "nearest"}:
            raise RecipeError(f"{where} has the order '{self.order}', but it is linear or nearest.")

    def __call__(self, loaded: Loaded) -> Loaded:
        """Resample a case."""
        affine = _lps_of(loaded)
        as_it_lies = _letters_of(loaded.affine_ras)
        grid = lay(as_it_lies, self.spacing_mm, loaded.image.shape, affine)
        return _lay_out(loaded, grid, nearest=self.order == "nearest")


def restore_labels(
    labels: NDArray[np.uint8], prepared: Loaded, source: Loaded
) -> NDArray[np.uint8]:
    """Give labels (x, y, z) of a prepared case on the grid of its source, each from the nearest.

    What the grid of the prepared case does not reach is background.
    """
    if prepared.image.shape == source.image.shape and np.allclose(
        prepared.affine_ras, source.affine_ras
    ):
        return labels
    to_prepared = np.linalg.inv(prepared.affine_ras) @ source.affine_ras
    restored = ndimage.affine_transform(
        labels.astype(np.float32),
        to_prepared[:3, :3],
        to_prepared[:3, 3],
        output_shape=source.image.shape,
        order=0,
    )
    return np.asarray(restored, np.uint8)


def _lps_of(loaded: Loaded) -> NDArray[np.float64]:
    return _TO_LPS @ loaded.affine_ras


def _letters_of(affine_ras: NDArray[np.float64]) -> str:
    """Where the axes run to, as near as three letters can say it."""
    found = ["", "", ""]
    linear = np.abs(affine_ras[:3, :3] / np.linalg.norm(affine_ras[:3, :3], axis=0))
    for _ in range(_AXES):
        patient, axis = np.unravel_index(int(linear.argmax()), linear.shape)
        forwards = affine_ras[patient, axis] >= 0
        found[axis] = LETTERS[2 * int(patient) + (0 if forwards else 1)]
        linear[patient, :] = linear[:, axis] = -1.0
    return "".join(found)


def _lay_out(loaded: Loaded, grid: NetworkGrid, *, nearest: bool = False) -> Loaded:
    image = _take_nearest(loaded.image, grid) if nearest else grid.bring(loaded.image)
    labels = None if loaded.labels is None else _take_nearest(loaded.labels, grid)
    return dataclasses.replace(
        loaded, image=image, labels=labels, affine_ras=loaded.affine_ras @ _to_source(grid)
    )


def _take_nearest(values: NDArray[_Scalar], grid: NetworkGrid) -> NDArray[_Scalar]:
    to_source = _to_source(grid)
    indices: list[NDArray[np.intp]] = [np.empty(0, np.intp)] * _AXES
    for axis, source in enumerate(grid.axes):
        at = to_source[source, axis] * np.arange(grid.shape[axis]) + to_source[source, 3]
        nearest = np.floor(at + 0.5).astype(np.intp)
        indices[source] = np.clip(nearest, 0, grid.source_shape[source] - 1)
    return np.ascontiguousarray(values[np.ix_(*indices)].transpose(grid.axes))


def _to_source(grid: NetworkGrid) -> NDArray[np.float64]:
    """4x4 from voxels of the grid to those of its source; both have the same middle."""
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1.0
    for axis, source in enumerate(grid.axes):
        step = -grid.steps[axis] if grid.flipped[axis] else grid.steps[axis]
        matrix[source, axis] = step
        matrix[source, 3] = (grid.source_shape[source] - 1) / 2 - step * (grid.shape[axis] - 1) / 2
    return matrix
