"""The tables of docs/configuration.md and docs/rules.md, rendered from the code.

``python -m secondread.config.reference docs/configuration.md docs/rules.md`` writes them anew; a
test fails when they are stale.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from secondread.config.complete import RuleComplete
from secondread.config.schema import NESTED, ROWS, SECTIONS
from secondread.config.tables import variable
from secondread.domain.attributes import ATTRIBUTES, WORKED_OUT, Kind

_KINDS = {Kind.TEXT: "text", Kind.NUMBER: "number", Kind.CODE: "code", Kind.UID: "UID"}
_BLOCK = re.compile(r"(<!-- begin ([\w.]+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)


def render_table(name: str) -> str:
    """The keys of one table in Markdown: name, default, meaning and, for scalars, the variable."""
    schema = {**SECTIONS, **ROWS, **NESTED}[name]
    scalars = name in SECTIONS
    head = ["Key", "Default", "Meaning"] + (["Environment"] if scalars else [])
    lines = [_row(head), _row(["---"] * len(head))]
    for key, field in schema.model_fields.items():
        default = "see below" if f"{name}.{key}" in NESTED else _default(schema, field)
        cells = [f"`{key}`", default, field.description or ""]
        if scalars:
            cells.append(f"`{variable(name, key)}`")
        lines.append(_row(cells))
    return "\n".join([_first_line(schema), "", *lines, ""])


def render_attributes() -> str:
    """The attributes that conditions may ask for, by kind, and those that the node works out."""
    lines = [_row(["Compared as", "Attributes"]), _row(["---"] * 2)]
    for kind in Kind:
        names = sorted(
            f"`{name}`" for name, found in ATTRIBUTES.items() if found is kind and _is_dicom(name)
        )
        lines.append(_row([_KINDS[kind], ", ".join(names)]))
    lines += ["", "And what the node works out itself:", ""]
    lines += [_row(["Attribute", "Compared as", "Meaning"]), _row(["---"] * 3)]
    for name, meaning in WORKED_OUT.items():
        lines.append(_row([f"`{name}`", _KINDS[ATTRIBUTES[name]], meaning]))
    return "\n".join([*lines, ""])


def _is_dicom(name: str) -> bool:
    return name not in WORKED_OUT


def rewrite(text: str) -> str:
    """A document with every block between ``<!-- begin name -->`` and its end rendered anew."""
    return _BLOCK.sub(lambda match: match[1] + _rendered(match[2]) + match[3], text)


def _rendered(name: str) -> str:
    return render_attributes() if name == "attributes" else render_table(name)


def missing_tables(text: str) -> Iterator[str]:
    """The tables that a document has no block for."""
    present = {match[2] for match in _BLOCK.finditer(text)}
    return (name for name in (*SECTIONS, *ROWS, *NESTED) if name not in present)


def _default(schema: type[BaseModel], field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "see there" if schema is not RuleComplete else "the peer's"
    if value in ("", [], ()):
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
