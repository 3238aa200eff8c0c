"""The finer network: where it looks, and what its answer changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from scipy import ndimage

from secondread.errors import InvalidPredictionError, ManifestError
from secondread.inference.worker.canonical import CanonicalGrid
from secondread.inference.worker.networks import build
from secondread.inference.worker.runtimes.refining import Box, Refiner, refine
from secondread.inference.worker.runtimes.torch import TorchRuntime
from tests.unit.test_torch_runtime import AFFINE, MANIFEST, Painted

NETWORK = {"in_channels": 1, "out_channels": 3, "widths": [8, 8]}
OPTIONS = {
    "weights": "refine.safetensors",
    "grid": [8, 12, 10],
    "spacing_mm": 1.0,
    "anchors": [2],
    "offset_mm": [-2.0, 1.0, 3.0],
    "classes": [1, 2],
    "network": NETWORK,
}
COARSE = CanonicalGrid((24, 16, 16), 2.0, (0.5, -3.0, 8.0))
RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(5)
    save_file(build("unet3d", NETWORK).state_dict(), tmp_path / "refine.safetensors")
    return tmp_path


@pytest.fixture
def refiner(folder: Path) -> Refiner:
    return Refiner(OPTIONS, "unet3d", folder, torch.device("cpu"), torch.float32)


def halves() -> tuple[np.ndarray, np.ndarray]:
    """Classes and sides that are the same on the left and on the right."""
    classes, right = np.zeros(COARSE.shape, np.uint8), np.zeros(COARSE.shape, np.bool_)
    classes[2:10, 3:11, 4:10] = 2
    right[12:] = True
    return classes | classes[::-1], right


def box(share_of_two: float, *, right: bool = False, fade_mm: float = 0.0) -> Box:
    """A box about the origin in which class 2 has a share and class 1 none."""
    grid = CanonicalGrid((5, 5, 5), 1.0, (0.0, 0.0, 0.0))
    table = np.tile(np.array([[0.0, share_of_two]], np.float32), (125, 1))
    return Box(grid, table, np.array([1, 2]), right, fade_mm)


def test_the_boxes_lie_about_the_anchors_of_their_half(refiner) -> None:
    classes, right = halves()
    voxels = np.zeros((40, 40, 60), np.float32)
    left_box, right_box = refiner.look(voxels, RAS, classes, right, COARSE, 1.5)
    assert (left_box.right, right_box.right) == (False, True)
    found = np.argwhere((classes == 2) & ~right).mean(axis=0)
    middle = COARSE.affine_ras[:3, :3] @ found + COARSE.affine_ras[:3, 3]
    assert np.allclose(left_box.grid.centre_ras, middle + np.array([-2, 1, 3]))
    assert right_box.grid.centre_ras[0] - 0.5 == pytest.approx(0.5 - left_box.grid.centre_ras[0])
    assert right_box.grid.centre_ras[1:] == pytest.approx(left_box.grid.centre_ras[1:])


def test_the_right_half_is_seen_as_a_left_one(refiner) -> None:
    classes, right = halves()
    image = ndimage.gaussian_filter(np.random.default_rng(2).random((40, 40, 30)), 2)
    voxels = np.concatenate((image, image[:, :, ::-1]), axis=2)
    affine = RAS @ np.array([[0, 0, 1, -29.0], [0, 1, 0, -20], [1, 0, 0, -10], [0, 0, 0, 1]])
    left_box, right_box = refiner.look(voxels, affine, classes, right, COARSE, 1.5)
    left = left_box.table.reshape(*left_box.grid.shape, -1)
    mirrored = right_box.table.reshape(*right_box.grid.shape, -1)[::-1]
    assert np.abs(left - mirrored).max() < 0.02 * np.ptp(left)


def test_a_half_without_anchors_is_left_as_it_is(refiner) -> None:
    classes, right = halves()
    classes[right] = 0
    boxes = refiner.look(np.zeros((40, 40, 60)), RAS, classes, right, COARSE, 1.5)
    assert [one.right for one in boxes] == [False]


def test_what_is_found_in_a_half_counts_there_and_nowhere_else() -> None:
    points = np.array([[0.0, 9.0], [0, 0], [0, 0]])
    for right in (False, True):
        rows = np.array([[0.1, 0.8, 0.1, float(right)]] * 2, np.float32)
        near, far = refine(rows, points, [box(0.9, right=right)])
        assert near == pytest.approx([0.1, 0.0, 0.9, float(right)], abs=1e-6)
        assert far == pytest.approx([0.1, 0.8, 0.1, float(right)])


def test_the_other_half_keeps_what_it_has_within_the_box() -> None:
    rows = np.array([[0.05, 0.9, 0.05, 1.0]], np.float32)
    out = refine(rows, np.zeros((3, 1)), [box(0.0)])
    assert out[0] == pytest.approx([0.05, 0.9, 0.05, 1.0], abs=1e-5)
    rows = np.array([[0.05, 0.9, 0.05, 0.9]], np.float32)
    out = refine(rows, np.zeros((3, 1)), [box(0.8)])
    assert out[0].argmax() == 2
    assert out[0, -1] == pytest.approx(0.045 / 0.845 * 0.2 / (1 - 0.095) * 0.9, abs=0.01)


def test_a_box_fades_in_at_its_border() -> None:
    points = np.array([[-2.0, -1.0, 0.0], [0, 0, 0], [0, 0, 0]])
    rows = np.array([[0.2, 0.8, 0.0, 0.0]] * 3, np.float32)
    out = refine(rows, points, [box(1.0, fade_mm=2.0)])
    assert out[:, 2] == pytest.approx([0.0, 0.5, 1.0], abs=1e-6)
    assert out[:, 1] == pytest.approx([0.8, 0.4, 0.0], abs=1e-6)


@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda some: sum(some) > 0.01),
    st.floats(0, 1),
    st.floats(0, 1),
    st.booleans(),
)
def test_probabilities_still_add_up(shares, side, found, right) -> None:
    classes = np.array(shares, np.float32) / np.float32(sum(shares))
    rows = np.array([[*classes, side]], np.float32)
    out = refine(rows, np.zeros((3, 1)), [box(found, right=right)])[0]
    assert out.min() >= -1e-6
    assert out[:-1].sum() == pytest.approx(1, abs=1e-4)
    assert out[-1] <= 1 + 1e-6


def test_a_network_that_answers_nonsense_is_an_error(refiner) -> None:
    with torch.no_grad():
        refiner._network.head.bias.fill_(float("nan"))
    classes, right = halves()
    with pytest.raises(InvalidPredictionError, match="not finite"):
        refiner.look(np.ones((40, 40, 60)), RAS, classes, right, COARSE, 1.5)


def test_the_runtime_takes_the_finer_answer(folder) -> None:
    save_file(build("unet3d", NETWORK).state_dict(), folder / "weights.safetensors")
    options = MANIFEST["runtime"]["options"]
    finer = OPTIONS | {"grid": [40, 40, 40], "spacing_mm": 2.0, "anchors": [1], "classes": [1, 0]}
    manifest = MANIFEST | {
        "runtime": MANIFEST["runtime"] | {"options": options | {"refine": finer}}
    }
    voxels = np.zeros((31, 30, 29), np.int16)
    voxels[6:24, 6:24, 6:24] = 500
    plain = Painted(MANIFEST, folder).predict(voxels, AFFINE).labels
    runtime = Painted(manifest, folder)
    with torch.no_grad():
        runtime._refiner._network.head.weight.zero_()
        runtime._refiner._network.head.bias.copy_(torch.tensor([9.0, -9.0, -9.0]))
    assert not runtime.predict(voxels, AFFINE).labels.any()
    with torch.no_grad():
        runtime._refiner._network.head.bias.copy_(torch.tensor([-9.0, 9.0, -9.0]))
    assert plain.any()
    assert runtime.predict(voxels, AFFINE).labels[plain > 0].all()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"grid": None}, "lacks the key 'grid'"),
        ({"fadig_mm": 3.0}, "'fadig_mm', not known"),
        ({"classes": [1]}, "names 1 classes; its network has 3 channels"),
        ({"classes": [1, 2]}, "names a class that does not exist"),
        ({"grid": [8, 12, 9]}, r"is \[8, 12, 9\]; its network takes multiples of 2"),
    ],
)
def test_a_manifest_that_asks_for_what_cannot_be_is_refused(folder, changed, said) -> None:
    save_file(build("unet3d", NETWORK).state_dict(), folder / "weights.safetensors")
    finer = OPTIONS | {"anchors": [1], "classes": [1, 0]} | changed
    finer = {key: value for key, value in finer.items() if value is not None}
    options = MANIFEST["runtime"]["options"] | {"refine": finer}
    with pytest.raises(ManifestError, match=said):
        TorchRuntime(MANIFEST | {"runtime": MANIFEST["runtime"] | {"options": options}}, folder)


def test_halves_have_to_be_told_apart(folder) -> None:
    save_file(build("unet3d", NETWORK).state_dict(), folder / "weights.safetensors")
    decoding = {"classes": [[0], [1], [2]]}
    options = MANIFEST["runtime"]["options"] | {"refine": OPTIONS, "decoding": decoding}
    with pytest.raises(ManifestError, match="side_channel"):
        TorchRuntime(MANIFEST | {"runtime": MANIFEST["runtime"] | {"options": options}}, folder)
