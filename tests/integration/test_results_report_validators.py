"""Reports that say everything, as other people's programs see them."""

from __future__ import annotations

import subprocess

import pytest

from conformance.validators import (
    REPORT_CHECKS,
    ToolAbsentError,
    find_program,
    run_pixelmed,
    without_quirks,
)
from secondread.domain.form import Form, Language, SegmentationKind
from tests.report_cases import make_alone, make_rich_analysis, make_rich_case, write_alone

FORMS = {
    "binary": Form(),
    "label map": Form(segmentation=SegmentationKind.LABELMAP),
    "fractional": Form(segmentation=SegmentationKind.FRACTIONAL),
    "one each": Form(one_segment_each=True),
    "no segmentation": Form(segmentation=SegmentationKind.NONE),
    "Chinese": Form(language=Language.CHINESE),
}
# PixelMed takes some ten seconds for each file.
QUICK_CHECKS = [check for check in REPORT_CHECKS if check is not run_pixelmed]


def left_by(check, path):
    """What a validator finds besides its known quirks; a skip where it is not installed."""
    try:
        return without_quirks(check(path))
    except ToolAbsentError as absent:
        pytest.skip(str(absent))


@pytest.fixture(scope="module", params=list(FORMS))
def report(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    case = make_rich_case(folder / "series", FORMS[request.param])
    return write_alone(make_alone(case.context, make_rich_analysis(case)), folder)


@pytest.mark.parametrize("check", QUICK_CHECKS, ids=lambda check: check.__name__)
def test_report(report, check):
    assert left_by(check, report) == []


@pytest.mark.slow
def test_report_against_its_template(report):
    assert left_by(run_pixelmed, report) == []


def test_dcmtk_reads_the_chinese_words(tmp_path):
    try:
        program = find_program("dsrdump", "dcmtk")
    except ToolAbsentError as absent:
        pytest.skip(str(absent))
    for character_set in ("ISO_IR 192", "GB18030"):
        case = make_rich_case(tmp_path / character_set, FORMS["Chinese"])
        for header in case.context.sources:
            header.SpecificCharacterSet = character_set
        path = write_alone(make_alone(case.context, make_rich_analysis(case)), tmp_path)
        dumped = subprocess.run(
            [program, "+U8", "-Ec", "+Pl", str(path)], capture_output=True, text=True, check=True
        ).stdout
        for word in ("影像测量报告", "海马", "长径", "未发现:第三脑室。"):
            assert word in dumped
