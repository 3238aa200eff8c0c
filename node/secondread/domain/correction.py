"""Objects that may say what somebody thought of a result: they came from a peer with that right."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CorrectionState(StrEnum):
    """What was made of such an object; the object itself is kept like every other."""

    WAITING = "waiting"
    """Nobody has looked at it yet."""
    COUNTED = "counted"
    """It became feedback on a job."""
    OWN = "own"
    """It is a result of this node, which came back as it was sent."""
    KEPT = "kept"
    """It cannot be matched or read, and the reason says why."""


@dataclass(frozen=True, slots=True)
class Correction:
    """One row of the correction table.

    Attributes:
        peer: the administrator's name for who sent it.
        at: when it came, in seconds since the epoch, UTC.
        attempts: how often somebody began to look at it and came to no end.
        next_at: when it is looked at, at the earliest; in seconds since the epoch, UTC.
        reason: a sentence for people where it became no feedback.
    """

    sop_instance_uid: str
    study_instance_uid: str
    peer: str
    at: float
    state: CorrectionState = CorrectionState.WAITING
    attempts: int = 0
    next_at: float = 0.0
    reason: str = ""
