"""The last look at a log line: no identifier of a patient or a study gets past it."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

STANDARD_ROOT = "1.2.840.10008."
"""UIDs of the standard itself (SOP classes, transfer syntaxes) tell nothing about anybody."""

_UID = re.compile(r"(?<![\d.])[0-2](?:\.\d+){5,}(?![\d.]*\d)|(?<![\d.])2\.25\.\d{6,}")
_PATIENT_KEYS = re.compile(
    r"patient|birth|accession|referring|physician|operator_name|study_date|study_time"
    r"|(study|series|instance|sop_instance|frame_of_reference)_?(instance_)?uid",
    re.IGNORECASE,
)
HIDDEN = "(hidden)"


def redact(text: str) -> str:
    """The text with every UID replaced, except those of the standard itself."""
    return _UID.sub(_replacement, text)


def redact_event(
    logger: object, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Structlog processor: hide patient keys whole, and UIDs wherever they stand."""
    for key, value in event.items():
        event[key] = HIDDEN if _PATIENT_KEYS.search(key) else _clean(value)
    return event


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if _PATIENT_KEYS.search(str(key)) else _clean(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return redact(str(value))


def _replacement(match: re.Match[str]) -> str:
    uid = match.group()
    return uid if uid.startswith(STANDARD_ROOT) else "(uid)"
