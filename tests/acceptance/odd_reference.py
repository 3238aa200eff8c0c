"""What an object holds, by programs that share nothing with the node's own reading.

Values are GDCM's, through SimpleITK; where GDCM changes them on purpose (it turns MONOCHROME1
round) or cannot read them, they are the native stored bits. Places are pydicom's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813
from pydicom import dcmread
from pydicom.dataset import Dataset

from tests.acceptance.cases import GDCM, PLAIN, quietly

Array = npt.NDArray[np.float64]

_CLASSIC = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")


@dataclass(frozen=True)
class Place:
    """Where a frame lies: LPS mm, and what a step of a row and of a column is."""

    position: Array
    per_row: Array
    per_column: Array

    @property
    def normal(self) -> Array:
        """The unit vector along which slices are ordered."""
        normal = np.cross(self.per_column, self.per_row)
        return normal / np.linalg.norm(normal)


def values_of(path: Path, how: str) -> Array:
    """``(frame, row, column)``, after rescale."""
    if how == GDCM:
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(path))
        image = reader.Execute()
        assert image.GetNumberOfComponentsPerPixel() == 1
        found = sitk.GetArrayFromImage(image).astype(np.float64)
        return found if found.ndim == 3 else found[None]
    with quietly():
        return _rescaled(dcmread(path), how)


def _rescaled(dataset: Dataset, how: str) -> Array:
    assert how == PLAIN
    return _stored(dataset) * float(dataset.get("RescaleSlope", 1)) + float(
        dataset.get("RescaleIntercept", 0)
    )


def _stored(dataset: Dataset) -> Array:
    """Native pixels, cut to the bits between Bits Stored and High Bit (PS3.5 8.1.1)."""
    shape = (int(dataset.get("NumberOfFrames") or 1), dataset.Rows, dataset.Columns)
    for keyword, kind in (("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")):
        if keyword in dataset:
            return np.frombuffer(dataset[keyword].value, kind).reshape(shape).astype(np.float64)
    bits, top = int(dataset.BitsStored), int(dataset.HighBit)
    kind = f"<u{dataset.BitsAllocated // 8}"
    cells = np.frombuffer(dataset.PixelData, kind, count=int(np.prod(shape))).astype(np.int64)
    cells = (cells >> (top + 1 - bits)) & ((1 << bits) - 1)
    if dataset.PixelRepresentation == 1:
        cells = np.where(cells >= 1 << (bits - 1), cells - (1 << bits), cells)
    return cells.reshape(shape).astype(np.float64)


def places_of(path: Path) -> list[Place | None]:
    """The place of each frame; None where it has none."""
    with quietly():
        return _places(dcmread(path, stop_before_pixels=True))


def _places(dataset: Dataset) -> list[Place | None]:
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    if not per_frame:
        frames = int(dataset.get("NumberOfFrames") or 1)
        if frames > 1 or not all(name in dataset for name in _CLASSIC):
            return [None] * frames
        return [_place(dataset, dataset, dataset)]
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    found: list[Place | None] = []
    for groups in per_frame:
        holders: list[Any] = []
        for name in ("PlanePosition", "PlaneOrientation", "PixelMeasures"):
            items = groups.get(f"{name}Sequence") or shared.get(f"{name}Sequence")
            holders.append(items[0])
        found.append(_place(*holders))
    return found


def _place(position: Dataset, orientation: Dataset, measures: Dataset) -> Place:
    cosines = np.array(orientation.ImageOrientationPatient, np.float64)
    between_rows, between_columns = map(float, measures.PixelSpacing)
    return Place(
        position=np.array(position.ImagePositionPatient, np.float64),
        per_row=cosines[3:] * between_rows,
        per_column=cosines[:3] * between_columns,
    )
