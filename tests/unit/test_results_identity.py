from __future__ import annotations

from dataclasses import replace

import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from secondread.errors import GateError
from secondread.results.analysis import Analysis
from secondread.results.identity import find_differences
from secondread.results.write import write_refusal, write_results
from tests.result_cases import make_case

NAMES = {
    "ISO_IR 100": "Äneas^Rüdiger",
    "ISO_IR 144": "Люкceмбypг",
    "ISO_IR 192": "Wang^XiaoDong=王^小東",
    "\\ISO 2022 IR 87": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "GB18030": "Wang^XiaoDong=王^小东",
}


@pytest.mark.parametrize("character_set", NAMES, ids=lambda name: name.strip("\\"))
def test_names_survive_in_the_sources_own_character_set(tmp_path, character_set):
    case = make_case(tmp_path / "series")
    paths = []
    for path in case.paths:
        header = pydicom.dcmread(path)
        header.SpecificCharacterSet = character_set.split("\\")
        header.PatientName = NAMES[character_set]
        header.save_as(path)
        paths.append(path)
    headers = tuple(pydicom.dcmread(path, stop_before_pixels=True) for path in paths)
    context = replace(case.context, sources=headers)
    for item in write_results(context, Analysis(case.labels), tmp_path):
        found = pydicom.dcmread(tmp_path / item.path)
        assert str(found.PatientName) == NAMES[character_set]
        assert found.SpecificCharacterSet == headers[0].SpecificCharacterSet


def test_text_goes_over_byte_for_byte(tmp_path):
    # By what pydicom writes, and what a scanner wrote: padding, and a name that is not UTF-8.
    written = {
        "PatientName": ("AAAAAAAAAA", b"M\xfcller^A\xff "),
        "PatientID": ("BBBBBBBB", b"  P 10  "),
        "PatientComments": ("CCCCCC", b"Head\0\0"),
        "IssuerOfPatientID": ("DDDDDD", b"ward  "),
    }
    case = make_case(tmp_path / "series")
    for path in case.paths:
        header = pydicom.dcmread(path)
        header.SpecificCharacterSet = "ISO_IR 192"
        for keyword, (stand_in, _) in written.items():
            setattr(header, keyword, stand_in)
        header.save_as(path)
        content = path.read_bytes()
        for stand_in, value in written.values():
            content = content.replace(stand_in.encode(), value)
        path.write_bytes(content)
    headers = tuple(pydicom.dcmread(path, stop_before_pixels=True) for path in case.paths)
    context = replace(case.context, sources=headers)
    for item in write_results(context, Analysis(case.labels), tmp_path):
        found = pydicom.dcmread(tmp_path / item.path)
        for keyword, (_, value) in written.items():
            element = found.get_item(keyword)
            assert isinstance(element, RawDataElement)
            assert element.value == value


def test_patient_and_study_are_copied_with_what_is_nested_in_them(tmp_path):
    case = make_case(tmp_path / "series")
    other = Dataset()
    other.PatientID, other.IssuerOfPatientID, other.TypeOfPatientID = "X-7", "CITY", "TEXT"
    for header in case.context.sources:
        header.OtherPatientIDsSequence = [other]
        header.PatientAge, header.PatientWeight = "053Y", "71.25"
        header.ClinicalTrialSponsorName = "Nobody"
        header.PatientSex = "O"
    for item in write_results(case.context, Analysis(case.labels), tmp_path):
        found = pydicom.dcmread(tmp_path / item.path)
        assert found.OtherPatientIDsSequence[0].PatientID == "X-7"
        assert (found.PatientAge, float(found.PatientWeight)) == ("053Y", 71.25)
        assert found.ClinicalTrialSponsorName == "Nobody"
        assert find_differences(case.context.reference, found) == ()


def test_what_type_2_asks_for_and_the_source_lacks_is_empty(tmp_path):
    case = make_case(tmp_path / "series")
    for header in case.context.sources:
        for keyword in ("PatientName", "PatientSex", "AccessionNumber", "StudyTime", "StudyID"):
            del header[keyword]
    (made,) = write_refusal(replace(case.context, volume=None), "No.", tmp_path)
    found = pydicom.dcmread(tmp_path / made.path)
    for keyword in ("PatientName", "PatientSex", "AccessionNumber", "StudyTime", "StudyID"):
        assert keyword in found
        assert found[keyword].is_empty


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_a_sex_that_dicom_does_not_know_is_copied_and_not_corrected(tmp_path):
    case = make_case(tmp_path / "series")
    for header in case.context.sources:
        header.PatientSex = "U"
    (made,) = write_refusal(replace(case.context, volume=None), "No.", tmp_path)
    assert pydicom.dcmread(tmp_path / made.path).PatientSex == "U"


def test_a_difference_is_named_without_its_value(tmp_path):
    case = make_case(tmp_path / "series")
    other = Dataset()
    other.update(case.context.reference)
    other.PatientID = "SOMEBODY-ELSE"
    assert find_differences(case.context.reference, other) == ("PatientID",)
    assert issubclass(GateError, Exception)
