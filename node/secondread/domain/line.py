"""Whether a destination can be delivered to at all, apart from any object."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class LineState(StrEnum):
    """A circuit breaker."""

    CLOSED = "closed"
    """Objects are sent."""
    OPEN = "open"
    """Nothing is sent: the destination does not answer. At ``next_at`` it is asked whether it does.
    """
    HALF_OPEN = "half-open"
    """It is being asked; if it answers the line closes, if not it opens for longer."""


@dataclass(frozen=True, slots=True)
class Line:
    """The way to one destination; times are seconds since the epoch, UTC.

    Attributes:
        paused: by an operator: nothing is sent, whatever the state.
        failures: in a row; 0 while it is closed.
        since: when it came to its state.
        next_at: when an open line is probed.
        reason: the sentence of the last failure.
    """

    destination: str
    state: LineState = LineState.CLOSED
    paused: bool = False
    failures: int = 0
    since: float = 0.0
    next_at: float = 0.0
    reason: str = ""
