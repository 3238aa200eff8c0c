"""A small MONAI bundle with known answers, and a package around it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch

from secondread.inference.worker.runtimes.monai_networks import build_monai_network

INFERENCE: Mapping[str, Any] = MappingProxyType(
    {
        "imports": ["$import glob"],
        "patch_size": [16, 16, 16],
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
                {"_target_": "Spacingd", "keys": "image", "pixdim": [2.0, 2.0, 4.0]},
                {
                    **{"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0},
                    **{"a_max": 1000, "b_min": 0, "b_max": 1, "clip": True},
                },
            ],
        },
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": "@patch_size",
            "overlap": 0.5,
        },
    }
)
"""As the model zoo's bundles have it."""


class _Bright(torch.nn.Module):
    """Logits of three classes, which like values of 0, 0.5 and 0.9 best."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("means", torch.tensor([0.0, 0.5, 0.9]).reshape(1, 3, 1, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return -20 * (image - self.means).abs()


def bright_script(path: Path) -> None:
    """Write a network of thresholds as TorchScript."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(_Bright(), torch.zeros(1, 1, 4, 4, 4)).save(str(path))


NETWORK: Mapping[str, Any] = MappingProxyType(
    {
        "_target_": "monai.networks.nets.UNet",
        "spatial_dims": "@dimensions",
        "in_channels": 1,
        "out_channels": 3,
        "channels": [4, 8],
        "strides": [2],
        "norm": ["INSTANCE", {"affine": True}],
    }
)
"""A network that a bundle names."""
NAMED: Mapping[str, Any] = MappingProxyType(
    {"dimensions": 3, "network_def": dict(NETWORK), "network": "$@network_def.to('cpu')"}
)
"""What a configuration has besides, that names its network."""


def named_network() -> torch.nn.Module:
    """The network of `NETWORK`; skips where MONAI is not installed."""
    if importlib.util.find_spec("monai") is None:
        pytest.skip("MONAI (extra 'monai') is not installed")
    options = {key: value for key, value in NETWORK.items() if key != "_target_"}
    torch.manual_seed(3)
    return build_monai_network("UNet", options | {"spatial_dims": 3})


def monai_package(folder: Path, manifest: str, *, named: bool = False) -> Path:
    """Write a bundle and a ``model.toml``, to which the digests of its files are added."""
    for name in ("configs", "models"):
        (folder / name).mkdir(parents=True)
    weights = folder / "models" / ("model.pt" if named else "model.ts")
    if named:
        torch.save({"epoch": 7, "model": named_network().state_dict()}, weights)
    else:
        bright_script(weights)
    config = dict(INFERENCE) | (dict(NAMED) if named else {})
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    names = (f"models/{weights.name}", "configs/inference.json")
    rows = [
        f'"{name}" = "{hashlib.sha256((folder / name).read_bytes()).hexdigest()}"' for name in names
    ]
    text = manifest.replace("[files]\n", "\n".join(["[files]", *rows, ""]))
    (folder / "model.toml").write_text(text, encoding="utf-8")
    return folder
