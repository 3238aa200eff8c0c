"""When to try again."""

from __future__ import annotations

import random

_FIRST_S = 2.0
_LONGEST_S = 900.0


def delay_s(attempts: int) -> float:
    """Seconds until the next try after this many failed ones: doubling, bounded, with jitter."""
    return float(min(_FIRST_S * 2.0 ** max(attempts - 1, 0), _LONGEST_S) * random.uniform(0.8, 1.2))
