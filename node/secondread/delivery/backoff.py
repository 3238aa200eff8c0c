"""When to try again."""

from __future__ import annotations

import random

_FIRST_S = 2.0
_LONGEST_S = 900.0
_LINE_LONGEST_S = 300.0
# What a person has to mend is not mended within seconds, and some accounts are locked by tries.
_LASTING_FIRST_S, _LASTING_LONGEST_S = 300.0, 3600.0
_DOUBLINGS_MAX = 20


def delay_s(attempts: int) -> float:
    """Seconds until an object's next try after this many failed ones; with jitter."""
    return float(_doubled(_FIRST_S, _LONGEST_S, attempts) * random.uniform(0.8, 1.2))


def line_delay_s(failures: int, *, lasting: bool = False) -> float:
    """Seconds until a destination is asked again after so many failures in a row; with jitter.

    From 2 s on to 300 s at the most; ``lasting`` is what a person has to mend, from 300 s on to an
    hour.
    """
    if lasting:
        longest = _doubled(_LASTING_FIRST_S, _LASTING_LONGEST_S, failures)
    else:
        longest = _doubled(_FIRST_S, _LINE_LONGEST_S, failures)
    return float(longest * random.uniform(0.75, 1.0))


def _doubled(first_s: float, longest_s: float, count: int) -> float:
    return min(first_s * 2.0 ** min(max(count - 1, 0), _DOUBLINGS_MAX), longest_s)
