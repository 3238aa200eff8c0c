"""Whether there is room for more, without asking the disk for every object."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_FRESH_S = 0.25
_FULL_S = 5.0


class Space:
    """Free bytes of the spool, asked at most four times a second.

    Args:
        free_bytes: asks the disk.
        minimum_bytes: with less than this nothing is taken.
    """

    def __init__(self, free_bytes: Callable[[], int], minimum_bytes: int) -> None:
        self._free_bytes = free_bytes
        self._minimum_bytes = minimum_bytes
        self._lock = threading.Lock()
        self._looked_at = 0.0
        self._left_bytes = 0
        self._full_until = 0.0

    @property
    def left_bytes(self) -> int:
        """How much may still be taken; 0 and less is nothing."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked_at > _FRESH_S:
                self._looked_at = now
                self._left_bytes = self._free_bytes() - self._minimum_bytes
            return self._left_bytes

    @property
    def low(self) -> bool:
        """Whether nothing may be taken."""
        return self.left_bytes <= 0 or time.monotonic() < self._full_until

    def filled(self) -> None:
        """A write has failed, however much is free: for some seconds nothing is taken."""
        self._full_until = time.monotonic() + _FULL_S
