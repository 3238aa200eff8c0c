"""The seeded defects as a table."""

from __future__ import annotations

from pathlib import Path

from tests.defects import DEFECTS
from tests.defects.seeding import ANY, SEGMENTATIONS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "gate.md"
_START, _END = "<!-- generated: defects -->\n", "<!-- end -->\n"
_NAMES = {ANY: "any", SEGMENTATIONS: "segmentation"}


def insert(text: str) -> str:
    """The document with the table as it should be."""
    before, rest = text.split(_START)
    after = rest.split(_END, 1)[1]
    return f"{before}{_START}\n{_write()}\n{_END}{after}"


def _write() -> str:
    rows = [
        f"| {_NAMES.get(one.kinds) or ', '.join(one.kinds)} | {one.what} | "
        f"… {' … or … '.join(one.sentence.split('|'))} … |"
        for one in DEFECTS
    ]
    head = ["| object | what is wrong | the sentence |", "| --- | --- | --- |"]
    return "\n".join([*head, *rows]) + "\n"
