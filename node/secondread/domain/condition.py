"""Conditions: what a rule asks of a study, or a manifest of a series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Weekday = Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]


@dataclass(frozen=True, slots=True)
class AttributeTest:
    """A test on the values of one attribute; each part that is set must hold.

    Without ``every`` one of the values is enough. An attribute that is absent fulfils nothing but
    ``present = False``.

    Attributes:
        keyword: one of ``domain.attributes.ATTRIBUTES``.
        one_of: values of which one must be equal: numbers for a NUMBER, strings for the others;
            text is compared without regard to case.
        low: least number, itself included.
        high: greatest number, itself included.
        pattern: regular expression that must be found in the text; '' is none.
        present: whether the attribute must have a value or must have none; None asks nothing.
        every: whether all values must fulfil the test.
    """

    keyword: str
    one_of: tuple[str | float, ...] = ()
    low: float | None = None
    high: float | None = None
    pattern: str = ""
    present: bool | None = None
    every: bool = False


@dataclass(frozen=True, slots=True)
class PeerTest:
    """The study came from one of these peers, by their configured names."""

    peers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TimeTest:
    """When the first object of the study came, in the node's local time.

    ``start`` and ``end`` are minutes since midnight; where ``end`` is not greater, the span goes on
    after midnight and belongs to the day on which it began. No weekdays means every day.
    """

    weekdays: tuple[Weekday, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every condition holds."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one condition holds."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The condition does not hold."""

    condition: Condition


Condition = AttributeTest | PeerTest | TimeTest | AllOf | AnyOf | Not


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one condition: a sentence that says what was compared with what.

    The sentence quotes values of the study, which may be free text: it is for the pages of the
    site, never for a log or the trail.
    """

    holds: bool
    text: str
    parts: tuple[Finding, ...] = ()
