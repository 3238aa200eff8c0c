"""A study as the ledger knows it."""

from __future__ import annotations

from dataclasses import dataclass

from secondread.domain.network import Urgency
from secondread.domain.states import StudyState


@dataclass(frozen=True, slots=True)
class Study:
    """One row of the ledger's study table; times are seconds since the epoch, UTC.

    ``due_at`` is when it is asked again whether a study that is receiving is complete, unless
    something happens before. ``quiet_s`` is the quiet time of its peer.
    ``reason`` is the sentence shown to people for the present state.
    ``urgency`` is the highest that any of its objects came with.

    Attributes:
        quiet_from: since when silence counts where that is later than ``last_at``, because the door
            was shut; else None.
        released_at: when the last association that had brought objects of it was released by its
            peer, with no other one of that kind open; None while one is open or was aborted.
        ready: names of the rules for which it is complete with the objects that are here. None is
            all, as after a retry by hand; and none, while it is receiving.
        next_look_at: when the rules that still wait are to be asked again, though objects may go on
            coming until then; None where none waits, or none has a limit.
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
    quiet_from: float | None = None
    released_at: float | None = None
    ready: tuple[str, ...] | None = None
    next_look_at: float | None = None
