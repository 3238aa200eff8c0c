from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import ImageDraw

from secondread.bundles.output import DeclaredFinding, DeclaredNumber, Output
from secondread.domain.answer import AnsweredFinding, AnsweredNumber, ModelAnswer
from secondread.domain.code import Code
from secondread.results.analysis import Analysis
from secondread.results.companions import canvas
from secondread.results.companions.canvas import RED, find_font, fit, wrap
from secondread.results.companions.summary import HEIGHT_PX, WIDTH_PX, draw_summary
from secondread.results.earlier import EarlierReport
from secondread.results.identity import find_differences
from secondread.results.measurement.measurements import measure
from tests.companion_cases import ask, write, write_analysis
from tests.result_cases import HIPPOCAMPUS, LABELS, make_case, make_label, make_manifest

ANSWERING = Output(
    numbers=(DeclaredNumber("age", Code("1", "99X", "Brain age"), Code("a", "UCUM", "year")),),
    findings=(
        DeclaredFinding(
            "bleed",
            Code("131148009", "SCT", "Bleeding"),
            {"no": Code("2667000", "SCT", "Absent")},
        ),
    ),
)


@pytest.fixture
def case(tmp_path):
    return make_case(tmp_path / "series", patient_name="Secret^Person", patient_id="SECRET-7")


@pytest.fixture
def words(monkeypatch):
    """Everything that is written on a picture: text, and the box of its pixels."""
    seen = []

    def write_and_see(pen, at, text, size_px, fill=canvas.WHITE, anchor="la"):
        box = pen.textbbox(at, text, font=find_font(size_px), anchor=anchor)
        seen.append((text, box))
        ImageDraw.ImageDraw.text(pen, at, text, fill, find_font(size_px), anchor)

    for module in ("summary", "picture"):
        monkeypatch.setattr(f"secondread.results.companions.{module}.write", write_and_see)
    return seen


def draw(context, labels, **answer):
    measured = measure(context.analysed, labels, context.manifest.labels)
    analysis = Analysis(labels, answer=ModelAnswer(**answer))
    return np.asarray(draw_summary(context, analysis, measured))


def overlap(first, second):
    return min(first[2], second[2]) > max(first[0], second[0]) and min(first[3], second[3]) > max(
        first[1], second[1]
    )


def test_there_is_none_where_nobody_asked(case, tmp_path):
    assert "summary" not in write(case, tmp_path)


def test_it_is_one_picture_of_a_size_that_fits_a_screen(case, tmp_path):
    summary = write(case, tmp_path, summary=True)["summary"]
    assert summary.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert summary.pixel_array.shape == (HEIGHT_PX, WIDTH_PX, 3)
    assert summary.BurnedInAnnotation == "YES"
    assert "NumberOfFrames" not in summary


def test_each_structure_is_listed_with_its_colour_and_volume(case, words):
    page = draw(case.context, case.labels)
    said = [text for text, _ in words]
    measured = measure(case.context.analysed, case.labels, LABELS)
    for one in measured:
        if not one.voxels:
            continue
        assert one.label.meaning in said
        assert f"{one.volume_ml:.2f}" in said
        assert (page[:, 1040:] == one.label.color_rgb).all(axis=-1).sum() > 100
        assert (page[:, :1030] == one.label.color_rgb).all(axis=-1).any()
    assert "Not found: Third ventricle." in said


def test_nothing_overlaps_and_nothing_is_cut_by_the_edge(tmp_path, words):
    labels = tuple(make_label(n, f"part_{n}", HIPPOCAMPUS) for n in range(1, 101))
    case = make_case(tmp_path / "series", size=(12, 30, 34))
    filled = np.random.default_rng(2).integers(0, 99, case.labels.shape).astype(np.uint8)
    manifest = make_manifest(labels=labels, output=ANSWERING)
    draw(
        replace(case.context, manifest=manifest),
        filled,
        numbers=(AnsweredNumber("age", 71.25),),
        findings=(AnsweredFinding("bleed", "no", 0.93),),
    )
    on_page = [one for one in words if one[0] not in {"R", "L", "A", "P"} and " mm" not in one[0]]
    for text, box in on_page:
        assert box[0] >= 0, text
        assert box[2] <= WIDTH_PX, text
        assert box[3] <= HEIGHT_PX, text
    for at, (text, box) in enumerate(on_page):
        for other, other_box in on_page[at + 1 :]:
            assert not overlap(box, other_box), f"'{text}' lies on '{other}'"
    said = [text for text, _ in words]
    assert any(text.startswith("and ") and "see the report" in text for text in said)
    assert "71.25 a" in said
    assert "Absent (93 %)" in said


def test_usual_volumes_are_shown_where_the_card_has_them(case, words):
    first = replace(LABELS[0], reference_ml=(2.5, 4.0))
    manifest = replace(case.context.manifest, labels=(first, *LABELS[1:]))
    draw(replace(case.context, manifest=manifest), case.labels)
    said = [text for text, _ in words]
    assert "2.5-4" in said
    assert "usual, mL" in said


def test_where_nothing_is_found_it_says_so(case, words):
    draw(case.context, np.zeros_like(case.labels))
    assert "None of the structures that the model knows was found." in [text for text, _ in words]


@pytest.mark.parametrize("qualification", ["RESEARCH", "PRODUCT"])
def test_research_is_in_red(case, qualification):
    page = draw(replace(case.context, qualification=qualification), case.labels)
    is_red = (page[:90] == RED).all(axis=-1).sum()
    assert (is_red > 5000) == (qualification == "RESEARCH")


def test_the_patient_is_not_in_the_picture(case, words, tmp_path):
    draw(case.context, case.labels)
    said = " ".join(text for text, _ in words)
    assert "Secret" not in said
    assert "SECRET" not in said
    other = make_case(tmp_path / "other" / "series", patient_name="Another^Person")
    pictures = [
        write_analysis(ask(one.context, summary=True), Analysis(one.labels), tmp_path / name)
        for one, name in ((case, "a"), (other, "b"))
    ]
    assert pictures[0]["summary"].PixelData == pictures[1]["summary"].PixelData


def test_identity_and_bytes_are_the_same_whenever_it_is_written(case, tmp_path):
    first = write(case, tmp_path / "a", summary=True)["summary"]
    second = write(case, tmp_path / "b", summary=True)["summary"]
    assert find_differences(case.context.reference, first) == ()
    assert first == second


def test_text_is_cut_and_wrapped_to_what_there_is_room_for():
    assert fit("short", 16, 500) == "short"
    cut = fit("a very long name of a structure", 16, 100)
    assert cut.endswith("...")
    assert find_font(16).getlength(cut) <= 100
    lines = wrap("one two three four five six seven eight", 16, 80, 3)
    assert len(lines) == 3
    assert lines[-1].endswith("...")
    assert wrap("", 16, 80, 3) == []


def test_the_change_since_an_earlier_report_is_shown(case, words):
    earlier = EarlierReport(
        study_instance_uid="2.25.5",
        series_instance_uid="2.25.6",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
        sop_instance_uid="2.25.7",
        study_date="20220301",
        model_id="toy_head",
        model_version="1.2.0",
        volumes_ml={("5366008", "SCT", "left"): 1.0},
    )
    measured = measure(case.context.analysed, case.labels, LABELS)
    draw_summary(case.context, Analysis(case.labels, earlier=earlier), measured)
    said = [text for text, _ in words]
    percent = 100 * (measured[0].volume_ml - 1.0)
    assert f"{percent:+.1f} %" in said
    assert f"{measured[1].volume_ml:+.2f} mL" in said
    assert any("2022-03-01" in text for text in said)
