"""PSI, Kolmogorov–Smirnov and Holm against what is worked out by hand and by scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from secondread.monitoring.stability import fisher, holm, ks, psi, psi_of_shares


def sample(*values: float) -> np.ndarray:
    return np.array(values, np.float64)


def test_psi_of_two_values_is_what_a_hand_works_out() -> None:
    # Three of four are 1 and become one of four; half a study is added to each bin.
    p, q = 3.5 / 5, 1.5 / 5
    by_hand = (q - p) * math.log(q / p) + (p - q) * math.log(p / q)
    found = psi(sample(1, 1, 1, 2), sample(1, 2, 2, 2))
    assert found == pytest.approx(by_hand)
    assert found == pytest.approx(0.6778, abs=1e-4)


def test_psi_of_a_measure_with_many_values_counts_tenths_of_the_reference() -> None:
    reference = np.arange(1.0, 101.0)
    # All that is recent lies in the uppermost tenth, so that the other nine are empty.
    p, q_low, q_high = 10.5 / 105, 0.5 / 55, 50.5 / 55
    by_hand = 9 * (q_low - p) * math.log(q_low / p) + (q_high - p) * math.log(q_high / p)
    assert psi(reference, np.full(50, 99.5)) == pytest.approx(by_hand)
    assert psi(reference, reference) == pytest.approx(0)


def test_psi_sees_what_lies_between_and_beside_the_values_of_a_reference_that_has_few() -> None:
    spacing = np.full(100, 1.0)
    assert psi(spacing, np.full(50, 1.0)) == pytest.approx(0)
    for other in (0.9, 1.1):
        assert psi(spacing, np.full(50, other)) > 5
    assert psi(sample(1, 3).repeat(50), np.full(50, 2.0)) > 5


def test_psi_of_shares_is_that_of_two_bins() -> None:
    p, q = 2.5 / 51, 10.5 / 51
    by_hand = (q - p) * math.log(q / p) * 1 + (p - q) * math.log((1 - q) / (1 - p))
    assert psi_of_shares((2, 50), (10, 50)) == pytest.approx(by_hand)


def test_ks_is_the_largest_distance_and_agrees_with_scipy() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.normal(0, 1, 100), rng.normal(0.5, 1, 50)
    both = np.sort(np.concatenate([first, second]))
    by_hand = max(abs((first <= at).mean() - (second <= at).mean()) for at in both)
    distance, chance = ks(first, second)
    assert distance == pytest.approx(by_hand)
    assert chance == pytest.approx(stats.ks_2samp(first, second, method="exact").pvalue)


def test_fisher_knows_the_lady_who_tasted_tea() -> None:
    # Three of four against one of four: 34 of 70 tables are as extreme.
    assert fisher((3, 4), (1, 4)) == pytest.approx(34 / 70)


def test_holm_steps_down_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()
