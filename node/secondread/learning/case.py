"""A case: what a model learns from or is judged by, before and after its files are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["Case", "Loaded"]


@dataclass(frozen=True)
class Case:
    """One image, or one row of a table.

    Attributes:
        id: unique among the cases, such as the name of the image without its ending.
        subject: whose it is; all the cases of a subject lie in the same fold.
        image: where its image lies; None for a row of a table.
        labels: where its label map lies.
        target: what is to be told of it: a class, or a number.
        values: the columns of its row, or what is known of it, such as its age or its scanner.
    """

    id: str
    subject: str
    image: Path | None
    labels: Path | None
    target: str | float | None
    values: Mapping[str, float | str]


@dataclass(frozen=True)
class Loaded:
    """A case whose files were read.

    Attributes:
        case: which one.
        image: (x, y, z) to the right, anterior and the head (RAS).
        labels: (x, y, z), on the grid of the image.
        affine_ras: 4x4, (x, y, z, 1) in voxels to RAS mm.
    """

    case: Case
    image: NDArray[np.float32]
    labels: NDArray[np.uint8] | None
    affine_ras: NDArray[np.float64]
