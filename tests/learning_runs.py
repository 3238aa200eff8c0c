"""Runs of training as `predictions.json` holds them, made by hand."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

from secondread.learning.metrics.segmentation import LabelMeasures, measure
from secondread.learning.predictions import Predictions, Row

LABELS = ("anterior", "posterior")
CUBE_SHAPE = (8, 10, 9)
CUBE_AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])
SMALL_UNET = """
[estimator]
kind = "unet3d"
widths = [4, 8]
[training]
steps = 1
batch = 1
grid = [8, 10, 8]
[folds]
count = 2
[figures]
labels = ["cube"]
"""
"""The end of a recipe for cubes: one step of the smallest network, in two folds."""


def write_cube(folder: Path, number: int) -> None:
    """An image with a bright cube, 12 voxels wide and 1 to 6 high by its number, and its labels."""
    labels = np.zeros(CUBE_SHAPE, np.uint8)
    labels[2:5, 3:7, 2 : 3 + number % 6] = 1
    image = np.random.default_rng(number).normal(0, 0.2, labels.shape).astype(np.float32) + labels
    for kind, voxels in (("images", image), ("labels", labels)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        path = folder / kind / f"case_{number:03d}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(voxels, CUBE_AFFINE), path)


def silent(what: str, done: int, total: int) -> None:
    """No progress in a test."""


def segmentation_run(dice_by_case: dict[str, float], subjects: dict[str, str]) -> Predictions:
    """A run whose cases have these Dice in both labels; a subject's cases share a fold."""
    folds = {name: place % 2 for place, name in enumerate(sorted(set(subjects.values())))}
    rows = [
        Row(
            id=case,
            subject=subjects[case],
            fold=folds[subjects[case]],
            values={"sex": "F" if number % 2 else "M", "age": 20.0 + number},
            labels={
                name: LabelMeasures(dice, 2 - dice, 1 - dice, 1.0 + number / 10, 1.1 + number / 10)
                for name in LABELS
            },
        )
        for number, (case, dice) in enumerate(dice_by_case.items())
    ]
    return Predictions("by hand", "segmentation", tuple(rows), subgroups=("sex",))


def classification_run(
    truth: np.ndarray, probability: np.ndarray, cases_per_subject: int = 2
) -> Predictions:
    rows = [
        Row(
            id=f"case {number}",
            subject=f"subject {number // cases_per_subject}",
            fold=(number // cases_per_subject) % 2,
            values={"age": 60.0 + number},
            truth=float(truth[number]),
            found=float(probability[number]),
        )
        for number in range(len(truth))
    ]
    return Predictions("by chance", "classification", tuple(rows), subgroups=("age",))


def chance_run(count: int = 80, seed: int = 3, shift: float = 1.2) -> Predictions:
    """A classification that knows something: logits normal about -shift and +shift."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(2, size=count)
    logits = generator.normal(shift * (2 * truth - 1), 1.5)
    return classification_run(truth, 1 / (1 + np.exp(-logits)))


def write_pictured_run(run: Path, data: Path) -> Predictions:
    """Two cases with an image, a reference and an answer; the second answer misses a half."""
    rows = []
    affine = np.diag([-1.0, 1.0, 2.0, 1.0])  # stored to the left, so that reading has to turn it
    for number in range(2):
        noise = np.random.default_rng(number).normal(100, 10, (20, 24, 16)).astype(np.float32)
        truth = np.zeros(noise.shape, np.uint8)
        truth[6:14, 8:16, 4:12] = 1
        found = truth.copy()
        if number:
            found[:, :, 8:] = 0
        for folder, name, voxels in (
            (data, f"image_{number}.nii.gz", noise),
            (data, f"truth_{number}.nii.gz", truth),
            (run, f"found_{number}.nii.gz", found),
        ):
            folder.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(voxels, affine), folder / name)
        rows.append(
            Row(
                id=f"head <{number}>",
                subject=str(number),
                fold=number,
                labels={"a & b": measure(truth, found, (1.0, 1.0, 2.0))},
                image=f"image_{number}.nii.gz",
                truth_labels=f"truth_{number}.nii.gz",
                found_labels=f"found_{number}.nii.gz",
            )
        )
    return Predictions("pictured", "segmentation", tuple(rows))
