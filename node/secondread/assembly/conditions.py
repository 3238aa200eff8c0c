"""Do conditions hold for a series: the answer, and what was compared with what."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from secondread.assembly.phrases import WEEKDAYS, asked, found_moment, found_values
from secondread.domain.attributes import ATTRIBUTES, Kind
from secondread.domain.condition import (
    AllOf,
    AnyOf,
    AttributeTest,
    Condition,
    Finding,
    Not,
    PeerTest,
    TimeTest,
)
from secondread.domain.series import PartSummary, SeriesSummary, Values

TEXT_MAX = 256
"""So much of a text is looked at by a regular expression: LO has 64 characters, and the time that
an expression takes must have an end whatever somebody sends."""

_NONE: Values = ()
_COVERAGE_DIGITS = 3


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What conditions may ask for besides attributes.

    Attributes:
        peer: the configured name of the peer that the study came from.
        first_at: when its first object came, in seconds since the epoch.
    """

    peer: str
    first_at: float


def attributes_of(series: SeriesSummary, part: PartSummary | None) -> Mapping[str, Values]:
    """What conditions can ask of a series, or of one of its volumes, by keyword.

    Without ``part`` the attributes that the node works out have the values of all its parts.
    """
    found: dict[str, Values] = dict(series.attributes)
    found["Objects"] = (float(series.objects),)
    if part is None:
        found.update(_worked_out(series.parts))
    else:
        found.update(part.attributes)
        found.update(_worked_out((part,)))
    if (coverage := _slice_coverage(found)) is not None:
        found["SliceCoverage"] = (coverage,)
    return found


def _slice_coverage(found: Mapping[str, Values]) -> float | None:
    """How much of the distance between slices they image, 1 at most; None where nobody can tell."""
    values = [found.get(keyword, _NONE) for keyword in ("SliceThickness", "SliceSpacing")]
    if any(len(value) != 1 for value in values):
        return None
    thickness_mm, spacing_mm = (value[0] for value in values)
    if isinstance(thickness_mm, str) or isinstance(spacing_mm, str):
        return None
    if not (thickness_mm > 0 and spacing_mm > 0):
        return None
    return round(min(1.0, thickness_mm / spacing_mm), _COVERAGE_DIGITS)


def _worked_out(parts: Sequence[PartSummary]) -> dict[str, Values]:
    if len(parts) == 1:
        values = _of_part(parts[0])
        return {keyword: (value,) for keyword, value in values.items()}
    gathered: dict[str, dict[str | float, None]] = {}
    for part in parts:
        for keyword, value in _of_part(part).items():
            gathered.setdefault(keyword, {})[value] = None
    return {keyword: tuple(values) for keyword, values in gathered.items()}


def _of_part(part: PartSummary) -> dict[str, str | float]:
    found: dict[str, str | float] = {"Geometry": part.outcome, "Slices": float(part.slices)}
    if part.plane:
        found["Plane"] = part.plane
    if part.spacing_mm is not None:
        slice_mm, row_mm, column_mm = part.spacing_mm
        found["SliceSpacing"] = slice_mm
        found["RowSpacing"] = row_mm
        found["ColumnSpacing"] = column_mm
        found["TiltAngle"] = part.tilt_degrees
    return found


def holds(
    conditions: Sequence[Condition],
    attributes: Mapping[str, Values],
    circumstances: Circumstances,
) -> bool:
    """Whether all conditions hold; stops at the first that does not."""
    return all(_holds(condition, attributes, circumstances) for condition in conditions)


def _holds(
    condition: Condition, attributes: Mapping[str, Values], circumstances: Circumstances
) -> bool:
    match condition:
        case AttributeTest():
            return _attribute_holds(condition, attributes.get(condition.keyword, _NONE))
        case PeerTest():
            return circumstances.peer in condition.peers
        case TimeTest():
            return _time_holds(condition, circumstances.first_at)
        case AllOf():
            return holds(condition.conditions, attributes, circumstances)
        case AnyOf():
            return any(_holds(part, attributes, circumstances) for part in condition.conditions)
        case Not():
            return not _holds(condition.condition, attributes, circumstances)


def examine(
    conditions: Sequence[Condition],
    attributes: Mapping[str, Values],
    circumstances: Circumstances,
) -> Finding:
    """What became of all conditions: each of them is tried, and told with what it was compared.

    The parts of the finding are those of the conditions, in their order.
    """
    if not conditions:
        return Finding(holds=True, text="nothing is asked for")
    return _examine(AllOf(tuple(conditions)), attributes, circumstances)


def _examine(
    condition: Condition, attributes: Mapping[str, Values], circumstances: Circumstances
) -> Finding:
    match condition:
        case AttributeTest():
            values = attributes.get(condition.keyword, _NONE)
            said = f"{asked(condition)}: {found_values(condition.keyword, values)}"
            return Finding(_attribute_holds(condition, values), said)
        case PeerTest():
            said = f"{asked(condition)}: it is {circumstances.peer}"
            return Finding(circumstances.peer in condition.peers, said)
        case TimeTest():
            said = f"{asked(condition)}: it came {found_moment(circumstances.first_at)}"
            return Finding(_time_holds(condition, circumstances.first_at), said)
        case AllOf():
            parts = _each(condition.conditions, attributes, circumstances)
            return Finding(all(part.holds for part in parts), "all of these:", parts)
        case AnyOf():
            parts = _each(condition.conditions, attributes, circumstances)
            return Finding(any(part.holds for part in parts), "at least one of these:", parts)
        case Not():
            inner = _examine(condition.condition, attributes, circumstances)
            said = inner.text if not inner.parts else asked(condition.condition)
            return Finding(not inner.holds, f"not so: {said}", inner.parts)


def _each(
    conditions: Sequence[Condition], attributes: Mapping[str, Values], circumstances: Circumstances
) -> tuple[Finding, ...]:
    return tuple(_examine(condition, attributes, circumstances) for condition in conditions)


def _attribute_holds(test: AttributeTest, values: Values) -> bool:
    if test.present is False:
        return not values
    if not values:
        return False
    if not (test.one_of or test.pattern or test.low is not None or test.high is not None):
        return True
    fits = _number_fits if ATTRIBUTES[test.keyword] is Kind.NUMBER else _text_fits
    for value in values:
        if fits(test, value) is not test.every:
            return not test.every
    return test.every


def _number_fits(test: AttributeTest, value: str | float) -> bool:
    if not isinstance(value, int | float):
        return False
    return (
        (test.low is None or test.low <= value)
        and (test.high is None or value <= test.high)
        and (not test.one_of or value in test.one_of)
    )


def _text_fits(test: AttributeTest, value: str | float) -> bool:
    text = str(value)
    if test.one_of and text.lower() not in _small(test.one_of):
        return False
    return not test.pattern or re.search(test.pattern, text[:TEXT_MAX]) is not None


@lru_cache(maxsize=1024)
def _small(values: tuple[str | float, ...]) -> frozenset[str]:
    return frozenset(str(value).lower() for value in values)


def _time_holds(test: TimeTest, at: float) -> bool:
    moment = time.localtime(at)
    minute, weekday = moment.tm_hour * 60 + moment.tm_min, moment.tm_wday
    if test.start < test.end:
        inside = test.start <= minute < test.end
    else:
        inside = minute >= test.start or minute < test.end
        if minute < test.end:
            weekday -= 1  # the part after midnight belongs to the evening before
    return inside and (not test.weekdays or WEEKDAYS[weekday] in test.weekdays)
