"""How long somebody is left alone who does not answer; kept in memory alone."""

from __future__ import annotations

from secondread.delivery.backoff import line_delay_s
from secondread.delivery.web_wording import PeerBusyError
from secondread.errors import DeliveryError


class Patience:
    """Counts failures in a row of one who is called, and says when to call again.

    Used by one thread.
    """

    def __init__(self) -> None:
        self._strikes = 0
        self._until = 0.0

    def is_over(self, now: float) -> bool:
        """Whether it may be called."""
        return now >= self._until

    def succeed(self) -> None:
        """It has answered."""
        self._strikes = 0

    def fail(self, error: DeliveryError, now: float) -> float:
        """It was called in vain; when to call again, at the earliest."""
        self._strikes += 1
        wait_s = line_delay_s(self._strikes, lasting=not error.retryable)
        if isinstance(error, PeerBusyError):
            wait_s = max(wait_s, error.retry_after_s)
        self._until = now + wait_s
        return self._until
