"""How models are watched: windows, limits, and what follows when one is passed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Consequence(StrEnum):
    """What the node does when a limit is passed."""

    WARN = "warn"
    """Says so: in the log, the trail, the metrics and ``secondread model monitor``."""
    PAUSE = "pause"
    """Also pauses the model, until a person resumes it."""


@dataclass(frozen=True, slots=True)
class MonitoringTerms:
    """``[monitoring]``.

    Attributes:
        reference: the first so many answered studies of a scanner and protocol are its reference.
        recent: the last so many studies are compared with it.
        minimum: fewer values than this on either side give no answer.
        psi_watch: from this population stability index on a change is watched.
        psi_drift: from this on it is drift.
        level: how often chance alone may make one look at a scanner and protocol show a change.
        on_drift: what follows from drift.
        reject_share: share of rejected results among the last ones that somebody judged.
        reject_recent: how many of those are looked at.
        reject_minimum: fewer give no answer.
        on_rejects: what follows from a share as high as ``reject_share``.
        look_minutes: how often the node looks.
    """

    reference: int = 100
    recent: int = 50
    minimum: int = 30
    psi_watch: float = 0.1
    psi_drift: float = 0.25
    level: float = 0.01
    on_drift: Consequence = Consequence.WARN
    reject_share: float = 0.5
    reject_recent: int = 40
    reject_minimum: int = 10
    on_rejects: Consequence = Consequence.PAUSE
    look_minutes: float = 60.0
