"""Body, airways, lungs and vessels of a chest in Hounsfield units.

All arrays are (x, y, z): to the patient's right, to anterior, to the head; see
``patient_grid.py``. Lengths are in mm, volumes in mL, densities in HU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from secondread.inference.worker.algorithms.patient_grid import PatientImage, box_of
from secondread.inference.worker.algorithms.ridges import reach, tubeness

__all__ = ["Lungs", "body_mask", "find_airways", "find_lungs", "find_vessels", "split_sides"]

Mask = NDArray[np.bool_]

BODY_HU = -300.0
"""Fat is about -100, lung below -500."""
LUNG_HU = -430.0
"""About halfway between aerated lung and soft tissue: where the border of a lung is drawn."""
PARENCHYMA_HU = (-970.0, -450.0)
"""Median within aerated lung; gas of the bowel lies at -1000, emphysema seldom below -950."""
GAS_HU = -940.0
GAS_SHARE = 0.3
"""More of a piece that is no whole lung than this at the density of gas, and it is bowel."""
WHOLE_LUNG_ML = 1000.0
SMALLEST_PIECE_ML = 2.0
WHOLE_PIECE_ML = 150.0
WHOLE_PIECE_SHARE = 0.1
"""A piece that does not reach the top of the scan, and is smaller than this or than this share of
the largest piece, is no lung."""
TRACHEA_MM2 = (40.0, 900.0)
TRACHEA_LIKE_HU = -850.0
AIRWAY_LEVELS_HU = (-960.0, -940.0, -920.0, -900.0, -880.0, -860.0)
AIRWAYS_MAX_ML = 140.0
LEAK_GROWTH = 1.7
"""A step of threshold that multiplies the airways by more has broken into the lung."""
CLOSING_MM = 8.0
VESSEL_HU = -700.0
VESSEL_RIDGE_HU = (70.0, 30.0)
"""Where a vessel begins, and how far it is followed."""
VESSEL_SCALES_MM = (1.5, 3.0, 5.0)


@dataclass(frozen=True, slots=True)
class Lungs:
    """Both lungs with the vessels in them, without airways.

    Attributes:
        left: (x, y, z).
        right: (x, y, z).
    """

    left: Mask
    right: Mask


def ball(radius: float) -> Mask:
    """A ball of a radius in voxels."""
    reach = int(radius)
    axes = np.ogrid[-reach : reach + 1, -reach : reach + 1, -reach : reach + 1]
    return np.asarray(sum(axis**2 for axis in axes) <= radius**2, np.bool_)


def largest_parts(mask: Mask, share: float) -> Mask:
    """The connected parts that have at least a share of the largest one."""
    parts, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= share * sizes.max())[parts] & mask, np.bool_)


def body_mask(image: PatientImage) -> Mask:
    """The body with all that is in it; a table that does not touch the skin is left out."""
    mask = ndimage.binary_opening(image.hu > BODY_HU, ball(1.5), iterations=1)
    mask = largest_parts(mask, 0.1)
    for index in range(mask.shape[2]):
        mask[:, :, index] = ndimage.binary_fill_holes(mask[:, :, index])
    return mask


def find_airways(image: PatientImage, body: Mask) -> Mask:
    """Trachea and main bronchi: grown from the highest round of air near the middle.

    The threshold rises step by step, until the air breaks into the lung.
    """
    air = body & (image.hu < TRACHEA_LIKE_HU)
    seed = _trachea_seed(image, air, body)
    grown = np.zeros_like(air)
    if seed is None:
        return grown
    for level in AIRWAY_LEVELS_HU:
        parts, _ = ndimage.label(body & (image.hu < level))
        at = parts[seed]
        if at == 0:
            continue
        found = parts == at
        size_ml = found.sum() * image.voxel_ml
        leaked = grown.any() and found.sum() > LEAK_GROWTH * grown.sum() and size_ml > 40.0
        if size_ml > AIRWAYS_MAX_ML or leaked:
            break
        grown = found
    if not grown.any():
        return grown
    wall = ndimage.binary_dilation(grown, ball(1.0))
    return np.asarray(wall & body & (image.hu < LUNG_HU), np.bool_)


def _trachea_seed(image: PatientImage, air: Mask, body: Mask) -> tuple[int, int, int] | None:
    """The darkest voxel of a trachea: small, round, near the middle, followed for 20 mm."""
    step = image.grid.spacing_mm
    levels = np.flatnonzero(air.any(axis=(0, 1)))[::-1]
    for z in levels[: round(250 / step)]:
        if not body[:, :, z].any():
            continue
        middle = float(np.argwhere(body[:, :, z])[:, 0].mean())
        parts, count = ndimage.label(air[:, :, z])
        for number in range(1, count + 1):
            at = np.argwhere(parts == number)
            area = len(at) * step**2
            sides = np.ptp(at, axis=0) + 1
            if not TRACHEA_MM2[0] <= area <= TRACHEA_MM2[1] or sides.max() > 2.5 * sides.min():
                continue
            if abs(at[:, 0].mean() - middle) * step > 35 or len(at) < 0.5 * sides.prod():
                continue
            x, y = at[image.hu[at[:, 0], at[:, 1], z].argmin()]
            depth = max(0, z - round(20 / step))
            if (image.hu[x, y, depth : z + 1] < TRACHEA_LIKE_HU).mean() > 0.9 and z > depth:
                return int(x), int(y), int(z)
    return None


def find_lungs(image: PatientImage, body: Mask, airways: Mask) -> Mask:
    """Aerated lung; gas of the bowel is denser packed with air and stays out.

    A piece is lung when the median of its inside is that of lung tissue, and when it is large or
    reaches the topmost plane of the scan, where the rest of it may lie beyond.
    """
    inner = body & (image.hu < LUNG_HU) & ~airways
    opened = ndimage.binary_opening(inner, ball(1.0))
    parts, count = ndimage.label(opened)
    lungs = np.zeros_like(inner)
    if count == 0:
        return lungs
    sizes_ml = np.bincount(parts.ravel(), minlength=count + 1) * image.voxel_ml
    planes = np.flatnonzero(image.seen.any(axis=(0, 1)))
    ends = set(np.unique(parts[:, :, planes[-1] - 1 : planes[-1] + 1]))
    boxes = ndimage.find_objects(parts)
    whole_ml = max(WHOLE_PIECE_ML, WHOLE_PIECE_SHARE * float(sizes_ml[1:].max()))
    for number in range(1, count + 1):
        if sizes_ml[number] < SMALLEST_PIECE_ML:
            continue
        if sizes_ml[number] < whole_ml and number not in ends:
            continue
        box = boxes[number - 1]
        piece = parts[box] == number
        inside = _inside_hu(image.hu[box], piece)
        if not PARENCHYMA_HU[0] <= float(np.median(inside)) <= PARENCHYMA_HU[1]:
            continue
        if sizes_ml[number] < WHOLE_LUNG_ML and (inside < GAS_HU).mean() > GAS_SHARE:
            continue
        lungs[box] |= piece
    near = ndimage.binary_dilation(lungs, ball(1.0), iterations=2) & inner
    return np.asarray(lungs | near, np.bool_)


def _inside_hu(hu: NDArray[np.float32], piece: Mask) -> NDArray[np.float32]:
    """The inside of a piece, where the partial volume of its border does not reach."""
    core = ndimage.binary_erosion(piece, ball(1.0), border_value=1)
    return hu[core if core.sum() > 20 else piece]


def split_sides(lungs: Mask, body: Mask) -> Lungs:
    """Tell left from right by the patient's geometry; lungs that touch are parted where they do.

    The lungs are worn off from outside until no piece reaches far over the middle; the pieces then
    take back what was worn off, each what is nearer to it.
    """
    box = ndimage.find_objects(lungs.view(np.uint8))[0]
    middle = _middle_x(body, lungs) - box[0].start
    left, right = np.zeros_like(lungs), np.zeros_like(lungs)
    left[box], right[box] = _sides(lungs[box], middle)
    return Lungs(left, right)


def _sides(lungs: Mask, middle: float) -> tuple[Mask, Mask]:
    """Left and right, where ``middle`` is the index of the middle of the body."""
    x = np.arange(lungs.shape[0])[:, None, None]
    core, seeds = lungs, None
    for _ in range(7):
        seeds = _sided(core, middle)
        if seeds is not None:
            break
        core = ndimage.binary_erosion(core, ball(1.0), border_value=1)
    if seeds is None:
        return lungs & (x < middle), lungs & (x >= middle)
    left, right = seeds
    if core is not lungs:
        # What was worn off goes to the side that is nearer.
        nearer_left = _distance(left) <= _distance(right)
        left, right = lungs & nearer_left, lungs & ~nearer_left
    return left, right


def _distance(mask: Mask) -> NDArray[np.float64]:
    """Distance of every voxel to a mask, in voxels; far where the mask is empty."""
    if not mask.any():
        return np.full(mask.shape, np.inf)
    return np.asarray(ndimage.distance_transform_edt(~mask), np.float64)


def _middle_x(body: Mask, lungs: Mask) -> float:
    """Index of the middle of the body, over the planes that have lung."""
    planes = np.flatnonzero(lungs.any(axis=(0, 1)))
    across = np.flatnonzero(body[:, :, planes].any(axis=(1, 2)))
    area = body[:, :, planes].sum(axis=(1, 2))[across]
    return float((across * area).sum() / area.sum())


def _sided(core: Mask, middle: float) -> tuple[Mask, Mask] | None:
    """Pieces by side, or None when one of them lies on both."""
    parts, count = ndimage.label(core)
    if count == 0:
        return None
    at = np.arange(core.shape[0])
    right_of = parts[at >= middle]
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    on_right = np.bincount(right_of.ravel(), minlength=count + 1)
    share = on_right / np.maximum(sizes, 1)
    large = sizes > 0.05 * sizes[1:].max()
    large[0] = share[0] = False
    if ((share > 0.25) & (share < 0.75) & large).any():
        return None
    right = (share >= 0.5)[parts] & core
    return core & ~right, np.asarray(right, np.bool_)


def close_lung(lung: Mask, image: PatientImage) -> Mask:
    """Take back vessels and small consolidations at the hilum: closing by a ball, holes filled."""
    found = ndimage.find_objects(lung.view(np.uint8))
    if not found:
        return lung
    radius = CLOSING_MM / image.grid.spacing_mm
    pad = int(radius) + 2
    box = lung[found[0]]
    # Beyond the first and last plane the lung goes on, or closing would eat at the cut.
    room = np.pad(
        np.pad(box, ((pad, pad), (pad, pad), (0, 0))), ((0, 0), (0, 0), (pad, pad)), "edge"
    )
    grown = ndimage.distance_transform_edt(~room) <= radius
    closed = ndimage.distance_transform_edt(np.pad(grown, 1, "edge"))[1:-1, 1:-1, 1:-1] > radius
    closed = ndimage.binary_fill_holes(closed | room)[pad:-pad, pad:-pad, pad:-pad]
    out = lung.copy()
    out[found[0]] |= closed
    return out


def find_vessels(image: PatientImage, lungs: Mask) -> Mask:
    """Vessels within the lungs: bright ridges, followed from where they are plain."""
    vessels = np.zeros_like(lungs)
    scales = [scale / image.grid.spacing_mm for scale in VESSEL_SCALES_MM]
    box = box_of(lungs, reach(scales))
    hu = image.hu[box]
    where = lungs[box] & (hu > VESSEL_HU)
    ridge = tubeness(np.clip(hu, -1000.0, 100.0), where, scales)
    likely = where & (ridge > VESSEL_RIDGE_HU[1])
    parts, count = ndimage.label(likely, np.ones((3, 3, 3), np.bool_))
    if count == 0:
        return vessels
    sure = np.unique(parts[likely & (ridge > VESSEL_RIDGE_HU[0])])
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    keep = np.zeros(count + 1, np.bool_)
    keep[sure] = True
    keep[0] = False
    vessels[box] = (keep & (sizes >= 4))[parts]
    return vessels
