"""Numbers, findings and places that a model answers: what is taken, and each way of lying."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secondread.bundles.manifest import read_manifest
from secondread.bundles.output import Output
from secondread.domain.answer import (
    AnsweredFinding,
    AnsweredNumber,
    AnsweredPlace,
    Declared,
    ModelAnswer,
)
from secondread.errors import InvalidPredictionError
from secondread.inference.answer import (
    encode_answer,
    load_answer,
    load_maps,
    load_probabilities,
    read_said,
)
from secondread.inference.said import POINTS_MAX
from secondread.inference.worker.messages import Answer, fits

SHAPE = (4, 5, 6)
SOUND = Answer("key", 1, "", [], "", "")
DECLARED = Declared(
    numbers=("count", "ratio"),
    findings={"bleeding": ("yes", "no"), "age": ("old",)},
    places={"peak": "point", "border": "polygon", "midline": "polyline"},
)
CORNERS = [[-1.0, -1.0, -1.0], [4.0, 5.0, 6.0], [0, 2.5, 1]]
RICH = Path(__file__).resolve().parents[1] / "models" / "rich_head"


def test_what_is_declared_is_taken() -> None:
    answer = replace(
        SOUND,
        numbers=[["ratio", -0.5], ["count", 3]],
        findings=[["bleeding", "no", None], ["age", "old", 1]],
        places=[
            ["peak", [[1.25, 2, 3]], 0.5],
            ["peak", [[0, 0, 0]], None],
            ["border", CORNERS, 0],
            ["midline", CORNERS[:2], None],
        ],
    )
    said = read_said(answer, DECLARED, SHAPE)
    assert said.numbers == (AnsweredNumber("ratio", -0.5), AnsweredNumber("count", 3.0))
    assert said.findings[1] == AnsweredFinding("age", "old", 1.0)
    assert said.places[0] == AnsweredPlace("peak", ((1.25, 2.0, 3.0),), 0.5)
    assert [place.id for place in said.places] == ["peak", "peak", "border", "midline"]
    assert read_said(SOUND, DECLARED, SHAPE) == ModelAnswer()


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ({"numbers": [["volume", 1.0]]}, "a number that its manifest does not declare"),
        ({"numbers": [["count", math.nan]]}, "no finite value for the number 'count'"),
        ({"numbers": [["count", -math.inf]]}, "no finite value"),
        ({"numbers": [["count", 10**400]]}, "no finite value"),
        ({"numbers": [["count", True]]}, "no finite value"),
        ({"numbers": [["count", "3"]]}, "no finite value"),
        ({"numbers": [["count", 1], ["count", 2]]}, "number 'count' more than once"),
        ({"numbers": [["count", 1]] * 3}, r"more numbers \(3\) than its manifest allows \(2\)"),
        ({"numbers": [["count"]]}, "a number that cannot be read"),
        ({"numbers": [[["count"], 1]]}, "a number that cannot be read"),
        ({"numbers": [{"count": 1}]}, "a number that cannot be read"),
        ({"findings": [["tumour", "yes", None]]}, "a finding that its manifest does not declare"),
        ({"findings": [["bleeding", "maybe", None]]}, "a value of the finding 'bleeding'"),
        ({"findings": [["bleeding", ["yes"], None]]}, "a value of the finding 'bleeding'"),
        ({"findings": [["bleeding", "yes", 1.01]]}, "probability of 'bleeding' that is not"),
        ({"findings": [["bleeding", "yes", math.nan]]}, "probability of 'bleeding'"),
        ({"findings": [["bleeding", "yes", "0.5"]]}, "probability of 'bleeding'"),
        ({"findings": [["age", "old", 0]] * 2}, "finding 'age' more than once"),
        ({"findings": [["age", "old", 0]] * 10_000}, r"more findings \(10000\)"),
        ({"places": [["valley", [[1, 1, 1]], None]]}, "a place that its manifest does not declare"),
        ({"places": [["peak", [], None]]}, "'peak', which is no point"),
        ({"places": [["peak", CORNERS, None]]}, "'peak', which is no point"),
        ({"places": [["border", CORNERS[:2], None]]}, "'border', which is no polygon"),
        ({"places": [["midline", CORNERS[:1], None]]}, "'midline', which is no polyline"),
        ({"places": [["peak", [[4.1, 0, 0]], None]]}, "'peak' outside the volume"),
        ({"places": [["peak", [[0, -1.1, 0]], None]]}, "'peak' outside the volume"),
        ({"places": [["peak", [[0, math.nan, 0]], None]]}, "not slice, row and column"),
        ({"places": [["peak", [[0, 0]], None]]}, "not slice, row and column"),
        ({"places": [["peak", [[0, 0, 0]], 2]]}, "probability of 'peak'"),
        ({"places": [["peak", [[0, 0, 0]], None]] * (POINTS_MAX + 1)}, "more places"),
        ({"places": [["border", CORNERS * 40, None]] * 2}, f"more than {POINTS_MAX} points"),
    ],
)
def test_what_is_not_declared_is_refused(rows: dict[str, Any], match: str) -> None:
    with pytest.raises(InvalidPredictionError, match=match) as caught:
        read_said(replace(SOUND, **rows), DECLARED, SHAPE)
    assert str(caught.value).endswith(".")


def test_an_undeclared_name_is_not_repeated() -> None:
    with pytest.raises(InvalidPredictionError) as caught:
        read_said(replace(SOUND, numbers=[["Doe^Jane", 1.0]]), DECLARED, SHAPE)
    assert "Doe" not in str(caught.value)


def test_nothing_may_be_said_where_nothing_is_declared() -> None:
    with pytest.raises(InvalidPredictionError, match=r"more numbers \(1\) than .* \(0\)"):
        read_said(replace(SOUND, numbers=[["count", 1.0]]), Declared(), SHAPE)


def test_an_answer_has_to_fit_into_a_packet() -> None:
    assert fits(SOUND)
    assert not fits(replace(SOUND, findings=[["age", "old", None]] * 10_000))


@pytest.fixture
def output() -> Output:
    """What the richest model of the tests declares."""
    return read_manifest(RICH).output


def test_an_answer_comes_back_from_disk(output: Output, tmp_path: Path) -> None:
    answer = ModelAnswer(
        (AnsweredNumber("brain_pieces", 1.0),),
        (AnsweredFinding("thalamus_seen", "absent", 0.25),),
        (AnsweredPlace("thalamus_middle", ((1.0, 2.5, 3.0),)),),
    )
    path = tmp_path / "answer.json"
    path.write_bytes(encode_answer(answer))
    assert load_answer(path, output, SHAPE) == answer
    with pytest.raises(InvalidPredictionError, match="outside the volume"):
        load_answer(path, output, (4, 1, 6))


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"version": 2, "numbers": [], "findings": [], "places": []}',
        json.dumps({"version": 1, "numbers": [], "findings": []}).encode(),
        b" " * 2_000_000,
    ],
)
def test_an_answer_on_disk_that_is_none(
    content: bytes | None, output: Output, tmp_path: Path
) -> None:
    path = tmp_path / "answer.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidPredictionError):
        load_answer(path, output, SHAPE)
    assert load_answer(path, Output()) == ModelAnswer()


def test_arrays_come_back_from_disk_only_as_declared(tmp_path: Path) -> None:
    path = tmp_path / "array.npy"
    assert load_probabilities(path, SHAPE, 0) is None
    assert load_maps(path, SHAPE, ()) == {}
    with pytest.raises(InvalidPredictionError, match="no readable probabilities"):
        load_probabilities(path, SHAPE, 2)
    np.save(path, np.zeros((2, *SHAPE), np.uint8))
    found = load_probabilities(path, SHAPE, 2)
    assert found is not None and found.shape == (2, *SHAPE) and not found.flags.writeable
    with pytest.raises(InvalidPredictionError, match=r"asked for was uint8 of shape \(3, 4"):
        load_probabilities(path, SHAPE, 3)
    with pytest.raises(InvalidPredictionError, match="maps of uint8"):
        load_maps(path, SHAPE, ("heat", "age"))
    maps = np.zeros((2, *SHAPE), np.float32)
    np.save(path, maps)
    assert list(load_maps(path, SHAPE, ("heat", "age"))) == ["heat", "age"]
    maps[1, 2, 3, 4] = np.nan
    np.save(path, maps)
    with pytest.raises(InvalidPredictionError, match="not finite"):
        load_maps(path, SHAPE, ("heat", "age"))
