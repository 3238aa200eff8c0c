"""The MONAI runtime: what of a bundle is understood, and what is never executed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secondread.errors import ManifestError
from secondread.inference.worker.runtimes.monai import MonaiRuntime
from secondread.inference.worker.runtimes.monai_bundle import Bundle
from tests.monai_bundles import INFERENCE, bright_script

MANIFEST: dict[str, Any] = {
    "runtime": {
        "weights": "models/model.ts",
        "options": {"decoding": {"activation": "softmax", "decide": "argmax", "labels": [0, 1, 2]}},
    },
    "preprocessing": {},
    "files": {"models/model.ts": "0", "configs/inference.json": "0"},
    "labels": [{"value": 1}, {"value": 2}],
}
AFFINE = np.array([[0.0, 0, 2, -40], [0, 2, 0, -40], [4, 0, 0, -40], [0, 0, 0, 1]])


@pytest.fixture
def manifest() -> dict[str, Any]:
    return copy.deepcopy(MANIFEST)


@pytest.fixture
def config() -> dict[str, Any]:
    return copy.deepcopy(dict(INFERENCE))


@pytest.fixture
def folder(tmp_path: Path, config: dict[str, Any]) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "configs").mkdir()
    bright_script(tmp_path / "models" / "model.ts")
    _write(tmp_path, config)
    return tmp_path


@pytest.fixture
def head() -> Any:
    """(slice, row, column): a block of brain with a block of thalamus, off the middle."""
    voxels = np.zeros((14, 22, 25), np.int16)
    voxels[2:11, 4:16, 3:20] = 500
    voxels[4:7, 5:9, 5:9] = 900
    return voxels


def _write(folder: Path, config: dict[str, Any]) -> None:
    (folder / "configs" / "inference.json").write_text(json.dumps(config))


def test_a_bundle_says_how_its_images_are_prepared(config: dict[str, Any]) -> None:
    assert Bundle(config).preprocessing() == {
        "orientation": "RAS",
        "spacing_mm": [2.0, 2.0, 4.0],
        "intensity": {"kind": "window", "low": 0.0, "high": 1000.0, "to": [0.0, 1.0]},
        "patch": [16, 16, 16],
        "overlap": 0.5,
    }


def test_torchscript_of_a_bundle_labels_a_volume(
    manifest: dict[str, Any], folder: Path, head: Any
) -> None:
    found = MonaiRuntime(manifest, folder).predict(head, AFFINE)
    assert np.array_equal(found.labels, np.select([head == 900, head == 500], [2, 1], 0))


def test_the_manifest_goes_before_the_bundle(
    manifest: dict[str, Any], folder: Path, head: Any
) -> None:
    manifest["preprocessing"] = {"intensity": {"kind": "window", "low": 0, "high": 2400}}
    found = MonaiRuntime(manifest, folder).predict(head, AFFINE)
    # 900 of 2400 is brain to the network, and 500 nothing yet.
    assert np.array_equal(found.labels == 1, head == 900)


@pytest.mark.parametrize(
    ("step", "intensity"),
    [
        (
            {"_target_": "ScaleIntensityRanged", "a_min": 0, "a_max": 4, "b_min": -1, "b_max": 1},
            {"kind": "fixed", "mean": 2, "deviation": 2},
        ),
        (
            {
                **{"_target_": "ScaleIntensityRangePercentilesd", "lower": 1, "upper": 99},
                **{"b_min": 0, "b_max": 1, "clip": True},
            },
            {"kind": "percentile", "low": 1, "high": 99, "to": [0, 1]},
        ),
        (
            {"_target_": "NormalizeIntensityd", "nonzero": True},
            {"kind": "zscore", "nonzero": True},
        ),
        (
            {"_target_": "NormalizeIntensityd", "subtrahend": 3, "divisor": 4},
            {"kind": "fixed", "mean": 3, "deviation": 4},
        ),
        (
            {"_target_": "ScaleIntensityd"},
            {"kind": "percentile", "low": 0, "high": 100, "to": [0, 1]},
        ),
    ],
)
def test_intensities_of_monai_have_a_counterpart(step: Any, intensity: Any) -> None:
    config = {"preprocessing": {"_target_": "Compose", "transforms": [step]}}
    assert Bundle(config).preprocessing() == {"intensity": intensity}


def _with_step(config: dict[str, Any], **step: Any) -> None:
    config["preprocessing"]["transforms"].append(step)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: _with_step(c, _target_="CropForegroundd"), "with CropForegroundd"),
        (lambda c: _with_step(c, _target_="os.system", cmd="true"), "with system"),
        (lambda c: _with_step(c, _target_="ScaleIntensityd"), "more than once"),
        (lambda c: c["inferer"].update(roi_size="$[16] * 3"), "an expression for roi_size"),
        (lambda c: c.update(patch_size="@patch_size"), "an expression for roi_size"),
        (lambda c: c["inferer"].update(_target_="Theirs"), "runs its network with Theirs"),
    ],
)
def test_what_is_not_understood_is_an_error(
    manifest: dict[str, Any], folder: Path, config: dict[str, Any], change: Any, words: str
) -> None:
    change(config)
    _write(folder, config)
    with pytest.raises(ManifestError, match=words):
        MonaiRuntime(manifest, folder)


def test_expressions_are_not_evaluated(
    manifest: dict[str, Any], folder: Path, config: dict[str, Any]
) -> None:
    mark = folder / "mark"
    config["imports"] = [f"$__import__('pathlib').Path({str(mark)!r}).touch()"]
    config["device"] = config["imports"][0]
    config["preprocessing"]["transforms"][0]["reader"] = config["imports"][0]
    _write(folder, config)
    MonaiRuntime(manifest, folder)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["models/model.ts", "configs/inference.json"])
def test_only_files_that_are_pinned_are_read(
    manifest: dict[str, Any], folder: Path, name: str
) -> None:
    del manifest["files"][name]
    with pytest.raises(ManifestError, match=name):
        MonaiRuntime(manifest, folder)


def test_weights_that_are_no_torchscript_are_refused(
    manifest: dict[str, Any], folder: Path
) -> None:
    (folder / "models" / "model.ts").write_bytes(b"nothing")
    with pytest.raises(ManifestError, match="is not TorchScript"):
        MonaiRuntime(manifest, folder)


def test_weights_of_a_network_by_name_are_refused_with_the_remedy(
    manifest: dict[str, Any], folder: Path
) -> None:
    manifest["runtime"]["weights"] = "models/model.pt"
    manifest["files"]["models/model.pt"] = "0"
    with pytest.raises(ManifestError, match="ckpt_export"):
        MonaiRuntime(manifest, folder)
