"""Volumes of masks without gaps, which the torch runtime gives where a manifest asks for them."""

from __future__ import annotations

import numpy as np
import pytest

from secondread.errors import ManifestError
from secondread.inference.worker.runtimes import torch_measures

SPACING_MM = 2.0


def two_slabs(gap_voxels: int) -> np.ndarray:
    """Two slabs of class 1 with a gap of class 2, and class 3 running down below them."""
    classes = np.zeros((40, 40, 40), np.uint8)
    classes[5:35, 5:35, 15:35] = 1
    classes[20 : 20 + gap_voxels, 5:35, 15:35] = 2
    classes[18:22, 18:22, 0:15] = 3
    return classes


def measure(volume: np.ndarray, **row: object) -> float:
    rows = {"numbers": [{"id": "whole", "measure": "closed_ml", "closing_mm": 6.0, **row}]}
    torch_measures.check_options(rows)
    (number,) = torch_measures.answer(volume, SPACING_MM, rows).numbers
    assert number.id == "whole"
    return number.value


def test_a_narrow_gap_is_closed_and_a_wide_one_is_not() -> None:
    whole_ml = 30 * 30 * 20 * SPACING_MM**3 / 1000
    assert measure(two_slabs(3), classes=[1]) == pytest.approx(whole_ml, rel=0.02)
    assert measure(two_slabs(12), classes=[1]) < 0.7 * whole_ml


def test_what_is_closed_counts_only_within_what_is_asked_for() -> None:
    open_ml = 27 * 30 * 20 * SPACING_MM**3 / 1000
    assert measure(two_slabs(3), classes=[1], within=[1]) == pytest.approx(open_ml)
    assert measure(two_slabs(3), classes=[1], within=[2]) > open_ml


def test_a_hole_is_filled() -> None:
    classes = np.zeros((40, 40, 40), np.uint8)
    classes[5:35, 5:35, 5:35] = 1
    classes[12:28, 12:28, 12:28] = 0
    assert measure(classes, classes=[1]) == pytest.approx(30**3 * SPACING_MM**3 / 1000)


def test_nothing_counts_below_the_floor() -> None:
    without_ml = measure(two_slabs(3), classes=[1])
    assert measure(two_slabs(3), classes=[1, 3]) > without_ml
    assert measure(two_slabs(3), classes=[1, 3], floor=[1]) == pytest.approx(without_ml)


def test_nothing_has_no_volume() -> None:
    assert measure(np.zeros((20, 20, 20), np.uint8), classes=[1], floor=[2]) == 0


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"id": "whole", "measure": "closed_ml", "classes": [1]}, "closing_mm"),
        ({"id": "a", "measure": "length", "classes": [1], "closing_mm": 1.0}, "'length'"),
    ],
)
def test_a_number_that_cannot_be_given_is_said(row: dict[str, object], said: str) -> None:
    with pytest.raises(ManifestError, match=said):
        torch_measures.check_options({"numbers": [row]})
