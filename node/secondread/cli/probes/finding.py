"""What a probe found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """How well something is."""

    OK = "ok"
    """Nothing to do."""
    WARN = "warn"
    """The node works, but a person should look."""
    FAIL = "fail"
    """The node will not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor: what was looked at, how it is, and what to do if it is not well."""

    subject: str
    health: Health
    sentence: str
    remedy: str = ""


def well(subject: str, sentence: str) -> Finding:
    """A finding that needs nothing."""
    return Finding(subject, Health.OK, sentence)


def warning(subject: str, sentence: str, remedy: str) -> Finding:
    """A finding that a person should look at."""
    return Finding(subject, Health.WARN, sentence, remedy)


def failure(subject: str, sentence: str, remedy: str) -> Finding:
    """A finding that keeps the node from working."""
    return Finding(subject, Health.FAIL, sentence, remedy)
