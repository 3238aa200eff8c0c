"""Notices that somebody has set the clock while studies wait."""

from __future__ import annotations

from dataclasses import dataclass

from secondread.domain.clock import Clock, SteadyClock

_STEP_S = 1.0
"""Less is a clock that runs a little wrong, and not a step."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the clock.

    Attributes:
        now: the time, in seconds since the epoch.
        since: the time of the last look, told by the clock as it goes now.
        step_s: by how many seconds the clock was set meanwhile; 0 where it was not.
    """

    now: float
    since: float
    step_s: float


class ClockWatch:
    """Compares the time with a clock that nobody sets, from one look to the next.

    A machine that was asleep looks like one whose clock was set forward, and rightly so: what was
    silent was the machine.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: tuple[float, float] | None = None

    def look(self) -> Look:
        """The time, and what happened to it since the last look."""
        clock = self._clock
        now = clock.now()
        # A clock that cannot tell is never taken for one that was set.
        steady = clock.steady_s() if isinstance(clock, SteadyClock) else now
        before, self._last = self._last, (now, steady)
        if before is None:
            return Look(now, now, 0.0)
        passed = steady - before[1]
        step_s = now - before[0] - passed
        return Look(now, now - passed, step_s if abs(step_s) > _STEP_S else 0.0)
