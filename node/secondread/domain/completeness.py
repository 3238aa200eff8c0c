"""When is a study complete: what the administrator has configured, and what was decided."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from secondread.domain.condition import Condition


class AtLimit(StrEnum):
    """What becomes of a study that is not complete when its longest wait is over."""

    CONTINUE = "continue"
    """It goes on with what is there, and the reason says so."""
    HOLD = "hold"
    """It waits for a person."""
    DROP = "drop"
    """It is not analysed, and the reason says so."""


@dataclass(frozen=True, slots=True)
class WantedSeries:
    """A series that has to be there; all conditions hold for at least one series of the study."""

    name: str
    when: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Completeness:
    """When a study counts as complete; of a peer, or of a rule, whose values go before.

    Attributes:
        quiet_s: seconds without a new object after which it is complete, unless something lacks.
        learn: whether the quiet time is learned from the peer's past studies of the same protocol;
            until there are enough of them ``quiet_s`` holds.
        quiet_min_s: a learned quiet time is not shorter.
        quiet_max_s: a learned quiet time is not longer.
        percentile: of the longest pauses of past studies, what share must have been shorter.
        on_release: whether the release of the association that brought the study completes it.
        counts: whether expected numbers of images (in headers, MPPS, availability notices) are
            waited for, and complete the study when they are reached.
        series: series that have to be there.
        ask: name of a destination that is asked by C-FIND how many objects it has; '' is none.
        wait_max_s: the longest wait, from the first object; 0 is no limit.
        at_limit: what then becomes of the study.
    """

    quiet_s: float = 30.0
    learn: bool = False
    quiet_min_s: float = 5.0
    quiet_max_s: float = 300.0
    percentile: float = 99.0
    on_release: bool = False
    counts: bool = True
    series: tuple[WantedSeries, ...] = ()
    ask: str = ""
    wait_max_s: float = 3600.0
    at_limit: AtLimit = AtLimit.CONTINUE


class Verdict(StrEnum):
    """What was decided about a study for one rule."""

    COMPLETE = "complete"
    WAIT = "wait"
    HOLD = "hold"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, and why.

    Attributes:
        until: when to look again if nothing new comes, in seconds since the epoch; for WAIT only.
        reason: one sentence, without values of the study that may be free text.
    """

    verdict: Verdict
    until: float
    reason: str
