"""The tables of a report's PDF, and the styles of its text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from secondread.domain.form import Language
from secondread.results.companions.headings import say
from secondread.results.companions.pdf_text import mark_up
from secondread.results.companions.sheet import Entry, Sheet

WIDTH_MM = 174.0
DARK_RED = "#7a1f1f"
RULE = "#c8c8c8"
TIGHT = (
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("TOPPADDING", (0, 0), (-1, -1), 1.0),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 1.0),
    ("LEFTPADDING", (0, 0), (0, -1), 0.0),
)
_BODY_PT, _SMALL_PT, _TITLE_PT, _HEADING_PT = 9.5, 8.0, 16.0, 11.5
_COLUMNS = {"structure": 52.0, "volume": 24.0, "usual": 25.0, "change": 34.0}
"""Their least widths in mm; what is left is the last one's."""
_NUMBERS = frozenset({"volume", "usual", "change"})
_FURTHER = "further"
_FURTHER_MAX = 48
"""Longer lists of further measurements go below their row, across the whole table."""


def make_styles(language: Language) -> dict[str, Any]:
    """The styles of paragraphs, by name."""
    from reportlab.lib.colors import HexColor, white
    from reportlab.lib.enums import TA_CENTER, TA_RIGHT
    from reportlab.lib.styles import ParagraphStyle

    # Chinese has no spaces at which a line could be broken.
    wrap = "CJK" if language is Language.CHINESE else None
    body = ParagraphStyle(
        "body", fontName="Helvetica", fontSize=_BODY_PT, leading=13, spaceAfter=3, wordWrap=wrap
    )

    def derive(name: str, **changes: Any) -> Any:
        return ParagraphStyle(name, parent=body, **changes)

    return {
        "body": body,
        "small": derive("small", fontSize=_SMALL_PT, leading=10, spaceAfter=0),
        "cell": derive("cell", fontSize=9, leading=11, spaceAfter=0),
        "below": derive(
            "below", fontSize=_SMALL_PT, leading=10, leftIndent=10, textColor=HexColor("#555555")
        ),
        "number": derive("number", fontSize=9, leading=11, spaceAfter=0, alignment=TA_RIGHT),
        "right": derive("right", fontSize=_SMALL_PT, leading=10, alignment=TA_RIGHT),
        "title": derive("title", fontSize=_TITLE_PT, leading=20, spaceAfter=6),
        "heading": derive("heading", fontSize=_HEADING_PT, leading=15, spaceBefore=8),
        "banner": derive("banner", leading=12, textColor=white, alignment=TA_CENTER),
        "refused": derive(
            "refused",
            borderColor=HexColor(DARK_RED),
            borderWidth=1,
            borderPadding=5,
            spaceBefore=6,
            spaceAfter=10,
        ),
    }


def tabulate(sheet: Sheet, styles: dict[str, Any]) -> Any:
    """One row for each structure; columns that would be empty throughout are left out."""
    from reportlab.lib.colors import HexColor
    from reportlab.lib.units import mm
    from reportlab.platypus import Table

    rows = [_list_cells(entry) for entry in sheet.entries]
    is_below = any(len(row[_FURTHER]) > _FURTHER_MAX for row in rows)
    used = [name for name in _COLUMNS if any(row[name] for row in rows) or name == "structure"]
    if not is_below and any(row[_FURTHER] for row in rows):
        used.append(_FURTHER)
    widths_mm = [_COLUMNS.get(name, 0.0) for name in used]
    widths_mm[-1 if used[-1] == _FURTHER else 0] += WIDTH_MM - sum(widths_mm)
    lines = [[_cell(say(sheet.language, name), name, styles, bold=True) for name in used]]
    looks: list[tuple[Any, ...]] = [("LINEBELOW", (0, 0), (-1, 0), 0.4, HexColor(RULE))]
    for row in rows:
        first = len(lines)
        lines.append([_cell(row[name], name, styles) for name in used])
        if is_below and row[_FURTHER]:
            lines.append([_cell(row[_FURTHER], "below", styles), *[""] * (len(used) - 1)])
            looks += [("SPAN", (0, -1 + len(lines)), (-1, -1 + len(lines)))]
            looks += [("NOSPLIT", (0, first), (-1, len(lines) - 1))]
        looks.append(("LINEBELOW", (0, len(lines) - 1), (-1, len(lines) - 1), 0.4, HexColor(RULE)))
    table = Table(lines, colWidths=[width * mm for width in widths_mm], repeatRows=1)
    table.setStyle([*TIGHT, ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5), *looks])
    return table


def _list_cells(entry: Entry) -> dict[str, str]:
    return {
        "structure": entry.name,
        "volume": entry.volume,
        "usual": entry.usual,
        "change": entry.change,
        _FURTHER: "; ".join(entry.further),
    }


def _cell(text: str, name: str, styles: dict[str, Any], *, bold: bool = False) -> Any:
    from reportlab.platypus import Paragraph

    style = "number" if name in _NUMBERS else "below" if name == "below" else "cell"
    return Paragraph(mark_up(text, bold=bold), styles[style])


def tabulate_facts(facts: Sequence[tuple[str, str]], styles: dict[str, Any]) -> Any:
    """Names with their values."""
    from reportlab.lib.units import mm
    from reportlab.platypus import Paragraph, Table

    rows = [
        [Paragraph(mark_up(name), styles["small"]), Paragraph(mark_up(value), styles["small"])]
        for name, value in facts
    ]
    table = Table(rows, colWidths=[38 * mm, (WIDTH_MM - 38) * mm])
    table.setStyle(list(TIGHT))
    return table
