"""Tests on attributes as a person writes them: numbers as numbers, codes as codes, text as text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from secondread.config.condition_error import ConditionError, Path
from secondread.config.faults import nearest
from secondread.config.patterns import check_pattern
from secondread.domain.attributes import ATTRIBUTES, Kind
from secondread.domain.condition import AttributeTest

KEYS = ("attribute", "is", "in", "from", "to", "matches", "present", "every")
VALUES_MAX = 1000
"""How many values a list may have."""

_VALUE_KEYS = ("is", "in", "from", "to", "matches")
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,16}:\S(?:.{0,62}\S)?")
_UID = re.compile(r"(?=.{3,64}$)[012](\.(0|[1-9][0-9]*))+")


def parse_attribute_test(row: Mapping[str, Any], path: Path) -> AttributeTest:
    """A test on the values of one attribute; ``row`` holds no other keys than ``KEYS``.

    Raises:
        ConditionError: the attribute is unknown, or a value does not fit its kind.
    """
    keyword = _keyword(row["attribute"], (*path, "attribute"))
    kind = ATTRIBUTES[keyword]
    given = [key for key in _VALUE_KEYS if key in row]
    _check_sense(keyword, row, given, path)
    _check_kind(keyword, kind, row, given, path)
    return AttributeTest(
        keyword=keyword,
        one_of=_values(keyword, kind, row, path),
        low=_limit(keyword, row, "from", path),
        high=_limit(keyword, row, "to", path),
        pattern=_pattern(row, path),
        present=_flag(row, "present", path),
        every=bool(_flag(row, "every", path)),
    )


def _keyword(raw: object, path: Path) -> str:
    if not isinstance(raw, str):
        raise ConditionError("'attribute' must be the keyword of an attribute, in quotes.", path)
    if raw in ATTRIBUTES:
        return raw
    squeezed = re.sub(r"[^a-z0-9]", "", raw.lower())
    for known in ATTRIBUTES:
        if known.lower() == squeezed:
            raise ConditionError(f"Unknown attribute '{raw}'; it is written '{known}'.", path)
    by_small = {known.lower(): known for known in ATTRIBUTES}
    hint = nearest(squeezed, list(by_small))
    for small, known in by_small.items():
        hint = hint.replace(f"'{small}'", f"'{known}'")
    if not hint.startswith("did you mean"):
        hint = "docs/rules.md lists those that there are."
    raise ConditionError(f"Unknown attribute '{raw}'; {hint}", path)


def _check_sense(keyword: str, row: Mapping[str, Any], given: Sequence[str], path: Path) -> None:
    """A test must ask for something, and not for two things that cannot both be."""
    if not given and "present" not in row:
        raise ConditionError(
            f"The condition on {keyword} asks for nothing; give 'is', 'in', 'from', 'to', "
            "'matches' or 'present'.",
            path,
        )
    if "is" in row and "in" in row:
        raise ConditionError(
            f"The condition on {keyword} has both 'is' and 'in'; put all values into 'in'.",
            (*path, "is"),
        )
    if row.get("present") is False and given:
        raise ConditionError(
            f"{keyword} cannot be absent and fulfil '{given[0]}'; remove one of them.",
            (*path, "present"),
        )
    if "every" in row and not given:
        raise ConditionError(
            f"'every' needs a value to compare with: give 'is', 'in', 'from', 'to' or 'matches' "
            f"for {keyword}.",
            (*path, "every"),
        )


_UNFIT = {
    Kind.TEXT: (("from", "to"), "is text; compare it with 'is', 'in' or 'matches'"),
    Kind.NUMBER: (("matches",), "is a number; compare it with 'from', 'to', 'is' or 'in'"),
    Kind.CODE: (
        ("from", "to", "matches"),
        "is a code; compare it with 'is' or 'in', such as is = \"SCT:69536005\"",
    ),
    Kind.UID: (("from", "to"), "is a UID; compare it with 'is', 'in' or 'matches'"),
}


def _check_kind(
    keyword: str, kind: Kind, row: Mapping[str, Any], given: Sequence[str], path: Path
) -> None:
    unfit, sentence = _UNFIT[kind]
    for key in given:
        if key in unfit:
            raise ConditionError(f"'{key}' does not fit {keyword}, which {sentence}.", (*path, key))
    if "from" in row and "to" in row:
        low = _limit(keyword, row, "from", path)
        high = _limit(keyword, row, "to", path)
        if low is not None and high is not None and low > high:
            raise ConditionError(
                f"No {keyword} is from {low:g} to {high:g}; write the smaller number as 'from'.",
                (*path, "from"),
            )


def _values(
    keyword: str, kind: Kind, row: Mapping[str, Any], path: Path
) -> tuple[str | float, ...]:
    if "is" in row:
        if isinstance(row["is"], list):
            raise ConditionError(
                f"'is' takes one value; write 'in' for the list of {keyword}.", (*path, "is")
            )
        return (_value(keyword, kind, row["is"], (*path, "is")),)
    if "in" not in row:
        return ()
    listed, where = row["in"], (*path, "in")
    if not isinstance(listed, list):
        raise ConditionError(f"'in' takes a list, in [ ]; for one {keyword} write 'is'.", where)
    if not listed:
        raise ConditionError(f"'in' is empty, so no {keyword} could fulfil it.", where)
    if len(listed) > VALUES_MAX:
        raise ConditionError(f"'in' has {len(listed)} values; {VALUES_MAX} is the most.", where)
    found = (_value(keyword, kind, item, (*where, index)) for index, item in enumerate(listed))
    return tuple(dict.fromkeys(found))


def _value(keyword: str, kind: Kind, raw: object, path: Path) -> str | float:
    if kind is Kind.NUMBER:
        return _number(keyword, raw, path)
    if not isinstance(raw, str):
        raise ConditionError(f"{keyword} is {_NOUNS[kind]}; write {_quoted(raw)}.", path)
    text = raw.strip()
    if not text:
        raise ConditionError(
            f"{keyword} cannot be compared with an empty text; for an attribute without a value "
            "write present = false.",
            path,
        )
    if kind is Kind.CODE and not _CODE.fullmatch(text):
        raise ConditionError(
            f"'{text}' is not a code; write its coding scheme, a colon and its value, such as "
            '"SCT:69536005".',
            path,
        )
    if kind is Kind.UID and not _UID.fullmatch(text):
        raise ConditionError(
            f"'{text}' is not a UID: digits and dots, 64 characters at the most.", path
        )
    return text


_NOUNS = {Kind.TEXT: "text", Kind.CODE: "a code", Kind.UID: "a UID"}


def _quoted(raw: object) -> str:
    """What was probably meant, as TOML."""
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        return f'it in quotes, "{raw}"'
    return "it as a text in quotes"


def _limit(keyword: str, row: Mapping[str, Any], key: str, path: Path) -> float | None:
    return _number(keyword, row[key], (*path, key)) if key in row else None


def _number(keyword: str, raw: object, path: Path) -> float:
    if isinstance(raw, str):
        hint = f"write {raw} without quotes" if _is_number(raw) else f"'{raw}' is not one"
        raise ConditionError(f"{keyword} is a number; {hint}.", path)
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise ConditionError(f"{keyword} is a number, such as 5 or 2.5; this is not one.", path)
    if not math.isfinite(raw):
        raise ConditionError(f"{keyword} can only be compared with a finite number.", path)
    return float(raw)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.\d+)?", text.strip()) is not None


def _pattern(row: Mapping[str, Any], path: Path) -> str:
    if "matches" not in row:
        return ""
    pattern, where = row["matches"], (*path, "matches")
    if not isinstance(pattern, str) or not pattern:
        raise ConditionError("'matches' takes a regular expression, a text in quotes.", where)
    if trouble := check_pattern(pattern):
        raise ConditionError(f"The expression '{pattern[:60]}' {trouble}.", where)
    return pattern


def _flag(row: Mapping[str, Any], key: str, path: Path) -> bool | None:
    if key not in row:
        return None
    if not isinstance(row[key], bool):
        raise ConditionError(f"'{key}' is either true or false, without quotes.", (*path, key))
    return bool(row[key])
