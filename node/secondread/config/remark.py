"""What is allowed but probably not meant."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that is allowed but probably not meant, and what to do about it."""

    sentence: str
    remedy: str
