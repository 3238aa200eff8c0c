"""The bench of the sender sends what it says, with both senders, and counts what arrived."""

from __future__ import annotations

import dataclasses
import shutil

import pydicom
import pytest

from tests.bench import delivery
from tests.bench.delivery import PARTS, measure, write_objects
from tests.bench.receivers import BenchError, MissingProgramError


def few(name, objects=3):
    return dataclasses.replace(PARTS[name], objects=objects, shape=(2, 10, 10))


def test_objects_are_dicom_files_that_differ(tmp_path):
    paths = write_objects(few("large"), tmp_path / "large")
    found = [pydicom.dcmread(path) for path in paths]
    assert {one.SOPClassUID.name for one in found} == {"Segmentation Storage"}
    assert len({one.SOPInstanceUID for one in found}) == 3
    assert len({one.PixelData for one in found}) == 3
    assert all(one.pixel_array.shape == (2, 10, 10) for one in found)


@pytest.mark.parametrize("name", PARTS)
def test_both_senders_are_measured(tmp_path, name):
    for program in ("storescp", "dcmsend"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program}: install the package dcmtk")
    line = measure(name, few(name), 2, tmp_path)
    assert line["value"] > 0
    assert line["against"] != 0
    assert line["goal"] == f">= {0.4 if name == 'whole' else 0.9} x dcmsend"
    assert line["runs"] == 2


def test_an_object_that_does_not_arrive_is_an_error(tmp_path, monkeypatch):
    if shutil.which("storescp") is None:
        pytest.skip("no storescp: install the package dcmtk")

    def send_some(receiver, paths, nodelay):
        return delivery.send_ours(receiver, paths[:2], nodelay)

    monkeypatch.setattr(delivery, "_SENDERS", {delivery.OURS: send_some})
    line = measure("small", few("small"), 1, tmp_path)
    assert line["error"] == "BenchError: 3 objects were sent, 2 files are there."
    assert line["holds"] is False


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (MissingProgramError("dcmtk"), {"skipped": "install the package dcmtk", "holds": None}),
        (BenchError("No."), {"error": "BenchError: No.", "holds": False}),
    ],
)
def test_what_was_not_measured_does_not_hold(tmp_path, monkeypatch, fault, told):
    def fail(*_):
        raise fault

    monkeypatch.setattr(delivery, "take_turn", fail)
    line = measure("small", few("small"), 1, tmp_path)
    assert told.items() <= line.items()
