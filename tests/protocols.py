"""Studies as scanners send them, as tables: what their series are and what becomes of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from secondread.domain.series import SeriesSummary
from tests.summaries import (
    DOSE_REPORT,
    ENHANCED_MR,
    REPORT,
    SECONDARY,
    SEGMENTATION,
    broken,
    part,
    series,
)

SIZES = """
min_slices = 10
max_slices = 2000
min_spacing_mm = 0.2
max_spacing_mm = 8.0
min_extent_mm = 80.0
"""
CT_HEAD = f"""
modality = ["CT"]
body_part = ["HEAD", "BRAIN"]
plane = ["axial"]
{SIZES}
[[forbidden]]
attribute = "ConvolutionKernel"
matches = "(?i)bone|^H[67]"
[[preferred]]
attribute = "SliceSpacing"
to = 1.5
"""
MR_T1 = f"""
modality = ["MR"]
{SIZES}
[[required]]
attribute = "EchoTime"
to = 30
[[forbidden]]
attribute = "DiffusionBValue"
from = 1
[[preferred]]
attribute = "ContrastBolusAgent"
present = false
[[preferred]]
attribute = "MRAcquisitionType"
is = "3D"
"""
CT_LIVER = f"""
modality = ["CT"]
body_part = ["ABDOMEN", "LIVER"]
{SIZES}
[[required]]
attribute = "ContrastBolusAgent"
present = true
[[preferred]]
attribute = "SeriesDescription"
matches = "(?i)venous|portal"
[[preferred]]
attribute = "AcquisitionNumber"
from = 3
"""


@dataclass(frozen=True)
class Protocol:
    """A study and what becomes of it; keys are series numbers, or (series number, part)."""

    model: str
    study: Sequence[SeriesSummary]
    chosen: int | tuple[int, str] | None
    reasons: Mapping[int | tuple[int, str], str]
    when: str = ""


def head_ct(number, slices, spacing_mm, kernel, **attributes):
    shape = part(slices=slices, spacing_mm=(spacing_mm, 0.45, 0.45))
    said = {"BodyPartExamined": "HEAD", "ConvolutionKernel": kernel, **attributes}
    return series(number, shape, **said)


SCOUT = series(
    1, part(slices=2, spacing_mm=(400.0, 1.0, 1.0)), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
)
DOSE = series(999, images=False, Modality="SR", SOPClassUID=DOSE_REPORT, ImageType=None)
SCREEN = series(
    502,
    part(slices=1),
    SOPClassUID=SECONDARY,
    ImageType=["DERIVED", "SECONDARY", "SCREEN SAVE"],
    BurnedInAnnotation="YES",
)
OUR_MASK = series(
    7001, images=False, Modality="SEG", SOPClassUID=SEGMENTATION, ImageType=["DERIVED", "PRIMARY"]
)
OUR_REPORT = series(7002, images=False, Modality="SR", SOPClassUID=REPORT, ImageType=None)


def head_mr(number, description, echo_time, kind="2D", slices=24, spacing_mm=5.0, **attributes):
    shape = part(slices=slices, spacing_mm=(spacing_mm, 0.9, 0.9))
    shape = attributes.pop("shape", shape)
    said = {"SeriesDescription": description, "EchoTime": echo_time, "MRAcquisitionType": kind}
    return series(number, shape, **{"Modality": "MR", **said, **attributes})


MR_HEAD = (
    head_mr(
        1,
        "localizer",
        5,
        shape=broken("mixed-orientations", "Its images lie in 3 different orientations.", slices=9),
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
    ),
    head_mr(2, "t1_mprage_sag", 3, "3D", 176, 1.0),
    head_mr(3, "t2_flair", 90),
    head_mr(4, "t2_tse", 100),
    head_mr(
        5,
        "ep2d_diff",
        89,
        shape=(
            part("DiffusionBValue 0", attributes={"DiffusionBValue": 0}),
            part("DiffusionBValue 1000", attributes={"DiffusionBValue": 1000}),
        ),
        DiffusionBValue=[0, 1000],
    ),
    head_mr(6, "ep2d_diff_ADC", 89, ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]),
    head_mr(7, "t1_se_tra", 12),
    head_mr(8, "t1_mprage_sag km", 3, "3D", 192, 0.9, ContrastBolusAgent="Gadovist"),
    head_mr(
        9, "MPR tra", 3, "3D", 200, 0.8, ImageType=["DERIVED", "SECONDARY", "MPR", "CSA MPR", "M"]
    ),
    head_mr(10, "tof MIP", 4, "3D", 60, 3.0, ImageType=["DERIVED", "SECONDARY", "MIP", "M"]),
)
MR_HEAD_REASONS = {
    1: "It is a localizer.",
    3: "Its EchoTime is 90, not 30 or less.",
    4: "Its EchoTime is 100, not 30 or less.",
    (5, "DiffusionBValue 0"): "Its EchoTime is 89, not 30 or less.",
    (5, "DiffusionBValue 1000"): "Its EchoTime is 89, not 30 or less.",
    6: "It was made from other images (its Image Type holds DERIVED).",
    7: "Suitable, another is better (its MRAcquisitionType is 2D, not 3D): 24 slices",
    8: "Suitable, another is better (its ContrastBolusAgent is present): 192 slices",
    9: "It was made from other images (its Image Type holds DERIVED).",
    10: "It is a projection.",
}


def phase(number, description, acquisition, agent="Iomeron", slices=80, spacing_mm=3.0):
    return series(
        number,
        part(slices=slices, spacing_mm=(spacing_mm, 0.7, 0.7)),
        BodyPartExamined="ABDOMEN",
        SeriesDescription=description,
        AcquisitionNumber=acquisition,
        ContrastBolusAgent=agent,
    )


def echoes(outcome_of_second=""):
    second = {"name": "EchoTime 60", "attributes": {"EchoTime": 60}}
    return series(
        11,
        (
            part("EchoTime 10", 40, (3.0, 0.9, 0.9), {"EchoTime": 10}),
            broken(outcome_of_second, "One slice is missing.", **second)
            if outcome_of_second
            else part(slices=40, spacing_mm=(3.0, 0.9, 0.9), **second),
        ),
        Modality="MR",
        SOPClassUID=ENHANCED_MR,
        ImageType=["ORIGINAL", "PRIMARY", "T1", "NONE"],
        EchoTime=[10, 60],
    )


PROTOCOLS = {
    "head CT: the thin soft-tissue kernel": Protocol(
        CT_HEAD,
        (
            SCOUT,
            head_ct(2, 32, 5.0, "H31s"),
            head_ct(3, 160, 1.0, "H31s"),
            head_ct(4, 160, 1.0, "H60s"),
            head_ct(5, 40, 4.0, "BONEPLUS"),
            SCREEN,
            DOSE,
        ),
        3,
        {
            1: "It is a localizer.",
            2: "Suitable, another is better (its SliceSpacing is 5, not 1.5 or less): 32 slices",
            4: "Its ConvolutionKernel matches '(?i)bone|^H[67]', which the model does not take.",
            5: "Its ConvolutionKernel matches",
            502: "It is a secondary capture.",
            999: "It holds no images (SR).",
        },
    ),
    "head CT: the thick one where the thin one has a hole": Protocol(
        CT_HEAD,
        (
            head_ct(2, 32, 5.0, "H31s"),
            series(
                3,
                broken("missing-slices", "One slice is missing: between image 4 and image 6."),
                BodyPartExamined="HEAD",
            ),
            head_ct(4, 200, 1.0, "H31s", BodyPartExamined="CHEST"),
        ),
        2,
        {
            3: "One slice is missing: between image 4 and image 6.",
            4: "Its body part is CHEST; the model takes BRAIN or HEAD.",
        },
    ),
    "head CT: reformats lie in another plane": Protocol(
        CT_HEAD,
        (
            head_ct(2, 32, 5.0, "H31s"),
            series(3, part(slices=60, plane="coronal"), BodyPartExamined="HEAD"),
            series(4, part(slices=60, plane="oblique"), BodyPartExamined="HEAD"),
        ),
        2,
        {
            3: "Its slices are coronal; the model takes axial ones.",
            4: "Its slices are oblique; the model takes axial ones.",
        },
    ),
    "head MR: T1 without contrast, 3D": Protocol(MR_T1, MR_HEAD, 2, MR_HEAD_REASONS),
    "head MR: with reformats allowed, the sharpest of them": Protocol(
        "allow_derived = true\n" + MR_T1,
        MR_HEAD,
        9,
        {
            **{number: reason for number, reason in MR_HEAD_REASONS.items() if number != 9},
            2: "Suitable, another is better (it has fewer slices): 176 slices",
            6: "Its EchoTime is 89, not 30 or less.",
        },
    ),
    "head MR: T1 with contrast where there is no other": Protocol(
        MR_T1,
        MR_HEAD[7:],
        8,
        {n: MR_HEAD_REASONS[n] for n in (9, 10)},
    ),
    "liver CT: the venous phase": Protocol(
        CT_LIVER,
        (
            phase(2, "nativ", 1, None),
            phase(3, "arteriell", 2),
            phase(4, "Venous 3.0", 3),
            phase(5, "late", 4, slices=120, spacing_mm=2.0),
        ),
        4,
        {
            2: "Its ContrastBolusAgent is absent.",
            3: "Suitable, another is better (its SeriesDescription does not match "
            "'(?i)venous|portal'): 80 slices",
            5: "Suitable, another is better (its SeriesDescription does not match",
        },
    ),
    "liver CT: without words for it, the later acquisition": Protocol(
        CT_LIVER,
        (phase(3, "1", 2, slices=120, spacing_mm=2.0), phase(4, "2", 3)),
        4,
        {3: "Suitable, another is better (its AcquisitionNumber is 2, not 3 or more)"},
    ),
    "liver CT: both phases in one series": Protocol(
        CT_LIVER,
        (
            series(
                3,
                (
                    part("AcquisitionNumber 2", 80, (3.0, 0.7, 0.7), {"AcquisitionNumber": 2}),
                    part("AcquisitionNumber 3", 80, (3.0, 0.7, 0.7), {"AcquisitionNumber": 3}),
                ),
                BodyPartExamined="ABDOMEN",
                ContrastBolusAgent="Iomeron",
                AcquisitionNumber=[2, 3],
            ),
        ),
        (3, "AcquisitionNumber 3"),
        {
            (3, "AcquisitionNumber 2"): "Suitable, another is better (its AcquisitionNumber is 2, "
            "not 3 or more)"
        },
    ),
    "enhanced MR: the echo that the model knows": Protocol(
        MR_T1,
        (echoes(),),
        (11, "EchoTime 10"),
        {(11, "EchoTime 60"): "Its EchoTime is 60, not 30 or less."},
    ),
    "enhanced MR: a hole in the other echo is no matter": Protocol(
        MR_T1,
        (echoes("missing-slices"),),
        (11, "EchoTime 10"),
        {(11, "EchoTime 60"): "Its EchoTime is 60, not 30 or less."},
    ),
    "a rule that asks for one phase": Protocol(
        CT_LIVER,
        (phase(3, "arteriell", 2), phase(4, "Venous 3.0", 3), OUR_REPORT),
        3,
        {
            4: "Rule 'r' does not ask for it: its SeriesDescription does not match '(?i)^art'.",
            7002: "It holds no images (SR).",
        },
        when="""[[when]]
                attribute = "SeriesDescription"
                matches = "(?i)^art"
             """,
    ),
    "our own results beside what they were made from": Protocol(
        CT_HEAD,
        (head_ct(2, 32, 5.0, "H31s"), OUR_MASK, OUR_REPORT),
        2,
        {7001: "It holds no images (SEG).", 7002: "It holds no images (SR)."},
    ),
    "equals: the finer voxels, then the lower number": Protocol(
        CT_HEAD,
        (
            head_ct(6, 160, 1.0, "H31s"),
            head_ct(5, 160, 1.0, "H31s"),
            head_ct(4, 160, 1.2, "H31s"),
            head_ct(3, 150, 1.0, "H31s"),
        ),
        5,
        {
            3: "Suitable, another is better (it has fewer slices)",
            4: "Suitable, another is better (its voxels are coarser)",
            6: "Suitable, another is better (it comes later)",
        },
    ),
    "a tilted gantry that the model does not take": Protocol(
        CT_HEAD,
        (series(2, part(slices=30, tilt_degrees=18.5), BodyPartExamined="HEAD"), SCOUT),
        None,
        {
            1: "It is a localizer.",
            2: "Its slices are not at a right angle to their stack: the gantry was tilted by 18.5 "
            "degrees.",
        },
    ),
    "a tilted gantry that the model takes": Protocol(
        'gantry_tilt = "resample"\n' + CT_HEAD,
        (series(2, part(slices=30, tilt_degrees=18.5), BodyPartExamined="HEAD"),),
        2,
        {},
    ),
    "whatever else scanners and workstations send": Protocol(
        f'modality = ["CT", "OT"]\nallow_derived = true\n{SIZES}',
        (
            series(1, ImageType=["DERIVED", "SECONDARY", "DOSE_INFO"]),
            series(2, ImageType=["DERIVED", "SECONDARY", "PROJECTION IMAGE"]),
            series(3, ImageType=["DERIVED", "SECONDARY", "VRT"]),
            series(4, BurnedInAnnotation="YES"),
            series(5, SOPClassUID="1.2.840.10008.5.1.4.1.1.7.2", Modality="OT"),
            series(6, unreadable=2),
            series(7, part(pixels="Its pixels are not grey values but RGB.")),
            series(8, images=False, Modality="OT", SOPClassUID="1.2.840.10008.5.1.4.1.1.30"),
            series(9, ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]),
            series(10, part(slices=9)),
        ),
        None,
        {
            1: "It is a report, not an image.",
            2: "It is a projection.",
            3: "It is a rendering of a surface.",
            4: "Its images have text burned in, which a model must not see.",
            5: "It is a secondary capture.",
            6: "2 of its 26 objects cannot be read.",
            7: "Its pixels are not grey values but RGB.",
            8: "It holds no images (OT).",
            9: "It is a mosaic.",
            10: "It has 9 slices; the model takes 10 to 2000.",
        },
    ),
    "frames of which only some are derived": Protocol(
        MR_T1,
        (
            series(
                3,
                (
                    part("ImageType ORIGINAL", attributes={"ImageType": ["ORIGINAL", "PRIMARY"]}),
                    part("ImageType DERIVED", attributes={"ImageType": ["DERIVED", "PRIMARY"]}),
                ),
                Modality="MR",
                ImageType=["MIXED", "PRIMARY"],
                EchoTime=4,
            ),
            series(4, part(slices=99), Modality="MR", ImageType=["MIXED", "PRIMARY"], EchoTime=4),
        ),
        (3, "ImageType ORIGINAL"),
        {
            (3, "ImageType DERIVED"): "It was made from other images (its Image Type holds DER",
            4: "It was made from other images (its Image Type holds MIXED).",
        },
    ),
}
