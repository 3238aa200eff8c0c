from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from secondread.domain.code import Code
from secondread.results.analysis import Analysis
from secondread.results.companions.page import pair_sides, write_page
from secondread.results.reading.transcript import MeasurementGroup, Quantity, read_report
from secondread.results.write import write_refusal, write_results
from tests.companion_cases import with_place
from tests.result_cases import make_case


class Reader(HTMLParser):
    """What a page shows, and whether its elements close."""

    def __init__(self, text):
        super().__init__()
        self.open, self.cells, self.words, self.sources = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if self.open and self.open[-1] == "td":
            self.cells.append(data)


@pytest.fixture
def case(tmp_path):
    return make_case(tmp_path / "series", patient_name="Secret^Person", patient_id="SECRET-7")


def page_of(report, tmp_path, overlay=None):
    write_page(report, tmp_path / "report.html", overlay)
    return Reader((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_volumes_left_and_right_side_by_side(case, tmp_path):
    _, sr = write_results(case.context, Analysis(case.labels), tmp_path)
    page = page_of(tmp_path / sr.path, tmp_path)
    report = read_report(tmp_path / sr.path)
    left, right, _, _ = (group.volume_ml for group in report.groups)
    assert page.open == []
    assert page.cells[:3] == ["Hippocampus", f"{left:.2f}", f"{right:.2f}"]
    row = pair_sides(report.groups)[0]
    assert row.asymmetry_percent == pytest.approx(200 * (left - right) / (left + right))


def test_model_version_and_research_banner(case, tmp_path):
    _, sr = write_results(case.context, Analysis(case.labels), tmp_path)
    text = " ".join(page_of(tmp_path / sr.path, tmp_path).words)
    assert "toy_head 1.2.0" in text
    assert "Research use only. Not for diagnosis." in text
    assert "Not found: Third ventricle." in text


def test_the_page_does_not_say_who_the_patient_is(case, tmp_path):
    _, sr = write_results(case.context, Analysis(case.labels), tmp_path)
    text = " ".join(page_of(tmp_path / sr.path, tmp_path).words)
    assert "Secret" not in text
    assert "SECRET" not in text


def test_a_refusal_is_the_first_thing_on_its_page(case, tmp_path):
    (sr,) = write_refusal(
        replace(case.context, volume=None), "It is <i>fruit</i> & more.", tmp_path
    )
    page = page_of(tmp_path / sr.path, tmp_path)
    assert "Not analysed, because: It is <i>fruit</i> & more." in page.words
    assert page.cells == []


def test_the_picture_is_in_the_page_and_nothing_is_loaded_from_elsewhere(case, tmp_path):
    _, sr = write_results(case.context, Analysis(case.labels), tmp_path)
    overlay = tmp_path / "overlay.png"
    overlay.write_bytes(b"\x89PNG")
    (source,) = page_of(tmp_path / sr.path, tmp_path, overlay).sources
    assert source.startswith("data:image/png;base64,")


def test_a_group_about_one_slice_does_not_hide_the_volume():
    def group(template, *quantities):
        finding = Code("5366008", "SCT", "Hippocampus")
        return MeasurementGroup(
            "id", "uid", finding, None, "left", None, "m", "1", quantities, template
        )

    volume = Quantity(Code("118565006", "SCT", "Volume"), 3.5, Code("mL", "UCUM", "mL"), None, None)
    axis = Quantity(Code("103339001", "SCT", "Long axis"), 20, Code("mm", "UCUM", "mm"), None, None)
    (row,) = pair_sides([group("1411", volume), group("1410", axis)])
    assert row.left_ml == 3.5


def test_findings_of_the_model_are_on_the_page(case, tmp_path):
    context, analysis = with_place(case, (3.0, 5.0, 7.0))
    _, sr = write_results(context, analysis, tmp_path)
    page = page_of(tmp_path / sr.path, tmp_path)
    assert page.open == []
    assert "Nodule" in page.words
    assert any("marked in the images" in word for word in page.words)
