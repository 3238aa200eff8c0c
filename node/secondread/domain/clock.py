"""Time, as a port, so that tests can hold it still."""

from __future__ import annotations

import time
from typing import Protocol, runtime_checkable


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""


@runtime_checkable
class SteadyClock(Clock, Protocol):
    """A clock that can tell when somebody has set it."""

    def steady_s(self) -> float:
        """Seconds since some moment; nobody sets it, and it stands still while the machine does."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        return time.time()

    def steady_s(self) -> float:
        """Seconds since some moment; nobody sets it, and it stands still while the machine does."""
        return time.monotonic()
