"""Conditions, and what they are compared with, in words.

What a condition asks for is the administrator's. What was found may be free text of the study: it
is for people who may see studies, never for a log or the trail; ``objections`` is for those.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import get_args

from secondread.domain.attributes import ATTRIBUTES, Kind
from secondread.domain.condition import (
    AllOf,
    AnyOf,
    AttributeTest,
    Condition,
    Not,
    PeerTest,
    TimeTest,
    Weekday,
)
from secondread.domain.series import Values

WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)

_DAY_MINUTES = 24 * 60
_SHOWN_MAX = 6
_TEXT_MAX = 80


def asked(condition: Condition) -> str:
    """What a condition asks for, such as ``PatientAge from 18 to 90``."""
    match condition:
        case AttributeTest():
            return _attribute(condition)
        case PeerTest():
            return f"peer {_either(condition.peers)}"
        case TimeTest():
            return f"first object {_span(condition)}"
        case AllOf():
            return _joined(condition.conditions, ", and ")
        case AnyOf():
            return _joined(condition.conditions, ", or ")
        case Not():
            return f"not {_bracketed(condition.condition)}"


def found_values(keyword: str, values: Values) -> str:
    """The values of an attribute, as the end of a sentence about it."""
    if not values:
        return "it is absent"
    is_number = ATTRIBUTES[keyword] is Kind.NUMBER
    shown = [
        f"{value:g}" if is_number and not isinstance(value, str) else _shown(str(value))
        for value in values[:_SHOWN_MAX]
    ]
    rest = len(values) - len(shown)
    more = f" and {rest} more" if rest else ""
    return f"it is {', '.join(shown)}{more}"


def found_moment(at: float) -> str:
    """A moment in the node's local time, with its weekday; ``at`` is seconds since the epoch."""
    moment = time.localtime(at)
    return f"{WEEKDAYS[moment.tm_wday]} {time.strftime('%Y-%m-%d %H:%M', moment)}"


def within(test: AttributeTest) -> str:
    """The range that a test asks for; '' where it asks for none."""
    if test.low is not None and test.high is not None:
        return f"from {test.low:g} to {test.high:g}"
    if test.low is not None:
        return f"{test.low:g} or more"
    return "" if test.high is None else f"{test.high:g} or less"


def _attribute(test: AttributeTest) -> str:
    name = f"every {test.keyword}" if test.every else test.keyword
    if test.present is False:
        return f"no {name}"
    parts = []
    if test.one_of:
        wanted = [f"{value:g}" if isinstance(value, float) else value for value in test.one_of]
        parts.append(_either(wanted))
    if limits := within(test):
        parts.append(limits)
    if test.pattern:
        parts.append(f"matching {_shown(test.pattern)}")
    return f"{name} {' and '.join(parts)}" if parts else f"any {name}"


def _joined(conditions: Sequence[Condition], word: str) -> str:
    if len(conditions) == 1:
        return asked(conditions[0])
    return word.join(_bracketed(condition) for condition in conditions)


def _bracketed(condition: Condition) -> str:
    text = asked(condition)
    is_group = isinstance(condition, AllOf | AnyOf) and len(condition.conditions) > 1
    return f"({text})" if is_group else text


def _either(names: Sequence[str]) -> str:
    shown = [*names[:_SHOWN_MAX]]
    rest = len(names) - len(shown)
    return " or ".join(shown) + (f" or {rest} more" if rest else "")


def _span(test: TimeTest) -> str:
    days = ", ".join(test.weekdays)
    if (test.start, test.end) == (0, _DAY_MINUTES):
        return f"on {days}" if days else "at any time"
    hours = f"{_clock(test.start)} to {_clock(test.end)}"
    return f"{days} {hours}" if days else hours


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _shown(text: str) -> str:
    """A text in quotes on one line, cut where it is long."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return f"'{line[:_TEXT_MAX]}…'" if len(line) > _TEXT_MAX else f"'{line}'"
