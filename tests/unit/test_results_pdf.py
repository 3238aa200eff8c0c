from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest

from secondread.bundles.output import DeclaredFinding, DeclaredNumber, Output
from secondread.domain.answer import AnsweredFinding, AnsweredNumber, ModelAnswer
from secondread.domain.code import Code
from secondread.domain.form import Language
from secondread.results.analysis import Analysis
from secondread.results.companions import pdf_text
from secondread.results.companions.pdf_text import EMBEDDED, mark_up
from secondread.results.companions.sheet import lay_out
from secondread.results.earlier import EarlierReport
from secondread.results.identity import find_differences
from secondread.results.reading.transcript import transcribe
from tests.companion_cases import ask, change_sources, write, write_analysis
from tests.result_cases import HIPPOCAMPUS, LABELS, make_case, make_label, make_manifest

pypdf = pytest.importorskip("pypdf", reason="no pypdf: install the extra [test]")
MILLILITRE = Code("mL", "UCUM", "mL")
ANSWERING = Output(
    statistics=("volume", "mean", "longest_diameter", "perpendicular_diameter", "voxels"),
    numbers=(
        DeclaredNumber("whole", Code("C0230001", "UMLS", "Whole"), MILLILITRE, low=1.0, high=2.0),
    ),
    findings=(
        DeclaredFinding(
            "bleed",
            Code("131148009", "SCT", "Bleeding"),
            {"no": Code("2667000", "SCT", "Absent")},
        ),
    ),
)
ANSWER = ModelAnswer(
    numbers=(AnsweredNumber("whole", 1.5),), findings=(AnsweredFinding("bleed", "no", 0.93),)
)


@pytest.fixture
def case(tmp_path):
    return make_case(
        tmp_path / "series", patient_name="Smith^Ann Mary", patient_id="P-77", study_date="20240102"
    )


def read_pdf(pdf):
    content = pdf.EncapsulatedDocument[: pdf.EncapsulatedDocumentLength]
    return pypdf.PdfReader(io.BytesIO(content), strict=True)


def text_of(pdf):
    """All pages on one line."""
    return " ".join(" ".join(page.extract_text().split()) for page in read_pdf(pdf).pages)


def test_there_is_none_where_nobody_asked(case, tmp_path):
    assert "pdf" not in write(case, tmp_path)


def test_it_says_what_the_report_says(case, tmp_path):
    written = write(case, tmp_path, pdf=True)
    text = text_of(written["pdf"])
    report = transcribe(written["sr"])
    assert report.groups
    for group in report.groups:
        side = f", {group.laterality}" if group.laterality else ""
        assert f"{group.finding.meaning}{side} {group.volume_ml:.2f}" in text
    for comment in report.comments:
        assert comment in text
    assert str(written["sr"].SOPInstanceUID) in text
    assert "toy_head 1.2.0" in text


def test_every_page_says_whose_it_is_and_what_it_is_not_for(tmp_path):
    labels = tuple(make_label(n, f"part_{n}", HIPPOCAMPUS) for n in range(1, 101))
    case = make_case(tmp_path / "series", size=(12, 30, 34), patient_name="Smith^Ann")
    filled = np.random.default_rng(2).integers(0, 101, case.labels.shape).astype(np.uint8)
    context = ask(replace(case.context, manifest=make_manifest(labels=labels)), pdf=True)
    pages = read_pdf(write_analysis(context, Analysis(filled), tmp_path)["pdf"]).pages
    assert len(pages) > 2
    for number, page in enumerate(pages, start=1):
        text = page.extract_text()
        assert "Patient: Smith Ann" in text
        assert f"Page {number}" in text
        assert "Research use only. Not for diagnosis." in text


def test_it_is_two_pages_with_a_picture_as_a_rule(case, tmp_path):
    reader = read_pdf(write(case, tmp_path, pdf=True)["pdf"])
    assert len(reader.pages) <= 2
    assert sum(len(page.images) for page in reader.pages) == 1


def test_what_the_model_answers_besides_is_there_with_its_limits(case, tmp_path):
    usual = replace(LABELS[0], reference_ml=(50.0, 60.0))
    manifest = replace(case.context.manifest, output=ANSWERING, labels=(usual, *LABELS[1:]))
    context = ask(replace(case.context, manifest=manifest), pdf=True)
    written = write_analysis(context, Analysis(case.labels, answer=ANSWER), tmp_path)
    sheet = lay_out(transcribe(written["sr"]), "")
    assert ("Bleeding", "Absent (93 %)") in sheet.findings
    assert ("Whole", "1.5 mL (1 – 2)") in sheet.findings
    (left, *_) = sheet.entries
    assert left.name == "Hippocampus, left"
    assert left.volume.endswith(" (low)")
    assert left.usual == "50 – 60"
    kinds = [one.split()[0] for one in left.further]
    assert kinds == ["Mean", "Number", "Long", "Short"]
    assert len(sheet.entries) == 4
    text = text_of(written["pdf"])
    assert "Bleeding Absent (93 %)" in text
    assert f"{left.volume} 50 – 60" in text


def test_the_change_since_an_earlier_report_is_there(case, tmp_path):
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
    context = ask(case.context, pdf=True)
    written = write_analysis(context, Analysis(case.labels, earlier=earlier), tmp_path)
    sheet = lay_out(transcribe(written["sr"]), "")
    (left, right, *_) = sheet.entries
    volume = float(left.volume)
    assert left.change.startswith(f"{volume - 1:+.2f} mL, ")
    assert left.change.endswith(" %")
    assert right.change.endswith(" mL")
    text = text_of(written["pdf"])
    assert "2022-03-01" in text
    assert left.change in text


@pytest.fixture
def without_font(monkeypatch):
    """A system without a font for Chinese."""
    monkeypatch.setattr(pdf_text, "_load_embedded", lambda: None)


def fonts_of(pdf):
    """The fonts of all pages by name, and whether each is in the file."""
    fonts = [
        font.get_object()
        for page in read_pdf(pdf).pages
        for font in page["/Resources"]["/Font"].values()
    ]
    return {
        str(font["/BaseFont"]): "/FontFile2" in font.get("/FontDescriptor", {}) for font in fonts
    }


@pytest.mark.usefixtures("without_font")
def test_names_of_other_scripts_are_written_in_their_signs(case, tmp_path):
    changed = change_sources(
        case, SpecificCharacterSet="ISO_IR 192", PatientName="Wang^XiaoDong=王^小东"
    )
    text = text_of(write(changed, tmp_path, pdf=True)["pdf"])
    assert "Wang XiaoDong / " in text
    assert mark_up("王小东") == '<font name="STSong-Light">王小东</font>'
    assert mark_up("홍길") == '<font name="HYSMyeongJo-Medium">홍길</font>'
    assert mark_up("Müller <5 µm", bold=True) == "<b>Müller &lt;5 µm</b>"
    assert mark_up("ă\U0001f600") == "a?"


def test_a_chinese_report_is_a_chinese_pdf(case, tmp_path):
    written = write(case, tmp_path, pdf=True, key_objects=True, language=Language.CHINESE)
    sheet = lay_out(transcribe(written["sr"]), "")
    assert (sheet.language, sheet.is_research) == (Language.CHINESE, True)
    assert sheet.entries[0].name.endswith("左")
    (description,) = (
        item.TextValue
        for item in written["ko"].ContentSequence
        if item.ValueType == "TEXT" and item.ConceptNameCodeSequence[0].CodeValue == "113012"
    )
    assert "的分析结果" in description


@pytest.mark.usefixtures("without_font")
def test_without_a_font_of_the_system_the_readers_own_is_asked_for(case, tmp_path):
    pdf = write(case, tmp_path, pdf=True, language=Language.CHINESE)["pdf"]
    assert any(name.startswith("/STSong-Light") for name in fonts_of(pdf))


def test_with_a_font_of_the_system_what_is_needed_of_it_is_in_the_file(case, tmp_path):
    if pdf_text._load_embedded() is None:
        pytest.skip("no font for Chinese: install the package fonts-droid-fallback")
    written = write(case, tmp_path / "a", pdf=True, language=Language.CHINESE)
    found = fonts_of(written["pdf"])
    assert [inside for name, inside in found.items() if name.endswith(EMBEDDED)] == [True]
    assert not any(name.startswith("/STSong") for name in found)
    # The whole font has four megabytes.
    assert len(written["pdf"].EncapsulatedDocument) < 1_500_000
    again = write(case, tmp_path / "b", pdf=True, language=Language.CHINESE)
    assert again["pdf"].EncapsulatedDocument == written["pdf"].EncapsulatedDocument


def test_where_nothing_was_found_there_is_no_picture(case, tmp_path):
    empty = Analysis(np.zeros_like(case.labels))
    pdf = write_analysis(ask(case.context, pdf=True), empty, tmp_path)["pdf"]
    (page,) = read_pdf(pdf).pages
    assert len(page.images) == 0
    assert "none of the structures that the model knows was found" in text_of(pdf)


def test_the_object_refers_to_the_report_it_was_made_from(case, tmp_path):
    written = write(case, tmp_path, pdf=True)
    pdf = written["pdf"]
    (source,) = pdf.SourceInstanceSequence
    assert source.ReferencedSOPInstanceUID == written["sr"].SOPInstanceUID
    assert pdf.MIMETypeOfEncapsulatedDocument == "application/pdf"
    assert pdf.ConceptNameCodeSequence[0].CodeValue == "126000"
    assert (pdf.Modality, pdf.VerificationFlag) == ("DOC", "UNVERIFIED")
    assert pdf.EncapsulatedDocument.startswith(b"%PDF-")
    assert len(pdf.EncapsulatedDocument) % 2 == 0


def test_the_same_report_gives_the_same_bytes_with_the_date_of_its_job(case, tmp_path):
    first = write(case, tmp_path / "a", pdf=True)["pdf"]
    second = write(case, tmp_path / "b", pdf=True)["pdf"]
    assert find_differences(case.context.reference, first) == ()
    assert first == second
    assert read_pdf(first).metadata["/CreationDate"].startswith("D:20231114")
