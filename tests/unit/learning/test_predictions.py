"""`predictions.json`: what is written is read again, and what is wrong is said in a sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from secondread.errors import DataError
from secondread.learning.predictions import FILE_NAME, Predictions, Row, read, write
from tests.learning_runs import chance_run, segmentation_run

RUNS = {
    "segmentation": segmentation_run({"one": 0.8, "two": 0.9}, {"one": "a", "two": "b"}),
    "classification": chance_run(6),
    "regression": Predictions("age", "regression", (Row("one", "a", 0, truth=61.5, found=58.0),)),
}


@pytest.mark.parametrize("task", RUNS)
def test_what_is_written_is_read_again(task: str, tmp_path: Path) -> None:
    write(tmp_path, RUNS[task])
    assert read(tmp_path) == RUNS[task]
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_places_of_pictures_are_kept(tmp_path: Path) -> None:
    run = RUNS["segmentation"]
    rows = tuple(replace(row, image="i.nii", found_labels="f.nii") for row in run.rows)
    write(tmp_path, replace(run, rows=rows))
    assert read(tmp_path).rows == rows


def test_a_folder_without_the_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no predictions\.json; name the folder"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema": 2}, "schema 1"),
        ({"task": "poetry"}, "names the task 'poetry'"),
        ({"rows": []}, "no rows"),
        ({"rows": [{"id": "a", "subject": "s", "fold": 0}]}, "Row 1 of the predictions lacks"),
    ],
)
def test_a_wrong_document_is_a_sentence(
    change: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    path = write(tmp_path, RUNS["classification"])
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=sentence):
        read(tmp_path)


@pytest.mark.parametrize("probability", [1.5, -0.1, "much"])
def test_a_probability_beyond_its_bounds_is_refused(probability: object, tmp_path: Path) -> None:
    path = write(tmp_path, RUNS["classification"])
    document = json.loads(path.read_text())
    document["rows"][3]["probability"] = probability
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match="Row 4 of the predictions is wrong"):
        read(tmp_path)


def test_a_case_held_out_twice_is_refused(tmp_path: Path) -> None:
    run = RUNS["classification"]
    write(tmp_path, replace(run, rows=(*run.rows, run.rows[0])))
    with pytest.raises(DataError, match="1 of the 7 rows"):
        read(tmp_path)
