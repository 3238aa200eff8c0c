"""Read the evaluation's volumes: DICOM folders and NIfTI files, as (slice, row, column) and LPS."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from numpy.typing import NDArray

Volume = tuple[NDArray[np.float32], NDArray[np.float64]]
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_nifti(path: Path | str) -> Volume:
    """Read a NIfTI file as it lies, array axes in file order, with its LPS affine."""
    return from_nifti(nib.load(path))


def from_nifti(image: nib.Nifti1Image) -> Volume:
    """Take voxels and LPS affine of a NIfTI image."""
    return np.asarray(image.dataobj, np.float32), RAS_TO_LPS @ image.affine


def to_nifti(voxels: NDArray[np.generic], affine_lps: NDArray[np.float64]) -> nib.Nifti1Image:
    """Make a NIfTI image with the same array axes."""
    return nib.Nifti1Image(voxels, RAS_TO_LPS @ affine_lps)


def read_dicom(folder: Path, min_slices: int = 60) -> Volume:
    """Read the series with the most slices in a folder; one missing slice is interpolated."""
    series = defaultdict(list)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            header = pydicom.dcmread(path)
        except pydicom.errors.InvalidDicomError:
            continue
        if "ImagePositionPatient" in header and "PixelData" in header:
            series[header.SeriesInstanceUID].append(header)
    slices = max(series.values(), key=len)
    if len(slices) < min_slices:
        raise ValueError(f"No series of at least {min_slices} slices in {folder}")
    orientation = np.array(slices[0].ImageOrientationPatient, float)
    along_row, along_column = orientation[:3], orientation[3:]
    normal = np.cross(along_row, along_column)
    by_place = {float(normal @ np.array(s.ImagePositionPatient, float)): s for s in slices}
    places = sorted(by_place)
    step = float(np.median(np.diff(places)))
    planes = [by_place[places[0]].pixel_array.astype(np.float32)]
    for before, here in pairwise(places):
        plane = by_place[here].pixel_array.astype(np.float32)
        gap = round((here - before) / step)
        last = planes[-1]
        planes += [last + (plane - last) * k / gap for k in range(1, gap)]
        planes.append(plane)
    first = by_place[places[0]]
    row_mm, column_mm = map(float, first.PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0] = normal * step
    affine[:3, 1] = along_column * row_mm
    affine[:3, 2] = along_row * column_mm
    affine[:3, 3] = np.array(first.ImagePositionPatient, float)
    return np.stack(planes), affine
