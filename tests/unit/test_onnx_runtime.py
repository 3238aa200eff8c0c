"""The ONNX runtime: what a manifest may ask for, and what comes back."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from secondread.errors import InvalidPredictionError, ManifestError
from secondread.inference.worker.runtimes.onnx import OnnxRuntime
from tests.bright_blocks import AFFINE, bright_blocks, truth
from tests.onnx_networks import bright_network, mean_network

ARGMAX = {"activation": "softmax", "decide": "argmax", "labels": [0, 1, 2]}
THRESHOLD = {"activation": "sigmoid", "decide": "threshold", "labels": [1]}
MANIFEST: dict[str, Any] = {
    "runtime": {"weights": "model.onnx", "options": {"decoding": ARGMAX}},
    "preprocessing": {},
    "files": {"model.onnx": "0"},
    "labels": [{"value": 1}, {"value": 2}],
}


@pytest.fixture
def manifest() -> dict[str, Any]:
    return copy.deepcopy(MANIFEST)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bright_network(tmp_path / "model.onnx")
    return tmp_path


@pytest.fixture
def head() -> Any:
    return bright_blocks()


def dice(a: Any, b: Any) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "SPL", "AIR"])
@pytest.mark.parametrize("shape", [(1, 1, "x", "y", "z"), (1, 1, "x", "y")])
def test_labels_lie_where_the_image_has_them(
    manifest: dict[str, Any], tmp_path: Path, head: Any, orientation: str, shape: Any
) -> None:
    bright_network(tmp_path / "model.onnx", shape)
    manifest["preprocessing"] = {"orientation": orientation}
    found = OnnxRuntime(manifest, tmp_path).predict(head, AFFINE)
    assert found.refusal is None
    assert found.labels.dtype == np.uint8 and found.labels.flags["C_CONTIGUOUS"]
    assert np.array_equal(found.labels, truth(head))


def test_the_network_gets_its_own_axes(manifest: dict[str, Any], tmp_path: Path, head: Any) -> None:
    bright_network(tmp_path / "model.onnx")
    manifest["preprocessing"] = {"orientation": "RAS", "spacing_mm": [4, 2, 8]}
    runtime = OnnxRuntime(manifest, tmp_path)
    seen: list[Any] = []

    def look(image: Any) -> Any:
        seen.append(image)
        return np.zeros((3, *image.shape), np.float32)

    runtime._answer = look  # type: ignore[method-assign]
    ramp = np.broadcast_to(np.arange(25, dtype=np.float32), head.shape)
    runtime.predict(ramp, AFFINE)
    # Columns run to the left and rows to posterior, slices to the head: 25, 22 and 14 of them.
    assert [image.shape for image in seen] == [(12, 22, 7)]
    assert (np.diff(seen[0][:, 3, 3]) < 0).all()


def test_the_example_of_the_documentation_runs(folder: Path, head: Any) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "runtimes.md"
    blocks = re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (example,) = (one for one in map(tomllib.loads, blocks) if one["runtime"]["kind"] == "onnx")
    example["labels"] = MANIFEST["labels"]
    found = OnnxRuntime(example, folder).predict(head, AFFINE)
    assert found.refusal is None
    assert found.labels.shape == head.shape


@pytest.mark.parametrize("spacing_mm", [1.5, [3.0, 2.0, 5.0]])
def test_another_spacing_comes_back_on_the_grid_of_the_image(
    manifest: dict[str, Any], folder: Path, head: Any, spacing_mm: Any
) -> None:
    manifest["preprocessing"] = {"spacing_mm": spacing_mm}
    found = OnnxRuntime(manifest, folder).predict(head, AFFINE)
    assert found.labels.shape == head.shape
    assert dice(found.labels > 0, head > 0) > 0.9


@pytest.mark.parametrize(
    "windows",
    [
        {"patch": [8, 8, 8]},
        {"patch": [8, 40, 5], "overlap": 0.5},
        {"patch": [64, 64, 64], "pad": -1},
        {"divisor": 16},
    ],
)
def test_windows_say_what_the_whole_says(
    manifest: dict[str, Any], folder: Path, head: Any, windows: dict[str, Any]
) -> None:
    manifest["preprocessing"] = windows
    found = OnnxRuntime(manifest, folder).predict(head, AFFINE)
    assert np.array_equal(found.labels, truth(head))


def test_a_size_that_the_file_fixes_is_the_patch(
    manifest: dict[str, Any], tmp_path: Path, head: Any
) -> None:
    bright_network(tmp_path / "model.onnx", (1, 1, 16, 12, 8))
    found = OnnxRuntime(manifest, tmp_path).predict(head, AFFINE)
    assert np.array_equal(found.labels, truth(head))
    manifest["preprocessing"] = {"patch": [16, 16, 16]}
    with pytest.raises(ManifestError, match="another size"):
        OnnxRuntime(manifest, tmp_path)


def test_a_single_channel_is_decided_by_threshold(
    manifest: dict[str, Any], tmp_path: Path, head: Any
) -> None:
    mean_network(tmp_path / "model.onnx")
    manifest["runtime"]["options"]["decoding"] = THRESHOLD | {"threshold": 0.9}
    manifest["output"] = {"probabilities": True}
    found = OnnxRuntime(manifest, tmp_path).predict(head, AFFINE)
    # sigmoid((mean - 300) / 50) reaches 0.9 at a mean of 409.9, which edges and corners do not.
    assert dice(found.labels == 1, head > 0) > 0.7
    assert not found.labels[head == 0].any()
    assert found.probabilities is not None and found.probabilities.shape == (2, *head.shape)
    assert np.array_equal(found.probabilities[0] >= 230, found.labels == 1)
    assert not found.probabilities[1].any()


@pytest.mark.parametrize(
    ("intensity", "values"),
    [
        ({"kind": "window", "low": 100, "high": 900, "to": [-1, 1]}, (-1, 0, 1)),
        ({"kind": "percentile", "low": 0, "high": 100}, (0, 500 / 900, 1)),
        ({"kind": "fixed", "mean": 500, "deviation": 200, "high": 700}, (-2.5, 0, 1)),
        ({"kind": "none"}, (0, 500, 900)),
    ],
)
def test_intensities_are_what_the_network_was_trained_on(
    manifest: dict[str, Any], tmp_path: Path, head: Any, intensity: Any, values: Any
) -> None:
    bright_network(tmp_path / "model.onnx", means=values)
    manifest["preprocessing"] = {"intensity": intensity}
    found = OnnxRuntime(manifest, tmp_path).predict(head, AFFINE)
    assert np.array_equal(found.labels, truth(head))


def test_zscore_leaves_background_alone_where_asked(
    manifest: dict[str, Any], tmp_path: Path, head: Any
) -> None:
    inside = head[head > 0]
    means = (0, *((np.array([500, 900]) - inside.mean()) / inside.std()))
    bright_network(tmp_path / "model.onnx", means=(9, *means[1:]))
    manifest["preprocessing"] = {"intensity": {"kind": "zscore", "nonzero": True}}
    found = OnnxRuntime(manifest, tmp_path).predict(head, AFFINE)
    assert np.array_equal(found.labels[head > 0], truth(head)[head > 0])


def test_probabilities_of_a_label_are_those_of_its_channels(
    manifest: dict[str, Any], folder: Path, head: Any
) -> None:
    manifest["runtime"]["options"]["decoding"] = ARGMAX | {"labels": [0, 2, 2]}
    manifest["output"] = {"probabilities": True}
    found = OnnxRuntime(manifest, folder).predict(head, AFFINE)
    assert np.array_equal(found.labels, np.where(head > 0, 2, 0))
    assert found.probabilities is not None
    assert (found.probabilities[1][head > 0] == 255).all()
    assert not found.probabilities[0].any()


def test_checks_are_made_before_and_after_the_network(
    manifest: dict[str, Any], folder: Path, head: Any
) -> None:
    rule = {"name": "head", "measure": "volume_ml", "classes": [1, 2], "refusal": "{value:.0f} mL."}
    confidence = {"name": "sure", "measure": "confidence", "classes": [1], "refusal": "Unsure."}
    manifest["envelope"] = {"checks": [rule | {"low": 10, "high": 99}, confidence | {"low": 0.9}]}
    found = OnnxRuntime(manifest, folder).predict(head, AFFINE)
    assert found.refusal is None
    volume_ml = (head > 0).sum() * 16 / 1000
    assert [check.value for check in found.checks[1:]] == pytest.approx([volume_ml, 1.0], abs=0.01)
    manifest["envelope"] = {"checks": [rule | {"low": 500}]}
    found = OnnxRuntime(manifest, folder).predict(head, AFFINE)
    assert found.refusal == f"{volume_ml:.0f} mL."
    assert not found.labels.any()
    early = {"name": "object", "measure": "foreground_ml", "refusal": "Nothing there."}
    manifest["envelope"] = {"checks": [early | {"low": 5000}]}
    assert OnnxRuntime(manifest, folder).predict(head, AFFINE).refusal == "Nothing there."


def test_an_image_of_one_value_is_refused(manifest: dict[str, Any], folder: Path) -> None:
    found = OnnxRuntime(manifest, folder).predict(np.full((5, 6, 7), 40, np.int16), AFFINE)
    assert found.refusal is not None and "same value" in found.refusal


def test_a_network_that_answers_something_else_has_failed(
    manifest: dict[str, Any], folder: Path, head: Any
) -> None:
    manifest["runtime"]["options"]["decoding"] = ARGMAX | {"labels": [0, 1]}
    with pytest.raises(InvalidPredictionError, match="3 channels"):
        OnnxRuntime(manifest, folder).predict(head, AFFINE)
    manifest["runtime"]["options"]["decoding"] = ARGMAX | {"activation": "none"}
    with pytest.raises(InvalidPredictionError, match="outside 0 to 1"):
        OnnxRuntime(manifest, folder).predict(head, AFFINE)
    manifest["runtime"]["options"]["decoding"] = ARGMAX
    bright_network(folder / "model.onnx", means=(0, float("nan"), 900))
    with pytest.raises(InvalidPredictionError, match="not finite"):
        OnnxRuntime(manifest, folder).predict(head, AFFINE)


def _set(manifest: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    table = manifest
    for key in parents:
        table = table.setdefault(key, {})
    table[last] = value


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("preprocessing.orientation", "RAR", "three letters"),
        ("preprocessing.spacing_mm", [1, 2], "spacing_mm"),
        ("preprocessing.spacing_mm", 0, "spacing_mm"),
        ("preprocessing.patch", [16, 16], "patch"),
        ("preprocessing.overlap", 1.0, "overlap"),
        ("preprocessing.divisor", 0, "divisor"),
        ("preprocessing.window", 16, "unknown keys: window"),
        ("preprocessing.intensity", {"kind": "gamma"}, "it is one of none, window"),
        ("preprocessing.intensity", {"kind": "window", "low": 3, "high": 1}, "no range"),
        ("preprocessing.intensity", {"kind": "zscore", "low": 3}, "unknown keys: low"),
        ("preprocessing.intensity", {"kind": "fixed", "mean": 3}, "lacks the key 'deviation'"),
        ("runtime.options.decoding", None, "decoding]"),
        ("runtime.options.decoding.labels", [0, 1, 3], "the label 3"),
        ("runtime.options.decoding.labels", [1], "by threshold"),
        ("runtime.options.decoding.activation", "relu", "it is one of softmax"),
        ("runtime.options.decoding.threshold", 0.4, "argmax does not ask for"),
        ("runtime.options.library", "ops.so", "unknown keys: library"),
        ("runtime.options.input", "volume", "there are: image"),
        ("runtime.weights", "other.onnx", r"not among \[files\]"),
        ("output.numbers", [{"id": "n"}], "gives no numbers"),
        ("envelope.checks", [{"name": "s", "measure": "asymmetry"}], "a network with sides"),
        ("envelope.checks", [{"name": "l", "measure": "layout_mm"}], "one spacing_mm"),
        ("envelope.checks", [{"name": "t", "measure": "taste"}], "Unknown measure"),
    ],
)
def test_a_manifest_that_asks_for_what_there_is_not_says_so(
    manifest: dict[str, Any], folder: Path, path: str, value: Any, words: str
) -> None:
    _set(manifest, path, value)
    with pytest.raises(ManifestError, match=words):
        OnnxRuntime(manifest, folder)


def _outside(path: Path) -> None:
    mean_network(path)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.bin", size_threshold=0)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: path.write_bytes(b"no network"), "not a network"),
        (lambda path: bright_network(path, domain="theirs"), "theirs:Sub"),
        (_outside, "not a network"),
        (
            lambda path: bright_network(path, (1, 2, "x", "y", "z"), means=(0, 1)),
            "more than one image",
        ),
        (lambda path: bright_network(path, (1, 1, "x")), "takes 3 axes"),
    ],
)
def test_a_file_that_is_no_such_network_is_refused(
    manifest: dict[str, Any], tmp_path: Path, write: Callable[[Path], Any], words: str
) -> None:
    write(tmp_path / "model.onnx")
    with pytest.raises(ManifestError, match=words):
        OnnxRuntime(manifest, tmp_path)


def test_memory_that_is_not_there_is_named(manifest: dict[str, Any], folder: Path) -> None:
    """In a process of its own, whose address space ends soon after the network is loaded."""
    (folder / "manifest.json").write_text(json.dumps(manifest))
    program = f"""
import json, resource
from pathlib import Path
import numpy as np
from secondread.inference.worker.__main__ import _name
from secondread.inference.worker.runtimes.onnx import OnnxRuntime
folder = Path({str(folder)!r})
runtime = OnnxRuntime(json.loads((folder / "manifest.json").read_text()), folder)
image = np.zeros((200, 200, 200), np.float32)
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 2**26,) * 2)
try:
    runtime._answer(image)
except Exception as error:
    print(type(_name(error)).__name__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "LimitExceededError\n", done.stderr
