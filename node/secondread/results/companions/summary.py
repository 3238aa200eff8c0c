"""One page of pictures and numbers as a Secondary Capture (PS3.3 A.8.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from secondread.results.analysis import Analysis
from secondread.results.companions.canvas import (
    AMBER,
    GREY,
    RED,
    WHITE,
    Colour,
    find_font,
    fit,
    wrap,
    write,
)
from secondread.results.companions.companion import Companion
from secondread.results.companions.picture import draw_planes
from secondread.results.companions.secondary import SECONDARY_CAPTURE_STORAGE, make_capture
from secondread.results.companions.sheet import write_unit
from secondread.results.context import (
    NODE_MODEL,
    RESEARCH_NOTICE,
    SUMMARY,
    ResultContext,
)
from secondread.results.document import Document, WholeDocument
from secondread.results.earlier import Change, EarlierReport, find_changes
from secondread.results.made import Made
from secondread.results.measurement.measurements import StructureMeasurements

WIDTH_PX, HEIGHT_PX = 1600, 1200
_EDGE_PX, _GAP_PX = 20, 10
_HEAD_PX, _FOOT_PX = 90, 60
_TILE_PX = 326
_FRACTIONS = (0.25, 0.5, 0.75)
_TABLE_LEFT_PX = _EDGE_PX + len(_FRACTIONS) * (_TILE_PX + _GAP_PX) + 14
_TABLE_RIGHT_PX = WIDTH_PX - _EDGE_PX
_COLUMN_EM = 5.3
"""Width of a narrow column, in heights of its letters."""
_DATE_LENGTH = 8
_NOTE_LINES_MAX = 4
_NOTE_PX = 18
_STYLES = ((24, 34), (19, 26), (16, 21))
"""Sizes of text and of rows, from few structures to many."""
_LARGE_ML = 100.0
RADIOLOGICAL = "The patient's left is on the right of the picture."


@dataclass(frozen=True, slots=True)
class Line:
    """One line beside the pictures; ``colour`` is that of the structure, None where it has none.

    ``usual`` and ``change`` are columns of their own, as far as a line of the table has them.
    """

    colour: tuple[int, int, int] | None
    name: str
    value: str
    usual: str = ""
    change: str = ""


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which columns there are to the right of the volumes."""

    has_usual: bool = False
    has_change: bool = False

    def find_right_edges(self, size_px: int) -> tuple[float, float, float]:
        """Of volumes, usual volumes and changes."""
        usual = _TABLE_RIGHT_PX - _COLUMN_EM * size_px * self.has_change
        return usual - _COLUMN_EM * size_px * self.has_usual, usual, _TABLE_RIGHT_PX


def make_summary(context: ResultContext, analysis: Analysis, made: Made) -> tuple[Document, ...]:
    """One, where the form asks for it: slices in three planes, and what was measured.

    It says nothing about who the patient is; that is in the header alone, where a viewer finds it.
    It is in English whatever the form's language is, for lack of a font.
    """
    if not context.form.summary:
        return ()
    page = draw_summary(context, analysis, made.measured)
    picture = make_capture(
        context,
        Companion(SUMMARY, SECONDARY_CAPTURE_STORAGE, "OT", "summary"),
        np.asarray(page),
        context.analysed.sources,
        "Slices in three planes with the outlines of what was found, and its volumes.",
    )
    return (WholeDocument(SUMMARY, SUMMARY, picture),)


def draw_summary(
    context: ResultContext, analysis: Analysis, measured: Sequence[StructureMeasurements]
) -> Image.Image:
    """The page as a picture of 1600 × 1200 pixels, which can be read at two thirds of its size."""
    page = Image.new("RGB", (WIDTH_PX, HEIGHT_PX))
    pen = ImageDraw.Draw(page)
    _write_head(pen, context)
    labels = context.manifest.labels
    rows = draw_planes(context.analysed, analysis.labels, labels, _TILE_PX, _FRACTIONS)
    _paste(page, rows)
    absent = [one.label.meaning for one in measured if not one.voxels]
    notes = [f"Not found: {', '.join(absent)}."] if absent else []
    if len(absent) == len(measured) and measured:
        notes = ["None of the structures that the model knows was found."]
    structures = _list_structures(measured, _find_changes(context, analysis, measured))
    if analysis.earlier is not None:
        notes.insert(0, _name_earlier(analysis.earlier))
    _write_table(pen, structures, _list_answers(context, analysis), notes)
    _write_foot(pen, context)
    return page


def _write_head(pen: ImageDraw.ImageDraw, context: ResultContext) -> None:
    middle = _HEAD_PX / 2
    room = WIDTH_PX - 2 * _EDGE_PX
    if context.is_research:
        left = _TABLE_LEFT_PX
        pen.rectangle((left, 20, _TABLE_RIGHT_PX, _HEAD_PX - 20), fill=RED)
        at = ((left + _TABLE_RIGHT_PX) / 2, middle)
        write(pen, at, RESEARCH_NOTICE, 24, WHITE, "mm")
        room = left - 2 * _EDGE_PX
    write(pen, (_EDGE_PX, middle), fit(context.model_title, 36, room), 36, WHITE, "lm")


def _paste(page: Image.Image, rows: Sequence[Sequence[Image.Image]]) -> None:
    """A row of tiles for each plane, spread over the height that there is."""
    heights = [max(tile.height for tile in row) for row in rows]
    spare = HEIGHT_PX - _HEAD_PX - _FOOT_PX - sum(heights)
    gap = max(0, spare // (len(rows) + 1))
    top = _HEAD_PX + gap
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            left = _EDGE_PX + column * (_TILE_PX + _GAP_PX)
            page.paste(tile, (left + (_TILE_PX - tile.width) // 2, top))
        top += height + gap


def _find_changes(
    context: ResultContext, analysis: Analysis, measured: Sequence[StructureMeasurements]
) -> Mapping[int, Change]:
    if analysis.earlier is None:
        return {}
    return find_changes(measured, analysis.earlier, context.manifest)


def _name_earlier(earlier: EarlierReport) -> str:
    date = earlier.study_date
    when = f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == _DATE_LENGTH else "earlier"
    return f"Change since the study of {when}, made by version {earlier.model_version} then."


def _list_structures(
    measured: Sequence[StructureMeasurements], changes: Mapping[int, Change]
) -> list[Line]:
    lines = []
    for one in measured:
        if not one.voxels:
            continue
        usual, change = one.label.reference_ml, changes.get(one.label.value)
        lines.append(
            Line(
                one.label.color_rgb,
                one.label.meaning,
                _say_volume(one.volume_ml),
                f"{usual[0]:g}-{usual[1]:g}" if usual else "",
                _say_change(change) if change else "",
            )
        )
    return lines


def _say_change(change: Change) -> str:
    if change.percent is not None:
        return f"{change.percent:+.1f} %"
    return f"{change.after_ml - change.before_ml:+.2f} mL"


def _list_answers(context: ResultContext, analysis: Analysis) -> list[Line]:
    """Numbers and findings of the model's own."""
    output, lines = context.manifest.output, []
    numbers = {one.id: one for one in output.numbers}
    findings = {one.id: one for one in output.findings}
    for number in analysis.answer.numbers:
        declared = numbers[number.id]
        value = f"{number.value:.4g} {write_unit(declared.unit)}".rstrip()
        lines.append(Line(None, declared.name.meaning, value))
    for finding in analysis.answer.findings:
        known = findings[finding.id]
        share = "" if finding.probability is None else f" ({100 * finding.probability:.0f} %)"
        lines.append(Line(None, known.name.meaning, known.values[finding.value].meaning + share))
    return lines


def _say_volume(volume_ml: float) -> str:
    return f"{volume_ml:.1f}" if volume_ml >= _LARGE_ML else f"{volume_ml:.2f}"


def _write_table(
    pen: ImageDraw.ImageDraw,
    structures: Sequence[Line],
    answers: Sequence[Line],
    notes: Sequence[str],
) -> None:
    width = _TABLE_RIGHT_PX - _TABLE_LEFT_PX
    wrapped = [line for note in notes for line in wrap(note, _NOTE_PX, width, _NOTE_LINES_MAX)]
    bottom = HEIGHT_PX - _FOOT_PX - len(wrapped) * (_NOTE_PX + 6) - _GAP_PX
    room = bottom - _HEAD_PX
    # A heading for each of the two parts, and a gap between them.
    extra = 2 * bool(structures) + 2 * bool(answers)
    wanted = len(structures) + len(answers) + extra
    size_px, row_px = next((style for style in _STYLES if wanted * style[1] <= room), _STYLES[-1])
    shown = max(0, room // row_px - extra - len(answers))
    top = _HEAD_PX + _GAP_PX
    style = (size_px, row_px)
    if structures:
        columns = _Columns(
            any(line.usual for line in structures), any(line.change for line in structures)
        )
        head = Line(
            None,
            "Volume",
            "mL",
            "usual, mL" if columns.has_usual else "",
            "change" if columns.has_change else "",
        )
        top = _write_rows(pen, [head], top, style, columns, GREY)
        rows = list(structures)
        if len(rows) > shown:
            left_out = len(rows) - (shown - 1)
            rows = [*rows[: shown - 1], Line(None, f"and {left_out} more, see the report", "")]
        top = _write_rows(pen, rows, top, style, columns, WHITE)
    if answers:
        head = Line(None, "Found by the model", "")
        top = _write_rows(pen, [head], top + row_px // 2, style, _Columns(), GREY)
        top = _write_rows(pen, answers, top, style, _Columns(), WHITE)
    top = min(top + _GAP_PX, bottom + _GAP_PX)
    for line in wrapped:
        write(pen, (_TABLE_LEFT_PX, top), line, _NOTE_PX, AMBER)
        top += _NOTE_PX + 6


def _write_rows(
    pen: ImageDraw.ImageDraw,
    lines: Sequence[Line],
    top: int,
    style: tuple[int, int],
    columns: _Columns,
    fill: Colour,
) -> int:
    """Write lines below one another and return where the next one goes."""
    size_px, row_px = style
    right, usual_right, change_right = columns.find_right_edges(size_px)
    for line in lines:
        middle = top + row_px / 2
        left = _TABLE_LEFT_PX
        if line.colour is not None:
            half = size_px / 2 - 2
            pen.rectangle((left, middle - half, left + 2 * half, middle + half), fill=line.colour)
        left += size_px + 6
        value = fit(line.value, size_px, (right - left) * 0.6)
        write(pen, (right, middle), value, size_px, fill, "rm")
        taken = find_font(size_px).getlength(value)
        name = fit(line.name, size_px, right - left - taken - 12)
        write(pen, (left, middle), name, size_px, fill, "lm")
        for text, at in ((line.usual, usual_right), (line.change, change_right)):
            if text:
                short = fit(text, size_px, (_COLUMN_EM - 0.5) * size_px)
                write(pen, (at, middle), short, size_px, GREY, "rm")
        top += row_px
    return top


def _write_foot(pen: ImageDraw.ImageDraw, context: ResultContext) -> None:
    """How it was made; the date is the job's."""
    manifest = context.manifest
    made = (
        f"{NODE_MODEL} {context.software_version}, model {manifest.id} {manifest.version} of "
        f"{manifest.manufacturer}, {context.created:%Y-%m-%d %H:%M}. {RADIOLOGICAL}"
    )
    middle = HEIGHT_PX - _FOOT_PX / 2
    room = WIDTH_PX - 2 * _EDGE_PX
    write(pen, (_EDGE_PX, middle), fit(made, 18, room), 18, GREY, "lm")
