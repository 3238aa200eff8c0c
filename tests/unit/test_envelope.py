"""Checks of an image and of an answer that a manifest declares, on small made-up ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from secondread.inference.worker import envelope
from secondread.inference.worker.canonical import CanonicalGrid, scanned
from secondread.inference.worker.envelope import MEASURES, SIDES, Evidence, judge, sort_rules

SHAPE = (30, 30, 30)


def ball(middle: tuple[float, float, float], radius: float) -> NDArray[np.bool_]:
    at = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), axis=-1)
    return np.asarray(((at - middle) ** 2).sum(axis=-1) < radius**2)


def measure(name: str, evidence: Evidence, **said: Any) -> float:
    return MEASURES[name](evidence, {"measure": name} | said)


def classes_of(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return mask.astype(np.uint8)


@pytest.mark.parametrize("side", SIDES)
def test_a_cut_is_seen_on_its_own_side_alone(side: str) -> None:
    axis, way = SIDES[side]
    inside = np.ones(SHAPE, np.bool_)
    planes = np.moveaxis(inside, axis, 0)
    planes[slice(15, None) if way > 0 else slice(0, 15)] = False
    evidence = Evidence(None, classes=classes_of(ball((15, 15, 15), 10)), scanned=inside)
    found = {one: measure("cut_cm2", evidence, side=one, classes=[1]) for one in SIDES}
    # The section of a ball of 10 voxels of 1 mm.
    assert found.pop(side) == pytest.approx(np.pi * 10**2 / 100, rel=0.1)
    assert max(found.values()) < 0.2 * np.pi


def test_a_cut_is_seen_where_the_slices_lie_askew() -> None:
    x, _, z = np.ogrid[tuple(slice(0, n) for n in SHAPE)]
    inside = np.broadcast_to(z - 15 < 0.4 * (x - 15), SHAPE)
    evidence = Evidence(None, classes=classes_of(ball((15, 15, 15), 10)), scanned=inside)
    assert measure("cut_cm2", evidence, side="top", classes=[1]) > 2.5


def test_what_ends_within_the_scan_is_not_cut() -> None:
    evidence = Evidence(
        None, classes=classes_of(ball((15, 15, 15), 8)), scanned=np.ones(SHAPE, np.bool_)
    )
    assert all(measure("cut_cm2", evidence, side=side, classes=[1]) == 0 for side in SIDES)


def test_what_a_network_guesses_beyond_the_scan_does_not_count() -> None:
    inside = np.zeros(SHAPE, np.bool_)
    inside[:, :, :5] = True
    evidence = Evidence(None, classes=classes_of(ball((15, 15, 15), 8)), scanned=inside)
    assert measure("cut_cm2", evidence, side="top", classes=[1]) == 0
    assert measure("reach_mm", evidence, side="top", classes=[1], **{"from": [1]}) == 0


def test_how_far_one_structure_reaches_beyond_another() -> None:
    classes = classes_of(ball((15, 15, 15), 3))
    classes[5:28, 10:21, 14] += 2
    evidence = Evidence(None, classes=classes, spacing_mm=2.0)
    said: dict[str, Any] = {"classes": [2, 3], "from": [1, 3]}
    assert measure("reach_mm", evidence, side="right", **said) == pytest.approx(24, abs=2)
    assert measure("reach_mm", evidence, side="left", **said) == pytest.approx(20, abs=2)
    assert measure("reach_mm", evidence, side="top", **said) == pytest.approx(-2, abs=2)
    assert measure("reach_mm", evidence, side="top", classes=[7], **{"from": [1]}) == 0


def test_labels_that_follow_the_image_explain_it() -> None:
    rng = np.random.default_rng(3)
    classes = classes_of(ball((15, 15, 15), 12)) + classes_of(ball((15, 15, 15), 8))
    image = (0.3 * classes + rng.normal(0, 0.05, SHAPE)).astype(np.float32)
    said = {"classes": [1, 2]}
    assert measure("explained", Evidence(None, image=image, classes=classes), **said) > 0.8
    shuffled = rng.permutation(image.ravel()).reshape(SHAPE)
    assert measure("explained", Evidence(None, image=shuffled, classes=classes), **said) < 0.01
    flat = np.ones(SHAPE, np.float32)
    assert measure("explained", Evidence(None, image=flat, classes=classes), **said) == 0
    assert measure("explained", Evidence(None, image=image, classes=classes), classes=[9]) == 0


def test_values_that_a_modality_does_not_have() -> None:
    voxels = np.zeros((10, 10, 10), np.int16)
    voxels[:2] = -1000
    assert measure("share_below", Evidence(None, voxels), value=-500) == pytest.approx(0.2)
    assert measure("share_below", Evidence(None, voxels), value=-1000) == 0
    assert measure("share_below", Evidence(None), value=0) == 0


def test_blank_planes_are_those_between_others() -> None:
    voxels = np.zeros((30, 20, 20), np.int16)
    voxels[4:26, 4:16, 4:16] = np.random.default_rng(1).integers(1, 9, (22, 12, 12))
    assert measure("blank_planes", Evidence(None, voxels)) == 0
    voxels[10], voxels[13] = 0, 7
    assert measure("blank_planes", Evidence(None, voxels)) == 2
    assert measure("blank_planes", Evidence(None, voxels.transpose(2, 0, 1))) == 2
    voxels[0, 0, 0] = 1  # a stray voxel at the end
    assert measure("blank_planes", Evidence(None, voxels)) == 2
    assert measure("blank_planes", Evidence(None, np.zeros((4, 4, 4)))) == 0


def test_what_was_scanned_is_the_box_of_the_volume() -> None:
    affine_lps = np.array([[0, -2.0, 0, 20], [0, 0, -2, 20], [5, 0, 0, -20], [0, 0, 0, 1]])
    inside = scanned((9, 21, 21), affine_lps, CanonicalGrid(SHAPE, 2.0, (0.0, 0.0, 0.0)))
    ends = [(int(at.min()), int(at.max())) for at in np.nonzero(inside)]
    # x and y from -20 to 20 mm, z from -20 to 20 mm, of a grid from -29 to 29 mm.
    assert ends == [(5, 24)] * 3


def test_the_first_check_that_fails_gives_the_sentence() -> None:
    rules = [
        {"name": "a", "measure": "volume_ml", "classes": [1], "low": 0, "refusal": "no"},
        {"name": "b", "measure": "volume_ml", "classes": [1], "high": 1, "refusal": "{value:.1f}"},
        {"name": "c", "measure": "volume_ml", "classes": [1], "high": 0, "refusal": "later"},
    ]
    checks, refusal = judge(Evidence(None, classes=classes_of(ball((15, 15, 15), 8))), rules)
    assert [check.passed for check in checks] == [True, False, False]
    assert refusal == "2.1"


def test_a_measure_or_a_side_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="Unknown measure 'colour'; known measures: asymmetry"):
        sort_rules([{"measure": "colour"}])
    with pytest.raises(ValueError, match="Unknown side 'above'; known sides: right, left"):
        sort_rules([{"measure": "cut_cm2", "side": "above"}])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": None}, "lacks the key 'classes'"),
        ({"refusal": None}, "lacks the key 'refusal'"),
        ({"name": None}, "lacks the key 'name'"),
        ({"low": "much"}, "a low that is no number"),
        ({"classes": "1"}, "no list of whole numbers"),
        ({"refusal": "{volume:.0f} mL"}, "in braces"),
        ({"refusal": "{value:.0f"}, "in braces"),
        ({"refusal": "{value.secret}"}, "in braces"),
        ({"measure": "layout_mm", "layout": [[1, 2, 3]]}, r"\[class, x, y, z\]"),
        ({"measure": "reach_mm", "side": "top"}, "lacks the key 'from'"),
        ({"measure": "share_below"}, "lacks the key 'value'"),
    ],
)
def test_a_check_that_could_not_be_made_is_found_before_any_image(
    change: Mapping[str, Any], words: str
) -> None:
    rule = {"name": "brain", "measure": "volume_ml", "classes": [1], "refusal": "{value:.0f} mL"}
    sort_rules([rule])
    with pytest.raises(ValueError, match=words):
        sort_rules([{key: one for key, one in {**rule, **change}.items() if one is not None}])


def test_every_measure_says_what_it_cannot_do_without() -> None:
    assert set(envelope._ARGUMENTS) == set(MEASURES)


def test_how_bright_one_structure_is_beside_another() -> None:
    classes = np.zeros((10, 10, 10), np.uint8)
    classes[:5], classes[5:8] = 1, 2
    image = np.array([0.0, 0.8, 0.5], np.float32)[classes]
    evidence = Evidence(None, image=image, classes=classes)
    assert measure("brightness", evidence, classes=[1], of=[2]) == pytest.approx(1.6)
    assert measure("brightness", evidence, classes=[1], of=[3]) == 0
    assert measure("brightness", evidence, classes=[1], of=[0]) == 0
