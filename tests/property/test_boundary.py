"""Whatever a header holds, nothing of it is in any byte that a model can see."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.datadict import DicomDictionary

from secondread.assembly.conditions import attributes_of
from secondread.assembly.series import read_study
from secondread.assembly.summary import summarize
from secondread.assembly.volume import read_volume
from secondread.deid import attributes
from secondread.deid.attributes import RULES, permit
from secondread.deid.boundary import prepare
from secondread.domain.technical import SOURCES
from secondread.domain.volume import Volume
from tests.planted.scanner import MARK, Scanner
from tests.slices import instance_of, make_series, put_raw, store_implicit

_TEXTS = frozenset("AE AS CS DA DS DT IS LO LT PN SH ST TM UC UI UR UT".split())
# What makes a series a volume; everything else in the header holds a token.
_GEOMETRY = frozenset(
    "SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID Modality "
    "ImagePositionPatient ImageOrientationPatient PixelSpacing ImageType InstanceNumber "
    "PhotometricInterpretation NumberOfFrames RescaleSlope RescaleIntercept SpecificCharacterSet "
    "PixelPresentation PixelPaddingRangeLimit".split()
)
_PLANTED = tuple(
    tag
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items()
    if vr in _TEXTS and keyword not in _GEOMETRY and tag >> 16 not in (0, 2, 0x7FE0, 0xFFFE)
)
_UID = "1.2.826.0.1.3680043.10.9999.77"


def received(folder, text):
    """A series with a token in every attribute that can hold text, and what its headers say."""
    datasets = make_series(3, StudyInstanceUID=f"{_UID}.1", FrameOfReferenceUID=f"{_UID}.2")
    instances = []
    for dataset in datasets:
        for number, tag in enumerate(_PLANTED):
            put_raw(dataset, tag, f"{text}{MARK}{number:06d}")
        put_raw(dataset, 0x00091001, f"{text}{MARK}999999")
        instances.append(instance_of(store_implicit(dataset, folder), dataset))
    series = read_study(instances, folder)[0]
    summary = summarize(series)
    return read_volume(instances, folder), attributes_of(summary, summary.parts[0])


@pytest.mark.parametrize("text", ["", "GE ", "M\\", "B30F\\", "HEAD\\", "120\\", "063Y\\"])
def test_no_token_of_any_attribute_goes_through(tmp_path, text):
    spool = tmp_path / "spool"
    spool.mkdir()
    volume, said = received(spool, text)
    told = permit(SOURCES, said)
    prepare(volume, tmp_path / "work" / "k", told, "MR")
    scanner = Scanner(dates=False)
    assert len(list((tmp_path / "work").rglob("*.dcm"))) == 3
    assert scanner.scan_folder(tmp_path / "work") == {}
    assert not scanner.scan(repr(told).encode())
    # The control: what came in is full of them, and the headers were looked at.
    assert len(scanner.scan_folder(spool)) == 3
    assert scanner.scan(repr(said).encode())


def test_one_rule_that_copies_would_be_seen(tmp_path, monkeypatch):
    rules = {**RULES, "Manufacturer": lambda found: found[0] if found else None}
    monkeypatch.setattr(attributes, "RULES", rules)
    spool = tmp_path / "spool"
    spool.mkdir()
    volume, said = received(spool, "")
    prepare(volume, tmp_path / "work" / "k", permit(SOURCES, said), "MR")
    found = Scanner(dates=False).scan_folder(tmp_path / "work")
    assert {Path(name).suffix for name in found} == {".json", ".dcm"}


_ANYTHING = st.one_of(
    st.text(min_size=1, max_size=24),
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-(10**9), 10**9).map(float),
    st.sampled_from(["M", "F", "HEAD", "B30f", "SIEMENS", "GR", "063Y", "none", "3D", "GE"]),
)
_HEADERS = st.dictionaries(
    st.sampled_from(sorted(set(SOURCES.values()))), st.lists(_ANYTHING, max_size=4).map(tuple)
)


@given(said=_HEADERS, token=st.text(st.characters(codec="utf-8"), min_size=5, max_size=16))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_value_is_of_a_closed_set_whatever_was_said(said, token):
    planted = {keyword: (*values, token) for keyword, values in said.items()}
    for headers in (said, planted):
        told = permit(SOURCES, headers)
        for name, value in told.values.items():
            assert type(value) in {bool, int, float, str, tuple}
            # A rule that is given what it made makes it again: there is nothing in it but a choice.
            if name != "ContrastGiven":
                again = value if isinstance(value, tuple) else (value,)
                assert RULES[name](again) == value
        assert set(told.left_out) <= set(SOURCES)


@given(
    marks=st.lists(st.integers(10**7, 10**9 - 1), min_size=3, max_size=3, unique=True),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)),
)
@settings(max_examples=40, deadline=None)
def test_no_digits_of_a_position_or_of_a_number_go_through(marks, shape):
    affine = np.diag([2.5, 0.75, 0.5, 1.0])
    affine[:3, 3] = [mark / 10**5 for mark in marks]
    said = {
        "KVP": (120 + marks[0] / 10**10,),
        "SliceThickness": (1 + marks[1] / 10**10,),
        "EchoTime": (3 + marks[2] / 10**10,),
        "MagneticFieldStrength": (1.5 + marks[0] / 10**11,),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "k"
        volume = Volume(np.zeros(shape, np.int16), affine, ())
        prepare(volume, folder, permit(said, said), "MR")
        texts = [path.read_text() for path in folder.glob("*.json")]
        for path in folder.rglob("*.dcm"):
            dataset = pydicom.dcmread(path)
            # Random UIDs may hold any digits.
            texts += [str(element.value) for element in dataset if element.VR != "UI"]
        content = "\n".join(texts)
    for mark in marks:
        assert str(mark)[:6] not in content
        assert str(mark / 10**5) not in content
