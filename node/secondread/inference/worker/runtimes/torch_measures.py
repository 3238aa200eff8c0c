"""Volumes that the torch runtime can say besides labels, as a model package asks for them.

::

    [[runtime.options.numbers]]
    id = "intracranial_volume"  # as [[output.numbers]] declares it, in mL
    measure = "closed_ml"
    classes = [1, 2, 18]        # classes of the network, among the outputs or not
    closing_mm = 10.0           # gaps of up to twice this are closed
    within = [1, 2, 18]         # optional: what was closed counts only where it is one of these
    floor = [5, 6]              # optional: nothing counts below the lowest of these

A class that is not among the labels counts as well: fluid around a brain tells how big the skull
is, though its own volume would mislead. ``floor`` takes away what runs on downwards, such as the
spinal canal below the cerebellum, which ends near the foramen magnum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from secondread.domain.answer import AnsweredNumber, ModelAnswer
from secondread.errors import ManifestError

__all__ = ["answer", "check_options", "close"]

FLOOR_MM2 = 100.0
"""The lowest plane is that with this much of the floor's classes, or stray voxels would do."""

_KEYS = ("id", "measure", "classes", "closing_mm")


def check_options(options: Mapping[str, Any]) -> None:
    """Look for what `answer` could not do.

    Raises:
        ManifestError: an entry lacks something, or names a measure that does not exist.
    """
    for row in options.get("numbers", ()):
        if absent := [key for key in _KEYS if key not in row]:
            raise ManifestError(
                f"One of the numbers of the torch runtime lacks the key '{absent[0]}'."
            )
        if row["measure"] != "closed_ml":
            raise ManifestError(
                f"One of the numbers of the torch runtime asks for the measure "
                f"'{row['measure']}'; known: closed_ml."
            )


def answer(
    classes: npt.NDArray[np.uint8], spacing_mm: float, options: Mapping[str, Any]
) -> ModelAnswer:
    """The numbers that the options ask for; ``classes`` is (x, y, z), RAS."""
    return ModelAnswer(
        numbers=tuple(
            AnsweredNumber(
                str(row["id"]), float(close(classes, spacing_mm, row).sum()) * spacing_mm**3 / 1000
            )
            for row in options.get("numbers", ())
        )
    )


def close(
    classes: npt.NDArray[np.uint8], spacing_mm: float, row: Mapping[str, Any]
) -> npt.NDArray[np.bool_]:
    """Give some classes as one mask without gaps and holes, (x, y, z)."""
    mask = np.isin(classes, row["classes"])
    if "floor" in row:
        mask[:, :, : _lowest(np.isin(classes, row["floor"]), spacing_mm)] = False
    if not mask.any():
        return mask
    reach_mm = float(row["closing_mm"])
    margin = int(np.ceil(reach_mm / spacing_mm)) + 1
    padded = np.pad(mask, margin)
    near = ndimage.distance_transform_edt(~padded, sampling=spacing_mm) <= reach_mm
    closed = ndimage.distance_transform_edt(near, sampling=spacing_mm) > reach_mm
    inner = (slice(margin, -margin),) * 3
    whole = ndimage.binary_fill_holes(closed | padded)[inner]
    if "floor" in row:
        whole[:, :, : _lowest(np.isin(classes, row["floor"]), spacing_mm)] = False
    if "within" in row:
        whole &= mask | np.isin(classes, row["within"])
    return np.asarray(whole, np.bool_)


def _lowest(mask: npt.NDArray[np.bool_], spacing_mm: float) -> int:
    """Give the lowest plane that holds enough of a mask; 0 where none does."""
    planes = np.flatnonzero(mask.sum(axis=(0, 1)) * spacing_mm**2 >= FLOOR_MM2)
    return int(planes[0]) if len(planes) else 0
