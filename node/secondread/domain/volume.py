"""A volume in the patient frame, and where each of its slices came from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class SourceSlice:
    """The source of one slice; ``frame`` is the 1-based frame number of a multi-frame object."""

    sop_instance_uid: str
    sop_class_uid: str
    frame: int


@dataclass(frozen=True, slots=True)
class Volume:
    """A series as one volume.

    Attributes:
        voxels: ``(slice, row, column)`` in modality units after rescale (HU for CT), int16 or
            float32; slice 0 is the first along the normal ``row_direction x column_direction``.
        affine_lps: 4 x 4 float64; ``affine_lps @ (slice, row, column, 1)`` is the LPS position of
            the voxel's centre in mm (PS3.3 C.7.6.2.1.1).
        sources: one for each slice, in the order of the array.
    """

    voxels: npt.NDArray[np.generic]
    affine_lps: npt.NDArray[np.float64]
    sources: tuple[SourceSlice, ...]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels along (slice, row, column)."""
        lengths = np.linalg.norm(self.affine_lps[:3, :3], axis=0)
        return float(lengths[0]), float(lengths[1]), float(lengths[2])

    @property
    def step_mm(self) -> float:
        """Distance between neighbouring slices along their normal; a tilted stack leans from it."""
        along_slices, along_rows, along_columns = self.affine_lps[:3, :3].T
        normal = np.cross(along_columns, along_rows)
        return float(abs(along_slices @ normal) / np.linalg.norm(normal))

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel in mm³."""
        return float(abs(np.linalg.det(self.affine_lps[:3, :3])))
