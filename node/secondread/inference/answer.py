"""Checking a model's answer before anybody uses it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from secondread.errors import InvalidPredictionError


def load_labels(path: Path, shape: tuple[int, ...], labels: Sequence[int]) -> npt.NDArray[np.uint8]:
    """The label map that a worker wrote, ``(slice, row, column)`` uint8.

    Raises:
        InvalidPredictionError: it is absent, has another shape or type than asked for, or holds
            labels that the manifest does not declare.
    """
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        raise InvalidPredictionError("The model left no readable label map.") from None
    if found.shape != shape or found.dtype != np.uint8:
        raise InvalidPredictionError(
            f"The model answered {found.dtype} of shape {found.shape}; asked for was uint8 of "
            f"shape {shape}."
        )
    present = set(np.flatnonzero(np.bincount(found.reshape(-1), minlength=256)).tolist())
    if undeclared := present - {0, *labels}:
        raise InvalidPredictionError(
            f"The model answered labels that its manifest does not declare: {sorted(undeclared)}."
        )
    return np.asarray(found)
