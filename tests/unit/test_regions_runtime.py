"""The regions runtime: two sides, one network, and no side ever taken for the other."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from secondread.errors import ManifestError, ModelError
from secondread.inference.worker.networks import build
from secondread.inference.worker.prediction import Prediction
from secondread.inference.worker.runtimes.regions import RegionsRuntime, normalise

NETWORK = {"in_channels": 1, "out_channels": 3, "widths": [8, 8]}
MANIFEST: dict[str, Any] = {
    "runtime": {
        "network": "unet3d",
        "weights": ["weights.safetensors"],
        "options": {
            "network": NETWORK,
            "decoding": {"classes": [[0, 0], [1, 3], [2, 4]], "keep_largest": True},
        },
    },
    "preprocessing": {
        "grid": [16, 24, 16],
        "spacing_mm": 1.0,
        "region": {
            "upstream": "finder",
            "left": ["left_spot"],
            "right": ["right_spot"],
            "trained_side": "left",
            "min_ml": 0.05,
            "refusal": {"missing": "No {side} spot, {value:.1f} mL."},
        },
    },
    "labels": [{}, {}, {}, {}],
}
SHAPE = (40, 64, 80)
# (slice, row, column) of a volume in RAS order x, y, z turned round: the affine says where.
RAS = np.array([[0.0, 0, 1, -40], [0, 1, 0, -32], [1, 0, 0, -20], [0, 0, 0, 1]])
AFFINE = np.diag([-1.0, -1, 1, 1]) @ RAS
BARS = {"left": 24, "right": 56}
"""Column, that is x, of the middle of a bar along y; the front half is brighter."""


class Painted(RegionsRuntime):
    """Networks that find what is bright, and the brighter, and remember what they saw."""

    def _infer(self, image: np.ndarray) -> np.ndarray:
        self.__dict__.setdefault("seen", []).append(image)
        middle = image > (image.min() + 0.35 * np.ptp(image))
        front = image > (image.min() + 0.75 * np.ptp(image))
        return np.stack((~middle, front, middle & ~front), axis=-1).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    save_file(build("unet3d", NETWORK).state_dict(), tmp_path / "weights.safetensors")
    return tmp_path


@pytest.fixture
def manifest() -> dict[str, Any]:
    return copy.deepcopy(MANIFEST)


def scene() -> tuple[np.ndarray, np.ndarray]:
    """Two bars with an inner rim, left and right, and the labels that a finder gives of them."""
    voxels, labels = np.zeros(SHAPE, np.int16), np.zeros(SHAPE, np.uint8)
    for value, (side, x) in enumerate(BARS.items(), 1):
        rim = x + 4 if side == "left" else x - 5
        voxels[17:23, 24:40, x - 3 : x + 3] = 500
        voxels[17:23, 32:40, x - 3 : x + 3] = 1000
        voxels[17:23, 24:28, rim] = 1000
        labels[17:23, 24:40, x - 3 : x + 3] = value
    return voxels, labels


def found(labels: np.ndarray) -> dict[str, Prediction]:
    values = {"left_spot": 1, "right_spot": 2}
    return {"finder": Prediction(labels, None, (), label_values=values)}


def centres(labels: np.ndarray, affine: np.ndarray) -> dict[int, np.ndarray]:
    to_ras = np.diag([-1.0, -1, 1, 1]) @ affine
    return {
        value: to_ras[:3, :3] @ np.argwhere(labels == value).mean(axis=0) + to_ras[:3, 3]
        for value in (1, 2, 3, 4)
    }


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, -1)])
def test_no_side_is_taken_for_the_other_however_the_volume_lies(
    manifest: dict[str, Any], folder: Path, axes: tuple[int, ...], flips: tuple[int, ...]
) -> None:
    voxels, labels = scene()
    affine = AFFINE.copy()
    at = tuple(slice(None, None, flip) for flip in flips)
    for axis, flip in enumerate(flips):
        if flip < 0:
            affine[:3, 3] += affine[:3, axis] * (SHAPE[axis] - 1)
            affine[:3, axis] *= -1
    voxels, labels = voxels[at].transpose(axes), labels[at].transpose(axes)
    affine = affine[:, [*axes, 3]]
    answer = Painted(manifest, folder).predict(voxels, affine, found(labels))
    assert answer.refusal is None
    middle = centres(answer.labels, affine)
    for anterior, posterior, x in ((1, 2, -16.5), (3, 4, 15.5)):
        assert middle[anterior][0] == pytest.approx(x, abs=1.0)
        assert middle[posterior][0] == pytest.approx(x, abs=1.0)
        assert middle[anterior][1] > middle[posterior][1] + 4


@pytest.mark.parametrize("trained", ["left", "right"])
def test_a_network_sees_both_sides_as_the_one_it_was_trained_on(
    manifest: dict[str, Any], folder: Path, trained: str
) -> None:
    manifest["preprocessing"]["region"]["trained_side"] = trained
    voxels, labels = scene()
    runtime = Painted(manifest, folder)
    runtime.predict(voxels, AFFINE, found(labels))
    left, right = runtime.__dict__["seen"]
    alike = np.corrcoef([left.ravel(), right.ravel(), right[::-1].ravel()])[0]
    assert alike[1] > 0.98 > alike[2]
    bright = np.argwhere(left > left.min() + 0.3).mean(axis=0)[0] - 7.5
    assert bright > 0 if trained == "left" else bright < 0


def test_real_networks_are_averaged_with_their_mirror_images(
    manifest: dict[str, Any], folder: Path
) -> None:
    manifest["runtime"]["options"]["mirror"] = True
    manifest["runtime"]["weights"] *= 2
    runtime = RegionsRuntime(manifest, folder)
    image = np.random.default_rng(1).normal(size=(16, 24, 16)).astype(np.float32)
    shares = runtime._infer(image)
    assert shares.shape == (16, 24, 16, 3)
    assert np.allclose(shares.sum(axis=-1), 1, atol=1e-5)
    assert np.allclose(shares[::-1], runtime._infer(image[::-1].copy()), atol=1e-5)


def test_a_second_look_is_round_what_the_first_one_found(
    manifest: dict[str, Any], folder: Path
) -> None:
    manifest["preprocessing"]["region"] |= {"offset_mm": [3, 4, 2], "recentre_above_mm": 1.0}
    voxels, labels = scene()
    once = Painted(manifest, folder)
    off = once.predict(voxels, AFFINE, found(labels))
    manifest["preprocessing"]["region"]["passes"] = 3
    runtime = Painted(manifest, folder)
    answer = runtime.predict(voxels, AFFINE, found(labels))
    assert len(runtime.__dict__["seen"]) > len(once.__dict__["seen"]) == 2
    assert (answer.labels > 0).sum() >= (off.labels > 0).sum()


def test_probabilities_come_where_they_are_promised(manifest: dict[str, Any], folder: Path) -> None:
    manifest["output"] = {"probabilities": True}
    voxels, labels = scene()
    answer = Painted(manifest, folder).predict(voxels, AFFINE, found(labels))
    assert answer.probabilities is not None
    assert answer.probabilities.shape == (4, *SHAPE)
    for value in (1, 2, 3, 4):
        assert (answer.probabilities[value - 1][answer.labels == value] >= 85).all()


def test_a_side_that_was_not_found_is_a_refusal(manifest: dict[str, Any], folder: Path) -> None:
    voxels, labels = scene()
    labels[labels == 2] = 0
    answer = Painted(manifest, folder).predict(voxels, AFFINE, found(labels))
    assert answer.refusal == "No right spot, 0.0 mL."
    assert not answer.labels.any()


def test_checks_compare_the_sides(manifest: dict[str, Any], folder: Path) -> None:
    manifest["envelope"] = {
        "checks": [
            {
                "name": "left_right",
                "measure": "asymmetry",
                "classes": [1, 2, 3, 4],
                "high": 0.4,
                "refusal": "They differ by {value:.0%}.",
            }
        ]
    }
    voxels, labels = scene()
    runtime = Painted(manifest, folder)
    assert runtime.predict(voxels, AFFINE, found(labels)).refusal is None
    voxels[:, 28:, BARS["right"] - 8 :] = 0
    answer = runtime.predict(voxels, AFFINE, found(labels))
    assert answer.refusal is not None
    assert answer.refusal.startswith("They differ by")


def test_the_finder_has_to_be_there_and_to_know_the_labels(
    manifest: dict[str, Any], folder: Path
) -> None:
    voxels, labels = scene()
    runtime = RegionsRuntime(manifest, folder)
    with pytest.raises(ModelError, match="'finder', which finds the regions, did not run"):
        runtime.predict(voxels, AFFINE, {})
    with pytest.raises(ModelError, match="has no label 'left_spot'"):
        runtime.predict(voxels, AFFINE, {"finder": Prediction(labels, None, ())})


@pytest.mark.parametrize("kind", ["maps", "numbers", "findings", "places"])
def test_what_it_does_not_give_cannot_be_declared(
    manifest: dict[str, Any], folder: Path, kind: str
) -> None:
    manifest["output"] = {kind: [{"id": "x"}]}
    with pytest.raises(ManifestError, match="gives no maps"):
        RegionsRuntime(manifest, folder)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda m: m["preprocessing"]["region"].update(passes=0), "once at least"),
        (
            lambda m: m["preprocessing"]["region"]["refusal"].update(missing="{volume} mL"),
            "something in braces that is not side or value",
        ),
        (
            lambda m: m["runtime"]["options"]["decoding"].update(classes=[[0], [1]]),
            r"are not \[left, right\] each",
        ),
        (
            lambda m: m.update(labels=[{"value": 1, "laterality": "right"}]),
            "give the left side the label 1, which .* lies right",
        ),
    ],
)
def test_what_would_stop_a_volume_is_found_when_it_is_loaded(
    manifest: dict[str, Any], folder: Path, change: Any, expected: str
) -> None:
    change(manifest)
    with pytest.raises(ManifestError, match=expected):
        RegionsRuntime(manifest, folder)


def test_brightness_is_taken_from_the_middle() -> None:
    rng = np.random.default_rng(2)
    image = rng.normal(100, 10, (20, 20, 20)).astype(np.float32)
    inner = normalise(image, (10, 10, 10))[5:15, 5:15, 5:15]
    assert float(inner.mean()) == pytest.approx(0, abs=1e-5)
    assert float(inner.std()) == pytest.approx(1, abs=1e-5)
    assert np.allclose(normalise(image), normalise(3 * image + 7), atol=1e-4)
