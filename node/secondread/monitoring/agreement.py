"""How a corrected segmentation differs from the result that it corrects, voxel by voxel.

Both lie on one grid, or there is no comparison: a correction that was resampled differs everywhere,
and says nothing about the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from secondread.domain.monitoring import Verdict

Array = npt.NDArray[Any]
Affine = npt.NDArray[np.float64]

_OFF_VOXELS = 0.25
"""A voxel centre that is further from ours than this, in voxels, is on another grid."""


class OtherGridError(ValueError):
    """Voxels of a correction do not lie on those of the result."""


@dataclass(frozen=True, slots=True)
class Region:
    """One of our structures: the voxels of ``labels`` that are ``value``.

    Attributes:
        labels: ``(slice, row, column)``; several regions may share it.
        affine_lps: 4 x 4; ``affine_lps @ (slice, row, column, 1)`` is LPS mm.
    """

    name: str
    labels: Array
    value: int
    affine_lps: Affine

    @property
    def voxel_ml(self) -> float:
        """The volume of a voxel."""
        return float(abs(np.linalg.det(self.affine_lps[:3, :3]))) / 1000.0


@dataclass(frozen=True, slots=True)
class Plane:
    """One frame of a correction, and the voxels of one of its segments in it.

    Attributes:
        mask: ``(row, column)``.
        position: of the first voxel, LPS mm.
        row_step: from one row to the next, LPS mm.
        column_step: from one column to the next, LPS mm.
    """

    segment: int
    mask: npt.NDArray[np.bool_]
    position: npt.NDArray[np.float64]
    row_step: npt.NDArray[np.float64]
    column_step: npt.NDArray[np.float64]


@dataclass(slots=True)
class Count:
    """Voxels of one structure: in ours, in theirs, and in both."""

    ours: int = 0
    theirs: int = 0
    both: int = 0

    @property
    def dice(self) -> float:
        """Twice the common voxels by the sum; 1 where there are none at all."""
        whole = self.ours + self.theirs
        return 2.0 * self.both / whole if whole else 1.0

    @property
    def is_same(self) -> bool:
        """Whether every voxel is the same."""
        return self.ours == self.theirs == self.both


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a comparison found.

    Attributes:
        counts: by the name of the structure.
        voxel_ml: the volume of a voxel.
        removed: our structures of which nothing is left.
        added: segments with voxels that are none of ours.
        added_voxels: of those.
    """

    counts: Mapping[str, Count]
    voxel_ml: float
    added: int = 0
    added_voxels: int = 0
    removed: tuple[str, ...] = field(default=())

    @property
    def verdict(self) -> Verdict:
        """Accept where nothing differs, reject where none of ours is left, else modify."""
        if not any(count.theirs for count in self.counts.values()):
            return Verdict.REJECT
        if not self.added and all(count.is_same for count in self.counts.values()):
            return Verdict.ACCEPT
        return Verdict.MODIFY

    @property
    def measures(self) -> dict[str, float]:
        """Numbers by name: Dice and difference in mL of each structure, and of all together."""
        found: dict[str, float] = {}
        changed = self.added_voxels
        for name, count in self.counts.items():
            found[f"dice.{name}"] = count.dice
            found[f"difference_ml.{name}"] = (count.theirs - count.ours) * self.voxel_ml
            changed += count.ours + count.theirs - 2 * count.both
        dice = [count.dice for count in self.counts.values()]
        found["dice_mean"] = float(np.mean(dice)) if dice else 1.0
        found["changed_ml"] = changed * self.voxel_ml
        found["labels_removed"] = float(len(self.removed))
        found["labels_added"] = float(self.added)
        return found


def compare(
    regions: Sequence[Region], pairs: Mapping[int, int], planes: Iterable[Plane]
) -> Agreement:
    """Compare a correction with our structures.

    Args:
        regions: ours, all on grids with the same voxels.
        pairs: number of their segment to the index of the region that it is.
        planes: their frames; those of segments that are in no pair count as added.

    Raises:
        OtherGridError: a frame with voxels of one of our structures lies on another grid.
    """
    counts = {one.name: Count(int(np.count_nonzero(one.labels == one.value))) for one in regions}
    added: dict[int, int] = {}
    for plane in planes:
        voxels = int(np.count_nonzero(plane.mask))
        if not voxels:
            continue
        at = pairs.get(plane.segment)
        if at is None:
            added[plane.segment] = added.get(plane.segment, 0) + voxels
            continue
        region = regions[at]
        count = counts[region.name]
        count.theirs += voxels
        count.both += _common(region, plane)
    removed = tuple(name for name, count in counts.items() if not count.theirs)
    voxel_ml = regions[0].voxel_ml if regions else 0.0
    return Agreement(counts, voxel_ml, len(added), sum(added.values()), removed)


def _common(region: Region, plane: Plane) -> int:
    """How many voxels of a plane are of a region."""
    base, down, along = _steps(region.affine_lps, plane)
    rows, columns = np.nonzero(plane.mask)
    index = base + rows[:, None] * down + columns[:, None] * along
    inside = ((index >= 0) & (index < region.labels.shape)).all(axis=1)
    found = region.labels[tuple(index[inside].T)]
    return int(np.count_nonzero(found == region.value))


def _steps(affine_lps: Affine, plane: Plane) -> tuple[Array, Array, Array]:
    """First voxel of a plane, and the steps to the next row and column, in whole voxels of ours."""
    inverse = np.linalg.inv(affine_lps)
    exact = (
        inverse[:3, :3] @ plane.position + inverse[:3, 3],
        inverse[:3, :3] @ plane.row_step,
        inverse[:3, :3] @ plane.column_step,
    )
    base, down, along = (np.rint(one).astype(int) for one in exact)
    rows, columns = plane.mask.shape
    off = max(
        float(np.abs(exact[0] - base + r * (exact[1] - down) + c * (exact[2] - along)).max())
        for r in (0, rows - 1)
        for c in (0, columns - 1)
    )
    are_axes = np.abs(down).sum() == np.abs(along).sum() == 1 and not np.dot(down, along)
    if off > _OFF_VOXELS or not are_axes:
        raise OtherGridError("The correction does not lie on the voxels of the result.")
    return base, down, along
