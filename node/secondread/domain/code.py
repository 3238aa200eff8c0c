"""A coded concept (PS3.3 table 8.8-1)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """Code value, coding scheme designator and code meaning."""

    value: str
    scheme: str
    meaning: str
