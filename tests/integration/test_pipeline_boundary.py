"""From received files to what a model is told: the stages ask the manifest, and only it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pydicom
import pytest

from secondread.domain.engine import Finished
from secondread.domain.states import JobState
from secondread.pipeline.infer import Infer
from secondread.pipeline.prepare import Prepare
from secondread.pipeline.write import Write
from tests.house import House, StillClock
from tests.planted.scanner import MARK, Scanner

SAID = {
    "PatientName": f"{MARK}^Zebedee",
    "PatientID": f"{MARK}-8842317",
    "PatientAge": "097Y",
    "PatientSex": "F",
    "AccessionNumber": f"{MARK}551",
    "StudyDescription": f"for Dr {MARK}",
    "Manufacturer": f"SIEMENS {MARK}",
    "MagneticFieldStrength": "2.89362",
    "ScanningSequence": ["GR", "IR"],
    "BodyPartExamined": "HEAD",
    "KVP": "99999",
}


def written(folder: Path, acquisition: Any, **changes: Any) -> list[Path]:
    """The acquisition with more in its headers."""
    folder.mkdir(exist_ok=True)
    paths = []
    for path in acquisition.paths:
        dataset = pydicom.dcmread(path)
        for keyword, value in {**SAID, **changes}.items():
            setattr(dataset, keyword, value)
        paths.append(folder / path.name)
        dataset.save_as(paths[-1])
    return paths


def asking(house: House, **wanted: Any) -> House:
    """The house with a manifest that asks for this."""
    manifests = {
        name: replace(manifest, input=replace(manifest.input, **wanted))
        for name, manifest in house.place.manifests.items()
    }
    house.place = replace(house.place, manifests=MappingProxyType(manifests))
    house.infer = Infer(house.place, house.engine)
    return house


@pytest.fixture
def make_house(tmp_path: Path, head_series: Callable[..., Any]) -> Callable[..., House]:
    """``make_house(**header)`` is a house with one planned study."""

    def make(**changes: Any) -> House:
        house = House(tmp_path / "data", StillClock())
        house.receive(written(tmp_path / "in", head_series("axial"), **changes))
        house.assemble()
        return house

    return make


ASKED = ("PatientAge", "PatientSex", "Manufacturer", "KVP", "ScanningSequence", "ContrastGiven")
TOLD = {
    "PatientAge": 90,
    "PatientSex": "F",
    "Manufacturer": "Siemens",
    "ScanningSequence": ("GR", "IR"),
    "ContrastGiven": False,
}


def test_a_model_is_told_what_its_manifest_asks_for(make_house: Callable[..., House]) -> None:
    house = asking(make_house(), attributes=ASKED)
    assert Prepare(house.place).step()
    assert house.infer.step()
    assert house.engine.tasks[-1].attributes == TOLD
    with house.place.ledger.read() as view:
        row = next(row for row in view.trail.of_study(1) if row.after == "prepared")
    assert "KVP" in row.text
    assert row.detail == {"told": sorted(TOLD), "left_out": ["KVP"]}
    assert "99999" not in repr(row)
    assert "SIEMENS" not in repr(row)


def test_a_model_that_asks_for_nothing_is_told_nothing(make_house: Callable[..., House]) -> None:
    house = make_house()
    assert Prepare(house.place).step()
    assert house.infer.step()
    task = house.engine.tasks[-1]
    assert (dict(task.attributes), task.images_folder) == ({}, "")


def test_headers_are_read_again_where_the_series_has_grown(
    make_house: Callable[..., House],
) -> None:
    house = asking(make_house(), attributes=ASKED)
    with house.place.ledger.begin() as change:
        change.series.replace(1, ())
    assert Prepare(house.place).step()
    assert house.infer.step()
    assert house.engine.tasks[-1].attributes == TOLD


def test_nothing_of_the_headers_is_in_what_a_worker_could_reach(
    make_house: Callable[..., House],
) -> None:
    house = asking(make_house(), attributes=ASKED, form="dicom")
    assert Prepare(house.place).step()
    assert house.infer.step()
    task, folder = house.engine.tasks[-1], house.place.spool.work / house.job.key
    assert task.images_folder == str(folder / "images")
    scanner = Scanner()
    assert scanner.scan_folder(folder) == {}
    assert not scanner.scan(repr(replace(task, model_folder="")).encode())
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    with house.place.ledger.read() as view:
        study = view.studies.get(1).study_instance_uid
        known = {study, *view.jobs.sources(house.job.id)}
    assert [uid for uid in known if uid.encode() in content] == []
    # The control: in what was received they are.
    assert scanner.scan_folder(house.place.spool.root)


def test_a_result_comes_home_to_the_place_that_the_model_never_knew(
    make_house: Callable[..., House], head_series: Callable[..., Any]
) -> None:
    house = make_house()
    source = head_series("axial")
    assert Prepare(house.place).step()
    assert house.infer.step()
    told = np.array(house.engine.tasks[-1].affine_lps)
    house.engine.outcomes.append(Finished(house.answer(), "", (), 0.1))
    assert house.infer.collect(0)
    assert Write(house.place).step()
    assert house.job.state is JobState.WRITTEN
    results = house.place.spool.results / house.job.key
    found = next(
        dataset
        for dataset in map(pydicom.dcmread, sorted(results.glob("*.dcm")))
        if dataset.Modality == "SEG"
    )
    places = {
        tuple(map(float, frame.PlanePositionSequence[0].ImagePositionPatient))
        for frame in found.PerFrameFunctionalGroupsSequence
    }
    slices = {tuple(np.round((source.affine_lps @ [index, 0, 0, 1])[:3], 6)) for index in range(24)}
    assert {tuple(np.round(place, 6)) for place in places} <= slices
    np.testing.assert_allclose(told[:3, :3], source.affine_lps[:3, :3])
