"""A report as one page for reading, made from the DICOM object and nothing else."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from secondread.results.companions.headings import say
from secondread.results.companions.sheet import Sheet, lay_out
from secondread.results.reading.transcript import MeasurementGroup, Transcript, read_report

_STYLE = """
body{font:16px/1.45 system-ui,sans-serif;color:#1b1b1b}
body{max-width:64rem;margin:1.5rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0 0 .3rem}
h2{font-size:1.15rem;margin:1.6rem 0 .4rem}
.banner{background:#7a1f1f;color:#fff;font-weight:600;padding:.5rem .8rem;border-radius:.3rem}
.refused{border:2px solid #7a1f1f;padding:.6rem .8rem;border-radius:.3rem}
.quiet{color:#555}
table{border-collapse:collapse;width:100%}
th,td{padding:.25rem .6rem;border-bottom:1px solid #ddd;text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left;white-space:normal}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem}
dt{color:#555}
dd{margin:0;overflow-wrap:anywhere}
img{max-width:100%;background:#000}
""".strip()


@dataclass(frozen=True, slots=True)
class Row:
    """A structure with its volumes in mL; a structure without sides has ``whole`` alone."""

    name: str
    left_ml: float | None
    right_ml: float | None
    whole_ml: float | None

    @property
    def asymmetry_percent(self) -> float | None:
        """How much larger the left is, as a share of the mean of both; ``None`` for one side."""
        if self.left_ml is None or self.right_ml is None or self.left_ml + self.right_ml == 0:
            return None
        return 200.0 * (self.left_ml - self.right_ml) / (self.left_ml + self.right_ml)


def write_page(report: Path, page: Path, overlay: Path | None = None) -> None:
    """Write a report as a page that needs nothing beside it.

    Args:
        report: a TID 1500 report.
        page: the HTML file.
        overlay: a PNG to put into it.
    """
    page.write_text(render(read_report(report), overlay), encoding="utf-8")


def render(report: Transcript, overlay: Path | None = None) -> str:
    """The page as text."""
    title = report.algorithm.description if report.algorithm else report.series_description
    sheet = lay_out(report, "")
    parts = [f"<h1>{escape(title)}</h1>"]
    if sheet.is_research:
        notice = say(sheet.language, "research")
        parts.insert(0, f'<p class="banner">{escape(notice)}</p>')
    parts.append(f'<p class="quiet">{escape(_say_when(report))}</p>')
    parts.extend(_say_outcome(sheet))
    if sheet.findings:
        parts.append(_list_facts("Findings of the model", sheet.findings))
    if rows := pair_sides(report.groups):
        parts.append(_tabulate(rows))
    if overlay is not None:
        content = base64.b64encode(overlay.read_bytes()).decode("ascii")
        parts.append("<h2>Where it is</h2>")
        parts.append(f'<img alt="Slices with outlines" src="data:image/png;base64,{content}">')
    parts.append(_describe_making(report))
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="{sheet.language}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def pair_sides(groups: Sequence[MeasurementGroup]) -> tuple[Row, ...]:
    """Left and right of the same structure side by side, in the order of the report."""
    found: dict[tuple[str, str], dict[str, float | None]] = {}
    names: dict[tuple[str, str], str] = {}
    for group in groups:
        # A group without a volume is about one slice of a structure, or about a place.
        if group.finding is None or group.volume_ml is None:
            continue
        key = (group.finding.value, group.finding.scheme)
        names.setdefault(key, group.finding.meaning)
        sides = found.setdefault(key, {})
        sides[group.laterality] = group.volume_ml
    return tuple(
        Row(names[key], sides.get("left"), sides.get("right"), sides.get(""))
        for key, sides in found.items()
    )


def _say_when(report: Transcript) -> str:
    when = report.created
    stamp = f"{when[:4]}-{when[4:6]}-{when[6:8]} {when[8:10]}:{when[10:12]}" if when else ""
    return f"{report.series_description} · {stamp} · {report.verification.lower()}"


def _say_outcome(sheet: Sheet) -> list[str]:
    """What there is to say in words; the reason of a refusal stands out."""
    said = []
    for number, sentence in enumerate(sheet.sentences):
        style = ' class="refused"' if sheet.is_refusal and number == 0 else ""
        said.append(f"<p{style}>{escape(sentence)}</p>")
    return said


def _list_facts(heading: str, facts: Sequence[tuple[str, str]]) -> str:
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    return f"<h2>{heading}</h2>\n<dl>{items}</dl>"


def _tabulate(rows: Sequence[Row]) -> str:
    cells = "\n".join(
        f"<tr><td>{escape(row.name)}</td><td>{_number(row.left_ml)}</td>"
        f"<td>{_number(row.right_ml)}</td><td>{_number(row.whole_ml)}</td>"
        f"<td>{_percent(row.asymmetry_percent)}</td></tr>"
        for row in rows
    )
    return (
        "<h2>Volumes</h2>\n<table>\n<thead><tr><th>Structure</th><th>Left, mL</th>"
        "<th>Right, mL</th><th>Without sides, mL</th><th>Left larger by</th></tr></thead>\n"
        f"<tbody>\n{cells}\n</tbody>\n</table>"
    )


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" if value >= 100 else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:+.1f} %"


def _describe_making(report: Transcript) -> str:
    facts = [
        ("Report", f"{report.completion.lower()}, {report.verification.lower()}"),
        (
            "Node",
            " ".join(filter(None, (report.observer.get("name"), report.observer.get("model")))),
        ),
        ("Procedure", ", ".join(procedure.meaning for procedure in report.procedures)),
        ("Images", f"{len(report.images)} in the image library"),
    ]
    if report.algorithm is not None:
        algorithm = report.algorithm
        facts[:0] = [
            ("Model", f"{algorithm.model} {algorithm.version}, {algorithm.manufacturer}"),
            ("Model's device UID", algorithm.device_uid),
        ]
    return _list_facts("How it was made", facts)
