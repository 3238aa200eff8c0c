"""The circuit breaker of a destination: when nothing is sent there, and when it is asked again.

A destination that cannot be reached is no fault of the objects that wait for it: their tries are
not used up. After a few failures in a row the line opens, and from then on somebody asks now and
then whether anybody is there, before anything is sent.
"""

from __future__ import annotations

import threading
from dataclasses import replace

from secondread.delivery.backoff import line_delay_s
from secondread.delivery.web_wording import PeerBusyError
from secondread.delivery.wording import NobodyThereError
from secondread.domain.line import Line, LineState
from secondread.errors import DeliveryError

FAILURES_MAX = 3
"""Failures in a row that open a line; one that says itself that it lasts does it alone."""


class Breaker:
    """Counts failures in a row of one destination, and says what becomes of its line.

    The line itself is in the ledger; what is counted here while it is closed is not worth a row.
    Safe between threads.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._strikes = 0
        # Those before the line closed last, until something is stored: somebody who answers a
        # C-ECHO and nothing else is left alone for longer each time.
        self._before = 0

    def succeed(self) -> None:
        """Something has been stored."""
        with self._guard:
            self._strikes = self._before = 0

    def fail(self, line: Line, error: DeliveryError, now: float) -> Line:
        """The line after a failure that is the destination's; the same one if nothing changes."""
        with self._guard:
            if line.state is LineState.OPEN:
                # Another thread has found out before.
                return line
            self._strikes += 1
            opens = _opens_at_once(error) or self._before or self._strikes >= FAILURES_MAX
            if line.state is LineState.CLOSED and not opens:
                return line
            failures = max(line.failures, self._before) + self._strikes
            self._strikes = self._before = 0
        delay = line_delay_s(failures, lasting=not error.retryable)
        if isinstance(error, PeerBusyError):
            delay = max(delay, error.retry_after_s)
        return replace(
            line,
            state=LineState.OPEN,
            failures=failures,
            since=now if line.state is LineState.CLOSED else line.since,
            next_at=now + delay,
            reason=str(error),
        )

    def close(self, line: Line, now: float) -> Line:
        """The line after somebody has answered."""
        with self._guard:
            self._strikes, self._before = 0, line.failures
        return replace(line, state=LineState.CLOSED, failures=0, since=now, next_at=0.0, reason="")


def _opens_at_once(error: DeliveryError) -> bool:
    """Whether one try says it all: nobody listens, it asks for a pause, a person has to help."""
    return isinstance(error, NobodyThereError | PeerBusyError) or not error.retryable
