"""The last look at a log line: what could say who somebody is gets no further.

What is dropped leaves no mask that tells its length or whether two are equal. A value goes with its
key, and ``withheld`` names the key. A UID goes out of its sentence, where ``(uid)`` keeps the place
so that the rest can be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping
from ipaddress import IPv4Address, IPv6Address
from numbers import Number
from pathlib import PurePath
from typing import Any, Final

STANDARD_ROOT = "1.2.840.10008."
"""UIDs of the standard itself (SOP classes, transfer syntaxes) tell nothing about anybody."""
WITHHELD = "withheld"
"""The key that names the keys whose values were dropped."""

_UID = re.compile(r"(?<![\d.])[0-2](?:\.\d+){5,}(?![\d.]*\d)|(?<![\d.])2\.25\.\d{6,}")
_PERSON_NAME = re.compile(r"[^\s'\"=,;:()\[\]{}]+\^[^\s'\"=,;:()\[\]{}]*")
_PATIENT_KEYS = re.compile(
    r"patient|birth|accession|referring|physician|operator_name|study_date|study_time"
    r"|(study|series|instance|sop_instance|frame_of_reference)_?(instance_)?uid",
    re.IGNORECASE,
)
_PLAIN = (bool, int, float, type(None))
_PRINTED = (Number, PurePath, IPv4Address, IPv6Address)
_DROPPED: Final = object()


def redact(text: str) -> str:
    """The text without UIDs, except those of the standard itself, and without person names.

    A person name is known by its caret (PS3.5 6.2.1).
    """
    return _PERSON_NAME.sub("(name)", _UID.sub(_replacement, text))


def redact_event(
    logger: object, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Structlog processor: drop what names a patient or is no plain value, and UIDs in texts."""
    dropped: list[str] = []
    kept = dict(_kept(event, dropped))
    event.clear()
    event.update(kept)
    if dropped:
        event[WITHHELD] = sorted(dropped)
    return event


def _kept(values: Mapping[Any, Any], dropped: list[str]) -> Iterator[tuple[Any, Any]]:
    for key, value in values.items():
        name = redact(str(key))
        cleaned = _DROPPED if _PATIENT_KEYS.search(name) else _clean(value, dropped)
        if cleaned is _DROPPED:
            dropped.append(name)
        else:
            yield name, cleaned


def _clean(value: Any, dropped: list[str]) -> Any:
    """The value as it may be written; ``_DROPPED`` for what could print itself as anything."""
    if isinstance(value, str):
        return redact(str(value))
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, _PRINTED):
        return redact(str(value))
    if isinstance(value, Mapping):
        return dict(_kept(value, dropped))
    if isinstance(value, list | tuple | set | frozenset):
        return [one for one in (_clean(item, dropped) for item in value) if one is not _DROPPED]
    return _DROPPED


def _replacement(match: re.Match[str]) -> str:
    uid = match.group()
    return uid if uid.startswith(STANDARD_ROOT) else "(uid)"
