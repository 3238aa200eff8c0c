"""The main job: a study leaves a scanner, and SEG and SR arrive in a PACS."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from secondread.domain.states import StudyState
from secondread.results.reading.segmentation import read_segmentation
from secondread.store import Ledger

from .conftest import RunningNode

pytestmark = pytest.mark.acceptance

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
SR = "1.2.840.10008.5.1.4.1.1.88.34"


def held(pacs: Any, folder: Path) -> dict[str, Path]:
    """The result files that a PACS holds, by SOP Class UID; fails where one is there twice."""
    found: dict[str, Path] = {}
    for path in pacs.export(folder):
        sop_class = str(dcmread(path, stop_before_pixels=True).SOPClassUID)
        assert sop_class not in found
        found[sop_class] = path
    return found


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal", "oblique"])
def test_mask_arrives_on_the_right_voxels(
    plane: str,
    start_node: Callable[..., RunningNode],
    small_pacs: Callable[..., Any],
    head_series: Callable[..., Any],
    tmp_path: Path,
) -> None:
    pacs = small_pacs()
    node = start_node(pacs)
    series = head_series(plane)
    node.send(series.folder)
    assert node.wait_until_ended() == [StudyState.DONE]
    results = held(pacs, tmp_path / "pacs")
    assert set(results) == {SEG, SR}

    expected = np.zeros(series.voxels.shape, np.uint8)
    expected[(series.voxels >= 400) & (series.voxels < 700)] = 1
    expected[series.voxels >= 700] = 2
    found = read_segmentation(results[SEG])
    assert mask_in_patient_space(found.labels, found.affine_lps) == mask_in_patient_space(
        expected, series.affine_lps
    )


def mask_in_patient_space(labels: Any, affine_lps: Any) -> set[tuple[int, int, int, int]]:
    """(label, x, y, z) of every labelled voxel, in tenths of a millimetre."""
    at = np.argwhere(labels > 0)
    places = np.round((at @ affine_lps[:3, :3].T + affine_lps[:3, 3]) * 10).astype(int)
    values = labels[tuple(at.T)]
    return {(int(v), *map(int, place)) for v, place in zip(values, places, strict=True)}


def test_real_pacs_and_real_senders(
    start_node: Callable[..., RunningNode],
    orthanc: Callable[..., Any],
    head_series: Callable[..., Any],
    dcmtk: Callable[[str], str],
    installed_program: Callable[[str, str], str],
    tmp_path: Path,
) -> None:
    pacs = orthanc()
    node = start_node(pacs)
    series = head_series("axial")
    place = ["-aet", "CT1", "-aec", "SECONDREAD", "127.0.0.1", str(node.port)]
    files = [str(path) for path in series.paths]
    half = len(files) // 2
    subprocess.run([dcmtk("storescu"), *place, *files[:half]], check=True, timeout=60)
    subprocess.run([dcmtk("dcmsend"), *place, *files[half:]], check=True, timeout=60)
    assert node.wait_until_ended() == [StudyState.DONE]
    results = held(pacs, tmp_path / "pacs")
    assert set(results) == {SEG, SR}
    for path in results.values():
        checked = subprocess.run(
            [installed_program("dciodvfy", "dicom3tools"), "-new", str(path)],
            capture_output=True,
            text=True,
        )
        assert "Error" not in checked.stderr + checked.stdout
    source, seg = dcmread(files[0]), dcmread(results[SEG])
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert seg[keyword].value == source[keyword].value

    story = node.command("study", "show", "1")
    assert story["study"]["state"] == "done"
    assert "CT1" not in node.log.read_text()
    assert str(source.PatientName) not in node.log.read_text()
    assert str(source.StudyInstanceUID) not in node.log.read_text()


def test_two_studies_at_once_stay_apart(
    start_node: Callable[..., RunningNode],
    small_pacs: Callable[..., Any],
    head_series: Callable[..., Any],
    tmp_path: Path,
) -> None:
    pacs = small_pacs()
    node = start_node(pacs)
    patients = {}
    for number in (1, 2):
        name = f"Patient^{number}"
        series = head_series("axial", seed=f"patient {number}", patient_name=name)
        patients[str(dcmread(series.paths[0]).StudyInstanceUID)] = name
        node.send(series.folder)
    assert node.wait_until_ended(2) == [StudyState.DONE] * 2
    found = [dcmread(path) for path in pacs.export(tmp_path / "pacs")]
    assert len(found) == 4
    assert {(str(d.StudyInstanceUID), str(d.PatientName)) for d in found} == set(patients.items())


def test_study_that_is_not_analysed_says_why(
    start_node: Callable[..., RunningNode],
    small_pacs: Callable[..., Any],
    head_series: Callable[..., Any],
    tmp_path: Path,
) -> None:
    pacs = small_pacs()
    node = start_node(pacs)
    series = head_series("axial")
    series.paths[7].unlink()
    node.send(series.folder)
    assert node.wait_until_ended() == [StudyState.DONE]
    results = held(pacs, tmp_path / "pacs")
    assert set(results) == {SR}
    with Ledger.open(node.data_dir).read() as view:
        (job,) = view.jobs.of_study(1)
        assert job.outcome == "not analysed"
        assert "missing" in job.reason
    report = dcmread(results[SR])
    texts = [str(element.value) for element in report.iterall() if element.VR == "UT"]
    assert any("missing" in text for text in texts)


def test_study_that_no_rule_wants_is_an_answer(
    start_node: Callable[..., RunningNode],
    small_pacs: Callable[..., Any],
    head_series: Callable[..., Any],
) -> None:
    node = start_node(small_pacs())
    node.send(head_series("axial", modality="CT", body_part="FOOT").folder)
    node.wait_until_ended()
    story = node.command("study", "show", "1")
    assert story["study"]["reason"]


def test_same_study_again_gives_nothing_new(
    start_node: Callable[..., RunningNode],
    small_pacs: Callable[..., Any],
    head_series: Callable[..., Any],
    tmp_path: Path,
) -> None:
    pacs = small_pacs()
    node = start_node(pacs)
    series = head_series("axial")
    for _ in range(2):
        node.send(series.folder)
        assert node.wait_until_ended() == [StudyState.DONE]
    with Ledger.open(node.data_dir).read() as view:
        assert len(view.jobs.of_study(1)) == 1
    assert set(held(pacs, tmp_path / "pacs")) == {SEG, SR}
