"""A published model of somebody else: deepbet's networks as a MONAI bundle and as ONNX.

deepbet 1.0.2 (Fisch et al., arXiv:2308.07003; MIT; weights inside its package on PyPI) finds the
brain in T1 heads: one network at 128³ voxels says where it is, another one looks closer there. It
is installed into a folder of its own; nothing of it is kept here.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

PACKAGES = ("deepbet==1.0.2", "connected-components-3d", "fastremap", "fill_voids", "tqdm")

MANIFEST = """
[model]
id = "<id>"
version = "1.0.2"
title = "deepbet: brain extraction"
manufacturer = "University of Münster, Medical Machine Learning Lab"
task = "segmentation"
intended_use = "Tests: a published model of somebody else."
research_only = true

[input]
modality = ["MR"]
min_slices = 20
max_slices = 512
min_spacing_mm = 0.4
max_spacing_mm = 3.0

[runtime]
kind = "<kind>"
weights = "<weights>"
deadline_s = 240
memory_mib = 9000

[runtime.options.decoding]
activation = "none"
decide = "argmax"
labels = [0, 1]

[preprocessing]
<preprocessing>

[files]
<files>

[[labels]]
value = 1
name = "brain"
meaning = "Brain"
category = ["123037004", "SCT", "Anatomical Structure"]
type = ["12738006", "SCT", "Brain"]
color_rgb = [250, 210, 190]
"""
INFERENCE = {
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
        ],
    },
    "inferer": {"_target_": "SimpleInferer"},
}


class Deepbet(torch.nn.Module):
    """deepbet's two networks and what lies between them, after its ``bet.py``.

    Its largest component and filled holes are left out, which TorchScript has no words for.
    """

    def __init__(self, finder: torch.nn.Module, looker: torch.nn.Module) -> None:
        super().__init__()
        self.finder, self.looker = finder, looker

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        small = interpolate(image, [128, 128, 128], mode="nearest-exact")
        low, high = torch.quantile(small, 0.005), torch.quantile(small, 0.995)
        found = (self.finder(self.scale(small, low, high))[0, 1] > 0.5).to(torch.float32)
        starts: list[int] = []
        stops: list[int] = []
        for axis in range(3):
            along = found.transpose(0, axis).mean([1, 2])
            at = torch.where(along > 0.02)[0]
            first, last = float(at.min()), float(at.max() + 1)
            ratio = image.shape[2 + axis] / 128
            middle = round(ratio * (first + last) / 2)
            wide = round(1.2 * ratio * (last - first))
            starts.append(max(0, int(middle - wide / 2)))
            stops.append(min(image.shape[2 + axis], int(middle + wide / 2)))
        a, b, c = starts[0], starts[1], starts[2]
        d, e, f = stops[0], stops[1], stops[2]
        region = interpolate(image[:, :, a:d, b:e, c:f], [256, 256, 256], mode="nearest-exact")
        shares = self.looker(self.scale(region, low, high))[:, 1:]
        brain = torch.zeros_like(image)
        size = [d - a, e - b, f - c]
        brain[:, :, a:d, b:e, c:f] = interpolate(shares, size, mode="nearest-exact")
        return torch.cat([1 - brain, brain], 1)

    def scale(self, x: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        x = ((x - low) / (high - low)).clamp(0, 1)
        return 0.226 * (x - x.mean()) / x.std() + 0.449


def install(folder: Path) -> Path:
    """Install deepbet into a folder; skips where no registry is at hand."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    done = subprocess.run([*pip, *PACKAGES], capture_output=True, text=True, timeout=240)
    if done.returncode:
        pytest.skip(f"deepbet 1.0.2, a published model, cannot be installed: {done.stderr[-200:]}")
    return folder


def deepbet_bundle(site: Path, folder: Path) -> Path:
    """Write deepbet as a MONAI bundle with a ``model.toml``."""
    for name in ("configs", "models"):
        (folder / name).mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        models = site / "data" / "models"
        parts = [torch.jit.load(models / name) for name in ("bbox_model.pt", "model.pt")]
        torch.jit.script(Deepbet(*parts).eval()).save(str(folder / "models" / "model.ts"))
    (folder / "configs" / "inference.json").write_text(json.dumps(INFERENCE))
    _seal(folder, ("models/model.ts", "configs/inference.json"), "monai", "models/model.ts", "")
    return folder


class Finder(torch.nn.Module):
    """deepbet's first network by itself, behind the last step of its normalisation."""

    def __init__(self, finder: torch.nn.Module) -> None:
        super().__init__()
        self.finder = finder

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.finder(0.226 * (image - image.mean()) / image.std() + 0.449)


def deepbet_onnx(site: Path, folder: Path) -> Path:
    """Write deepbet's first network as ONNX with a ``model.toml``."""
    folder.mkdir(parents=True)
    image = torch.rand(1, 1, 32, 32, 32)
    axes = {2: "x", 3: "y", 4: "z"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        finder = torch.jit.load(site / "data" / "models" / "bbox_model.pt").eval()
        torch.onnx.export(
            torch.jit.trace(Finder(finder), image),
            (image,),
            str(folder / "model.onnx"),
            dynamo=False,
            input_names=["image"],
            output_names=["shares"],
            dynamic_axes={"image": axes, "shares": axes},
        )
    preparing = """
orientation = "RAS"
spacing_mm = [1.4, 1.7, 1.6]
divisor = 32

[preprocessing.intensity]
kind = "percentile"
low = 0.5
high = 99.5
"""
    _seal(folder, ("model.onnx",), "onnx", "model.onnx", preparing)
    return folder


def _seal(folder: Path, files: tuple[str, ...], kind: str, weights: str, preparing: str) -> None:
    """Write the manifest, with the digests of files."""
    digests = [(name, hashlib.sha256((folder / name).read_bytes()).hexdigest()) for name in files]
    words = {
        "id": folder.name,
        "kind": kind,
        "weights": weights,
        "preprocessing": preparing,
        "files": "\n".join(f'"{name}" = "{digest}"' for name, digest in digests),
    }
    text = MANIFEST
    for key, value in words.items():
        text = text.replace(f"<{key}>", value)
    (folder / "model.toml").write_text(text, encoding="utf-8")


PROGRAM = """
import sys
import nibabel
import numpy as np
sys.path.append(sys.argv[1])
from deepbet import BrainExtraction
_, mask, _ = BrainExtraction(no_gpu=True).run(nibabel.load(sys.argv[2]))
np.save(sys.argv[3], np.asarray(mask.dataobj) > 0)
"""


def deepbet_itself(site: Path, voxels: Any, affine_lps: Any, folder: Path) -> Any:
    """What deepbet itself answers to a volume (slice, row, column)."""
    nibabel = pytest.importorskip("nibabel")
    pytest.importorskip("pandas", reason="deepbet itself needs pandas, which nilearn brings")
    image = nibabel.Nifti1Image(voxels.astype(np.float32), np.diag([-1, -1, 1, 1]) @ affine_lps)
    nibabel.save(image, folder / "head.nii.gz")
    command = [sys.executable, "-c", PROGRAM, site, folder / "head.nii.gz", folder / "mask.npy"]
    subprocess.run(command, check=True, timeout=240, capture_output=True)
    return np.load(folder / "mask.npy")
