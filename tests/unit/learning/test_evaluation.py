"""A run judged as a whole: figures by label, subgroups, worst cases, leaks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from secondread.errors import DataError
from secondread.learning.evaluation import Judging, evaluate, refuse_leaks, write_figures
from secondread.learning.intervals import Bootstrap
from secondread.learning.predictions import Row
from secondread.learning.subgroups import bands, split
from tests.learning_runs import (
    chance_run,
    classification_run,
    segmentation_run,
    write_pictured_run,
)

FAST = Judging(bootstrap=Bootstrap(draws=100))


def rows(values: list[float | str | None], column: str = "x") -> list[Row]:
    return [
        Row(str(number), str(number), 0, values={} if value is None else {column: value})
        for number, value in enumerate(values)
    ]


def test_figures_of_a_segmentation_are_means_over_the_cases() -> None:
    dice = {f"c{number}": 0.5 + number / 100 for number in range(20)}
    found = evaluate(segmentation_run(dice, {case: case for case in dice}), judging=FAST)
    assert found.figures["anterior.dice"].value == pytest.approx(np.mean(list(dice.values())))
    assert found.figures["mean.dice"].value == pytest.approx(np.mean(list(dice.values())))
    assert found.figures["posterior.error_ml"].value == pytest.approx(0.1)
    assert found.figures["posterior.limit_low_ml"].value == pytest.approx(0.1)
    low, high = found.figures["mean.dice"].low, found.figures["mean.dice"].high
    assert low is not None
    assert high is not None
    assert low < 0.595 < high
    assert [row.id for row in found.worst] == ["c0", "c1", "c2", "c3", "c4"]
    assert (found.folds, found.subjects) == (2, 20)


def test_figures_of_a_classification_are_those_of_its_rows() -> None:
    run = chance_run()
    found = evaluate(run, judging=FAST)
    truth = [row.truth for row in run.rows]
    expected = roc_auc_score(truth, [row.found for row in run.rows])
    assert found.figures["roc_auc"].value == pytest.approx(expected)
    worst = found.worst[0]
    assert worst.found is not None
    assert worst.truth is not None
    assert abs(worst.found - worst.truth) == max(abs(row.found - row.truth) for row in run.rows)
    assert sum(each.count for each in found.calibration) == 80


def test_a_subject_in_two_folds_is_an_error_that_says_how_many() -> None:
    run = chance_run(20)
    moved = {"case 0", "case 5", "case 9"}
    leaking = tuple(replace(row, fold=7) if row.id in moved else row for row in run.rows)
    with pytest.raises(DataError, match="3 of 10 subjects lie in more than one fold"):
        evaluate(replace(run, rows=leaking), judging=FAST)


def test_the_same_pixels_under_two_names_are_found_with_the_data(tmp_path: Path) -> None:
    run = write_pictured_run(tmp_path / "run", tmp_path / "data")
    refuse_leaks(run.rows, tmp_path / "data")
    copy = (tmp_path / "data" / "image_0.nii.gz").read_bytes()
    (tmp_path / "data" / "image_1.nii.gz").write_bytes(copy)
    refuse_leaks(run.rows)
    with pytest.raises(DataError, match="same pixels"):
        refuse_leaks(run.rows, tmp_path / "data")


def test_bands_are_values_of_words_and_few_numbers() -> None:
    found = bands(rows(["M", "F", "M", None, "F ", ""]), "x")
    assert {name: list(each) for name, each in found.items()} == {
        "F": [1, 4],
        "M": [0, 2],
        "not known": [3, 5],
    }
    assert list(bands(rows([10.0, 2.0, 10.0]), "x")) == ["2", "10"]


def test_bands_of_a_scale_are_thirds_that_hold_every_case_once() -> None:
    numbers: list[float | str | None] = [float(number) for number in range(30)]
    found = bands(rows([*numbers, None]), "x")
    assert [len(each) for each in found.values()] == [10, 10, 10, 1]
    assert list(found)[-1] == "not known"
    assert sorted(np.concatenate(list(found.values()))) == list(range(31))


def test_numbers_that_differ_in_a_late_digit_are_not_the_same_group() -> None:
    found = bands(rows([45001234.0, 45001235.0, 45001234.0]), "x")
    assert {name: list(cases) for name, cases in found.items()} == {
        "45001234": [0, 2],
        "45001235": [1],
    }
    numbers = [100_000.0 + number for number in range(9)]
    found = bands(rows([*numbers]), "x")
    assert len(found) == 3
    assert sorted(np.concatenate(list(found.values()))) == list(range(9))
    close = np.nextafter(1.0, 2.0, dtype=np.float64) - 1.0
    found = bands(rows([1.0 + close * number for number in range(9)]), "x")
    assert sorted(np.concatenate(list(found.values()))) == list(range(9))


def test_a_column_that_no_case_has_is_a_sentence() -> None:
    with pytest.raises(DataError, match="No case has a value for 'scanner'"):
        bands(rows([1.0, 2.0]), "scanner")


def test_a_subgroup_of_too_few_subjects_has_its_count_alone() -> None:
    dice = {f"c{number}": 0.8 for number in range(24)}
    subjects = {case: "same" if number % 2 else case for number, case in enumerate(dice)}
    men, women = reversed(split(segmentation_run(dice, subjects), ["sex"], Bootstrap(100)))
    assert (women.band, women.cases, women.subjects, women.figures) == ("F", 12, 1, {})
    assert (men.band, men.subjects) == ("M", 12)
    assert men.figures["mean.dice"].value == pytest.approx(0.8)


def test_figures_are_written_as_strict_json_even_where_there_are_none(tmp_path: Path) -> None:
    run = classification_run(np.zeros(12), np.linspace(0, 0.4, 12))
    path = write_figures(tmp_path, evaluate(run, judging=FAST))
    document = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert document["figures"]["roc_auc"] == {"value": None, "low": None, "high": None}
    assert document["calibration"][9]["share"] is None
    assert document["subjects"] == 6
