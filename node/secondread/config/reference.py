"""The tables of docs/configuration.md, rendered from the schema.

``python -m secondread.config.reference docs/configuration.md`` writes them anew; a test fails when
they are stale.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from secondread.config.schema import ROWS, SECTIONS
from secondread.config.tables import variable

_BLOCK = re.compile(r"(<!-- begin (\w+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)


def render_table(name: str) -> str:
    """The keys of one table in Markdown: name, default, meaning and, for scalars, the variable."""
    schema = {**SECTIONS, **ROWS}[name]
    scalars = name in SECTIONS
    head = ["Key", "Default", "Meaning"] + (["Environment"] if scalars else [])
    lines = [_row(head), _row(["---"] * len(head))]
    for key, field in schema.model_fields.items():
        cells = [f"`{key}`", _default(field), field.description or ""]
        if scalars:
            cells.append(f"`{variable(name, key)}`")
        lines.append(_row(cells))
    return "\n".join([_first_line(schema), "", *lines, ""])


def rewrite(text: str) -> str:
    """A document with every block between ``<!-- begin name -->`` and its end rendered anew."""
    return _BLOCK.sub(lambda match: match[1] + render_table(match[2]) + match[3], text)


def missing_tables(text: str) -> Iterator[str]:
    """The tables that a document has no block for."""
    present = {match[2] for match in _BLOCK.finditer(text)}
    return (name for name in (*SECTIONS, *ROWS) if name not in present)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "see there"
    if value in ("", []):
        return "empty"
    if isinstance(value, bool | list):
        return f"`{json.dumps(value)}`"
    return f"`{value}`"


def _first_line(schema: type[BaseModel]) -> str:
    return (schema.__doc__ or "").strip().splitlines()[0]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        document = Path(argument)
        document.write_text(rewrite(document.read_text(encoding="utf-8")), encoding="utf-8")
