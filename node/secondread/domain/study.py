"""A study as the ledger knows it."""

from __future__ import annotations

from dataclasses import dataclass

from secondread.domain.network import Urgency
from secondread.domain.states import StudyState


@dataclass(frozen=True, slots=True)
class Study:
    """One row of the ledger's study table; times are seconds since the epoch, UTC.

    ``due_at`` is when the study counts as complete unless another object comes first, which is
    ``quiet_s`` seconds after the last object, or after the door opened again.
    ``reason`` is the sentence shown to people for the present state.
    ``urgency`` is the highest that any of its objects came with.

    Attributes:
        released_at: when the last association that had brought objects of it was released by its
            peer, with no other one of that kind open; None while one is open or was aborted.
        ready: names of the rules for which it is complete; None is all, as after a retry by hand.
        next_look_at: when the rules that still wait are to be asked again; None where none waits.
    """

    id: int
    study_instance_uid: str
    state: StudyState
    peer: str
    first_at: float
    last_at: float
    quiet_s: float
    due_at: float
    instances: int
    attempts: int
    reason: str
    urgency: Urgency = Urgency.MEDIUM
    released_at: float | None = None
    ready: tuple[str, ...] | None = None
    next_look_at: float | None = None
