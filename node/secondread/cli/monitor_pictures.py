"""Small pictures as SVG, to stand in a page: nothing is loaded, and every text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from secondread.store.model_work import DAY_S, Day

_BLUE, _ORANGE, _GREY = "#2b6cb0", "#c05621", "#8a8a8a"
_BAR, _GAP, _TALL = 14, 4, 70
_ROW, _NAMES, _WIDE, _MARGIN = 18, 230, 380, 30


@dataclass(frozen=True, slots=True)
class Mark:
    """A value with its interval, in a row of its own.

    Attributes:
        name: what the row is about.
        value: where the dot is.
        interval: the thick line; None where there is none.
        limits: the thin line, such as limits of agreement; None where there is none.
    """

    name: str
    value: float
    interval: tuple[float, float] | None = None
    limits: tuple[float, float] | None = None


def draw_days(days: Sequence[Day], today: float, count: int) -> str:
    """A bar for each of the last ``count`` days: what was analysed, and above it what was not."""
    last = int(today // DAY_S) * DAY_S
    found = {day.at: day for day in days}
    ordered = [found.get(last - back * DAY_S, Day(0, 0, 0)) for back in reversed(range(count))]
    most = max((day.analysed + day.refused for day in ordered), default=0) or 1
    bars = []
    for number, day in enumerate(ordered):
        at = number * (_BAR + _GAP)
        blue, orange = (_TALL * part / most for part in (day.analysed, day.refused))
        bars.append(_box(at, _TALL - blue, blue, _BLUE))
        bars.append(_box(at, _TALL - blue - orange, orange, _ORANGE))
    wide = count * (_BAR + _GAP)
    bars.append(_line(0, _TALL + 1, wide, _TALL + 1, 1, _GREY))
    label = f"Studies a day in the last {count} days, at most {most}"
    return _svg(wide, _TALL + 2, "".join(bars), label)


def draw_marks(marks: Sequence[Mark], low: float, high: float, label: str) -> str:
    """A row for each mark, on an axis from ``low`` to ``high``; a line at 0 where it lies within.

    What lies outside the axis is drawn at its end.
    """
    if high <= low:
        low, high = low - 1.0, low + 1.0

    def place(value: float) -> float:
        inside = min(max(value, low), high)
        return _NAMES + _WIDE * (inside - low) / (high - low)

    tall = _ROW * len(marks)
    parts = [_line(place(0.0), 0, place(0.0), tall, 1, _GREY)] if low < 0 < high else []
    for number, mark in enumerate(marks):
        middle = _ROW * number + _ROW / 2
        parts.append(_text(0, middle + 4, mark.name))
        for ends, width in ((mark.limits, 1.5), (mark.interval, 5.0)):
            if ends is not None:
                parts.append(_line(place(ends[0]), middle, place(ends[1]), middle, width, _BLUE))
        parts.append(f'<circle cx="{place(mark.value):.1f}" cy="{middle}" r="4" fill="{_ORANGE}"/>')
    for value in (low, (low + high) / 2, high):
        parts.append(_text(place(value), tall + _ROW - 4, f"{value:.3g}", "middle"))
    return _svg(_NAMES + _WIDE + _MARGIN, tall + _ROW, "".join(parts), label)


def _box(x: float, y: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x}" y="{y:.1f}" width="{_BAR}" height="{max(height, 0):.1f}" fill="{colour}"/>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, width: float, colour: str) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1}" x2="{x2:.1f}" y2="{y2}" stroke="{colour}" '
        f'stroke-width="{width}" stroke-opacity="0.7"/>'
    )


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y}" font-size="12" text-anchor="{anchor}" fill="#222">'
        f"{escape(text)}</text>"
    )


def _svg(width: float, height: float, content: str, label: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
        f"<title>{escape(label)}</title>{content}</svg>"
    )
