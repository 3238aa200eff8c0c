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


def line_of_item(style: int, index: int) -> int:
    """How many lines below its key an item of a list stands."""
    return {1: index, 2: 1}.get(style, 0)


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
            if isinstance(value, list):
                for index in range(len(value)):
                    expected[(*path, key, index)] = len(lines) + 1 + line_of_item(style, index)
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


NESTED = """\
[[rules]]
name = "a"
when = [
  { attribute = "Modality", is = "MR" },  # { not = 1 }

  { any = [
    { attribute = "PatientAge", from = 18 }, { attribute = 'X', in = ["]",
      "b"] },
  ] },
]

[rules.complete]
wait_max_s = 5

[[rules.complete.series]]
name = "one"
when = []

[[ rules . "complete" . series ]]
name = "two"

[[rules]]
name = "b"
deep . "er" = 1

[[rules.when]]
attribute = "Modality"

[[rules.when]]
[rules.when.not]
attribute = "Plane"
"""


def test_values_in_lists_and_inline_tables_are_found() -> None:
    parsed = tomllib.loads(NESTED)
    assert parsed["rules"][0]["complete"]["series"][1]["name"] == "two"
    positions = locate(NESTED)
    found = {
        ("rules", 0, "when", 0, "is"): 4,
        ("rules", 0, "when", 1, "any"): 6,
        ("rules", 0, "when", 1, "any", 0, "from"): 7,
        ("rules", 0, "when", 1, "any", 1, "attribute"): 7,
        ("rules", 0, "when", 1, "any", 1, "in", 1): 8,
        ("rules", 0, "complete"): 12,
        ("rules", 0, "complete", "wait_max_s"): 13,
        ("rules", 0, "complete", "series", 0, "when"): 17,
        ("rules", 0, "complete", "series", 1): 19,
        ("rules", 0, "complete", "series", 1, "name"): 20,
        ("rules", 1, "name"): 23,
        ("rules", 1, "deep", "er"): 24,
        ("rules", 1, "when", 0, "attribute"): 27,
        ("rules", 1, "when", 1, "not", "attribute"): 31,
    }
    assert {path: positions.lines.get(path) for path in found} == found
