"""The first-party chest model: left stays left, bowel gas is no lung, and it says no."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from secondread.bundles.manifest import read_manifest, verify
from secondread.errors import ManifestError
from secondread.inference.worker.algorithms import build
from secondread.inference.worker.algorithms.chest_ct import ChestCt
from secondread.inference.worker.algorithms.patient_grid import (
    AIR_HU,
    _averaged,
    labels_back,
    on_patient_grid,
)
from secondread.inference.worker.algorithms.ridges import tubeness
from secondread.inference.worker.canonical import affine_to_ras, shrink
from secondread.inference.worker.model import load_model
from tests.chests import STEP_MM, Volume, thorax

PACKAGE = Path(__file__).resolve().parents[2] / "models" / "chest_ct"
THIN = {"SliceThickness": 1.0, "ConvolutionKernel": "B30F"}


def flipped(volume: Volume, axes: tuple[int, ...], order: tuple[int, ...]) -> Volume:
    """The same patient with other array axes."""
    voxels, affine = volume
    for axis in axes:
        turn = np.eye(4)
        turn[axis, axis], turn[axis, 3] = -1, voxels.shape[axis] - 1
        voxels, affine = np.flip(voxels, axis), affine @ turn
    return voxels.transpose(order), affine[:, [*order, 3]]


@pytest.fixture(scope="module")
def chest() -> Volume:
    return thorax()


@pytest.fixture(scope="module")
def model() -> ChestCt:
    return ChestCt({"spacing_mm": 4.0})


def numbers(found: Any) -> dict[str, float]:
    return {one.id: one.value for one in found.answer.numbers}


def findings(found: Any) -> dict[str, str]:
    return {one.id: one.value for one in found.answer.findings}


def test_a_chest_is_labelled_and_measured(model: ChestCt, chest: Volume) -> None:
    voxels, affine = chest
    found = model.predict(voxels, affine, THIN)
    assert found.refusal is None
    assert all(check.passed for check in found.checks)
    assert set(np.unique(found.labels)) >= {0, 1, 2, 3, 6}
    # Ellipsoids: 4/3 pi times the half axes.
    given = numbers(found)
    assert given["left_lung_volume"] == pytest.approx(1797, rel=0.04)
    assert given["right_lung_volume"] == pytest.approx(2285, rel=0.04)
    assert given["lung_volume"] == given["left_lung_volume"] + given["right_lung_volume"]
    assert given["lung_density"] == pytest.approx(-835, abs=25)
    assert given["low_attenuation_950"] < 2
    assert given["vessel_volume"] > 5
    assert findings(found) == {"lungs_in_view": "complete", "emphysema_index": "given"}


def test_gas_of_the_bowel_is_no_lung(model: ChestCt, chest: Volume) -> None:
    voxels, affine = chest
    labels = model.predict(voxels, affine).labels
    gas = voxels[:25] < -900
    assert set(np.unique(labels[5:25, 16:32, 60:73])) == {6}
    assert gas.any()


@pytest.mark.parametrize("order", [(0, 1, 2), pytest.param((2, 0, 1), marks=pytest.mark.slow)])
@pytest.mark.parametrize("turns", list(product((False, True), repeat=3)))
def test_left_stays_left(
    model: ChestCt, chest: Volume, turns: tuple[bool, ...], order: tuple[int, ...]
) -> None:
    axes = tuple(axis for axis, turned in enumerate(turns) if turned)
    voxels, affine = flipped(chest, axes, order)
    labels = model.predict(voxels, affine).labels
    for label, side in ((1, 1), (2, -1)):
        at = np.argwhere(labels == label) @ affine[:3, :3].T + affine[:3, 3]
        assert len(at) * STEP_MM**3 / 1000 > 1500
        assert (side * at[:, 0] > -STEP_MM).mean() > 0.99


def turned(volume: Volume, degrees: float) -> Volume:
    """The same voxels of a patient who lies askew."""
    voxels, affine = volume
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("zyx", (degrees, degrees / 4, 0), degrees=True).as_matrix()
    return voxels, turn @ affine


@pytest.mark.parametrize("degrees", [0.0001, 6.0])
def test_a_patient_who_lies_askew_has_the_same_lungs(
    model: ChestCt, chest: Volume, degrees: float
) -> None:
    straight = numbers(model.predict(*chest))
    askew = model.predict(*turned(chest, degrees))
    assert askew.refusal is None
    for name in ("left_lung_volume", "right_lung_volume", "lung_density"):
        assert numbers(askew)[name] == pytest.approx(straight[name], rel=0.02)


@pytest.mark.parametrize("kind", [np.int32, pytest.param(np.float64, marks=pytest.mark.slow)])
def test_the_type_of_the_numbers_makes_no_difference(
    model: ChestCt, chest: Volume, kind: type
) -> None:
    voxels, affine = chest
    assert np.array_equal(
        model.predict(voxels.astype(kind), affine).labels, model.predict(voxels, affine).labels
    )


def test_a_volume_is_averaged_part_by_part_as_if_it_were_whole(chest: Volume) -> None:
    voxels, affine = chest
    for order in ((0, 1, 2), (2, 0, 1)):
        array, placed = flipped((voxels[:, :, :97], affine), (), order)
        data, averaged = _averaged(array, affine_to_ras(placed), 8.0)
        above = (np.clip(array, AIR_HU, 3071.0) - AIR_HU).astype(np.float32)
        whole, wanted = shrink(above, affine_to_ras(placed), 8.0)
        assert np.array_equal(data, whole)
        assert np.array_equal(averaged, wanted)


def test_lungs_that_touch_are_parted(model: ChestCt) -> None:
    voxels, affine = thorax(gap_mm=-3.0, gas=False)
    found = model.predict(voxels, affine)
    given = numbers(found)
    assert given["left_lung_volume"] == pytest.approx(1797, rel=0.08)
    assert given["right_lung_volume"] == pytest.approx(2285, rel=0.08)


def test_lungs_that_are_cut_are_labelled_but_not_measured(model: ChestCt, chest: Volume) -> None:
    voxels, affine = chest
    for part, value in (
        (np.s_[:60], "cut_above"),
        (np.s_[60:], "cut_below"),
        (np.s_[45:70], "cut_above_and_below"),
    ):
        found = model.predict(voxels[part], affine, THIN)
        assert found.refusal is None
        assert findings(found) == {"lungs_in_view": value, "emphysema_index": "not_given_partial"}
        assert not found.answer.numbers
        assert {1, 2} <= set(np.unique(found.labels))


@pytest.mark.parametrize(
    ("told", "value"),
    [
        ({}, "not_given_unknown"),
        ({"SliceThickness": 5.0, "ConvolutionKernel": "B30F"}, "not_given_thick_slices"),
        ({"SliceThickness": 1.0, "ConvolutionKernel": "B70F"}, "not_given_sharp_kernel"),
        ({"SliceThickness": 1.0, "ConvolutionKernel": "LUNG"}, "not_given_sharp_kernel"),
        ({"SliceThickness": 1.0, "ConvolutionKernel": "FC52"}, "not_given_sharp_kernel"),
        ({"SliceThickness": 1.25, "ConvolutionKernel": "STANDARD"}, "given"),
    ],
)
def test_the_emphysema_index_needs_thin_slices_and_a_smooth_kernel(
    model: ChestCt, chest: Volume, told: dict[str, Any], value: str
) -> None:
    found = model.predict(*chest, told)
    assert findings(found)["emphysema_index"] == value
    assert ("low_attenuation_950" in numbers(found)) == (value == "given")


def _constant(_: Volume) -> NDArray[np.int16]:
    return np.full((40, 60, 60), 40, np.int16)


def _noise(_: Volume) -> NDArray[np.int16]:
    return np.random.default_rng(1).integers(-1000, 1000, (40, 60, 60)).astype(np.int16)


def _abdomen(chest: Volume) -> NDArray[np.int16]:
    return chest[0][:30]


def _not_hounsfield(chest: Volume) -> NDArray[np.int16]:
    return (chest[0] + 1024).astype(np.int16)


def _water(_: Volume) -> NDArray[np.int16]:
    z, y, x = np.ogrid[-25:25, -40:40, -40:40]
    return np.where(x**2 + y**2 + 0 * z < 30**2, 0, -1000).astype(np.int16)


def _cut_at_the_sides(chest: Volume) -> NDArray[np.int16]:
    return chest[0][:, 14:54, 20:78]


@pytest.mark.parametrize(
    "make", [_constant, _noise, _abdomen, _not_hounsfield, _water, _cut_at_the_sides]
)
def test_what_is_no_chest_is_refused(model: ChestCt, chest: Volume, make: Any) -> None:
    found = model.predict(make(chest), chest[1], THIN)
    assert found.refusal is not None
    assert found.refusal.startswith("The image does not look like a CT of a chest: ")
    assert found.refusal.endswith(".")
    assert not found.labels.any()
    assert not found.answer.numbers
    assert not all(check.passed for check in found.checks)


def test_the_package_is_sound_and_answers_what_it_declares(model: ChestCt, chest: Volume) -> None:
    manifest = read_manifest(PACKAGE)
    verify(manifest)
    loaded = load_model(PACKAGE, manifest.digest, "cpu")
    assert loaded.runtime.__class__ is ChestCt
    found = model.predict(*chest, THIN)
    declared = manifest.declared
    assert {one.id for one in found.answer.numbers} == set(declared.numbers)
    for one in found.answer.findings:
        assert one.value in declared.findings[one.id]
    assert set(np.unique(found.labels)) <= {0, *(label.value for label in manifest.labels)}


def test_an_algorithm_or_option_that_there_is_not() -> None:
    raw = tomllib.loads((PACKAGE / "model.toml").read_text(encoding="utf-8"))
    raw["runtime"]["options"]["algorithm"] = "liver_ct"
    with pytest.raises(ManifestError, match=r"no algorithm 'liver_ct'; known: chest_ct\."):
        build(raw)
    raw["runtime"]["options"] = {"algorithm": "chest_ct", "colour": "red"}
    with pytest.raises(ManifestError, match="no option 'colour'"):
        build(raw)


def test_a_volume_comes_back_from_the_grid_where_it_was(chest: Volume) -> None:
    voxels, affine = chest
    image = on_patient_grid(voxels, affine, STEP_MM)
    marked = np.zeros(image.hu.shape, np.uint8)
    marked[:, : image.hu.shape[1] // 2] = 1
    back = labels_back(marked, image.grid, voxels, affine)
    rows = np.flatnonzero(back.any(axis=(0, 2)))
    # Posterior is the lower half of the grid, and the higher rows of an axial image.
    assert rows.tolist() == list(range(voxels.shape[1] // 2, voxels.shape[1]))


def test_a_ridge_is_a_tube_and_not_a_plane() -> None:
    image = np.zeros((30, 30, 30), np.float32)
    image[14:17, 14:17, :] = 800
    image[4:6] = 800
    found = tubeness(image, np.ones(image.shape, np.bool_), (1.0, 2.0))
    assert found[15, 15, 15] > 100
    assert found[4:6, 5:11, 5:25].max() < 0.2 * found[15, 15, 15]


@pytest.mark.slow
def test_lungs_of_an_abdomen_with_the_base_of_the_chest(
    shared_data: Callable[[str], Path],
) -> None:
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed (extra: demo)")
    folder = shared_data("ct_totalsegmentator_ref")
    image = nibabel.load(folder / "example_ct.nii.gz")
    silver = nibabel.load(folder / "example_seg_fast_force_split.nii.gz").get_fdata()
    voxels = np.asarray(image.dataobj).astype(np.int16)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    loaded = load_model(PACKAGE, read_manifest(PACKAGE).digest, "cpu")
    found = loaded.predict(voxels, affine, {"attributes": THIN})
    assert found.refusal is None
    assert findings(found)["lungs_in_view"] == "cut_above"
    # TotalSegmentator's lobes, left 10 and 11, right 12 to 14; stomach and bowel 6 and 18 to 20.
    for ours, theirs in (((1, 4), (10, 11)), ((2, 5), (12, 13, 14))):
        a, b = np.isin(found.labels, ours), np.isin(silver, theirs)
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) >= 0.95
    lung = np.isin(found.labels, (1, 2, 4, 5))
    assert not (lung & np.isin(silver, (6, 18, 19, 20))).any()
    below = int(np.flatnonzero(np.isin(silver, (10, 11, 14)).any(axis=(0, 1)))[0])
    refused = loaded.predict(voxels[:, :, :below], affine, {}).refusal
    assert refused is not None
    assert "gas of the bowel is no lung" in refused
