"""Measure chest_ct and print the figures of its card.

    python evaluate.py [--chest FOLDER] [--labelled FOLDER] [--out figures.json]

- ``--chest``: a folder of DICOM images of one whole chest: volumes, and the time that it takes once
  it is resampled to 512 x 512 x 300;
- ``--labelled``: a folder with ``example_ct.nii.gz`` and ``example_seg_fast_force_split.nii.gz`` of
  TotalSegmentator: Dice of the lungs against its silver labels, mL of bowel that became lung, and
  what becomes of the abdomen alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from numpy.typing import NDArray
from scipy import ndimage

PACKAGE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PACKAGE.parents[1] / "node"))

from secondread.inference.worker.algorithms import build
from secondread.inference.worker.prediction import Prediction

# TotalSegmentator v2: the lobes, and stomach, small bowel, duodenum and colon.
SILVER_LEFT, SILVER_RIGHT, SILVER_BOWEL = (10, 11), (12, 13, 14), (6, 18, 19, 20)
LEFT, RIGHT = (1, 4), (2, 5)
BIG_SLICES = 300

Volume = tuple[NDArray[np.int16], NDArray[np.float64]]


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Give the Dice overlap of two masks."""
    return round(float(2 * (a & b).sum() / max(1, a.sum() + b.sum())), 4)


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI file as (slice, row, column) with its LPS affine."""
    image = nib.load(path)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine[:, [2, 1, 0, 3]]
    return np.asarray(image.dataobj).transpose(2, 1, 0).astype(np.int16), affine


def read_dicom(folder: Path) -> Volume:
    """Read an axial series in HU as (slice, row, column) with its LPS affine."""
    slices = [pydicom.dcmread(path) for path in folder.rglob("*.dcm")]
    slices.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    first, last = slices[0], slices[-1]
    voxels = np.stack([s.pixel_array * s.RescaleSlope + s.RescaleIntercept for s in slices])
    affine = np.eye(4)
    along_row, along_column = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
    origin = np.array(first.ImagePositionPatient, float)
    affine[:3, 0] = (np.array(last.ImagePositionPatient, float) - origin) / (len(slices) - 1)
    affine[:3, 1] = along_column * float(first.PixelSpacing[0])
    affine[:3, 2] = along_row * float(first.PixelSpacing[1])
    affine[:3, 3] = origin
    return voxels.astype(np.int16), affine


def summary(found: Prediction, voxel_ml: float) -> dict[str, Any]:
    """What was answered, and how much of each label."""
    counts = np.bincount(found.labels.ravel(), minlength=7)
    return {
        "refusal": found.refusal,
        "numbers": {one.id: round(one.value, 1) for one in found.answer.numbers},
        "findings": {one.id: one.value for one in found.answer.findings},
        "labels_ml": {str(n): round(float(counts[n]) * voxel_ml, 1) for n in range(1, 7)},
    }


def of_chest(model: Any, volume: Volume) -> dict[str, Any]:
    """A whole chest as it is, and the time of it with 300 slices."""
    voxels, affine = volume
    told = {"SliceThickness": float(np.linalg.norm(affine[:3, 0])), "ConvolutionKernel": "B"}
    figures = summary(model.predict(voxels, affine, told), abs(np.linalg.det(affine)) / 1000)
    big = ndimage.zoom(voxels, (BIG_SLICES / len(voxels), 1, 1), order=1)
    finer = affine.copy()
    finer[:3, 0] *= len(voxels) / BIG_SLICES
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    found = model.predict(big, finer, told)
    figures["big"] = {
        "shape": list(big.shape),
        "wall_s": round(time.perf_counter() - wall_s, 1),
        "cpu_s": round(time.process_time() - cpu_s, 1),
        "numbers": {one.id: round(one.value, 1) for one in found.answer.numbers},
    }
    return figures


def of_labelled(model: Any, folder: Path) -> dict[str, Any]:
    """Against silver labels, where lung is in view, and without the slices that have lung."""
    voxels, affine = read_nifti(folder / "example_ct.nii.gz")
    silver, _ = read_nifti(folder / "example_seg_fast_force_split.nii.gz")
    voxel_ml = abs(float(np.linalg.det(affine))) / 1000
    found = model.predict(voxels, affine, {})
    figures = summary(found, voxel_ml)
    for name, ours, theirs in (
        ("left", LEFT, SILVER_LEFT),
        ("right", RIGHT, SILVER_RIGHT),
        ("both", LEFT + RIGHT, SILVER_LEFT + SILVER_RIGHT),
    ):
        figures[f"dice_{name}"] = dice(np.isin(found.labels, ours), np.isin(silver, theirs))
    lung = np.isin(found.labels, LEFT + RIGHT)
    figures["bowel_as_lung_ml"] = round(
        float((lung & np.isin(silver, SILVER_BOWEL)).sum()) * voxel_ml, 2
    )
    below = int(np.flatnonzero(np.isin(silver, SILVER_LEFT + SILVER_RIGHT).any(axis=(1, 2)))[0])
    figures["abdomen_alone"] = model.predict(voxels[:below], affine, {}).refusal
    return figures


def main() -> None:
    """Print the figures, and write them where they are wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chest", type=Path)
    parser.add_argument("--labelled", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    model: Any = build(tomllib.loads((PACKAGE / "model.toml").read_text(encoding="utf-8")))
    figures: dict[str, Any] = {}
    if options.labelled:
        figures["labelled"] = of_labelled(model, options.labelled)
    if options.chest:
        figures["chest"] = of_chest(model, read_dicom(options.chest))
    text = json.dumps(figures, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
