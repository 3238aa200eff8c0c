"""The report as Encapsulated PDF (PS3.3 A.45.1)."""

from __future__ import annotations

import io
from typing import Any

import pydicom
from PIL import Image
from pydicom.dataset import Dataset

from secondread.results import coding
from secondread.results.analysis import Analysis
from secondread.results.companions.companion import Companion, begin
from secondread.results.companions.pdf_report import Figure, Letterhead, write_pdf
from secondread.results.companions.picture import draw_planes
from secondread.results.companions.sheet import lay_out
from secondread.results.context import PDF, SR, ResultContext
from secondread.results.document import Document, WholeDocument
from secondread.results.made import Made
from secondread.results.reading.transcript import transcribe
from secondread.results.references import refer
from secondread.results.report import concepts
from secondread.results.report.language import choose_tongue
from secondread.results.wording import plain

ENCAPSULATED_PDF_STORAGE = "1.2.840.10008.5.1.4.1.1.104.1"
_SHORT_TEXT = 1024
_TILE_PX = 300
_FRACTIONS = (0.25, 0.5, 0.75)
_DATE_LENGTH = 8


def make_pdf(context: ResultContext, analysis: Analysis, made: Made) -> tuple[Document, ...]:
    """One, where the form asks for it and there is a report.

    It is written from the report as that was encoded, so that it says what the report says, and
    refers to it as its source. Name, ID, birth date and study date are on every page: a page in a
    patient's file must say whose it is.
    """
    if not context.form.pdf:
        return ()
    report = next((one for one in made.documents if one.kind == SR), None)
    if report is None:
        return ()
    buffer = io.BytesIO()
    report.write(buffer)
    buffer.seek(0)
    said = pydicom.dcmread(buffer)
    content = write_report(said, context, _show(context, analysis, made))
    return (WholeDocument(PDF, PDF, _encapsulate(context, said, content)),)


def write_report(report: Dataset, context: ResultContext, figure: Figure | None) -> bytes:
    """The pages of a report; ``figure`` is put on one of them."""
    sheet = lay_out(transcribe(report), str(report.SOPInstanceUID))
    letterhead = Letterhead(
        patient=_say_name(report.get("PatientName")),
        patient_id=str(report.get("PatientID") or ""),
        birth_date=_say_date(report.get("PatientBirthDate")),
        study_date=_say_date(report.get("StudyDate")),
        accession=str(report.get("AccessionNumber") or ""),
    )
    return write_pdf(sheet, letterhead, figure, context.created)


def _show(context: ResultContext, analysis: Analysis, made: Made) -> Figure | None:
    """Three slices of each plane with their legend; nothing where there is nothing to see."""
    tongue = choose_tongue(context)
    present = [one.label for one in made.measured if one.voxels]
    if not present:
        return None
    legend = tuple((label.color_rgb, tongue.name(label)) for label in present)
    rows = draw_planes(
        context.analysed, analysis.labels, context.manifest.labels, _TILE_PX, _FRACTIONS
    )
    heights = [max(tile.height for tile in row) for row in rows]
    sheet = Image.new("RGB", (_TILE_PX * len(_FRACTIONS), sum(heights)))
    top = 0
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            sheet.paste(tile, (column * _TILE_PX + (_TILE_PX - tile.width) // 2, top))
        top += height
    return Figure(sheet, legend)


def _encapsulate(context: ResultContext, report: Dataset, content: bytes) -> Dataset:
    """The Encapsulated Document module (PS3.3 C.24.2)."""
    made = begin(context, Companion(PDF, ENCAPSULATED_PDF_STORAGE, "DOC", "report as PDF"))
    made.ConversionType = "WSD"
    made.AcquisitionDateTime = None
    made.BurnedInAnnotation = "YES"
    source = refer(str(report.SOPClassUID), str(report.SOPInstanceUID))
    made.SourceInstanceSequence = [source]
    made.DocumentTitle = plain(
        f"{context.model_title}: {concepts.REPORT_TITLE.meaning}", _SHORT_TEXT
    )
    made.ConceptNameCodeSequence = [coding.concept(concepts.REPORT_TITLE)]
    made.VerificationFlag = "UNVERIFIED"
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocumentLength = len(content)
    made.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    return made


def _say_name(name: Any) -> str:
    """Every group of a person's name (PS3.5 6.2.1.2), its components parted by spaces."""
    groups = str(name or "").split("=")
    return " / ".join(filter(None, (" ".join(group.split("^")).strip() for group in groups)))


def _say_date(date: object) -> str:
    text = str(date or "")
    if len(text) != _DATE_LENGTH or not text.isdigit():
        return text
    return f"{text[:4]}-{text[4:6]}-{text[6:]}"
