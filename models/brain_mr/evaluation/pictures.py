"""Draw what brain_mr found over the heads it found it in, to be looked at by a person.

    python pictures.py --heads FOLDER --answers FILE --out FOLDER [--bundle ..]

FILE is what evaluate.py --answers wrote for the same heads. One PNG per head, in the
patient frame: three sagittal, coronal and axial cuts, the patient's left on the right of a picture
(coronal and axial cuts), as radiologists look at them.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from evaluate import HERE, gather_heads
from numpy.typing import NDArray
from scipy import ndimage

from secondread.inference.worker.canonical import CanonicalGrid, affine_to_ras, locate, resample

mpl.use("Agg")
import matplotlib.pyplot as plt

GRID = (176, 216, 176)
CUTS = {0: (58, 80, 96), 1: (80, 104, 128), 2: (60, 84, 108)}
OPACITY = 0.45


def bring(
    voxels: NDArray[Any], labels: NDArray[np.uint8], affine: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Bring image (0 … 1) and labels onto a 1 mm RAS grid around the head."""
    found = locate(voxels, affine, 76.0)
    grid = CanonicalGrid(GRID, 1.0, found.centre_ras if found else (0.0, 0.0, 0.0))
    image = resample(voxels, affine, grid)
    bright = image[image > 0.05 * image.max()]
    image = np.clip(image / np.percentile(bright, 95), 0, 1)
    back = np.linalg.inv(affine_to_ras(affine)) @ grid.affine_ras
    turned = ndimage.affine_transform(labels, back[:3, :3], back[:3, 3], GRID, order=0)
    return image, turned


def draw(
    image: NDArray[np.float32], labels: NDArray[np.uint8], colors: NDArray[np.float64], path: Path
) -> None:
    """Write one PNG: cuts without and with the labels."""
    figure, axes = plt.subplots(6, 3, figsize=(15, 30), facecolor="black")
    for axis, places in CUTS.items():
        for column, place in enumerate(places):
            grey = np.take(image, place, axis=axis)
            label = np.take(labels, place, axis=axis)
            if axis:
                grey, label = grey[::-1], label[::-1]
            plain = np.repeat(grey[..., None], 3, axis=-1)
            mixed = np.where(
                label[..., None] > 0, (1 - OPACITY) * plain + OPACITY * colors[label], plain
            )
            for row, picture in ((2 * axis, plain), (2 * axis + 1, mixed)):
                axes[row, column].imshow(picture.transpose(1, 0, 2), origin="lower")
                axes[row, column].axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=50)
    plt.close(figure)


def main() -> None:
    """Draw every head that was not refused."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", type=Path, required=True)
    parser.add_argument("--answers", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, default=HERE.parent)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rows = tomllib.loads((args.bundle / "model.toml").read_text())["labels"]
    colors = np.zeros((256, 3))
    for row in rows:
        colors[row["value"]] = np.array(row["color_rgb"]) / 255
    found = np.load(args.answers)
    for name, (voxels, affine) in gather_heads(args.heads).items():
        if name not in found or not found[name].any():
            print(f"{name}: nothing to draw", file=sys.stderr)
            continue
        image, labels = bring(voxels, found[name], affine)
        draw(image, labels, colors, args.out / f"{name}.png")


if __name__ == "__main__":
    main()
