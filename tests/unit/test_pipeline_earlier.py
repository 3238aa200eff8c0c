"""Who a study is about is read without touching what results take over byte for byte."""

from __future__ import annotations

from types import SimpleNamespace

import pydicom
from pydicom.dataelem import RawDataElement

from secondread.pipeline.earlier import mark_patient
from tests.slices import make_slice, store


def test_reading_whose_images_they_are_converts_nothing(tmp_path):
    dataset = make_slice([[1, 2], [3, 4]], (0, 0, 0), PatientID=" P 0  ", PatientName="A^B")
    header = pydicom.dcmread(store(dataset, tmp_path), stop_before_pixels=True)
    place = SimpleNamespace(spool=SimpleNamespace(root=tmp_path))
    mark = mark_patient(place, header)
    assert mark
    kept = header.get_item("PatientID")
    assert isinstance(kept, RawDataElement)
    assert kept.value == b" P 0  "
    other = pydicom.dcmread(
        store(make_slice([[1, 2], [3, 4]], (0, 0, 0), 2, PatientID="P 1"), tmp_path)
    )
    assert mark_patient(place, other) != mark
