"""What commands print: text for people, or one JSON document."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_PIPED_COLUMNS = 200
_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def print_json(document: object) -> None:
    """Print one JSON document; records become objects, paths and states become texts.

    A number without end becomes null, for JSON has none (RFC 8259 6).
    """
    plain = json.loads(json.dumps(document, default=_plain), parse_constant=_nothing)
    text = json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write(text + "\n")


def print_line(text: str, *, style: str = "") -> None:
    """Print one line to standard output; nothing in it is read as markup."""
    _console().print(text, style=style or None, soft_wrap=True)


def print_error(text: str) -> None:
    """Print an error to standard error, red where that is a terminal."""
    _console(stderr=True).print(text, style="red", soft_wrap=True)


def print_note(text: str) -> None:
    """Print something to standard error that is not the command's answer."""
    _console(stderr=True).print(text, soft_wrap=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; a cell that is ``ok``, ``warn`` or ``fail`` gets its colour."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        cells = [str(cell) for cell in row]
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in cells))
    _console().print(table)


def _nothing(_constant: str) -> None:
    """What stands for a number that JSON cannot write."""


def iso_time(at: float) -> str:
    """Seconds since the epoch as UTC, for JSON: ``2026-03-01T08:15:00Z``."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def local_time(at: float) -> str:
    """Seconds since the epoch in the time of this machine, for people."""
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPED_COLUMNS
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


def _plain(value: Any) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)
