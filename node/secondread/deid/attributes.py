"""Which values of a technical attribute a model may see.

Each attribute has a rule that makes a value of its own from what the header says: a whole number, a
number rounded to what matters, or a term of a list. What comes out is never the header's text, so
that nothing can be written into a header that would reach a model. What a rule does not know is
left out; its name is kept, for the trail, and its value is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from secondread.deid.terms import (
    BODY_PARTS,
    CONTRASTS,
    MODALITIES,
    NO_AGENT,
    POSITIONS,
    SCAN_OPTIONS,
    SEQUENCE_VARIANTS,
    SEQUENCES,
    kernel_of,
    maker_of,
)
from secondread.domain.series import Values
from secondread.domain.technical import SOURCES, AttributeValue

AGE_MAX_YEARS = 90
"""Who is older is so old: an age above it is rare enough to point at a person."""
_AGE_BELIEVED_YEARS = 125

Rule = Callable[[Values], AttributeValue | None]
"""From the distinct values of an attribute over a series to the one that may go, None for none."""


@dataclass(frozen=True, slots=True)
class Permitted:
    """What a model gets of the attributes that it asked for.

    Attributes:
        values: by the name that the manifest uses.
        left_out: names of those whose value is there and is none that may go.
    """

    values: Mapping[str, AttributeValue] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def permit(asked: Iterable[str], found: Mapping[str, Values]) -> Permitted:
    """Make the values of the attributes that a manifest asks for.

    Args:
        asked: names of ``domain.technical.SOURCES``.
        found: the distinct values of attributes over the images of the volume, by keyword. An
            attribute of one value that has several here is left out: it is not known of which
            image it would be true.

    Raises:
        KeyError: a name that nobody may ask for; a manifest with one is not read.
    """
    values: dict[str, AttributeValue] = {}
    left_out = []
    for name in dict.fromkeys(asked):
        source = found.get(SOURCES[name], ())
        value = RULES[name](source)
        if value is not None:
            values[name] = value
        if source and (value is None or _has_lost_some(source, value)):
            left_out.append(name)
    return Permitted(values, tuple(left_out))


def confirm(values: Mapping[Any, Any]) -> dict[str, AttributeValue]:
    """The same values, each of them once more what its rule would have made.

    Raises:
        ValueError: one of them is not; neither it nor its name is in the message.
    """
    confirmed: dict[str, AttributeValue] = {}
    for name, value in values.items():
        kept = tuple(value) if isinstance(value, list) else value
        if name not in RULES or not _is_made_by(RULES[name], kept):
            raise ValueError("An attribute has a value that may not go to a model.")
        confirmed[name] = kept
    return confirmed


def _is_made_by(rule: Rule, value: object) -> bool:
    if rule is _contrast_given:
        return isinstance(value, bool)
    source = value if isinstance(value, tuple) else (value,)
    if isinstance(value, bool) or not all(isinstance(one, (str, int, float)) for one in source):
        return False
    made = rule(source)
    return made == value and type(made) is type(value)


def _has_lost_some(source: Values, value: AttributeValue) -> bool:
    return isinstance(value, tuple) and len(value) < len(source)


def _number(low: float, high: float, digits: int) -> Rule:
    """A number from ``low`` to ``high``, rounded: further digits tell nothing but which scan."""

    def rule(found: Values) -> AttributeValue | None:
        value = _only(found)
        if not isinstance(value, (int, float)) or not low <= value <= high:
            return None
        return round(value) if digits == 0 else round(float(value), digits)

    return rule


def _one_of(terms: frozenset[str]) -> Rule:
    def rule(found: Values) -> AttributeValue | None:
        value = _only(found)
        term = value.strip().upper() if isinstance(value, str) else ""
        return term if term in terms else None

    return rule


def _some_of(terms: frozenset[str]) -> Rule:
    """Those of several values that are known, in alphabetical order."""

    def rule(found: Values) -> AttributeValue | None:
        said = {value.strip().upper() for value in found if isinstance(value, str)}
        return tuple(sorted(said & terms)) or None

    return rule


def _age(found: Values) -> AttributeValue | None:
    """Whole years that have passed, at most 90."""
    value = _only(found)
    if not isinstance(value, (int, float)) or not 0 <= value <= _AGE_BELIEVED_YEARS:
        return None
    return min(math.floor(value), AGE_MAX_YEARS)


def _contrast_given(found: Values) -> AttributeValue | None:
    """Whether an agent is named. Images without one have no such module (PS3.3 C.7.6.4)."""
    return any(str(value).strip().upper() not in NO_AGENT for value in found)


def _named(find: Callable[[Sequence[str]], str]) -> Rule:
    def rule(found: Values) -> AttributeValue | None:
        said = [value for value in found if isinstance(value, str)]
        return (find(said) or None) if len(said) == len(found) else None

    return rule


def _only(found: Values) -> str | float | None:
    return found[0] if len(found) == 1 else None


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "PatientAge": _age,
        "PatientSex": _one_of(frozenset("MFO")),
        "PatientPosition": _one_of(POSITIONS),
        "Modality": _one_of(MODALITIES),
        "BodyPartExamined": _one_of(BODY_PARTS),
        "Laterality": _one_of(frozenset("LR")),
        "Manufacturer": _named(maker_of),
        "ContrastGiven": _contrast_given,
        "KVP": _number(10, 500, 0),
        "ConvolutionKernel": _named(kernel_of),
        "SliceThickness": _number(0.01, 200, 3),
        "MagneticFieldStrength": _number(0.01, 20, 2),
        "MRAcquisitionType": _one_of(frozenset({"2D", "3D"})),
        "ScanningSequence": _some_of(SEQUENCES),
        "SequenceVariant": _some_of(SEQUENCE_VARIANTS),
        "ScanOptions": _some_of(SCAN_OPTIONS),
        "AcquisitionContrast": _one_of(CONTRASTS),
        "EchoTime": _number(0, 10_000, 2),
        "RepetitionTime": _number(0, 100_000, 1),
        "InversionTime": _number(0, 100_000, 0),
        "FlipAngle": _number(0, 360, 0),
        "EchoTrainLength": _number(0, 10_000, 0),
        "DiffusionBValue": _number(0, 50_000, 0),
    }
)
"""The rule of every attribute that a manifest may ask for."""
