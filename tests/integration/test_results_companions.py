"""What goes besides segmentation and report, as other people's programs see it."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from conformance.validators import (
    ToolAbsentError,
    find_program,
    run_dcentvfy,
    run_dciodvfy,
    run_dsrdump,
    without_quirks,
)
from secondread.domain.form import Language, Overlay
from secondread.results.analysis import Analysis
from tests.companion_cases import as_multi_frame, ask, change_sources, with_place, write_analysis
from tests.result_cases import make_case

WANTED = {"key_objects": True, "summary": True, "pdf": True}
KINDS = ("ko", "pr", "sc", "summary", "pdf")


def left_by(check, *arguments):
    """What a validator finds besides its known quirks; a skip where it is not installed."""
    try:
        return without_quirks(check(*arguments))
    except ToolAbsentError as absent:
        pytest.skip(str(absent))


def make_variant(name, folder):
    case = make_case(folder / "series", modality="CT" if name == "ct" else "MR")
    analysis = Analysis(case.labels)
    if name == "enhanced":
        return as_multi_frame(case), analysis
    if name == "windows":
        return change_sources(
            case,
            WindowCenter="40",
            WindowWidth="400",
            RescaleIntercept="-1024",
            RescaleSlope=[str(1 + index % 2) for index in range(9)],
        ), analysis
    if name == "lossy":
        return change_sources(
            case, LossyImageCompression="01", LossyImageCompressionRatio="12.5"
        ), analysis
    if name == "no body part":
        return change_sources(case, BodyPartExamined=None), analysis
    if name == "places":
        context, analysis = with_place(case, (3.0, 5.0, 7.0), (6.0, 2.0, 3.0))
        return replace(case, context=context), analysis
    return case, analysis


@pytest.fixture(
    scope="module",
    params=["mr", "ct", "chinese", "enhanced", "windows", "lossy", "no body part", "places"],
)
def written(request, tmp_path_factory):
    """The files of one case, those of both overlays together."""
    folder = tmp_path_factory.mktemp("companions")
    case, analysis = make_variant(request.param, folder)
    language = Language.CHINESE if request.param == "chinese" else Language.ENGLISH
    files = {}
    for overlay in (Overlay.PRESENTATION_STATE, Overlay.SECONDARY_CAPTURE):
        context = ask(case.context, **WANTED, overlay=overlay, language=language)
        place = folder / str(overlay)
        write_analysis(context, analysis, place)
        files |= {path.stem: path for path in sorted(place.rglob("*.dcm"))}
    return case, files


@pytest.mark.parametrize("kind", KINDS)
def test_each_object_is_what_its_iod_says(written, kind):
    assert left_by(run_dciodvfy, written[1][kind]) == []


def test_dcmtk_reads_the_key_objects(written):
    assert left_by(run_dsrdump, written[1]["ko"]) == []


@pytest.mark.parametrize("kind", KINDS)
def test_dcmtk_reads_every_element(written, kind):
    try:
        program = find_program("dcmdump", "dcmtk")
    except ToolAbsentError as absent:
        pytest.skip(str(absent))
    output = subprocess.run(
        [program, "-q", str(written[1][kind])], capture_output=True, text=True, errors="replace"
    )
    assert (output.returncode, output.stderr) == (0, "")


@pytest.mark.parametrize("overlay", [Overlay.PRESENTATION_STATE, Overlay.SECONDARY_CAPTURE])
def test_all_are_of_the_sources_patient_and_study(tmp_path, overlay):
    """Together with segmentation and report, for these are what they refer to."""
    case, analysis = make_variant("mr", tmp_path)
    write_analysis(ask(case.context, **WANTED, overlay=overlay), analysis, tmp_path)
    files = sorted((tmp_path / "results").rglob("*.dcm"))
    assert len(files) == 6
    assert left_by(run_dcentvfy, case.paths, files) == []
