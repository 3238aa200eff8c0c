"""Bring any volume into a model's canonical grid, and the model's answer back.

The canonical grid is aligned with the patient: axis 0 runs to the patient's right, axis 1 to
anterior, axis 2 to the head (RAS), isotropic, of fixed shape, centred on what `locate` found.
Volumes are (slice, row, column) with an LPS affine: ``affine_lps @ (slice, row, column, 1)`` is the
centre of a voxel in mm, x to the patient's left, y to posterior, z to the head (PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

__all__ = [
    "CanonicalGrid",
    "Foreground",
    "bright_end",
    "interpolate",
    "locate",
    "normalise",
    "places",
    "resample",
    "resample_back",
    "sample_back",
    "scanned",
]

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

OVERVIEW_MM = 4.0
"""Spacing of the coarse image in which the head is looked for."""
FOREGROUND_SHARE = 0.25
"""A voxel is foreground above this share of the bright end of the image."""
TOP_PLANE_MM2 = 600.0
"""The head begins at the highest plane with this much foreground."""
HEAD_DEPTH_MM = 130.0
"""How far below the top the head is taken to reach when its middle is looked for."""
FINEST_MM = 1.0
"""Finer volumes are averaged down to about this before they are sampled."""
ROUNDING = 1e-3
"""In voxels of a source: what lies on its border lies within."""
ROWS_AT_ONCE = 400_000
"""Voxels per step of `resample_back`; bounds its memory to some 100 MB."""


@dataclass(frozen=True, slots=True)
class CanonicalGrid:
    """A right-anterior-superior grid: shape (x, y, z), isotropic spacing and centre in RAS mm."""

    shape: tuple[int, int, int]
    spacing_mm: float
    centre_ras: tuple[float, float, float]

    @property
    def affine_ras(self) -> Float64:
        """Give the 4x4 affine (x, y, z, 1) → RAS mm."""
        affine = np.diag([self.spacing_mm] * 3 + [1.0])
        half = (np.array(self.shape, float) - 1) / 2
        affine[:3, 3] = np.array(self.centre_ras) - self.spacing_mm * half
        return affine


@dataclass(frozen=True, slots=True)
class Foreground:
    """The biggest connected bright object.

    Attributes:
        centre_ras: where a canonical grid should be centred, RAS mm.
        volume_ml: its volume, no deeper than a head reaches below its top.
        extent_mm: its extent along right, anterior and superior, likewise.
    """

    centre_ras: tuple[float, float, float]
    volume_ml: float
    extent_mm: tuple[float, float, float]


def affine_to_ras(affine_lps: Float64) -> Float64:
    """Turn an LPS affine into a RAS one: x and y change sign."""
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(affine_lps, np.float64)


def shrink(
    voxels: NDArray[np.generic], affine: Float64, finest_mm: float
) -> tuple[Float32, Float64]:
    """Average blocks of voxels so that no axis is much finer than ``finest_mm``.

    Returns the smaller volume as float32, shifted so that nothing is negative, and its affine.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    factors = [
        int(np.clip(np.floor(finest_mm / s + 0.25), 1, n))
        for s, n in zip(spacing, voxels.shape, strict=True)
    ]
    data = np.nan_to_num(np.asarray(voxels, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    data -= min(0.0, float(data.min()))
    for axis, factor in enumerate(factors):
        if factor > 1:
            count = data.shape[axis] // factor
            data = np.take(data, range(count * factor), axis=axis)
            shape = (*data.shape[:axis], count, factor, *data.shape[axis + 1 :])
            data = data.reshape(shape).mean(axis=axis + 1, dtype=np.float32)
    step = np.diag([*map(float, factors), 1.0])
    step[:3, 3] = (np.array(factors) - 1) / 2
    return data, affine @ step


def _overview(voxels: NDArray[np.generic], affine_lps: Float64) -> tuple[Float32, Float64]:
    """Give a coarse RAS image of everything (-1 where nothing was scanned) and its origin in mm."""
    data, affine = shrink(voxels, affine_to_ras(affine_lps), OVERVIEW_MM)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in data.shape])).reshape(3, -1)
    world = affine[:3, :3] @ corners + affine[:3, 3:]
    origin = world.min(axis=1)
    size = tuple(int(n) for n in np.ceil((world.max(axis=1) - origin) / OVERVIEW_MM) + 1)
    grid = np.diag([OVERVIEW_MM] * 3 + [1.0])
    grid[:3, 3] = origin
    to_source = np.linalg.inv(affine) @ grid
    image = ndimage.affine_transform(
        data, to_source[:3, :3], to_source[:3, 3], output_shape=size, order=1, cval=-1.0
    )
    return image, origin


def bright_level(values: Float32) -> float:
    """Give the 95th percentile of the values that are not background; 0 for an empty image."""
    if values.size == 0:
        return 0.0
    high = float(np.percentile(values, 99.5))
    inside = values[values > 0.1 * high]
    return float(np.percentile(inside, 95)) if inside.size and high > 0 else 0.0


def locate(
    voxels: NDArray[np.generic], affine_lps: Float64, below_top_mm: float | None
) -> Foreground | None:
    """Find the biggest bright object and where to centre a canonical grid on it.

    Args:
        voxels: (slice, row, column) of any real type.
        affine_lps: 4x4, (slice, row, column, 1) → LPS mm.
        below_top_mm: for heads, how far below the vertex the grid's centre lies, so that neck and
            shoulders cannot pull it down; None centres on the object itself.

    Returns:
        None when nothing stands out from the background.
    """
    image, origin = _overview(voxels, affine_lps)
    scanned = image > -0.5
    level = bright_level(image[scanned])
    if level <= 0:
        return None
    mask = np.pad(image > FOREGROUND_SHARE * level, 1, mode="edge")
    mask = ndimage.binary_opening(mask, iterations=1)[1:-1, 1:-1, 1:-1]
    parts, count = ndimage.label(mask)
    if count == 0:
        return None
    mask = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    area = mask.sum(axis=(0, 1)) * OVERVIEW_MM**2
    planes = np.flatnonzero(area >= min(TOP_PLANE_MM2, float(area.max())))
    top = int(planes[-1])
    if below_top_mm is not None:
        mask[:, :, top + 1 :] = False
        mask[:, :, : max(0, top - round(HEAD_DEPTH_MM / OVERVIEW_MM))] = False
    at = np.argwhere(mask)
    centre = origin + OVERVIEW_MM * at.mean(axis=0)
    if below_top_mm is not None:
        centre[2] = origin[2] + OVERVIEW_MM * (top + 0.5) - below_top_mm
    extent = OVERVIEW_MM * (np.ptp(at, axis=0) + 1)
    return Foreground(
        centre_ras=(float(centre[0]), float(centre[1]), float(centre[2])),
        volume_ml=float(len(at) * OVERVIEW_MM**3 / 1000),
        extent_mm=(float(extent[0]), float(extent[1]), float(extent[2])),
    )


def resample(voxels: NDArray[np.generic], affine_lps: Float64, grid: CanonicalGrid) -> Float32:
    """Sample a volume on a canonical grid: (x, y, z) float32, 0 where nothing was scanned.

    Every voxel is the mean of four points inside it, which keeps a finer source from aliasing.
    """
    data, affine = shrink(voxels, affine_to_ras(affine_lps), FINEST_MM)
    to_source = np.linalg.inv(affine) @ grid.affine_ras
    out = np.zeros(grid.shape, np.float32)
    for corner in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)):
        offset = to_source[:3, 3] + to_source[:3, :3] @ (0.25 * np.array(corner))
        out += ndimage.affine_transform(
            data, to_source[:3, :3], offset, output_shape=grid.shape, order=1
        )
    out /= 4
    return out


def scanned(
    source_shape: tuple[int, ...], affine_lps: Float64, grid: CanonicalGrid
) -> NDArray[np.bool_]:
    """Tell which voxels of a canonical grid lie within a volume, (x, y, z).

    A volume ends at the middle of its outermost voxels, as it does for `resample`.
    """
    to_source = np.linalg.inv(affine_to_ras(affine_lps)) @ grid.affine_ras
    x, y, z = np.ogrid[tuple(slice(0, n) for n in grid.shape)]
    inside = np.ones(grid.shape, np.bool_)
    for (along_x, along_y, along_z, start), count in zip(to_source[:3], source_shape, strict=True):
        at = along_x * x + along_y * y + along_z * z + start
        inside &= (at > -ROUNDING) & (at < count - 1 + ROUNDING)
    return inside


def bright_end(image: Float32) -> float:
    """Give the 99th percentile of the voxels above a tenth of the brightest, 0 if there is none."""
    values = image[image > 0.1 * max(0.0, float(np.percentile(image, 99.5)))]
    return float(np.percentile(values, 99)) if values.size else 0.0


def normalise(image: Float32, bright: float, ceiling: float = 1.5) -> Float32:
    """Scale so that ``bright`` becomes 1, and cut off at ``ceiling``; all 0 if nothing is."""
    if bright <= 0:
        return np.zeros_like(image)
    out: Float32 = np.clip(image / np.float32(bright), 0.0, ceiling).astype(np.float32)
    return out


def resample_back(
    channels: Float32,
    wanted: NDArray[np.bool_],
    grid: CanonicalGrid,
    source_shape: tuple[int, int, int],
    affine_lps: Float64,
    decide: Callable[[Float32], NDArray[np.uint8]],
) -> NDArray[np.uint8]:
    """Interpolate probabilities at every source voxel and decide its label there.

    Args:
        channels: (x, y, z, channel) float32 on the canonical grid.
        wanted: (x, y, z), where a label other than 0 is possible at all; saves the rest.
        grid: the canonical grid.
        source_shape: (slice, row, column) of the volume that was resampled.
        affine_lps: its affine.
        decide: (voxel, channel) float32 → (voxel,) uint8 labels.

    Returns:
        (slice, row, column) uint8, 0 outside the canonical grid.
    """
    labels = np.zeros(source_shape, np.uint8)
    for at, rows in sample_back(channels, wanted, grid, source_shape, affine_lps):
        labels[at] = decide(rows)
    return labels


def sample_back(
    channels: Float32,
    wanted: NDArray[np.bool_],
    grid: CanonicalGrid,
    source_shape: tuple[int, int, int],
    affine_lps: Float64,
) -> Iterator[tuple[tuple[int, NDArray[np.intp], NDArray[np.intp]], Float32]]:
    """Interpolate channels at the source voxels of `resample_back`, a part of a slice at a time.

    Gives where they lie, (slice, rows, columns), and the channels there, (voxel, channel).
    """
    if not wanted.any():
        return
    wanted = ndimage.binary_dilation(wanted, iterations=1)
    to_grid: Float64 = np.linalg.inv(grid.affine_ras) @ affine_to_ras(affine_lps)
    low, high = _source_box(wanted, np.linalg.inv(to_grid).astype(np.float64), source_shape)
    if (low >= high).any():
        return
    table = np.ascontiguousarray(channels.reshape(-1, channels.shape[-1]))
    rows, columns = (
        part.ravel()
        for part in np.meshgrid(
            np.arange(low[1], high[1]), np.arange(low[2], high[2]), indexing="ij"
        )
    )
    in_plane = to_grid[:3, 1:3] @ np.stack((rows, columns)) + to_grid[:3, 3:]
    last = np.array(grid.shape)[:, None] - 1
    for index in range(low[0], high[0]):
        at = in_plane + to_grid[:3, :1] * index
        near = np.rint(at).astype(np.int64)
        keep = ((at >= 0) & (at <= last)).all(axis=0)
        near[:, ~keep] = 0
        keep &= wanted[near[0], near[1], near[2]]
        if not keep.any():
            continue
        for part in np.array_split(np.flatnonzero(keep), 1 + int(keep.sum()) // ROWS_AT_ONCE):
            found = interpolate(table, at[:, part], grid.shape)
            yield (int(index), rows[part], columns[part]), found


def places(at: tuple[int, NDArray[np.intp], NDArray[np.intp]], affine_lps: Float64) -> Float64:
    """Give where voxels of `sample_back` lie: (3, voxel), RAS mm."""
    affine = affine_to_ras(affine_lps)
    index, rows, columns = at
    in_plane: Float64 = affine[:3, 1:3] @ np.stack((rows, columns))
    return in_plane + affine[:3, 3:] + affine[:3, :1] * index


def _source_box(
    wanted: NDArray[np.bool_], to_source: Float64, source_shape: tuple[int, int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Bound the source voxels that the wanted canonical voxels can touch: [low, high)."""
    where = ndimage.find_objects(wanted.astype(np.uint8))[0]
    ends = [(part.start - 1, part.stop) for part in where]
    corners = np.array(np.meshgrid(*ends)).reshape(3, -1)
    at = to_source[:3, :3] @ corners + to_source[:3, 3:]
    limit = np.array(source_shape)
    low = np.clip(np.floor(at.min(axis=1)).astype(np.int64), 0, limit)
    high = np.clip(np.ceil(at.max(axis=1)).astype(np.int64) + 1, 0, limit)
    return low, high


def interpolate(table: Float32, at: NDArray[np.floating], shape: tuple[int, int, int]) -> Float32:
    """Interpolate linearly: rows of ``table`` at canonical coordinates (3, voxel)."""
    base = np.minimum(np.floor(at).astype(np.int32), np.array(shape, np.int32)[:, None] - 2)
    part = (at - base).astype(np.float32)
    strides = (shape[1] * shape[2], shape[2], 1)
    first = base[0] * strides[0] + base[1] * strides[1] + base[2]
    indices = np.empty((at.shape[1], 8), np.int32)
    weights = np.empty((at.shape[1], 8), np.float32)
    for corner in range(8):
        bits = (corner >> 2 & 1, corner >> 1 & 1, corner & 1)
        indices[:, corner] = first + sum(b * s for b, s in zip(bits, strides, strict=True))
        weight = np.ones(at.shape[1], np.float32)
        for axis, bit in enumerate(bits):
            weight = weight * (part[axis] if bit else 1 - part[axis])
        weights[:, corner] = weight
    starts = np.arange(0, 8 * at.shape[1] + 1, 8, dtype=np.int32)
    matrix = sparse.csr_matrix(
        (weights.ravel(), indices.ravel(), starts), shape=(at.shape[1], len(table))
    )
    return np.asarray(matrix @ table, np.float32)
