"""The ``[[…]]`` blocks of a configuration as text, so that one can change without the others.

Only the lines of the block in question are ever parsed and written anew; everything else, comments
and blank lines included, stays byte for byte as the operator left it. A block ends with its last
key: comments after that belong to what follows.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import tomlkit
from tomlkit.items import AbstractTable, AoT, Array

from secondread.config.positions import locate
from secondread.config.schema import ROW_KEY
from secondread.errors import ConfigurationError


class Kind(Enum):
    """What happens to a row."""

    ADD = auto()
    CHANGE = auto()
    REMOVE = auto()


@dataclass(frozen=True, slots=True)
class RowChange:
    """One change of one ``[[table]]``.

    Attributes:
        kind: what happens.
        table: which array, such as ``peers``.
        name: the row, by the key that tells rows apart, as it is called before the change.
        values: keys to set, with plain values; None takes a key out, so that its default holds.
    """

    kind: Kind
    table: str
    name: str
    values: Mapping[str, object]


def apply(text: str, change: RowChange) -> str:
    """The text of the file after one change.

    Raises:
        ConfigurationError: the file is written in a way that cannot be changed by a program.
    """
    doing = {Kind.ADD: _added, Kind.CHANGE: _changed, Kind.REMOVE: _removed}[change.kind]
    try:
        after = doing(text, change)
        # Whatever the text looked like: after the change it says what it said before, but for this.
        as_meant = tomllib.loads(after) == _expected(tomllib.loads(text), change)
    except ValueError:  # the text that was cut or put together is not TOML
        as_meant = False
    if not as_meant:
        raise _by_hand(change)
    return after


def block_of(text: str, table: str, name: str) -> str:
    """The lines of one row, as they stand in the file."""
    start, end = _span(text, table, name)
    return "".join(text.splitlines(keepends=True)[start:end])


def _expected(raw: dict[str, Any], change: RowChange) -> dict[str, Any]:
    rows = raw.setdefault(change.table, [])
    if change.kind is Kind.ADD:
        rows.append(_kept({}, change.values))
        return raw
    index = _index(rows, change)
    if change.kind is Kind.REMOVE:
        del rows[index]
        if not rows:
            del raw[change.table]
    else:
        rows[index] = _kept(rows[index], change.values)
    return raw


def _kept(row: dict[str, Any], values: Mapping[str, object]) -> dict[str, Any]:
    return {key: value for key, value in {**row, **values}.items() if value is not None}


def _index(rows: Sequence[Mapping[str, Any]], change: RowChange) -> int:
    key = ROW_KEY[change.table]
    return next(index for index, row in enumerate(rows) if row.get(key) == change.name)


def _by_hand(change: RowChange) -> ConfigurationError:
    return ConfigurationError(
        f"Nothing was written: the [[{change.table}]] of this file are written in a way that this "
        f"command cannot change safely. Change '{change.name}' by hand, or write each row as a "
        f"block of lines that begins with [[{change.table}]]."
    )


def _span(text: str, table: str, name: str) -> tuple[int, int]:
    """The 0-based lines of a row, from its header to its last key; the end is not included."""
    rows = tomllib.loads(text)[table]
    change = RowChange(Kind.CHANGE, table, name, {})
    where = (table, _index(rows, change))
    lines = locate(text).lines
    content = text.splitlines()
    header = lines[where]
    if not content[header - 1].lstrip().startswith("[["):
        raise _by_hand(change)
    after = [number for path, number in lines.items() if number > header and path[:2] != where]
    end = min(after) - 1 if after else len(content)
    while not content[end - 1].strip() or content[end - 1].lstrip().startswith("#"):
        end -= 1
    return header - 1, end


def _added(text: str, change: RowChange) -> str:
    lines = text.splitlines(keepends=True)
    names = [row.get(ROW_KEY[change.table]) for row in tomllib.loads(text).get(change.table, [])]
    if names:
        _, at = _span(text, change.table, str(names[-1]))
    else:
        at = _place_of_first(lines, change.table)
    if at and not lines[at - 1].endswith("\n"):
        lines[at - 1] += "\n"
    before = "\n" if at and lines[at - 1].strip() else ""
    behind = "\n" if at < len(lines) and lines[at].strip() else ""
    return "".join([*lines[:at], before, _rendered(change), behind, *lines[at:]])


def _place_of_first(lines: Sequence[str], table: str) -> int:
    """Below the commented example of such a row, if the next thing is a table; else at the end."""
    example = re.compile(rf"#\s*\[\[\s*{re.escape(table)}\s*\]\]")
    for number, line in enumerate(lines):
        if not example.match(line.strip()):
            continue
        at = number + 1
        while at < len(lines) and lines[at].startswith("#"):
            at += 1
        following = (rest.strip() for rest in lines[at:])
        if next((rest for rest in following if rest and rest[0] != "#"), "[").startswith("["):
            return at
    return len(lines)


def _rendered(change: RowChange) -> str:
    row = tomlkit.table()
    for key, value in change.values.items():
        if value is not None:
            row.append(key, value)
    rows = tomlkit.aot()
    rows.append(row)
    document = tomlkit.document()
    document.append(change.table, rows)
    return tomlkit.dumps(document)


def _changed(text: str, change: RowChange) -> str:
    start, end = _span(text, change.table, change.name)
    lines = text.splitlines(keepends=True)
    block = "".join(lines[start:end])
    open_ended = not block.endswith("\n")
    document = tomlkit.parse(block + "\n" if open_ended else block)
    rows = document[change.table]
    assert isinstance(rows, AoT)
    row = rows[0]
    for key, value in change.values.items():
        _set(row, key, value)
    return "".join([*lines[:start], tomlkit.dumps(document), *lines[end:]])


def _set(row: AbstractTable, key: str, value: object) -> None:
    if value is None:
        row.pop(key, None)
    elif key not in row or not _amend(row[key], value):
        row[key] = value


def _amend(old: Any, wanted: object) -> bool:
    """Change in what is there only what differs, keeping how it is written; False if that fails."""
    if isinstance(old, AbstractTable) and isinstance(wanted, Mapping):
        if list(old) != list(wanted):
            return False
        for key, value in wanted.items():
            _set(old, key, value)
        return True
    if not isinstance(old, Array | AoT) or not isinstance(wanted, list):
        return bool(old == wanted)
    if isinstance(old, Array) and _grow(old, wanted):
        return True
    if len(old) != len(wanted):
        return False
    for index, value in enumerate(wanted):
        if not _amend(old[index], value):
            old[index] = value
    return True


def _grow(array: Array, wanted: Sequence[object]) -> bool:
    """Append to a list what it lacks, if that is all there is to do."""
    had = array.unwrap()
    if list(wanted[: len(had)]) != had:
        return False
    for item in wanted[len(had) :]:
        array.append(item)
    return True


def _removed(text: str, change: RowChange) -> str:
    start, end = _span(text, change.table, change.name)
    lines = text.splitlines(keepends=True)
    # One blank line stays between what was above and what was below.
    above_blank = start == 0 or not lines[start - 1].strip()
    while above_blank and end < len(lines) and not lines[end].strip():
        end += 1
    return "".join([*lines[:start], *lines[end:]])
