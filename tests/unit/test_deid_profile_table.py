"""The table of the profile is the standard's, in its newer edition."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import tag_for_keyword

from secondread.deid.profile import generate, table
from secondread.deid.profile.options import BASIC, PROFILES, RESEARCH, Dates, Profile
from secondread.deid.profile.rules import Does, RuleBook

OLDER, NEWER = "E1-1_2023b.csv", "E1-1_2024e_innolitics.csv"


@pytest.fixture(scope="module")
def editions(shared_data):
    folder = shared_data("standard_tables")
    return generate.read_edition(folder / OLDER), generate.read_edition(folder / NEWER)


def test_the_editions_differ_by_thirteen_rows_and_one_action(editions):
    older, newer = editions
    assert sorted(set(newer) - set(older)) == [
        "00120022",
        "00120023",
        "00120032",
        "00120041",
        "00120043",
        "00120055",
        "00120073",
        "00181204",
        "00181205",
        "3006002D",
        "3006002E",
        "3006004D",
        "3006004E",
    ]
    assert set(older) - set(newer) == set()
    changed = {
        tag: (older[tag].basic, newer[tag].basic)
        for tag in older
        if (older[tag].basic, older[tag].options) != (newer[tag].basic, newer[tag].options)
    }
    assert changed == {"00100020": ("Z", "Z/D")}


def test_the_committed_table_is_what_the_generator_makes(
    editions, shared_data, tmp_path, monkeypatch
):
    folder = shared_data("standard_tables")
    committed = (generate.HERE / "table.csv").read_text(encoding="utf-8")
    monkeypatch.setattr(generate, "HERE", tmp_path)
    assert generate.write_table(folder / OLDER, folder / NEWER) == len(editions[1])
    assert (tmp_path / "table.csv").read_text(encoding="utf-8") == committed


def test_every_row_is_of_an_attribute_and_has_a_known_action():
    rows = table.listed()
    assert len(rows) == 617
    assert set(rows) <= set(DicomDictionary)
    actions = {"X", "Z", "D", "U", "X/Z", "X/D", "Z/D", "X/Z/D", "X/Z/U*"}
    assert {row.basic for row in rows.values()} == actions
    assert {action for row in rows.values() for action in row.options.values()} == {"K", "C"}


def does(keyword, profile=BASIC, in_item=False):
    return RuleBook(profile).rule(tag_for_keyword(keyword), in_item).does


@pytest.mark.parametrize(
    ("keyword", "expected"),
    [
        ("PatientName", Does.PSEUDONYM),
        ("PatientID", Does.PSEUDONYM),
        ("PatientBirthDate", Does.EMPTY),
        ("PatientSex", Does.EMPTY),
        ("AccessionNumber", Does.EMPTY),
        ("OtherPatientIDs", Does.REMOVE),
        ("SOPInstanceUID", Does.UID),
        ("SOPClassUID", Does.UID),
        ("StudyDescription", Does.REMOVE),
        ("ContentSequence", Does.DUMMY),
        ("EncapsulatedDocument", Does.DOCUMENT),
        ("IconImageSequence", Does.REMOVE),
        ("OriginalAttributesSequence", Does.REMOVE),
        ("DigitalSignaturesSequence", Does.REMOVE),
        ("ReferencedImageSequence", Does.RECURSE),
        # Not listed: by what its value can be.
        ("Rows", Does.CHECK),
        ("ImageType", Does.CHECK),
        ("KVP", Does.CHECK),
        ("ConvolutionKernel", Does.CHECK),
        ("DetectorID", Does.REMOVE),
        ("ConceptNameCodeSequence", Does.RECURSE),
        ("PositionReferenceIndicator", Does.CHECK),
    ],
)
def test_the_basic_profile(keyword, expected):
    assert does(keyword) is expected


@pytest.mark.parametrize(
    ("keyword", "change", "expected"),
    [
        ("StudyDate", {"dates": Dates.SHIFTED}, Does.SHIFT),
        ("StudyDate", {"dates": Dates.FULL}, Does.DATE),
        ("PatientBirthDate", {"dates": Dates.FULL}, Does.EMPTY),
        ("DateOfInstallation", {"retain_device": True}, Does.REMOVE),
        ("DeviceSerialNumber", {"retain_device": True}, Does.KEEP),
        ("InstitutionName", {"retain_institution": True}, Does.KEEP),
        ("InstitutionalDepartmentTypeCodeSequence", {"retain_institution": True}, Does.RECURSE),
        ("PatientAge", {"retain_patient": True}, Does.AGE),
        ("EthnicGroup", {"retain_patient": True}, Does.WORDS),
        ("PatientWeight", {"retain_patient": True}, Does.CHECK),
        ("StudyDescription", {"clean_descriptors": True}, Does.WORDS),
        ("AdmittingDiagnosesCodeSequence", {"clean_descriptors": True}, Does.RECURSE),
        ("ContentSequence", {"clean_structured": True}, Does.RECURSE),
        ("GraphicAnnotationSequence", {"clean_graphics": True}, Does.RECURSE),
        ("ReferencedStudySequence", {"retain_uids": True}, Does.RECURSE),
        ("ReferencedStudySequence", {}, Does.REMOVE),
    ],
)
def test_an_option(keyword, change, expected):
    assert does(keyword, replace(BASIC, **change)) is expected


def test_an_attribute_that_an_item_must_have_is_only_emptied_there():
    assert does("ReferencedStudySequence") is Does.REMOVE
    assert does("StationName") is Does.REMOVE
    assert does("ReferencedStudySequence", in_item=True) is not Does.REMOVE


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
@pytest.mark.parametrize(
    "tag",
    [
        *(0x00090010, 0x00091001, 0x60003000, 0x60000022, 0x50003000),
        *(0x00080000, 0x00041130, 0xFFFCFFFC, 0x00187777, 0x00020016),
    ],
)
def test_what_always_goes(profile, tag):
    assert RuleBook(profile).rule(tag).does is Does.REMOVE


def test_the_codes_of_a_profile_say_what_it_does():
    assert list(BASIC.codes()) == [("113100", "Basic Application Confidentiality Profile")]
    assert [value for value, _ in RESEARCH.codes()] == [
        "113100",
        "113101",
        "113103",
        "113104",
        "113105",
        "113107",
        "113108",
    ]
    everything = Profile(**dict.fromkeys(_SWITCHES, True), dates=Dates.FULL)
    assert len(list(everything.codes())) == 11


_SWITCHES = [name for name in Profile.__dataclass_fields__ if name.startswith(("retain", "clean"))]


def test_texts_by_hand_are_of_attributes_and_match_no_name():
    assert len(table.technical_texts()) > 10
    for pattern in table.technical_texts().values():
        assert not pattern.fullmatch(b"SMITH")
        assert not pattern.fullmatch(b"Doe^John")
    assert not {b"SMITH", b"DOE", b"JOHN", b"MARIA"} & table.terms()
    assert not {"smith", "doe", "john", "maria", "miller"} & table.words()
