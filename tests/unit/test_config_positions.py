"""Lines of keys, for documents of any content."""

from __future__ import annotations

import json
import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from secondread.config.positions import locate

KEYS = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
TEXTS = st.text(st.sampled_from("ab #[]{}=\"'\\\n,."), max_size=12)
SCALARS = st.one_of(st.integers(-9, 9), st.booleans(), TEXTS)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3))
TABLES = st.dictionaries(KEYS, st.tuples(VALUES, st.integers(0, 4)), max_size=4)


def written(value: Any, style: int) -> str:
    """A value in one of the ways in which TOML allows it, some of them over several lines."""
    if isinstance(value, list):
        between = ", # ]\n  " if style == 1 else ", "
        return (
            "["
            + ("\n" if style == 2 else "")
            + between.join(written(item, 0) for item in value)
            + ("\n]" if style in {1, 2} else "]")
        )
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and style == 3 and "'" not in value and not value.startswith("\n"):
        return f"'''{value}'''"
    if isinstance(value, str) and style == 4 and not value.startswith("\n"):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"""{escaped}"""'
    return json.dumps(value)


@given(st.dictionaries(KEYS, st.tuples(st.booleans(), TABLES), max_size=4))
def test_every_key_is_found_on_its_line(document: dict[str, Any]) -> None:
    lines: list[str] = []
    expected = {}
    for name, (is_row, table) in document.items():
        lines.append(f"[[{name}]] # x = 1" if is_row else f'  [ "{name}" ]')
        path = (name, 0) if is_row else (name,)
        expected[path] = len(lines)
        for key, (value, style) in table.items():
            expected[(*path, key)] = len(lines) + 1
            lines += f"{key} = {written(value, style)} # [no]\n# y = 2".split("\n")
    text = "\n".join(lines)
    parsed = tomllib.loads(text)
    for name, (is_row, table) in document.items():
        found = parsed[name][0] if is_row else parsed[name]
        assert found == {key: value for key, (value, _) in table.items()}
    positions = locate(text)
    assert {path: positions.lines[path] for path in expected} == expected
    extra = set(positions.lines) - set(expected)
    assert extra == {(name,) for name, (is_row, _) in document.items() if is_row}
