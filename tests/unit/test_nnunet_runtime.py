"""The nnU-Net runtime: it answers as nnU-Net itself, and runs nothing of what a folder brings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from secondread.errors import ManifestError
from secondread.inference.worker.runtimes.nnunet import NnunetRuntime
from tests.nnunet.cases import CASES, FILES, affine_of, answer_of, folder_of, image_of

WEIGHTS = "fold_0/checkpoint_final.pth"


def manifest_of(name: str) -> dict[str, Any]:
    """A manifest whose labels have the names of dataset.json."""
    names = [label for label in CASES[name].labels if label != "background"]
    return {
        "runtime": {"kind": "nnunet", "weights": WEIGHTS},
        "preprocessing": {"orientation": "LPS"},
        "files": dict.fromkeys(FILES, "0"),
        "labels": [{"value": n, "name": label} for n, label in enumerate(names, start=1)],
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to be changed."""
    return Path(shutil.copytree(folder_of("mr_slices"), tmp_path / "model"))


@pytest.fixture
def manifest() -> dict[str, Any]:
    found = manifest_of("mr_slices")
    found["runtime"]["options"] = {"mirror": False}
    return found


@pytest.mark.parametrize("name", CASES)
def test_the_answer_is_that_of_nnunet(name: str) -> None:
    manifest = manifest_of(name) | {"output": {"probabilities": True}}
    image, _ = image_of(CASES[name])
    labels, shares = answer_of(name)
    found = NnunetRuntime(manifest, folder_of(name)).predict(image, affine_of(CASES[name]))
    assert found.refusal is None and set(np.unique(labels)) == {0, 1, 2}
    # nnU-Net sums windows up in half precision; between two labels it may fall either way.
    assert (found.labels == labels).mean() >= 0.9995
    assert found.probabilities is not None
    ours = found.probabilities.astype(np.float32) / 255
    theirs = shares[-2:]
    assert np.abs(ours - theirs).max() < 0.03 and np.abs(ours - theirs).mean() < 0.001


def test_a_volume_that_lies_otherwise_gets_the_same_answer() -> None:
    name = "mr_slices"
    image, _ = image_of(CASES[name])
    affine = affine_of(CASES[name])
    manifest = manifest_of(name)
    manifest["runtime"]["options"] = {"mirror": False}
    runtime = NnunetRuntime(manifest, folder_of(name))
    straight = runtime.predict(image, affine).labels
    turned = image[:, ::-1].transpose(2, 0, 1)
    moved = affine.copy()
    moved[:3, 3] += affine[:3, 1] * (image.shape[1] - 1)
    moved[:3, 1] *= -1
    moved[:, :3] = moved[:, [2, 0, 1]]
    again = runtime.predict(turned, moved).labels
    assert np.array_equal(again.transpose(1, 2, 0)[:, ::-1], straight)


def test_labels_are_chosen_by_name(manifest: dict[str, Any]) -> None:
    image, _ = image_of(CASES["mr_slices"])
    place, affine = folder_of("mr_slices"), affine_of(CASES["mr_slices"])
    whole = NnunetRuntime(manifest, place).predict(image, affine).labels
    manifest["labels"] = [{"value": 1, "name": "tumour"}]
    manifest["runtime"]["options"]["labels"] = {"core": 1}
    assert np.array_equal(NnunetRuntime(manifest, place).predict(image, affine).labels, whole == 2)


def test_folds_are_averaged(folder: Path, manifest: dict[str, Any]) -> None:
    image, _ = image_of(CASES["mr_slices"])
    alone = NnunetRuntime(manifest, folder).predict(image, affine_of(CASES["mr_slices"])).labels
    shutil.copytree(folder / "fold_0", folder / "fold_1")
    manifest["runtime"]["weights"] = [WEIGHTS, "fold_1/checkpoint_final.pth"]
    manifest["files"]["fold_1/checkpoint_final.pth"] = "0"
    both = NnunetRuntime(manifest, folder).predict(image, affine_of(CASES["mr_slices"])).labels
    assert (alone == both).mean() > 0.9999


def test_checks_are_made_before_and_after_the_network(manifest: dict[str, Any]) -> None:
    image, labels = image_of(CASES["mr_slices"])
    rule = {"name": "body", "measure": "volume_ml", "classes": [1, 2], "refusal": "{value:.0f} mL."}
    manifest["envelope"] = {"checks": [rule | {"low": 9000.0}]}
    runtime = NnunetRuntime(manifest, folder_of("mr_slices"))
    found = runtime.predict(image, affine_of(CASES["mr_slices"]))
    assert found.refusal is not None and found.refusal.endswith("mL.")
    volume_ml = (labels > 0).sum() * 5.0 * 1.0 * 1.1 / 1000
    assert abs(found.checks[-1].value / volume_ml - 1) < 0.3
    empty = runtime.predict(np.zeros((5, 6, 7), np.int16), affine_of(CASES["mr_slices"]))
    assert empty.refusal is not None and "same value" in empty.refusal


class _Act:
    """A pickle that touches a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_a_checkpoint_that_would_run_something_is_refused(
    folder: Path, manifest: dict[str, Any]
) -> None:
    torch.save({"network_weights": {}, "logging": _Act(folder / "mark")}, folder / WEIGHTS)
    with pytest.raises(ManifestError, match="tensors and plain values alone"):
        NnunetRuntime(manifest, folder)
    assert not (folder / "mark").exists()


def _plans(folder: Path, change: Any) -> None:
    path = folder / "plans.json"
    plans = json.loads(path.read_text())
    change(plans, plans["configurations"]["2d"])
    path.write_text(json.dumps(plans))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p, c: c.update(previous_stage="3d_lowres"), "cascade"),
        (lambda p, c: c.update(preprocessor_name="Mine"), "preprocessor_name 'Mine'"),
        (lambda p, c: c.update(normalization_schemes=["Mine"]), "normalises with 'Mine'"),
        (lambda p, c: c.update(resampling_fn_data="mine"), "resamples with 'mine'"),
        (lambda p, c: c["architecture"].update(network_class_name="os.system"), "'os.system'"),
        (lambda p, c: c["architecture"]["arch_kwargs"].update(nonlin="os.abort"), "'os.abort'"),
        (lambda p, c: c["architecture"]["arch_kwargs"].update(features_per_stage=5), "fit"),
        (lambda p, c: c.pop("patch_size"), "as nnU-Net writes it"),
        (lambda p, c: p.update(transpose_forward=[0, 0, 1]), "no permutation"),
        (lambda p, c: c.update(patch_size=[48]), "not of its spacing"),
        (lambda p, c: c.update(patch_size=[0, 48]), "not of its spacing"),
        (lambda p, c: c.update(patch_size=[47, 48]), "do not divide"),
        (lambda p, c: c.update(patch_size=[8, 8, 8], spacing=[1, 1, 1]), "takes 2 axes"),
        (lambda p, c: c.update(spacing=[0, 1]), "spacing that is not of"),
        (lambda p, c: c.update(spacing=[float("nan"), 1]), "spacing that is not of"),
        (lambda p, c: c["architecture"]["arch_kwargs"].update(kernel_sizes=-1), "network of the"),
        (lambda p, c: c["architecture"].update(arch_kwargs=7), "network of the"),
    ],
)
def test_a_plan_that_is_not_understood_says_so(
    folder: Path, manifest: dict[str, Any], change: Any, words: str
) -> None:
    _plans(folder, change)
    with pytest.raises(ManifestError, match=words):
        NnunetRuntime(manifest, folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m["files"].pop("plans.json"), "'plans.json' is not among"),
        (lambda m: m["files"].pop(WEIGHTS), "is not among"),
        (lambda m: m["preprocessing"].clear(), "only who made it knows"),
        (lambda m: m["preprocessing"].update(orientation="RAR"), "three letters"),
        (lambda m: m["labels"].append({"value": 3, "name": "ear"}), "no label 'ear'"),
        (lambda m: m["runtime"].update(options={"labels": {"core": 7}}), "becomes 7"),
        (lambda m: m["runtime"].update(options={"step": 0}), "the step 0"),
        (lambda m: m["runtime"].update(options={"configuration": "4d"}), "no configuration '4d'"),
        (lambda m: m["runtime"].update(options={"trainer": "x"}), "unknown keys: trainer"),
        (lambda m: m.update(output={"numbers": [{"id": "n"}]}), "gives no numbers"),
    ],
)
def test_a_manifest_that_asks_for_what_there_is_not_says_so(
    manifest: dict[str, Any], change: Any, words: str
) -> None:
    change(manifest)
    with pytest.raises(ManifestError, match=words):
        NnunetRuntime(manifest, folder_of("mr_slices"))


def test_several_images_at_a_time_are_refused(folder: Path, manifest: dict[str, Any]) -> None:
    path = folder / "dataset.json"
    dataset = json.loads(path.read_text()) | {"channel_names": {"0": "T1", "1": "T2"}}
    path.write_text(json.dumps(dataset))
    with pytest.raises(ManifestError, match="several images"):
        NnunetRuntime(manifest, folder)


@pytest.mark.parametrize("name", ["ct_thick", "mr_slices"])
def test_a_plan_that_permutes_axes_sees_them_so(name: str, tmp_path: Path) -> None:
    """nnU-Net hands its network ``image.transpose(transpose_forward)``; labels come back from it.

    The order is not its own inverse, so that one taken for the other would be seen.
    """
    forward = [2, 0, 1]
    manifest = manifest_of(name)
    manifest["runtime"]["options"] = {"mirror": False}
    image, _ = image_of(CASES[name])
    affine = affine_of(CASES[name])
    straight = NnunetRuntime(manifest, folder_of(name)).predict(image, affine).labels
    folder = Path(shutil.copytree(folder_of(name), tmp_path / "model"))
    plans = json.loads((folder / "plans.json").read_text())
    plans["transpose_forward"], plans["transpose_backward"] = forward, [1, 2, 0]
    (folder / "plans.json").write_text(json.dumps(plans))
    seen_mm = np.zeros(3)
    seen_mm[forward] = CASES[name].seen_mm
    z, y, x = seen_mm
    moved = np.array([[0, 0, x, -20], [0, y, 0, -30], [z, 0, 0, 40], [0, 0, 0, 1.0]])
    permuted = np.ascontiguousarray(image.transpose(np.argsort(forward)))
    assert np.array_equal(permuted.transpose(forward), image)
    found = NnunetRuntime(manifest, folder).predict(permuted, moved).labels
    assert found.shape == permuted.shape and set(np.unique(found)) == {0, 1, 2}
    assert np.array_equal(found.transpose(forward), straight)


@pytest.mark.parametrize(
    "content",
    [b"", b"noise" * 99, b"\x80\x02h\x07.", b"\x80\x02}q\x00(X\xff\xff\xff\xff", b"PK\x03\x04"],
)
def test_a_checkpoint_that_is_damaged_is_refused_in_a_sentence(
    folder: Path, manifest: dict[str, Any], content: bytes
) -> None:
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(ManifestError, match="tensors and plain values alone"):
        NnunetRuntime(manifest, folder)


@pytest.mark.parametrize("axes", [5, ["x"], [0.5]])
def test_a_checkpoint_that_mirrors_along_no_axes_is_refused(
    folder: Path, manifest: dict[str, Any], axes: Any
) -> None:
    torch.save({"network_weights": {}, "inference_allowed_mirroring_axes": axes}, folder / WEIGHTS)
    with pytest.raises(ManifestError, match="no axes"):
        NnunetRuntime(manifest, folder)


@pytest.mark.parametrize("size", [(1, 30, 20), (2, 3, 1)])
def test_a_volume_smaller_than_a_patch_is_labelled(
    manifest: dict[str, Any], size: tuple[int, int, int]
) -> None:
    image, _ = image_of(CASES["mr_slices"])
    middle = tuple(slice(n // 2, n // 2 + m) for n, m in zip(image.shape, size, strict=True))
    runtime = NnunetRuntime(manifest, folder_of("mr_slices"))
    found = runtime.predict(image[middle], affine_of(CASES["mr_slices"]))
    assert found.refusal is None and found.labels.shape == size
