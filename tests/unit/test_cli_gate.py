"""``secondread gate`` as a person runs it."""

from __future__ import annotations

import json

import pydicom
import pytest

from secondread.cli import main
from secondread.errors import EXIT_NO_INPUT
from secondread.results.analysis import Analysis
from secondread.results.write import write_results
from tests.result_cases import make_case


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gate_command")
    case = make_case(folder / "series", "coronal")
    results = write_results(case.context, Analysis(case.labels), folder)
    return folder, {one.kind: folder / one.path for one in results}


@pytest.fixture
def broken(written, tmp_path):
    found = pydicom.dcmread(written[1]["seg"])
    found.FrameOfReferenceUID = "2.25.1"
    del found.SegmentSequence[1]
    found.save_as(tmp_path / "broken.dcm")
    return tmp_path / "broken.dcm"


def run(*arguments):
    return main.execute(["gate", *map(str, arguments)])


def test_sound_files_are_clean(written, capsys):
    _, paths = written
    assert run(*paths.values()) == 0
    out = capsys.readouterr().out
    assert f"{paths['seg']}: segmentation: no fault found" in out
    assert f"{paths['sr']}: report: no fault found" in out


def test_sound_files_are_clean_beside_their_sources(written, capsys):
    folder, paths = written
    assert run(*paths.values(), "--source", folder / "series") == 0
    assert capsys.readouterr().out.count("no fault found") == 2


def test_faults_are_lines_below_their_file(written, broken, capsys):
    folder, paths = written
    assert run(broken, paths["sr"], "--source", folder / "series") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{broken}: segmentation"
    assert "  The segments are not numbered 1 to 3 without gaps." in lines
    assert "  Its Frame of Reference is not the source's." in lines


def test_a_folder_is_searched_for_results(written, capsys):
    folder, _ = written
    assert run(folder) == 0
    out = capsys.readouterr().out
    assert out.count("no fault found") == 2
    assert "MR Image Storage" not in out


def test_an_image_is_no_result(written, capsys):
    folder, _ = written
    image = next((folder / "series").iterdir())
    assert run(image) == 2
    assert "a kind that the gate does not know: MR Image Storage" in capsys.readouterr().out


def test_what_cannot_be_read_is_said_so(tmp_path, capsys):
    (tmp_path / "a.dcm").write_bytes(b"no DICOM at all")
    assert run(tmp_path / "a.dcm") == 2
    assert "It is not a DICOM file" in capsys.readouterr().out


def test_a_file_that_is_not_there(tmp_path, capsys):
    assert run(tmp_path / "nowhere.dcm") == EXIT_NO_INPUT
    assert "There is no file" in capsys.readouterr().err


def test_json(written, broken, capsys):
    _, paths = written
    assert run(broken, paths["sr"], "--json") == 1
    document = json.loads(capsys.readouterr().out)
    first, second = document["files"]
    assert first["kind"] == "segmentation"
    assert first["readable"] is True
    assert any("numbered" in fault for fault in first["faults"])
    assert second == {"path": str(paths["sr"]), "kind": "report", "readable": True, "faults": []}
