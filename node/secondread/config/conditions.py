"""Conditions as a person writes them in TOML, and what is wrong with them in plain sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import time
from types import MappingProxyType
from typing import Any, get_args

from secondread.config.attribute_tests import KEYS as ATTRIBUTE_KEYS
from secondread.config.attribute_tests import parse_attribute_test
from secondread.config.condition_error import ConditionError, Path
from secondread.config.faults import nearest
from secondread.domain.condition import (
    AllOf,
    AnyOf,
    Condition,
    Not,
    PeerTest,
    TimeTest,
    Weekday,
)

DEPTH_MAX = 8
"""How deep conditions may stand in one another."""
DAY_MINUTES = 24 * 60

_WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)
_TIME = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])")
_FAMILIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "attribute": ATTRIBUTE_KEYS,
        "peer": ("peer",),
        "weekdays": ("weekdays", "between"),
        "between": ("weekdays", "between"),
        "any": ("any",),
        "all": ("all",),
        "not": ("not",),
    }
)
"""What a condition is about → the keys that it may have."""
_SYNONYMS: Mapping[str, str] = MappingProxyType(
    {
        "keyword": "attribute",
        "equals": "is",
        "value": "is",
        "values": "in",
        "one_of": "in",
        "min": "from",
        "at_least": "from",
        "max": "to",
        "at_most": "to",
        "pattern": "matches",
        "regex": "matches",
        "exists": "present",
        "peers": "peer",
        "days": "weekdays",
        "or": "any",
        "and": "all",
    }
)
"""What people write who have not looked it up → what it is called."""


def parse_conditions(raw: object, *, attributes_only: bool = False) -> tuple[Condition, ...]:
    """A list of conditions, all of which have to hold.

    Args:
        raw: what TOML has for it.
        attributes_only: whether conditions on the peer and on the time are faults, as in what a
            model says about its input.

    Raises:
        ConditionError: one of them is wrong; a ``ValueError`` whose text is one sentence.
    """
    if not isinstance(raw, list | tuple):
        raise ConditionError(
            'Conditions are a list of tables, such as [{ attribute = "Modality", is = "MR" }].'
        )
    parser = _Parser(attributes_only)
    return tuple(parser.parse(item, (index,), 1) for index, item in enumerate(raw))


def parse_condition(raw: object, *, attributes_only: bool = False) -> Condition:
    """One condition.

    Raises:
        ConditionError: it is wrong; a ``ValueError`` whose text is one sentence.
    """
    return _Parser(attributes_only).parse(raw, (), 1)


def walk(conditions: Sequence[Condition], path: Path = ()) -> Iterator[tuple[Path, Condition]]:
    """Every condition and those within it, each with its path as in ``ConditionError``."""
    for index, condition in enumerate(conditions):
        yield from _walk(condition, (*path, index))


def _walk(condition: Condition, path: Path) -> Iterator[tuple[Path, Condition]]:
    yield path, condition
    match condition:
        case AllOf():
            yield from walk(condition.conditions, (*path, "all"))
        case AnyOf():
            yield from walk(condition.conditions, (*path, "any"))
        case Not():
            yield from _walk(condition.condition, (*path, "not"))


@dataclass(frozen=True, slots=True)
class _Parser:
    attributes_only: bool

    def parse(self, raw: object, path: Path, depth: int) -> Condition:
        if not isinstance(raw, dict):
            raise ConditionError(
                'A condition is a table in { }, such as { attribute = "Modality", is = "MR" }.',
                path,
            )
        if depth > DEPTH_MAX:
            raise ConditionError(
                f"Conditions stand in one another more than {DEPTH_MAX} deep; write several rules "
                "instead.",
                path,
            )
        subject = _subject(raw, path)
        if self.attributes_only and subject in {"peer", "weekdays", "between"}:
            raise ConditionError(
                "Only attributes can be asked for here; conditions on the peer and on the time "
                "belong into a rule.",
                (*path, subject),
            )
        match subject:
            case "attribute":
                return parse_attribute_test(raw, path)
            case "peer":
                return PeerTest(_names(raw["peer"], (*path, "peer")))
            case "any":
                return AnyOf(self._group(raw["any"], (*path, "any"), depth))
            case "all":
                return AllOf(self._group(raw["all"], (*path, "all"), depth))
            case "not":
                return Not(self._negated(raw["not"], (*path, "not"), depth))
            case _:
                return _time_test(raw, path)

    def _group(self, raw: object, path: Path, depth: int) -> tuple[Condition, ...]:
        name = path[-1]
        if not isinstance(raw, list):
            raise ConditionError(f"'{name}' takes a list of conditions, in [ ].", path)
        if not raw:
            never = "nothing could fulfil it" if name == "any" else "everything would fulfil it"
            raise ConditionError(f"'{name}' is empty, so {never}; remove it.", path)
        return tuple(self.parse(item, (*path, index), depth + 1) for index, item in enumerate(raw))

    def _negated(self, raw: object, path: Path, depth: int) -> Condition:
        if isinstance(raw, list):
            raise ConditionError(
                "'not' takes one condition; for several write not = { any = [ … ] }.", path
            )
        return self.parse(raw, path, depth + 1)


def _subject(row: Mapping[str, Any], path: Path) -> str:
    """The key that says what a condition is about; all others have to go with it."""
    known = dict.fromkeys(key for keys in _FAMILIES.values() for key in keys)
    for key in row:
        if key not in known:
            meant = _SYNONYMS.get(key)
            hint = f"did you mean '{meant}'?" if meant else nearest(key, list(known))
            raise ConditionError(f"Unknown key '{key}' in a condition; {hint}", (*path, key))
    subjects = [key for key in row if key in _FAMILIES]
    if not subjects:
        given = f"'{next(iter(row))}' without what it is about" if row else "nothing"
        raise ConditionError(
            f"A condition has {given}; it needs 'attribute', 'peer', 'weekdays', 'between', 'any', "
            "'all' or 'not'.",
            path,
        )
    for key in row:
        if key not in _FAMILIES[subjects[0]]:
            raise ConditionError(
                f"A condition is about one thing: write '{subjects[0]}' and '{key}' as two "
                "conditions.",
                (*path, key),
            )
    return subjects[0]


def _names(raw: object, path: Path) -> tuple[str, ...]:
    listed = [raw] if isinstance(raw, str) else raw
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise ConditionError("'peer' takes the names of [[peers]], such as [\"ct1\"].", path)
    if not listed:
        raise ConditionError("'peer' is empty, so no study could fulfil it; remove it.", path)
    return tuple(dict.fromkeys(listed))


def _time_test(row: Mapping[str, Any], path: Path) -> TimeTest:
    start, end = 0, DAY_MINUTES
    if "between" in row:
        start, end = _span(row["between"], (*path, "between"))
    return TimeTest(_weekdays(row.get("weekdays"), (*path, "weekdays")), start, end)


def _weekdays(raw: object, path: Path) -> tuple[Weekday, ...]:
    if raw is None:
        return ()
    listed = [raw] if isinstance(raw, str) else raw
    if not isinstance(listed, list) or not listed:
        raise ConditionError('\'weekdays\' takes a list, such as ["Mon", "Fri"].', path)
    found: list[Weekday] = []
    for index, item in enumerate(listed):
        # 'Monday' and 'mon' leave no doubt; anything shorter does.
        name = item[:3].title() if isinstance(item, str) else ""
        day = next((day for day in _WEEKDAYS if day == name), None)
        if day is None or not _FULL_DAYS[day].startswith(item.lower()):
            raise ConditionError(
                f"'{item}' is not a weekday; there are: {', '.join(_WEEKDAYS)}.", (*path, index)
            )
        found.append(day)
    return tuple(day for day in _WEEKDAYS if day in found)


_FULL_DAYS: Mapping[Weekday, str] = MappingProxyType(
    {
        "Mon": "monday",
        "Tue": "tuesday",
        "Wed": "wednesday",
        "Thu": "thursday",
        "Fri": "friday",
        "Sat": "saturday",
        "Sun": "sunday",
    }
)


def _span(raw: object, path: Path) -> tuple[int, int]:
    if not isinstance(raw, list) or len(raw) != 2:
        raise ConditionError(
            '\'between\' takes two times of the day, such as ["07:00", "19:00"].', path
        )
    start, end = (_minutes(item, (*path, index)) for index, item in enumerate(raw))
    if start == DAY_MINUTES:
        raise ConditionError("A span of time cannot begin at 24:00; write 00:00.", (*path, 0))
    if start == end:
        raise ConditionError(
            "'between' has the same time twice; for the whole day leave it out.", path
        )
    return start, end


def _minutes(raw: object, path: Path) -> int:
    if isinstance(raw, time) and not raw.second:  # TOML has times of its own, with seconds
        return raw.hour * 60 + raw.minute
    text = raw if isinstance(raw, str) else ""
    match = _TIME.fullmatch(text)
    minutes = int(match[1]) * 60 + int(match[2]) if match else DAY_MINUTES + 1
    if minutes > DAY_MINUTES:
        raise ConditionError(
            f"'{raw}' is not a time of the day; write it in quotes with two digits each, such as "
            '"07:30".',
            path,
        )
    return minutes
