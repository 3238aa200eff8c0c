"""Figures against values worked out by hand and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as sk

from secondread.learning.metrics import classification, regression, segmentation


def box(*edges: tuple[int, int], shape: tuple[int, ...] = (24, 24, 24)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*edge) for edge in edges)] = True
    return mask


def test_a_box_against_itself_is_perfect() -> None:
    mask = box((4, 12), (4, 12), (4, 12))
    found = segmentation.measure(mask, mask, (1, 1, 1))
    assert (found.dice, found.hd95_mm, found.surface_mm) == (1, 0, 0)
    assert found.truth_ml == pytest.approx(0.512)
    assert found.error_percent == 0


def test_dice_of_two_boxes_by_hand() -> None:
    found = segmentation.measure(
        box((4, 12), (4, 12), (4, 12)), box((8, 16), (4, 12), (4, 12)), (1, 1, 1)
    )
    assert found.dice == pytest.approx(0.5)


@pytest.mark.parametrize(("spacing", "expected_mm"), [((1, 1, 1), 3), ((2, 1, 1), 6)])
def test_planes_three_voxels_apart_lie_that_many_mm_apart(
    spacing: tuple[float, ...], expected_mm: float
) -> None:
    first, second = box((5, 6), (0, 24), (0, 24)), box((8, 9), (0, 24), (0, 24))
    found = segmentation.measure(first, second, spacing)
    assert found.hd95_mm == expected_mm
    assert found.surface_mm == expected_mm
    assert found.dice == 0


def test_spacing_counts_along_its_own_axis() -> None:
    first, second = box((4, 8), (4, 8), (4, 8)), box((4, 8), (4, 8), (4, 9))
    # One layer of 16 voxels more along z, of which each lies one step above the old top.
    thick = segmentation.measure(first, second, (1, 1, 5))
    thin = segmentation.measure(first, second, (1, 1, 1))
    assert thick.hd95_mm == 5
    assert thin.hd95_mm == 1
    assert thick.found_ml == pytest.approx(4 * 4 * 5 * 5 / 1000)
    assert thick.error_percent == pytest.approx(25)


def test_hd95_passes_over_a_speck_that_the_maximum_would_not() -> None:
    first = box((4, 14), (4, 14), (4, 14))
    second = first.copy()
    second[22, 22, 22] = True
    found = segmentation.measure(first, second, (1, 1, 1))
    assert found.hd95_mm == 0
    assert found.surface_mm is not None
    # The corner (13, 13, 13) is 9 steps off along each axis; 488 surface voxels have each box.
    assert found.surface_mm == pytest.approx(math.sqrt(3 * 81) / (488 + 489))


def test_hd95_is_the_greater_of_both_ways() -> None:
    small = box((4, 6), (4, 6), (4, 6))
    large = box((4, 6), (4, 6), (4, 20))
    one, other = (
        segmentation.measure(small, large, (1, 1, 1)),
        segmentation.measure(large, small, (1, 1, 1)),
    )
    # 56 voxels at 0 (8 of them) and 1 to 14 mm, four of each: the 95th percentile is 13 mm.
    directed = [0.0] * 8 + [float(step) for step in range(1, 15) for _ in range(4)]
    assert one.hd95_mm == other.hd95_mm == np.percentile(directed, 95)


def test_distances_agree_with_a_brute_force_over_all_pairs() -> None:
    generator = np.random.default_rng(0)
    first = generator.random((9, 8, 7)) > 0.7
    second = generator.random((9, 8, 7)) > 0.7
    spacing = np.array([0.7, 1.3, 2.1])
    to_second, to_first = segmentation.surface_distances(first, second, tuple(spacing))

    def surface(mask: np.ndarray) -> np.ndarray:
        padded = np.pad(mask, 1)
        inner = np.ones(mask.shape, bool)
        for axis in range(3):
            for step in (-1, 1):
                inner &= np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1]
        return np.argwhere(mask & ~inner) * spacing

    one, other = surface(first), surface(second)
    pairs = np.linalg.norm(one[:, None] - other[None], axis=-1)
    assert np.sort(to_second) == pytest.approx(np.sort(pairs.min(axis=1)))
    assert np.sort(to_first) == pytest.approx(np.sort(pairs.min(axis=0)))


def test_nothing_found_has_no_distance_and_nothing_at_all_is_agreement() -> None:
    full, empty = box((4, 8), (4, 8), (4, 8)), np.zeros((24, 24, 24), bool)
    missed = segmentation.measure(full, empty, (1, 1, 1))
    assert (missed.dice, missed.hd95_mm, missed.error_percent) == (0, None, -100)
    nothing = segmentation.measure(empty, empty, (1, 1, 1))
    assert (nothing.dice, nothing.surface_mm, nothing.error_percent) == (1, None, None)


def test_masks_of_two_grids_are_refused() -> None:
    with pytest.raises(ValueError, match="one grid"):
        segmentation.measure(np.ones((2, 2)), np.ones((2, 3)), (1, 1))
    with pytest.raises(ValueError, match="greater than zero"):
        segmentation.measure(np.ones((2, 2)), np.ones((2, 2)), (1, 0))


def test_limits_of_agreement_by_hand() -> None:
    limits = segmentation.bland_altman([1, 2, 3], [2, 2, 5])
    assert limits.bias_ml == pytest.approx(1)  # differences 1, 0, 2: sd 1
    assert limits.low_ml == pytest.approx(1 - 1.96)
    assert limits.high_ml == pytest.approx(1 + 1.96)
    assert segmentation.bland_altman([1], [2]).low_ml is None


TRUTH = np.array([1.0, 1, 1, 0, 0, 0, 0, 1])
PROBABILITY = np.array([0.9, 0.8, 0.3, 0.6, 0.2, 0.1, 0.3, 0.5])


def test_figures_of_eight_cases_by_hand() -> None:
    found = classification.figures(TRUTH, PROBABILITY, 0.5)
    assert found["sensitivity"] == 3 / 4
    assert found["specificity"] == 3 / 4
    assert found["ppv"] == 3 / 4
    assert found["npv"] == 3 / 4
    # Of 16 pairs 13 are in order, and one is a tie.
    assert found["roc_auc"] == pytest.approx((13 + 0.5) / 16)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_figures_are_those_of_scikit_learn(seed: int, ties: bool) -> None:
    generator = np.random.default_rng(seed)
    truth = generator.integers(2, size=60).astype(float)
    probability = generator.random(60)
    if ties:
        probability = np.round(probability, 1)
    found = classification.figures(truth, probability, 0.4)
    called = probability >= 0.4
    expected = {
        "roc_auc": sk.roc_auc_score(truth, probability),
        "pr_auc": sk.average_precision_score(truth, probability),
        "sensitivity": sk.recall_score(truth, called),
        "specificity": sk.recall_score(truth, called, pos_label=0),
        "ppv": sk.precision_score(truth, called),
        "npv": sk.precision_score(truth, called, pos_label=0),
        "accuracy": sk.accuracy_score(truth, called),
        "brier": sk.brier_score_loss(truth, probability),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    false, true = classification.roc_curve(truth, probability)
    assert sk.auc(false, true) == pytest.approx(expected["roc_auc"])


def test_one_class_alone_has_no_auc() -> None:
    found = classification.figures(np.zeros(3), np.array([0.1, 0.2, 0.9]), 0.5)
    assert math.isnan(found["roc_auc"])
    assert math.isnan(found["pr_auc"])
    assert math.isnan(found["sensitivity"])
    assert found["specificity"] == pytest.approx(2 / 3)


def test_the_calibration_error_by_hand() -> None:
    truth = np.array([0.0, 1, 1, 1])
    probability = np.array([0.1, 0.1, 0.8, 1.0])
    # Bins (0, .1]: promised .1, came .5; (.7, .8]: .8 against 1; (.9, 1]: 1 against 1.
    expected = (2 * 0.4 + 0.2) / 4
    assert classification.calibration_error(truth, probability) == pytest.approx(expected)
    table = classification.calibration_table(truth, probability)
    assert [each.count for each in table] == [2, 0, 0, 0, 0, 0, 0, 1, 0, 1]
    assert table[0].share == 0.5
    assert math.isnan(table[1].share)


def test_errors_of_numbers_by_hand() -> None:
    found = regression.figures(np.array([1.0, 2, 3]), np.array([2.0, 2, 1]))
    assert found["mean_absolute_error"] == 1
    assert found["root_mean_squared_error"] == pytest.approx(math.sqrt(5 / 3))
    assert found["bias"] == pytest.approx(-1 / 3)
    assert found["r_squared"] == pytest.approx(1 - 5 / 2)
    spread = 1.96 * math.sqrt(7 / 3)
    assert found["limit_low"] == pytest.approx(-1 / 3 - spread)
    assert found["limit_high"] == pytest.approx(-1 / 3 + spread)
    assert math.isnan(regression.figures(np.array([1.0]), np.array([2.0]))["limit_low"])
