"""The page that plots and tables are put on: escaped text, pictures inside, nothing to load."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

from secondread.learning.intervals import Estimate
from secondread.learning.whole import write_whole

FILE_NAME = "report.html"
_TEMPLATE = Path(__file__).with_name("page.html")


@dataclass(frozen=True)
class Table:
    """A table of texts; every row has a cell for each column."""

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Plot:
    """A picture with what it shows; `source` is a data URI."""

    caption: str
    source: str


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    heading: str
    notes: tuple[str, ...] = ()
    table: Table = field(default_factory=Table)
    plots: tuple[Plot, ...] = ()


def embed(caption: str, picture: bytes) -> Plot:
    """A picture as part of the page: SVG or PNG, by its first bytes."""
    kind = "png" if picture.startswith(b"\x89PNG") else "svg+xml"
    text = base64.b64encode(picture).decode("ascii")
    return Plot(caption, f"data:image/{kind};base64,{text}")


def write_page(folder: Path, title: str, lead: Sequence[str], sections: Sequence[Section]) -> Path:
    """Write `report.html` into a folder; returns its path."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    path = folder / FILE_NAME
    write_whole(path, template.render(title=title, lead=lead, sections=sections))
    return path


def show_estimate(estimate: Estimate) -> str:
    """A figure with its interval: ``0.890 (0.882 to 0.897)``; a dash where there is none."""
    if estimate.value is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return show_number(estimate.value)
    low, high = show_number(estimate.low), show_number(estimate.high)
    return f"{show_number(estimate.value)} ({low} to {high})"


def show_number(value: float | None) -> str:
    """Three decimals below ten, and less beyond; a dash where there is no number."""
    if value is None:
        return "–"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
