"""A DICOM Segmentation as a label map on the grid of the series that it is about."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secondread.errors import DataError
from secondread.results.reading.contents import SegmentationContents
from secondread.results.reading.segments import Segment

__all__ = ["LabelTable", "draw_labels"]

_CODE = re.compile(r"([A-Z0-9_]+):(\S+)(?: (left|right))?")
_OFF_GRID = 0.1
"""In voxels: what positions and spacings of two objects may differ by through rounding."""
_SAME_STEP = 0.01
_LABELS_MAX = 255


@dataclass(frozen=True)
class LabelTable:
    """Which segments become which label.

    Attributes:
        wanted: for each label, the first one first, what its segments are called: a code such as
            ``SCT:10200004``, with `` left`` or `` right`` behind it where the side counts, or the
            Segment Label as the object has it.
    """

    wanted: tuple[tuple[str, ...], ...]

    @classmethod
    def read(cls, segments: Mapping[str, Sequence[str]], labels: Sequence[str]) -> LabelTable:
        """From ``[data.segments]``, whose keys are names of labels in the order of ``labels``.

        Raises:
            DataError: a label has no segments, or a name is no label's.
        """
        if unknown := sorted(set(segments) - set(labels)):
            raise DataError(
                f"[data.segments] names '{unknown[0]}', which is no label of [figures]."
            )
        if absent := [name for name in labels if not segments.get(name)]:
            raise DataError(f"[data.segments] does not say which segments are '{absent[0]}'.")
        if not labels or len(labels) > _LABELS_MAX:
            raise DataError("'labels' of [figures] names 1 to 255 labels for the reader dicom_seg.")
        return cls(tuple(tuple(segments[name]) for name in labels))

    def label_of(self, segment: Segment) -> int:
        """The label of a segment; 0 where nobody wants it."""
        for label, names in enumerate(self.wanted, 1):
            if any(_is_called(segment, name) for name in names):
                return label
        return 0


def draw_labels(
    contents: SegmentationContents,
    table: LabelTable,
    shape: tuple[int, ...],
    affine_lps: NDArray[np.float64],
) -> NDArray[np.uint8]:
    """Draw the wanted segments on a grid.

    Args:
        contents: of any kind; of fractions at least a half counts.
        table: which segment becomes which label.
        shape: (slice, row, column).
        affine_lps: 4x4, (slice, row, column, 1) → LPS mm.

    Raises:
        DataError: none of the segments is wanted, two labels overlap, or the segmentation lies on
            another grid or reaches beyond this one.
        ResultError: its pixels cannot be read.
    """
    numbers = {one.number: label for one in contents.segments if (label := table.label_of(one))}
    if not numbers:
        names = ", ".join(f"'{one.label}'" for one in contents.segments[:6])
        raise DataError(f"none of its segments is one that the recipe names; it has {names}")
    to_grid = np.linalg.inv(affine_lps) @ contents.affine_lps
    _check_steps(to_grid, contents.shape)
    labels = np.zeros(shape, np.uint8)
    for number, label in sorted(numbers.items()):
        at = _place(np.argwhere(contents.mask(number)), to_grid, shape)
        there = labels[at]
        if ((there != 0) & (there != label)).any():
            raise DataError("two of the segments that the recipe names overlap")
        labels[at] = label
    return labels


def _is_called(segment: Segment, name: str) -> bool:
    if (code := _CODE.fullmatch(name)) is None:
        return segment.label.strip().casefold() == name.strip().casefold()
    scheme, value, side = code.groups()
    if side and segment.laterality != side:
        return False
    known = (segment.type, segment.region)
    return any(one is not None and (one.scheme, one.value) == (scheme, value) for one in known)


def _check_steps(to_grid: NDArray[np.float64], shape: tuple[int, int, int]) -> None:
    """Hold that a step in the segmentation is a step on the grid.

    How far apart the slices are means nothing where there is one.
    """
    steps = np.linalg.norm(to_grid[:3, :3], axis=0)
    if any(abs(step - 1) > _SAME_STEP for step, n in zip(steps, shape, strict=True) if n > 1):
        raise DataError("its voxels are not those of the series: it lies on another grid")


def _place(
    at: NDArray[np.intp], to_grid: NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[NDArray[np.intp], ...]:
    places = at @ to_grid[:3, :3].T + to_grid[:3, 3]
    nearest = np.rint(places).astype(np.intp)
    if len(at) and np.abs(places - nearest).max() > _OFF_GRID:
        raise DataError("its voxels are not those of the series: it lies on another grid")
    if (nearest < 0).any() or (nearest >= np.array(shape)).any():
        raise DataError("it reaches beyond the images of the series; some of them are missing")
    return tuple(nearest.T)
