"""Two label maps of one volume: structures are matched by code and side, and counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from secondread.bundles.manifest import Label
from secondread.bundles.output import DeclaredNumber
from secondread.domain.answer import AnsweredNumber, ModelAnswer
from secondread.domain.code import Code
from secondread.monitoring.pairing import Numbers, compare_maps, compare_numbers, match

STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")
THALAMUS = Code("42695009", "SCT", "Thalamus")
BRAIN = Code("12738006", "SCT", "Brain")
ML = Code("mL", "UCUM", "millilitre")


def label(value: int, name: str, code: Code, side: str = "") -> Label:
    return Label(value, name, code.meaning, STRUCTURE, code, side, (1, 2, 3), None)


LEFT = label(1, "left_thalamus", THALAMUS, "left")
RIGHT = label(2, "right_thalamus", THALAMUS, "right")


def test_structures_are_matched_by_code_and_side_not_by_number_or_name() -> None:
    theirs = [
        replace(RIGHT, value=1, name="a", meaning="Thalamus proper, right"),
        replace(LEFT, value=7, name="b"),
        label(3, "c", BRAIN),
    ]
    matched = match([LEFT, RIGHT], theirs)
    assert [(p.name, p.champion, p.challenger) for p in matched.pairs] == [
        ("left_thalamus", (1,), (7,)),
        ("right_thalamus", (2,), (1,)),
    ]
    assert (matched.champion_only, matched.challenger_only) == ((), ("c",))


def test_another_part_of_a_structure_is_another_structure() -> None:
    part = replace(LEFT, type_modifiers=(Code("255549009", "SCT", "Anterior"),))
    assert match([LEFT], [part]).pairs == ()


def test_a_structure_in_two_labels_is_compared_as_a_whole() -> None:
    halves = [label(4, "front", BRAIN), label(5, "back", BRAIN)]
    (pair,) = match(halves, [label(1, "brain", BRAIN)]).pairs
    assert (pair.name, pair.champion, pair.challenger) == ("front+back", (4, 5), (1,))


def test_dice_and_volumes_by_hand() -> None:
    champion = np.zeros((2, 3, 4), np.uint8)
    challenger = np.zeros((2, 3, 4), np.uint8)
    champion[0, 0, :4] = 1  # four voxels on the left
    challenger[0, 0, 2:4] = 7  # two of them
    challenger[1, 2, 3] = 7  # and one elsewhere
    champion[1, 0, 0] = 2  # the right side, which the challenger does not find
    matched = match([LEFT, RIGHT], [replace(LEFT, value=7), replace(RIGHT, value=1)])
    found = compare_maps(champion, challenger, matched.pairs, voxel_ml=0.5)
    assert found == {
        "dice.left_thalamus": pytest.approx(2 * 2 / (4 + 3)),
        "champion.volume_ml.left_thalamus": 2.0,
        "challenger.volume_ml.left_thalamus": 1.5,
        "dice.right_thalamus": 0.0,
        "champion.volume_ml.right_thalamus": 0.5,
        "challenger.volume_ml.right_thalamus": 0.0,
    }


def test_where_neither_finds_a_structure_there_is_no_dice() -> None:
    nothing = np.zeros((2, 2, 2), np.uint8)
    found = compare_maps(nothing, nothing, match([LEFT], [LEFT]).pairs, 1.0)
    assert set(found) == {
        "champion.volume_ml.left_thalamus",
        "challenger.volume_ml.left_thalamus",
    }


def test_grids_that_differ_are_not_compared() -> None:
    with pytest.raises(ValueError, match="grids differ"):
        compare_maps(np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2, 3), np.uint8), (), 1.0)


def number(name: str, value: float, unit: Code, about: str) -> Numbers:
    declared = DeclaredNumber(name, Code("118565006", "SCT", "Volume"), unit, about)
    side = "left" if about == "l" else "right"
    labels = [label(1, about, THALAMUS, side)]
    return Numbers([declared], labels, ModelAnswer(numbers=(AnsweredNumber(name, value),)))


def test_numbers_are_matched_by_code_unit_and_structure() -> None:
    ours = number("volume", 3.0, ML, "l")
    assert compare_numbers(ours, number("v", 4.0, ML, "l")) == {
        "champion.number.volume": 3.0,
        "challenger.number.volume": 4.0,
    }
    assert compare_numbers(ours, number("v", 4.0, ML, "r")) == {}
    assert compare_numbers(ours, number("v", 4.0, Code("l", "UCUM", "litre"), "l")) == {}
