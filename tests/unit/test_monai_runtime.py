"""The MONAI runtime: what of a bundle is understood, and what is never executed."""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from secondread.errors import InvalidPredictionError, ManifestError
from secondread.inference.worker.runtimes.monai import MonaiRuntime
from secondread.inference.worker.runtimes.monai_bundle import Bundle
from tests.bright_blocks import AFFINE, bright_blocks, truth
from tests.monai_bundles import INFERENCE, NAMED, NETWORK, bright_script, named_network

MANIFEST: dict[str, Any] = {
    "runtime": {
        "weights": "models/model.ts",
        "options": {"decoding": {"activation": "softmax", "decide": "argmax", "labels": [0, 1, 2]}},
    },
    "preprocessing": {},
    "files": {"models/model.ts": "0", "configs/inference.json": "0"},
    "labels": [{"value": 1}, {"value": 2}],
}


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
    return bright_blocks()


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
    assert np.array_equal(found.labels, truth(head))


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


_SCALED = {
    **{"_target_": "ScaleIntensityRangePercentilesd", "lower": 1, "upper": 99},
    **{"b_min": 0, "b_max": 1, "clip": True},
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: _with_step(c, _target_="CropForegroundd"), "with CropForegroundd"),
        (lambda c: _with_step(c, _target_="os.system", cmd="true"), "with system"),
        (lambda c: _with_step(c, _target_="ScaleIntensityd"), "more than once"),
        (lambda c: c["inferer"].update(roi_size="$[16] * 3"), "an expression for roi_size"),
        (lambda c: c.update(patch_size="@patch_size"), "an expression for roi_size"),
        (lambda c: c["inferer"].update(_target_="Theirs"), "runs its network with Theirs"),
        (lambda c: c["preprocessing"].update(transforms=["zscore"]), "where a table should be"),
        (
            lambda c: c["preprocessing"].update(transforms=[{**_SCALED, "relative": True}]),
            "relative",
        ),
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


@pytest.fixture
def named(manifest: dict[str, Any], folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The bundle with weights of a network that it names, which lie in ``models/model.pt``."""
    network = named_network()
    config |= NAMED
    manifest["runtime"]["weights"] = "models/model.pt"
    manifest["files"]["models/model.pt"] = "0"
    torch.save({"epoch": 7, "model": network.state_dict()}, folder / "models" / "model.pt")
    _write(folder, config)
    return manifest


def test_a_network_of_monai_by_name_answers_as_its_torchscript(
    named: dict[str, Any], folder: Path, config: dict[str, Any], head: Any
) -> None:
    found = MonaiRuntime(named, folder).predict(head, AFFINE)
    network = named_network()
    weights = torch.load(folder / "models" / "model.pt", weights_only=True)["model"]
    network.load_state_dict(weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.trace(network.eval(), torch.zeros(1, 1, 16, 16, 16))
        script.save(str(folder / "models" / "model.ts"))
    named["runtime"]["weights"] = "models/model.ts"
    assert len(np.unique(found.labels)) > 1
    assert np.array_equal(found.labels, MonaiRuntime(named, folder).predict(head, AFFINE).labels)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"_target_": "os.system"}, "'os.system', which is not known"),
        ({"_target_": "theirs.UNet"}, "'theirs.UNet', which is not known"),
        ({"in_channels": 4}, "takes 4 images"),
        ({"channels": "$[4, 8]"}, "an expression for channels"),
        ({"channels": [4, 8, 16]}, "does not take the options"),
        ({"channels": [4, 16]}, "does not fit the network"),
        ({"norm": {"_target_": "os.system"}}, "an expression for norm"),
    ],
)
def test_a_network_that_is_not_in_the_table_is_refused(
    named: dict[str, Any], folder: Path, config: dict[str, Any], change: Any, words: str
) -> None:
    config["network_def"] = {**NETWORK, **change}
    _write(folder, config)
    with pytest.raises(ManifestError, match=words):
        MonaiRuntime(named, folder)


class _Act:
    """A pickle that touches a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_weights_that_would_run_something_are_refused(named: dict[str, Any], folder: Path) -> None:
    torch.save({"model": _Act(folder / "mark")}, folder / "models" / "model.pt")
    with pytest.raises(ManifestError, match="not a file of weights alone"):
        MonaiRuntime(named, folder)
    assert not (folder / "mark").exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x02h\x07.", b"PK\x03\x04"])
def test_weights_that_are_damaged_are_refused_in_a_sentence(
    named: dict[str, Any], folder: Path, content: bytes
) -> None:
    pytest.importorskip("monai")
    (folder / "models" / "model.pt").write_bytes(content)
    with pytest.raises(ManifestError, match="not a file of weights alone"):
        MonaiRuntime(named, folder)


class _Telling(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, int]:
        return x, 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_answer_that_is_no_tensor_is_an_error(
    manifest: dict[str, Any], folder: Path, head: Any
) -> None:
    torch.jit.script(_Telling()).save(str(folder / "models" / "model.ts"))
    with pytest.raises(InvalidPredictionError, match="no tensor"):
        MonaiRuntime(manifest, folder).predict(head, AFFINE)
