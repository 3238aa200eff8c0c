"""The table of attributes: what a model may be told, value by value."""

from __future__ import annotations

import json
import math

import pytest

from secondread.deid.attributes import AGE_MAX_YEARS, RULES, confirm, permit
from secondread.domain.attributes import ATTRIBUTES
from secondread.domain.technical import SOURCES


def made(name, *values):
    return permit([name], {SOURCES[name]: values}).values.get(name)


def test_every_name_that_may_be_asked_for_has_a_rule_and_a_source():
    assert set(RULES) == set(SOURCES)
    assert set(SOURCES.values()) <= set(ATTRIBUTES)


def test_none_of_them_is_free_text_a_uid_or_a_date():
    words = ("Description", "UID", "Date", "Time", "Institution", "Name", "Station", "Protocol")
    times = {"EchoTime", "RepetitionTime", "InversionTime"}
    assert [n for n in RULES if n not in times and any(word in n for word in words)] == []


@pytest.mark.parametrize("age", range(121))
def test_an_age_is_in_whole_years_and_capped(age):
    expected = min(age, AGE_MAX_YEARS)
    assert made("PatientAge", float(age)) == expected
    assert made("PatientAge", age + 0.99) == expected
    assert isinstance(made("PatientAge", float(age)), int)


@pytest.mark.parametrize("age", [-1.0, 126.0, 999.0, math.nan, math.inf, "063Y", "63"])
def test_what_is_no_age_of_a_person_is_left_out(age):
    found = permit(["PatientAge"], {"PatientAge": (age,)})
    assert (found.values, found.left_out) == ({}, ("PatientAge",))


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("PatientSex", ("F",), "F"),
        ("PatientSex", (" m ",), "M"),
        ("PatientPosition", ("HFS",), "HFS"),
        ("Modality", ("CT",), "CT"),
        ("BodyPartExamined", ("HEAD",), "HEAD"),
        ("Laterality", ("L",), "L"),
        ("Manufacturer", ("SIEMENS",), "Siemens"),
        ("Manufacturer", ("Siemens Healthineers",), "Siemens"),
        ("Manufacturer", ("GE MEDICAL SYSTEMS",), "GE"),
        ("Manufacturer", ("Philips Medical Systems",), "Philips"),
        ("Manufacturer", ("UIH",), "United Imaging"),
        ("ConvolutionKernel", ("B30f",), "B30F"),
        ("ConvolutionKernel", ("I31f", "3"), "I31F"),
        ("ConvolutionKernel", ("Br40d", "2"), "BR40D"),
        ("ConvolutionKernel", ("FC52-H",), "FC52-H"),
        ("ConvolutionKernel", ("BONEPLUS",), "BONEPLUS"),
        ("KVP", (120.0,), 120),
        ("SliceThickness", (0.625,), 0.625),
        ("MagneticFieldStrength", (2.89362001,), 2.89),
        ("EchoTime", (2.4567,), 2.46),
        ("RepetitionTime", (2300.04,), 2300.0),
        ("FlipAngle", (9.0,), 9),
        ("DiffusionBValue", (1000.0,), 1000),
        ("MRAcquisitionType", ("3D",), "3D"),
        ("ScanningSequence", ("IR", "GR"), ("GR", "IR")),
        ("AcquisitionContrast", ("T2_STAR",), "T2_STAR"),
        ("ContrastGiven", ("Omnipaque 350, Mrs Quill",), True),
        ("ContrastGiven", ("none",), False),
        ("ContrastGiven", (), False),
    ],
)
def test_what_goes_through_and_how(name, values, expected):
    found = permit([name], {SOURCES[name]: values})
    assert found.values == {name: expected}
    assert found.left_out == ()
    assert type(found.values[name]) is type(expected)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("PatientSex", ("Frau Quill",)),
        ("PatientSex", ("M", "F")),
        ("PatientPosition", ("HFS for Dr Quill",)),
        ("Modality", ("SR",)),
        ("BodyPartExamined", ("QUILL",)),
        ("Laterality", ("B",)),
        ("Manufacturer", ("Quill Imaging",)),
        ("Manufacturer", ("Siemens", "Philips")),
        ("ConvolutionKernel", ("QUILL",)),
        ("ConvolutionKernel", ("B30f", "B70f")),
        ("ConvolutionKernel", ("3",)),
        ("ConvolutionKernel", ("X99z",)),
        ("ConvolutionKernel", ("B30f MRN8842317",)),
        ("KVP", (8842317.0,)),
        ("KVP", (120.0, 140.0)),
        ("SliceThickness", ("1.25",)),
        ("MagneticFieldStrength", (15000.0,)),
        ("EchoTime", (-1.0,)),
        ("ScanningSequence", ("QUILL",)),
        ("MRAcquisitionType", ("2D", "3D")),
    ],
)
def test_what_stays_out_is_told_by_name_alone(name, values):
    found = permit([name], {SOURCES[name]: values})
    assert (found.values, found.left_out) == ({}, (name,))


def test_of_several_terms_those_that_are_known_go_in_an_order_of_their_own():
    found = permit(["ScanOptions"], {"ScanOptions": ("SFS", "FS", "QUILL", "FC")})
    assert found.values == {"ScanOptions": ("FC", "FS")}
    assert found.left_out == ("ScanOptions",)


def test_only_what_was_asked_for_is_told_and_what_is_absent_is_no_fault():
    headers = {"PatientAge": (40.0,), "PatientSex": ("F",), "StudyDescription": ("for Quill",)}
    found = permit(["PatientAge", "KVP", "PatientAge"], headers)
    assert (dict(found.values), found.left_out) == ({"PatientAge": 40}, ())


def test_a_name_that_is_not_in_the_table_cannot_be_asked_for():
    with pytest.raises(KeyError):
        permit(["StudyDescription"], {"StudyDescription": ("for Quill",)})


def test_what_was_permitted_survives_the_disk():
    found = permit(
        ["PatientAge", "ScanningSequence", "SliceThickness", "ContrastGiven", "Manufacturer"],
        {
            "PatientAge": (99.0,),
            "ScanningSequence": ("GR", "IR"),
            "SliceThickness": (1.0,),
            "Manufacturer": ("FUJIFILM Corporation",),
        },
    )
    assert confirm(json.loads(json.dumps(dict(found.values)))) == found.values


@pytest.mark.parametrize(
    "values",
    [
        {"PatientName": "Quill"},
        {"PatientAge": 91},
        {"PatientAge": 40.5},
        {"PatientAge": True},
        {"PatientSex": "f"},
        {"PatientSex": ["F"]},
        {"Manufacturer": "SIEMENS Quill"},
        {"ScanningSequence": ["IR", "GR"]},
        {"ScanningSequence": []},
        {"ContrastGiven": "yes"},
        {"EchoTime": 2.4567},
        {"EchoTime": math.nan},
        {"EchoTime": {"a": 1}},
        {"KVP": None},
        {3: 4},
    ],
)
def test_what_no_rule_has_made_is_not_confirmed(values):
    with pytest.raises(ValueError, match="may not go") as caught:
        confirm(values)
    assert "Quill" not in str(caught.value)
