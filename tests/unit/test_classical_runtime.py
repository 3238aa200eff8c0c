"""The classical runtime: labels by value, and all that it can say besides."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secondread.domain.answer import AnsweredFinding, AnsweredNumber, AnsweredPlace
from secondread.errors import ManifestError
from secondread.inference.worker.runtimes.classical import ClassicalRuntime

FOLDER = Path(__file__).resolve().parents[1] / "models" / "rich_head"
AFFINE = np.diag([5.0, 2.0, 2.0, 1.0])


@pytest.fixture
def manifest() -> dict[str, Any]:
    return tomllib.loads((FOLDER / "model.toml").read_text(encoding="utf-8"))


@pytest.fixture
def head() -> Any:
    """Two pieces of brain, a thalamus within one of them, and a smaller bright spot."""
    voxels = np.zeros((12, 20, 20), np.int16)
    voxels[1:9, 2:12, 2:18] = 500
    voxels[10:12, 15:18, 15:18] = 650
    voxels[3:6, 4:7, 4:9] = 900
    voxels[7, 9, 14] = 900
    return voxels


def test_everything_that_is_declared_is_answered(manifest: dict[str, Any], head: Any) -> None:
    found = ClassicalRuntime(manifest, FOLDER, "cpu").predict(head, AFFINE)
    assert set(np.unique(found.labels)) == {0, 1, 2}
    assert found.answer.numbers == (
        AnsweredNumber("brain_pieces", 2.0),
        AnsweredNumber("thalamus_extent", 15.0),
    )
    assert found.answer.findings == (AnsweredFinding("thalamus_seen", "present"),)
    assert found.answer.places == (AnsweredPlace("thalamus_middle", ((4.0, 5.0, 6.0),)),)
    assert list(found.maps) == ["smooth"]
    assert found.maps["smooth"].dtype == np.float32
    assert 0 < found.maps["smooth"][4, 4, 3] < 900


def test_probabilities_fall_off_around_the_range(manifest: dict[str, Any], head: Any) -> None:
    head[0, 0, :4] = (360, 380, 400, 440)
    found = ClassicalRuntime(manifest, FOLDER, "cpu").predict(head, AFFINE)
    assert found.probabilities is not None
    assert (found.probabilities.shape, found.probabilities.dtype) == ((2, *head.shape), np.uint8)
    brain, thalamus = found.probabilities
    assert brain[0, 0, :4].tolist() == [25, 76, 128, 230]
    assert (brain[found.labels == 1] >= 127).all()
    assert (thalamus[found.labels == 2] == 255).all()
    assert not brain[found.labels == 2].any()
    # The spot that was not kept is neither.
    assert not found.probabilities[:, 7, 9, 14].any()


def test_without_softness_a_voxel_is_certain_or_not(manifest: dict[str, Any], head: Any) -> None:
    manifest["runtime"]["options"]["softness"] = 0.0
    found = ClassicalRuntime(manifest, FOLDER, "cpu").predict(head, AFFINE)
    assert found.probabilities is not None
    for number, shares in enumerate(found.probabilities, 1):
        assert np.array_equal(shares == 255, found.labels == number)
        assert set(np.unique(shares)) <= {0, 255}


def test_nothing_found_is_an_answer(manifest: dict[str, Any]) -> None:
    voxels = np.zeros((12, 20, 20), np.int16)
    voxels[3] = 200
    found = ClassicalRuntime(manifest, FOLDER, "cpu").predict(voxels, AFFINE)
    assert not found.labels.any()
    assert [number.value for number in found.answer.numbers] == [0.0, 0.0]
    assert [finding.value for finding in found.answer.findings] == ["absent"]
    assert found.answer.places == ()


def test_a_model_without_structures_finds_none(manifest: dict[str, Any], head: Any) -> None:
    del manifest["runtime"]["options"]["structures"], manifest["labels"]
    found = ClassicalRuntime(manifest, FOLDER, "cpu").predict(head, AFFINE)
    assert found.probabilities is None
    assert not found.labels.any()
    assert list(found.maps) == ["smooth"]


def test_a_structure_without_its_range(manifest: dict[str, Any]) -> None:
    del manifest["runtime"]["options"]["structures"][0]["low"]
    with pytest.raises(ManifestError, match="lacks the key 'low'"):
        ClassicalRuntime(manifest, FOLDER, "cpu")


@pytest.mark.parametrize("kind", ["numbers", "findings"])
def test_a_measure_that_does_not_exist(kind: str, manifest: dict[str, Any]) -> None:
    manifest["runtime"]["options"][kind][0]["measure"] = "beauty"
    with pytest.raises(ManifestError, match="'beauty'.*extent_mm, pieces"):
        ClassicalRuntime(manifest, FOLDER, "cpu")
