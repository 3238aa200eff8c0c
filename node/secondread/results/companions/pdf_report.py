"""A report as pages of a PDF, from what the report itself says."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from PIL import Image

from secondread.results.companions.headings import say
from secondread.results.companions.pdf_tables import (
    DARK_RED,
    RULE,
    TIGHT,
    WIDTH_MM,
    make_styles,
    tabulate,
    tabulate_facts,
)
from secondread.results.companions.pdf_text import mark_up, prepare_library
from secondread.results.companions.sheet import Sheet

_MARGIN_MM, _HEAD_MM, _BANNER_MM = 18.0, 16.0, 9.0
_FRAME_PT = 6.0
"""A frame of reportlab's has a margin of its own."""
_LEGEND_COLUMNS = 4


@dataclass(frozen=True, slots=True)
class Letterhead:
    """What is at the head of every page, so that no page is without its patient."""

    patient: str
    patient_id: str
    birth_date: str
    study_date: str
    accession: str


@dataclass(frozen=True, slots=True)
class Figure:
    """Slices with outlines, and the name of each outline's colour."""

    picture: Image.Image
    legend: tuple[tuple[tuple[int, int, int], str], ...]


def write_pdf(
    sheet: Sheet, letterhead: Letterhead, figure: Figure | None, created: datetime
) -> bytes:
    """The pages as a file; the same report gives the same bytes.

    Args:
        sheet: what the report says.
        letterhead: whom it is about, as the report's own header has it.
        figure: what is shown of the images, or None.
        created: the date that the file says it was made on.
    """
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.units import mm
    from reportlab.platypus import SimpleDocTemplate

    prepare_library()
    buffer = io.BytesIO()
    top_mm = _MARGIN_MM + _HEAD_MM + (_BANNER_MM if sheet.is_research else 0.0)
    document = SimpleDocTemplate(
        buffer,
        pagesize=A4,
        leftMargin=_MARGIN_MM * mm - _FRAME_PT,
        rightMargin=_MARGIN_MM * mm - _FRAME_PT,
        topMargin=top_mm * mm,
        bottomMargin=_MARGIN_MM * mm,
        title=sheet.title,
        author=sheet.node,
        invariant=1,
    )

    def draw_head(canvas: Any, page: Any) -> None:
        canvas.setDateFormatter(lambda *_: f"D:{created:%Y%m%d%H%M%S}")
        _draw_head(canvas, sheet, letterhead, page.page)

    story = _tell(sheet, figure)
    document.build(story, onFirstPage=draw_head, onLaterPages=draw_head)
    return buffer.getvalue()


def _draw_head(canvas: Any, sheet: Sheet, letterhead: Letterhead, number: int) -> None:
    """Patient and study, the number of the page, and what the report is not for."""
    from reportlab.lib.colors import HexColor
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.units import mm

    width, height = A4
    left, right = _MARGIN_MM * mm, width - _MARGIN_MM * mm
    language = sheet.language
    top = height - _MARGIN_MM * mm
    parts = [
        (say(language, "patient_id"), letterhead.patient_id),
        (say(language, "born"), letterhead.birth_date),
        (say(language, "study_date"), letterhead.study_date),
        (say(language, "accession"), letterhead.accession),
    ]
    named = " · ".join(f"{name}: {value}" for name, value in parts if value)
    name = f"{say(language, 'patient')}: {letterhead.patient}"
    styles = make_styles(language)
    room = right - left
    _draw_line(canvas, (left, top - 4), mark_up(name, bold=True), styles["body"], room)
    _draw_line(canvas, (left, top - 18), mark_up(named), styles["small"], room)
    page = say(language, "page", number=number)
    _draw_line(canvas, (right - 50, top - 4), mark_up(page), styles["right"], 50)
    canvas.setStrokeColor(HexColor(RULE))
    canvas.line(left, top - 24, right, top - 24)
    if sheet.is_research:
        bottom = top - (_HEAD_MM + _BANNER_MM - 4) * mm
        canvas.setFillColor(HexColor(DARK_RED))
        canvas.rect(left, bottom, room, (_BANNER_MM - 2) * mm, stroke=0, fill=1)
        notice = mark_up(say(language, "research"), bold=True)
        _draw_line(canvas, (left, bottom + 6), notice, styles["banner"], room)


def _draw_line(canvas: Any, at: tuple[float, float], text: str, style: Any, width: float) -> None:
    """One line of marked-up text with its baseline at a height; what does not fit is left out."""
    from reportlab.platypus import Paragraph

    line = Paragraph(text, style)
    line.wrap(width, style.leading)
    line.blPara.lines = line.blPara.lines[:1]
    line.drawOn(canvas, at[0], at[1] - (style.leading - style.fontSize))


def _tell(sheet: Sheet, figure: Figure | None) -> list[Any]:
    """The report from its title to its making."""
    from reportlab.lib.units import mm
    from reportlab.platypus import KeepTogether, Paragraph, Spacer

    styles = make_styles(sheet.language)
    story: list[Any] = [Paragraph(mark_up(sheet.title, bold=True), styles["title"])]
    for number, sentence in enumerate(sheet.sentences):
        style = styles["refused" if sheet.is_refusal and number == 0 else "body"]
        story.append(Paragraph(mark_up(sentence), style))
    if sheet.findings:
        story.append(_head(sheet, "findings", styles))
        story.append(tabulate_facts(sheet.findings, styles))
    if sheet.entries:
        story.append(_head(sheet, "measurements", styles))
        story.append(tabulate(sheet, styles))
    if figure is not None:
        story.append(KeepTogether([_head(sheet, "where", styles), *_show(figure, sheet, styles)]))
    making = [_head(sheet, "making", styles), tabulate_facts(sheet.making, styles)]
    story += [Spacer(1, 2 * mm), KeepTogether(making)]
    return story


def _show(figure: Figure, sheet: Sheet, styles: dict[str, Any]) -> list[Any]:
    """The picture and its legend."""
    from reportlab.lib.colors import Color
    from reportlab.lib.units import mm
    from reportlab.platypus import Image as Flowable
    from reportlab.platypus import Paragraph, Table

    content = io.BytesIO()
    figure.picture.save(content, format="PNG")
    content.seek(0)
    width = WIDTH_MM * mm
    picture = Flowable(content, width, width * figure.picture.height / figure.picture.width)
    note = Paragraph(mark_up(say(sheet.language, "picture_note")), styles["small"])
    if not figure.legend:
        return [picture, note]
    rows: list[list[Any]] = []
    colours = []
    for number, (colour, name) in enumerate(figure.legend):
        row, column = divmod(number, _LEGEND_COLUMNS)
        if column == 0:
            rows.append([""] * (2 * _LEGEND_COLUMNS))
        rows[row][2 * column + 1] = Paragraph(mark_up(name), styles["small"])
        shade = Color(*(part / 255 for part in colour))
        place = (2 * column, row)
        # Half of the cell's lines are as wide as its letters are high: a square.
        colours.append(("LINEBEFORE", place, place, 6, shade))
    widths = [3 * mm, (WIDTH_MM / _LEGEND_COLUMNS - 3) * mm] * _LEGEND_COLUMNS
    table = Table(rows, colWidths=widths)
    table.setStyle([*TIGHT, *colours])
    return [picture, note, table]


def _head(sheet: Sheet, name: str, styles: dict[str, Any]) -> Any:
    from reportlab.platypus import Paragraph

    return Paragraph(mark_up(say(sheet.language, name), bold=True), styles["heading"])
