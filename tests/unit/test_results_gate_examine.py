"""Anybody's objects: sensible sentences for the sound, and no trace of a crash for the broken."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secondread.results.gate import examine, read_sources
from tests.defects import DEFECTS
from tests.gate_cases import FORMS, make_job

SPOKEN = 20
"""A fault is a sentence of some words, not the text of an exception."""
KINDS = {
    "seg": "segmentation",
    "sr": "report",
    "ko": "key object selection",
    "pr": "presentation state",
    "summary": "secondary capture",
    "pdf": "PDF",
    "pm": "parametric map",
    "rtstruct": "structure set",
    "sc": "secondary capture",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The job, and all objects of it in some forms."""
    folder = tmp_path_factory.mktemp("examine")
    job = make_job(folder / "series")
    paths = {}
    for form in ("LABELMAP", "FRACTIONAL", "capture", "all"):
        paths |= {
            path.stem if form in {"all", "capture"} else f"{path.stem} {form}": path
            for path in job.write(FORMS[form], folder / form).paths.values()
        }
    return job, paths


def look(path, sources=None):
    """Examine a file, and see that whatever is said of it is a sentence."""
    found = examine(path, sources)
    assert found.is_readable or found.faults
    for fault in found.faults:
        assert fault.endswith("."), fault
        assert len(fault) >= SPOKEN, fault
        assert "Traceback" not in fault
    return found


def test_our_own_objects_have_no_faults(results):
    job, paths = results
    sources = read_sources([*job.sources, *paths.values()])
    for name, path in paths.items():
        found = look(path, sources)
        assert found.kind == KINDS[name.split()[0]]
        before = [fault for fault in found.faults if "not in the source folder" not in fault]
        assert before == [], name
        # The predecessor of the report is in the archive, not among the files.
        assert all(fault.startswith("1 of ") for fault in found.faults), found.faults


@pytest.mark.parametrize(
    ("name", "seed", "sentence"),
    [
        ("seg", "_shift_frame", "does not lie on its source slice"),
        ("seg", "_derive_from_nothing", "not in the source folder"),
        ("seg", "_move_frame_of_reference", "Frame of Reference is not the source's"),
        ("seg", "_move_patient", "patient or study is not the source's"),
        ("seg", "_renumber", "not numbered 1 to 4"),
        ("seg", "_invent_a_code", "none of DICOM's context groups"),
        ("seg", "_lose_a_frame", "number of frames"),
        ("seg", "_lose_pixels", "has not the length of its frames"),
        ("seg", "_drop_derivation", "does not say from which source image"),
        ("sr", "_drop_procedure", "which procedure it reports"),
        ("sr", "_drop_tracking_uid", "no unique tracking identifier"),
        ("sr", "_private_unit", "not UCUM"),
        ("sr", "_forget_evidence", "evidence does not list"),
        ("sr", "_verify", "does not say by whom"),
        ("ko", "_untitled", "CID 7010"),
        ("pr", "_forget_an_image", "draws on an image that it does not list"),
        ("pdf", "_no_pdf", "does not begin with %PDF"),
        ("pm", "_drop_mapping", "what its values mean"),
        ("rtstruct", "_other_points", "another number of points"),
    ],
)
def test_a_seeded_defect_is_told_without_the_job(results, tmp_path, name, seed, sentence):
    job, paths = results
    defect = next(
        one for one in DEFECTS if one.seed.__name__ == seed and KIND_OF[name] in one.kinds
    )
    found = pydicom.dcmread(paths[name])
    defect.seed(found)
    found.save_as(tmp_path / "broken.dcm")
    sources = read_sources([*job.sources, *paths.values()])
    told = look(tmp_path / "broken.dcm", sources)
    assert any(sentence in fault for fault in told.faults), told.faults


KIND_OF = {
    "seg": "BINARY",
    "sr": "report",
    "ko": "key objects",
    "pr": "presentation state",
    "pdf": "PDF",
    "pm": "parametric map",
    "rtstruct": "structure set",
}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_file_that_is_cut_short_or_changed_is_no_crash(results, tmp_path_factory, data):
    _, paths = results
    name = data.draw(st.sampled_from(sorted(paths)))
    content = bytearray(paths[name].read_bytes())
    for _ in range(data.draw(st.integers(0, 12))):
        at = data.draw(st.integers(128, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(132, len(content))) :]
    path = tmp_path_factory.mktemp("fuzz") / "object.dcm"
    path.write_bytes(bytes(content))
    look(path)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=400))
def test_random_bytes_cannot_be_read_and_are_no_crash(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("random") / "object.dcm"
    path.write_bytes(content)
    assert not look(path).is_readable
    path.write_bytes(b"\0" * 128 + b"DICM" + content)
    look(path)


def test_an_empty_file_cannot_be_read(tmp_path):
    (tmp_path / "empty.dcm").write_bytes(b"")
    found = look(tmp_path / "empty.dcm")
    assert not found.is_readable
    assert "not a DICOM file" in found.faults[0]


def test_a_mostly_cut_segmentation_says_where_it_ends(results, tmp_path):
    _, paths = results
    content = paths["seg"].read_bytes()
    (tmp_path / "cut.dcm").write_bytes(content[:-100])
    found = look(tmp_path / "cut.dcm")
    assert not found.is_readable
    assert found.faults == ("The file ends within its pixels.",)


def objects_of(folder):
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and path.suffix in {".dcm", ".seg"}
    )


def test_the_objects_of_other_programs_can_be_examined(shared_data):
    paths = objects_of(shared_data("seg_sr_objects"))
    sources = read_sources(paths)
    told = {path: look(path, sources) for path in paths}
    results = [one for one in told.values() if one.is_result and one.is_readable]
    assert len(results) >= 20
    sound = [one for one in results if not look(one.path).faults]
    assert len(sound) >= 10


def test_the_objects_of_other_programs_survive_being_cut(shared_data, tmp_path):
    rng = np.random.default_rng(7)
    for path in objects_of(shared_data("seg_sr_objects")):
        content = path.read_bytes()
        for _ in range(2):
            (tmp_path / "cut.dcm").write_bytes(content[: int(rng.integers(1, len(content)))])
            look(tmp_path / "cut.dcm")
