"""Why a condition does not hold, in words without free text of the study.

They go into reports, the trail and the log. Numbers, codes and code strings are quoted; text that
people write is not, for it can name a person, and neither is an age that few people reach.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from secondread.assembly.conditions import Circumstances, holds
from secondread.assembly.phrases import within
from secondread.domain.attributes import ATTRIBUTES, Kind
from secondread.domain.condition import (
    AllOf,
    AnyOf,
    AttributeTest,
    Condition,
    Not,
    PeerTest,
    TimeTest,
)
from secondread.domain.series import Values

_CODE_STRINGS = frozenset(
    "Modality BodyPartExamined Laterality PatientPosition ScanningSequence SequenceVariant "
    "ScanOptions MRAcquisitionType AcquisitionContrast ViewPosition ImageType BurnedInAnnotation "
    "RecognizableVisualFeatures LossyImageCompression PhotometricInterpretation "
    "PatientIdentityRemoved Units PatientSex Plane Geometry".split()
)
# Scanners write small letters and other signs into CS as well; those may be somebody's words.
_CODE_STRING = re.compile(r"[A-Z0-9 _]{1,16}")
_WORKED_OUT_TEXT = frozenset({"Plane", "Geometry"})
_CODE = re.compile(r"[A-Z0-9_-]{1,16}:[A-Za-z0-9.-]{1,16}")
_AGE_QUOTED_MAX = 89.0
_QUOTED_MAX = 4


def why_not(
    condition: Condition, attributes: Mapping[str, Values], circumstances: Circumstances
) -> str:
    """A clause that says why a condition does not hold; empty where it does."""
    if holds((condition,), attributes, circumstances):
        return ""
    match condition:
        case AttributeTest():
            return _attribute(condition, attributes)
        case PeerTest():
            return f"the study came from {circumstances.peer}, not from {_either(condition.peers)}"
        case TimeTest():
            return f"its first object did not come {_span(condition)}"
        case AllOf():
            inner = (why_not(item, attributes, circumstances) for item in condition.conditions)
            return next(filter(None, inner), "")
        case AnyOf():
            inner = (why_not(item, attributes, circumstances) for item in condition.conditions)
            return "; and ".join(inner) or "no condition is given"
        case Not():
            return f"{what_is(condition.condition, attributes, circumstances)}, which is excluded"


def what_is(
    condition: Condition, attributes: Mapping[str, Values], circumstances: Circumstances
) -> str:
    """A clause that says what fulfils a condition that holds."""
    match condition:
        case AttributeTest():
            return _fulfilled(condition, attributes)
        case PeerTest():
            return f"the study came from {circumstances.peer}"
        case TimeTest():
            return f"its first object came {_span(condition)}"
        case AllOf():
            inner = (what_is(item, attributes, circumstances) for item in condition.conditions)
            return " and ".join(inner) or "no condition is given"
        case AnyOf():
            for item in condition.conditions:
                if holds((item,), attributes, circumstances):
                    return what_is(item, attributes, circumstances)
            return ""
        case Not():
            return why_not(condition.condition, attributes, circumstances)


def keywords(condition: Condition) -> frozenset[str]:
    """The attributes that a condition looks at."""
    match condition:
        case AttributeTest():
            return frozenset({condition.keyword})
        case AllOf() | AnyOf():
            return frozenset().union(*map(keywords, condition.conditions))
        case Not():
            return keywords(condition.condition)
        case _:
            return frozenset()


def quoted(keyword: str, values: Values) -> str:
    """The values of an attribute, where they may be quoted; empty where one of them may not."""
    if not all(_is_safe(keyword, value) for value in values):
        return ""
    shown = [_number(value) for value in values[:_QUOTED_MAX]]
    rest = len(values) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def _attribute(test: AttributeTest, attributes: Mapping[str, Values]) -> str:
    values = attributes.get(test.keyword, ())
    if not values:
        return f"its {test.keyword} is absent"
    if test.present is False:
        return f"its {test.keyword} is present"
    found = quoted(test.keyword, values)
    if _is_pattern_only(test):
        said = f" ({found})" if found else ""
        return f"its {test.keyword}{said} does not match '{test.pattern}'"
    asked = _asked(test)
    return (
        f"its {test.keyword} is {found}, not {asked}"
        if found
        else (f"its {test.keyword} is not {asked}")
    )


def _fulfilled(test: AttributeTest, attributes: Mapping[str, Values]) -> str:
    values = attributes.get(test.keyword, ())
    if not values:
        return f"its {test.keyword} is absent"
    if found := quoted(test.keyword, values):
        return f"its {test.keyword} is {found}"
    if _is_pattern_only(test):
        return f"its {test.keyword} matches '{test.pattern}'"
    return f"its {test.keyword} is {_asked(test) or 'present'}"


def _is_pattern_only(test: AttributeTest) -> bool:
    return bool(test.pattern and not test.one_of and test.low is None and test.high is None)


def _asked(test: AttributeTest) -> str:
    """What a test asks of a value; of the configuration or the manifest, so it may be quoted."""
    parts = []
    if test.one_of:
        parts.append(_either([_number(value) for value in test.one_of]))
    if limits := within(test):
        parts.append(limits)
    if test.pattern:
        parts.append(f"one that matches '{test.pattern}'")
    if not parts:
        return ""
    return " and ".join(parts) + (" in all its images" if test.every else "")


def _is_safe(keyword: str, value: str | float) -> bool:
    if not isinstance(value, str):
        return keyword != "PatientAge" or value <= _AGE_QUOTED_MAX
    if keyword in _WORKED_OUT_TEXT:
        return True
    if ATTRIBUTES[keyword] is Kind.CODE:
        return _CODE.fullmatch(value) is not None
    return keyword in _CODE_STRINGS and _CODE_STRING.fullmatch(value) is not None


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _either(names: tuple[str, ...] | list[str]) -> str:
    if len(names) > _QUOTED_MAX:
        return f"one of {len(names)} values"
    return " or ".join(names)


def _span(test: TimeTest) -> str:
    days = f"on {', '.join(test.weekdays)} " if test.weekdays else ""
    return f"{days}between {_clock(test.start)} and {_clock(test.end)}"


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
