"""The quiet time: fixed, or learned from how long past studies fell silent while they came."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from secondread.domain.completeness import Completeness

STUDIES_MAX = 200
"""How many past studies of a peer and a protocol are looked at, the newest."""
STUDIES_MIN = 20
"""With fewer the quiet time is not learned: a percentile of a handful is chance."""
MARGIN = 1.5
"""The quiet time is so many times the pause that the percentile gives."""


@dataclass(frozen=True, slots=True)
class QuietTime:
    """A quiet time, and where it comes from: a half-sentence, '' where it is fixed."""

    seconds: float
    origin: str = ""


def find_quiet_time(terms: Completeness, pauses: Sequence[float]) -> QuietTime:
    """The quiet time on these terms.

    A pause longer than ``quiet_max_s`` is left out: no quiet time that is allowed would have
    bridged it, so waiting for its like would cost time and gain nothing.

    Args:
        terms: what the administrator has configured.
        pauses: the longest pauses, in seconds, of past studies of the same peer and protocol.
    """
    if not terms.learn:
        return QuietTime(terms.quiet_s)
    usable = sorted(value for value in pauses[:STUDIES_MAX] if value <= terms.quiet_max_s)
    if len(usable) < STUDIES_MIN:
        origin = (
            f"fixed, for only {len(usable)} of the {STUDIES_MIN} past studies of this protocol "
            "that are needed to learn it are known"
        )
        return QuietTime(terms.quiet_s, origin)
    rank = max(1, math.ceil(terms.percentile / 100 * len(usable)))
    pause = usable[rank - 1]
    wanted = MARGIN * pause
    seconds = min(max(wanted, terms.quiet_min_s), terms.quiet_max_s)
    origin = (
        f"learned: {terms.percentile:g} % of the last {len(usable)} studies of this protocol "
        f"had no pause longer than {pause:.3g} s, times {MARGIN:g}"
    )
    if seconds > wanted:
        origin += f", but not less than {terms.quiet_min_s:g} s"
    elif seconds < wanted:
        origin += f", but not more than {terms.quiet_max_s:g} s"
    return QuietTime(round(seconds, 1), origin)


def longest_pause(times: Sequence[float]) -> float:
    """The longest time between two consecutive objects; 0 where there is one.

    ``times`` are when they came, in seconds, in any order.
    """
    ordered = sorted(times)
    return max((b - a for a, b in pairwise(ordered)), default=0.0)
