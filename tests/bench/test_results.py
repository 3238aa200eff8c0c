"""The bench of results writes what it says, and notices when it differs from the other's."""

from __future__ import annotations

import pytest

from conformance.validators import ToolAbsentError, find_program
from tests.bench import results
from tests.bench.results import PARTS, measure
from tests.bench.results_case import make_body, write_body


@pytest.fixture
def case(tmp_path):
    return write_body(make_body((12, 64, 64), 3), tmp_path)


def lines(case, *names):
    return measure({name: PARTS[name] for name in names}, case, 1)


def test_a_small_body_is_written_by_both(case):
    try:
        find_program("itkimage2segimage", "dcmqi")
    except ToolAbsentError as absent:
        pytest.skip(str(absent))
    (line,) = lines(case, "binary")
    assert line["value"] > 0
    assert line["against"] > 0
    assert line["goal"] == ">= 4 x dcmqi"


def test_segmentations_that_do_not_agree_make_an_error_of_the_figure(case, monkeypatch):
    monkeypatch.setattr(results, "_agree", lambda _: False)
    monkeypatch.setattr(results, "find_program", lambda *_: "true")
    (line,) = lines(case, "binary")
    assert line["error"] == "The two segmentations do not show the same."
    assert line["holds"] is False


def test_without_dcmqi_its_figure_is_skipped_and_the_others_are_not(case, monkeypatch):
    def find(program, package):
        raise ToolAbsentError(program, package)

    monkeypatch.setattr(results, "find_program", find)
    binary, took, size = lines(case, "binary", "labelmap")
    assert binary["skipped"] == "no itkimage2segimage: install the package dcmqi"
    assert binary["holds"] is None
    assert took["value"] > 0
    assert size["holds"] is True


def test_memory_is_that_of_a_process_of_its_own(case):
    (line,) = lines(case, "memory")
    assert 50 < line["value"] < 600


def test_reports_and_gates_are_timed(case):
    found = lines(case, "report", "gate")
    assert len(found) == 3
    assert all(line["value"] > 0 for line in found)
