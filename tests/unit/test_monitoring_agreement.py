"""Which segment is which, and how much of it is the same: without DICOM."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from secondread.domain.monitoring import Verdict
from secondread.monitoring.agreement import OtherGridError, Plane, Region, compare
from secondread.monitoring.structures import Structure, pair

THALAMUS, BRAIN, TISSUE = ("SCT", "42695009"), ("SCT", "12738006"), ("SCT", "85756007")
LEFT = Structure(0, THALAMUS, "left", label="Left thalamus", tracking_uid="2.25.1", name="left_t")
RIGHT = Structure(
    1, THALAMUS, "right", label="Right thalamus", tracking_uid="2.25.2", name="right_t"
)
WHOLE = Structure(2, BRAIN, label="Brain", tracking_uid="2.25.3", name="brain")
OURS = (LEFT, RIGHT, WHOLE)


def theirs(one: Structure, number: int = 1, **changes: object) -> Structure:
    bare = replace(one, number=number, name="", label="", tracking_uid="")
    return replace(bare, **changes)  # type: ignore[arg-type]


def test_code_and_side_decide_and_the_number_does_not() -> None:
    found = pair(OURS, [theirs(RIGHT, 1), theirs(WHOLE, 2), theirs(LEFT, 3)])
    assert found.pairs == {1: 1, 2: 2, 3: 0}
    assert (found.added, found.unclear) == ((), ())


@pytest.mark.parametrize(
    ("changes", "pairs"),
    [
        ({"tracking_uid": "2.25.2"}, {1: 1}),
        ({"label": "right  Thalamus"}, {1: 1}),
        ({"label": "left_t"}, {1: 0}),
        ({"tracking_uid": "2.25.1", "label": "Right thalamus"}, {1: 0}),
    ],
)
def test_side_that_was_lost_comes_from_tracking_or_label(
    changes: dict[str, str], pairs: dict[int, int]
) -> None:
    assert pair(OURS, [theirs(LEFT, laterality="", **changes)]).pairs == pairs


def test_side_that_was_lost_is_not_guessed_even_where_we_have_one_side_only() -> None:
    found = pair((LEFT, WHOLE), [theirs(LEFT, laterality="", label="Thalamus")])
    assert not found.pairs
    assert found.unclear == ("left_t",)


@pytest.mark.parametrize("type_", [TISSUE, ("", "")])
def test_segment_that_is_only_tissue_is_what_its_label_says(type_: tuple[str, str]) -> None:
    drawn = theirs(LEFT, type=type_, laterality="", label="Left thalamus")
    assert pair(OURS, [drawn]).pairs == {1: 0}
    assert pair(OURS, [replace(drawn, label="Segment 1")]).added == (1,)


def test_another_code_is_another_structure_whatever_its_label() -> None:
    drawn = theirs(LEFT, type=("SCT", "52988006"), label="Left thalamus", tracking_uid="2.25.1")
    assert pair(OURS, [drawn]).added == (1,)


def test_other_side_of_one_that_we_have_on_one_side_is_another() -> None:
    assert pair((LEFT,), [theirs(LEFT, laterality="right")]).added == (1,)


def test_two_segments_that_claim_to_be_one_structure_are_unclear() -> None:
    assert pair(OURS, [theirs(WHOLE, 1), theirs(WHOLE, 2)]).unclear == ("brain",)


def test_equal_types_are_told_apart_by_their_other_codes() -> None:
    parts = tuple(
        Structure(n, THALAMUS, "left", frozenset({("SCT", str(n))}), name=f"part{n}")
        for n in range(3)
    )
    found = pair(parts, [replace(parts[2], number=7, name="")])
    assert found.pairs == {7: 2}
    vague = pair(parts, [replace(parts[2], number=7, name="", detail=frozenset())])
    assert vague.unclear == ("part0", "part1", "part2")


AFFINE = np.array([[0, 0, 2.0, -10], [0, 3.0, 0, 5], [4.0, 0, 0, 7], [0, 0, 0, 1]])
LABELS = np.random.default_rng(5).integers(0, 3, (4, 5, 6)).astype(np.uint8)
REGIONS = [Region("one", LABELS, 1, AFFINE), Region("two", LABELS, 2, AFFINE)]
PAIRS = {1: 0, 2: 1}


def planes(labels: np.ndarray, affine: np.ndarray = AFFINE) -> list[Plane]:
    return [
        Plane(
            number,
            labels[at] == number,
            affine[:3, :3] @ (at, 0, 0) + affine[:3, 3],
            affine[:3, 1],
            affine[:3, 2],
        )
        for number in (1, 2, 9)
        for at in range(len(labels))
    ]


def test_same_voxels_are_accepted_and_measured_as_equal() -> None:
    found = compare(REGIONS, PAIRS, planes(LABELS))
    assert found.verdict is Verdict.ACCEPT
    assert found.measures["dice_mean"] == found.measures["dice.one"] == 1
    assert found.measures["changed_ml"] == 0


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
@pytest.mark.parametrize("flipped", [False, True])
def test_slices_in_another_direction_are_the_same_voxels(
    axes: tuple[int, int, int], flipped: bool
) -> None:
    labels, affine = LABELS.transpose(axes), AFFINE.copy()
    affine[:3, :3] = AFFINE[:3, list(axes)]
    if flipped:
        affine[:3, 3] += affine[:3, 0] * (len(labels) - 1) + affine[:3, 2] * (labels.shape[2] - 1)
        affine[:3, [0, 2]] *= -1
        labels = labels[::-1, :, ::-1]
    assert compare(REGIONS, PAIRS, planes(labels, affine)).verdict is Verdict.ACCEPT


def test_what_differs_is_counted_in_millilitres() -> None:
    changed = LABELS.copy()
    changed[0][changed[0] == 1] = 0
    changed[3, 0, 0] = 9
    found = compare(REGIONS, PAIRS, planes(changed))
    ours, left = LABELS == 1, changed == 1
    voxel_ml = 2 * 3 * 4 / 1000
    assert found.verdict is Verdict.MODIFY
    assert found.measures["dice.one"] == pytest.approx(
        2 * (ours & left).sum() / (ours.sum() + left.sum())
    )
    assert found.measures["difference_ml.one"] == pytest.approx(
        (left.sum() - ours.sum()) * voxel_ml
    )
    differs = (changed != LABELS) & (LABELS > 0)
    assert found.measures["changed_ml"] == pytest.approx((differs.sum() + 1) * voxel_ml)
    assert found.measures["labels_added"] == 1


def test_voxels_beyond_our_grid_count_as_theirs() -> None:
    wide = np.zeros((6, 5, 6), np.uint8)
    wide[1:5] = LABELS
    wide[0, 0, 0] = 1
    affine = AFFINE.copy()
    affine[:3, 3] -= AFFINE[:3, 0]
    count = compare(REGIONS, PAIRS, planes(wide, affine)).counts["one"]
    assert count.theirs == count.ours + 1 == count.both + 1


def test_structure_of_which_nothing_is_left_is_removed_and_all_of_them_a_rejection() -> None:
    one = np.where(LABELS == 1, 1, 0)
    found = compare(REGIONS, PAIRS, planes(one))
    assert (found.verdict, found.removed) == (Verdict.MODIFY, ("two",))
    assert compare(REGIONS, PAIRS, planes(np.zeros_like(LABELS))).verdict is Verdict.REJECT
    assert compare(REGIONS, {}, planes(LABELS)).verdict is Verdict.REJECT


@pytest.mark.parametrize("shift", [(1.0, 0, 0), (0, 0, 2.0)])
def test_half_a_voxel_beside_ours_is_another_grid(shift: tuple[float, float, float]) -> None:
    affine = AFFINE.copy()
    affine[:3, 3] += shift
    with pytest.raises(OtherGridError):
        compare(REGIONS, PAIRS, planes(LABELS, affine))


def test_other_spacing_is_another_grid() -> None:
    affine = AFFINE.copy()
    affine[:3, 2] *= 0.5
    with pytest.raises(OtherGridError):
        compare(REGIONS, PAIRS, planes(LABELS, affine))
