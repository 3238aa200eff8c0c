"""What the gate stops is kept for a person, and nothing of it is sent."""

from __future__ import annotations

import stat

import pytest
import structlog

from secondread.errors import GateError
from secondread.results import write as writing
from secondread.results.analysis import Analysis
from secondread.results.gate.quarantine import KEPT_MAX, keep
from secondread.results.write import write_results
from tests.result_cases import make_case

RELATIVE = writing.Path("results", "k0001", "fbd5", "seg.dcm")


def stop(*_):
    raise GateError("The segmentation lacks Rows.")


def partial(tmp_path, content):
    path = tmp_path / "seg.partial"
    path.write_bytes(content)
    return path


def test_what_is_stopped_is_kept_in_a_private_folder_and_not_in_place(tmp_path, monkeypatch):
    case = make_case(tmp_path / "series")
    monkeypatch.setattr(writing, "check", stop)
    with (
        structlog.testing.capture_logs() as lines,
        pytest.raises(GateError, match=r"lacks Rows\. The object is kept as 'quarantine/k0001/seg"),
    ):
        write_results(case.context, Analysis(case.labels), tmp_path)
    assert [path for path in (tmp_path / "results").rglob("*") if path.is_file()] == []
    (kept,) = (tmp_path / "quarantine").rglob("*.dcm")
    assert kept.relative_to(tmp_path).parts == ("quarantine", "k0001", "seg.dcm")
    for folder in (tmp_path / "quarantine", kept.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (line,) = [one for one in lines if one["log_level"] == "error"]
    assert line["event"] == "result stopped at the gate"
    assert line["reason"] == "The segmentation lacks Rows."
    told = str(lines)
    assert "Example" not in told
    assert str(case.context.reference.StudyInstanceUID) not in told


def test_the_same_object_is_kept_once(tmp_path):
    first = keep(partial(tmp_path, b"one"), tmp_path, RELATIVE, "No.")
    second = keep(partial(tmp_path, b"one"), tmp_path, RELATIVE, "No.")
    assert first == second == writing.Path("quarantine", "k0001", "fbd5", "seg.dcm")
    assert not (tmp_path / "seg.partial").exists()


def test_another_object_does_not_take_the_place_of_one_that_is_kept(tmp_path):
    kept = [
        keep(partial(tmp_path, bytes([number])), tmp_path, RELATIVE, "No.")
        for number in range(KEPT_MAX + 2)
    ]
    assert len(set(kept)) == KEPT_MAX + 2
    there = {path.read_bytes() for path in (tmp_path / kept[0]).parent.iterdir()}
    assert there == {bytes([number]) for number in range(2, KEPT_MAX + 2)}


def test_objects_of_other_names_do_not_count_against_each_other(tmp_path):
    keep(partial(tmp_path, b"a"), tmp_path, RELATIVE, "No.")
    other = keep(partial(tmp_path, b"b"), tmp_path, RELATIVE.with_name("seg-2.dcm"), "No.")
    assert (tmp_path / other).read_bytes() == b"b"
    assert (tmp_path / "quarantine" / "k0001" / "fbd5" / "seg.dcm").read_bytes() == b"a"


def test_where_the_object_cannot_be_kept_the_sentence_is_told_all_the_same(tmp_path, monkeypatch):
    case = make_case(tmp_path / "series")
    (tmp_path / "quarantine").write_bytes(b"a file where the folder should be")
    monkeypatch.setattr(writing, "check", stop)
    with pytest.raises(GateError, match=r"^The segmentation lacks Rows\.$"):
        write_results(case.context, Analysis(case.labels), tmp_path)
    assert [path for path in (tmp_path / "results").rglob("*") if path.is_file()] == []


def test_the_monitoring_learns_how_many_there_are(tmp_path):
    keep(partial(tmp_path, b"a"), tmp_path, RELATIVE, "No.")
    keep(partial(tmp_path, b"b"), tmp_path, RELATIVE.with_name("sr.dcm"), "No.")
    text = (tmp_path / "metrics" / "results.prom").read_text()
    assert 'secondread_results_quarantined_objects{kind="seg"} 1.0' in text
    assert 'secondread_results_quarantined_objects{kind="sr"} 1.0' in text
    assert "secondread_results_quarantined_last_seconds" in text
