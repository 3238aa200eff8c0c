"""The images of the small nnU-Net folders in this folder; they are made anew wherever needed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

HERE = Path(__file__).parent
FILES = ("fold_0/checkpoint_final.pth", "plans.json", "dataset.json")
LABELS: Mapping[str, Any] = MappingProxyType({"background": 0, "body": 1, "core": 2})
REGIONS: Mapping[str, Any] = MappingProxyType({"background": 0, "whole": [1, 2], "core": 2})


@dataclass(frozen=True)
class Case:
    """One folder.

    Attributes:
        configuration: of its plan.
        channel: of dataset.json, which decides how nnU-Net normalises.
        residual: whether its encoder has residual blocks.
        labels: of dataset.json.
        shape: (z, y, x) of the images that it was trained with.
        spacing_mm: (z, y, x), theirs.
        seen_shape: (z, y, x) of the image that it has answered.
        seen_mm: (z, y, x), of that image.
    """

    configuration: str
    channel: str
    residual: bool
    labels: Mapping[str, Any]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    seen_shape: tuple[int, int, int]
    seen_mm: tuple[float, float, float]


CASES: Mapping[str, Case] = MappingProxyType(
    {
        "ct_thick": Case(
            *("3d_fullres", "CT", False, LABELS),
            *((14, 44, 40), (5.0, 1.1, 1.1), (40, 90, 52), (3.5, 0.8, 0.9)),
        ),
        "mr_regions": Case(
            *("3d_fullres", "T1", True, REGIONS),
            *((30, 28, 34), (1.5, 1.2, 1.2), (44, 60, 42), (1.0, 0.9, 1.4)),
        ),
        "mr_slices": Case(
            *("2d", "T1", False, LABELS),
            *((12, 36, 40), (4.0, 1.3, 1.3), (10, 64, 50), (5.0, 1.0, 1.1)),
        ),
    }
)


SEEN = 99
"""The number of the image that a folder has answered; it was trained with 0 to 5."""


def image_of(case: Case, number: int = SEEN) -> tuple[Any, Any]:
    """An ellipsoid with a core in noise, and its labels: (z, y, x) float32 and uint8."""
    numbers = np.random.default_rng(number)
    shape = case.seen_shape if number == SEEN else case.shape
    at = [np.linspace(-1, 1, n) - numbers.uniform(-0.2, 0.2) for n in shape]
    away = sum(axis**2 for axis in np.meshgrid(*at, indexing="ij"))
    labels = np.select([away < 0.12, away < 0.5], [2, 1], 0).astype(np.uint8)
    image = np.array([-100.0, 60.0, 140.0])[labels] + numbers.normal(0, 25, shape)
    if case.channel != "CT":
        # Nothing is there around the body, as in a head without its skull.
        image = np.where(away < 0.8, image + 400, 0)
    return np.rint(image).astype(np.float32), labels


def affine_of(case: Case) -> Any:
    """Where image `SEEN` lies: slices to the head, rows to posterior, columns to the left."""
    z, y, x = case.seen_mm
    return np.array([[0, 0, x, -20], [0, y, 0, -30], [z, 0, 0, 40], [0, 0, 0, 1.0]])


def nnunet_package(folder: Path, name: str, manifest: str) -> Path:
    """Copy a folder and write a ``model.toml``, to which the digests of its files are added."""
    (folder / "fold_0").mkdir(parents=True)
    rows = []
    for part in FILES:
        content = (folder_of(name) / part).read_bytes()
        (folder / part).write_bytes(content)
        rows.append(f'"{part}" = "{hashlib.sha256(content).hexdigest()}"')
    text = manifest.replace("[files]\n", "\n".join(["[files]", *rows, ""]))
    (folder / "model.toml").write_text(text, encoding="utf-8")
    return folder


def folder_of(name: str) -> Path:
    """Where it lies."""
    return HERE / name


def answer_of(name: str) -> tuple[Any, Any]:
    """What nnU-Net itself answers to image `SEEN`: (z, y, x) uint8, and its probabilities."""
    with np.load(folder_of(name) / "answer.npz") as found:
        return found["labels"], found["probabilities"].astype(np.float32) / 255


def dataset_of(case: Case, count: int) -> dict[str, Any]:
    """Its dataset.json."""
    found: dict[str, Any] = {
        "channel_names": {"0": case.channel},
        "labels": dict(case.labels),
        "numTraining": count,
        "file_ending": ".nii.gz",
    }
    if any(isinstance(value, list) for value in case.labels.values()):
        found["regions_class_order"] = [1, 2]
    return json.loads(json.dumps(found))
