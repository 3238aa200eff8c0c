"""The torch runtime: what a manifest may ask for, and what comes back."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from secondread.errors import InvalidPredictionError, ManifestError
from secondread.inference.worker.envelope import Evidence, judge
from secondread.inference.worker.networks import build
from secondread.inference.worker.runtimes.torch import TorchRuntime, _label_weights

NETWORK = {"in_channels": 1, "out_channels": 3, "widths": [8, 8]}
MANIFEST = {
    "runtime": {
        "network": "unet3d",
        "weights": "weights.safetensors",
        "options": {
            "precision": "float32",
            "network": NETWORK,
            "decoding": {"classes": [[0], [1, 2]], "side_channel": 2},
        },
    },
    "preprocessing": {"grid": [16, 16, 16], "spacing_mm": 8.0},
}
AFFINE = np.array([[0.0, 0, 4, -60], [0, 4, 0, -60], [4, 0, 0, -60], [0, 0, 0, 1]])


@pytest.fixture
def manifest() -> dict:
    return copy.deepcopy(MANIFEST)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    save_file(build("unet3d", NETWORK).state_dict(), tmp_path / "weights.safetensors")
    return tmp_path


@pytest.fixture
def voxels() -> np.ndarray:
    image = np.zeros((31, 30, 29), np.int16)
    image[6:24, 6:24, 6:24] = 500
    return image


class Painted(TorchRuntime):
    """A runtime whose network finds whatever is bright, left and right by position."""

    def _infer(self, image: np.ndarray) -> np.ndarray:
        bright = (image > 0.5).astype(np.float32)
        right = np.zeros_like(bright)
        right[image.shape[0] // 2 :] = 1
        return np.stack((1 - bright, bright, right), axis=-1)


def test_labels_lie_on_the_grid_that_went_in(manifest, folder, voxels) -> None:
    answer = TorchRuntime(manifest, folder).predict(voxels, AFFINE)
    assert answer.refusal is None
    assert answer.labels.shape == voxels.shape
    assert answer.labels.dtype == np.uint8
    assert set(np.unique(answer.labels)) <= {0, 1, 2}


def test_probabilities_come_where_they_are_promised(manifest, folder, voxels) -> None:
    assert Painted(manifest, folder).predict(voxels, AFFINE).probabilities is None
    manifest |= {"output": {"probabilities": True}, "labels": [{}, {}]}
    answer = Painted(manifest, folder).predict(voxels, AFFINE)
    shares = answer.probabilities
    assert shares is not None
    assert (shares.shape, shares.dtype) == ((2, *voxels.shape), np.uint8)
    left, right = shares.astype(int)
    assert (left[answer.labels == 1] >= right[answer.labels == 1] - 1).all()
    assert (right[answer.labels == 2] >= left[answer.labels == 2] - 1).all()
    inside = np.s_[10:20, 10:20, 10:20]
    assert np.abs((left + right)[inside] - 255).max() <= 1
    assert not shares[:, 0].any()


def test_labels_are_the_same_with_and_without_probabilities(manifest, folder, voxels) -> None:
    labels = TorchRuntime(manifest, folder).predict(voxels, AFFINE).labels
    manifest |= {"output": {"probabilities": True}, "labels": [{}, {}]}
    again = TorchRuntime(manifest, folder).predict(voxels, AFFINE)
    assert np.array_equal(again.labels, labels)


def test_classes_that_become_one_label_add_up() -> None:
    weights = _label_weights(np.array([[0, 0], [1, 2], [1, 2], [3, 3]], np.uint8), 3)
    left, change = np.split(np.array([0.1, 0.3, 0.4, 0.2]) @ weights, 2)
    shares = (left + 0.25 * change) / 255
    assert np.allclose(shares, [0.7 * 0.75, 0.7 * 0.25, 0.2])


def test_maps_are_not_promised_in_vain(manifest, folder) -> None:
    manifest["output"] = {"maps": [{"id": "heat"}]}
    with pytest.raises(ManifestError, match="gives no maps"):
        TorchRuntime(manifest, folder)


def test_left_is_the_patients_left(manifest, folder, voxels) -> None:
    labels = Painted(manifest, folder).predict(voxels, AFFINE).labels
    x_lps = AFFINE[0, 2] * np.arange(voxels.shape[2])
    left, right = (np.argwhere(labels == value)[:, 2] for value in (1, 2))
    assert x_lps[left].mean() > x_lps[right].mean()
    assert np.mean((labels > 0) == (voxels > 0)) > 0.9


def test_a_class_that_is_no_output_becomes_background(manifest, folder, voxels) -> None:
    manifest["runtime"]["options"]["decoding"]["classes"] = [[0], [0]]
    assert not Painted(manifest, folder).predict(voxels, AFFINE).labels.any()


def test_the_same_volume_gives_the_same_answer(manifest, folder, voxels) -> None:
    runtime = TorchRuntime(manifest, folder)
    first, second = (runtime.predict(voxels, AFFINE).labels for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_mirroring_keeps_the_sides(manifest, folder, voxels) -> None:
    manifest["runtime"]["options"]["mirror"] = True
    runtime = TorchRuntime(manifest, folder)
    image = np.random.default_rng(0).random((16, 16, 16), np.float32)
    there, back = runtime._infer(image), runtime._infer(image[::-1])[::-1]
    np.testing.assert_allclose(there[..., :2], back[..., :2], atol=1e-4)
    np.testing.assert_allclose(there[..., 2], 1 - back[..., 2], atol=1e-4)


@pytest.mark.parametrize("voxels", [np.zeros((20, 20, 20)), np.full((20, 20, 20), np.nan)])
def test_an_empty_image_is_refused(manifest, folder, voxels) -> None:
    answer = TorchRuntime(manifest, folder).predict(voxels, AFFINE)
    assert answer.refusal is not None
    assert answer.refusal.endswith(".")
    assert not answer.labels.any()


def test_a_failed_check_refuses_with_its_sentence(manifest, folder, voxels) -> None:
    rule = {
        "name": "volume",
        "measure": "volume_ml",
        "classes": [1],
        "low": 1e6,
        "refusal": "Only {value:.0f} mL.",
    }
    manifest["envelope"] = {"checks": [rule]}
    answer = Painted(manifest, folder).predict(voxels, AFFINE)
    assert answer.refusal is not None
    assert answer.refusal.startswith("Only ")
    assert [(c.name, c.passed) for c in answer.checks] == [("volume", False)]
    assert not answer.labels.any()


def test_unknown_network_lists_the_known(manifest, folder) -> None:
    manifest["runtime"]["network"] = "resnet"
    with pytest.raises(ValueError, match="unet3d"):
        TorchRuntime(manifest, folder)


def test_unknown_option_of_a_network() -> None:
    with pytest.raises(ValueError, match="colour"):
        build("unet3d", {"colour": 1})


def test_unknown_precision(manifest, folder) -> None:
    manifest["runtime"]["options"]["precision"] = "int4"
    with pytest.raises(ValueError, match="bfloat16"):
        TorchRuntime(manifest, folder)


def test_weights_of_another_network(manifest, folder) -> None:
    manifest["runtime"]["options"]["network"]["widths"] = [8, 16]
    with pytest.raises(ValueError, match="does not fit"):
        TorchRuntime(manifest, folder)


def test_unknown_measure_is_found_on_loading(manifest, folder) -> None:
    manifest["envelope"] = {"checks": [{"name": "x", "measure": "beauty", "refusal": ""}]}
    with pytest.raises(ValueError, match="volume_ml"):
        TorchRuntime(manifest, folder)


@pytest.mark.parametrize(
    ("shape", "affine"), [((5, 5), AFFINE), ((5, 5, 5), np.zeros((4, 4))), ((0, 9, 9), AFFINE)]
)
def test_what_is_no_volume(manifest, folder, shape, affine) -> None:
    with pytest.raises(ValueError, match=r"volume|affine"):
        TorchRuntime(manifest, folder).predict(np.zeros(shape), affine)


def test_layout_is_blind_to_position_size_and_turn_but_not_to_nonsense() -> None:
    places = np.array([[10, 10, 10], [30, 12, 10], [12, 34, 11], [20, 20, 36], [34, 34, 30]])
    classes = np.zeros((48, 48, 48), np.uint8)
    for number, (x, y, z) in enumerate(places, start=1):
        classes[x - 2 : x + 3, y - 2 : y + 3, z - 2 : z + 3] = number
    rule = {
        "name": "layout",
        "measure": "layout_mm",
        "high": 3.0,
        "min_ml": 0.1,
        "refusal": "no",
        "layout": [[n, *(1.1 * p + 7)] for n, p in enumerate(places[:, [1, 0, 2]] * [-1, 1, 1], 1)],
    }
    evidence = Evidence(None, classes=classes, spacing_mm=1.0)
    assert judge(evidence, [rule])[1] is None
    rule["layout"][0][1:], rule["layout"][4][1:] = rule["layout"][4][1:], rule["layout"][0][1:]
    assert judge(evidence, [rule])[1] == "no"


class Halves(TorchRuntime):
    """A runtime whose network finds a core between two halves of a rind, and a crumb far off."""

    def _infer(self, image: np.ndarray) -> np.ndarray:
        channels = np.zeros((*image.shape, 3), np.float32)
        channels[..., 0] = 0.5
        channels[4:6, 4:12, 4:12, 2] = channels[10:13, 4:12, 4:12, 2] = 1
        channels[6:10, 4:12, 4:12, 1] = 1
        channels[0:2, 0:2, 0:2, 2] = 1
        return channels


@pytest.mark.parametrize(("pieces", "halves"), [([], 2), ([2], 1), ([[1, 2]], 2)])
def test_a_group_is_one_piece_where_its_classes_are_not(
    manifest, folder, voxels, pieces, halves
) -> None:
    decoding = {"classes": [[0], [1], [2]], "single_piece": pieces}
    manifest["runtime"]["options"]["decoding"] = decoding
    labels = Halves(manifest, folder).predict(voxels, AFFINE).labels
    rind = np.flatnonzero((labels == 2).sum(axis=(0, 1)) > 20)
    assert 1 + int((np.diff(rind) > 1).sum()) == halves
    assert bool((labels[:4] == 2).any()) == (pieces == [])


def test_a_network_that_answers_no_numbers_is_an_error(manifest, folder, voxels) -> None:
    path = folder / "weights.safetensors"
    save_file({name: part * np.nan for name, part in load_file(path).items()}, path)
    with pytest.raises(InvalidPredictionError, match="not finite"):
        TorchRuntime(manifest, folder).predict(voxels, AFFINE)


def test_a_damaged_file_of_weights_says_so(manifest, folder) -> None:
    (folder / "weights.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(ValueError, match="not a file of weights"):
        TorchRuntime(manifest, folder)


def test_a_single_slice_is_a_refusal(manifest, folder, voxels) -> None:
    found = TorchRuntime(manifest, folder).predict(voxels[15:16], AFFINE)
    assert found.refusal is not None and "single slice" in found.refusal
    assert found.labels.shape == (1, 30, 29) and not found.labels.any()
