"""Regular expressions of the administrator: valid, and none that could be looked for for ever.

The engine of the standard library backtracks, so that ``(a+)+$`` takes hours for thirty letters.
Whoever sends a study decides the text, so such an expression would let a scanner stop the node.
"""

from __future__ import annotations

import math
import re
import warnings

# The parser that ``re`` itself compiles with. It has no public name; tests hold this module against
# expressions of both kinds, and what it does not know counts as nothing.
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

LENGTH_MAX = 500
"""How long an expression may be."""
WAYS_MAX = 2**22
"""In how many ways an expression may be tried at one place of a text; three ``.*`` are 2**18."""
_OPEN_WAYS = 64
"""The ways of one open repetition such as ``.*``: what DICOM allows a description (LO) to have."""

_REPEATS = frozenset((_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT))


def check_pattern(pattern: str) -> str:
    """What is wrong with an expression, as the end of a sentence about it; '' where nothing is."""
    if len(pattern) > LENGTH_MAX:
        return f"is {len(pattern)} characters long; {LENGTH_MAX} is the most"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(pattern)
            parsed = _parser.parse(pattern)
    except (re.error, Warning, OverflowError, RecursionError) as error:
        return f"is not a valid regular expression: {error}"
    ways = _ways(parsed)
    if math.isinf(ways):
        return (
            "repeats something that varies itself, such as (a+)+ or (a|b)*; looking for it could "
            "take for ever, so repeat only single characters or fixed words"
        )
    if ways > WAYS_MAX:
        return (
            "has so many repetitions and alternatives that looking for it could take very long; "
            "write several conditions instead, or leave out what need not match"
        )
    return ""


def _ways(parsed: Any) -> float:
    """In how many ways a sequence could be tried, at the most; infinite where that has no bound."""
    ways = 1.0
    for operation, argument in parsed:
        if operation in _REPEATS:
            low, high, body = argument
            ways *= _repeated(low, high, _ways(body))
        elif operation is _constants.BRANCH:
            ways *= sum(_ways(branch) for branch in argument[1])
        else:
            for inner in _inside(argument):
                ways *= _ways(inner)
    return ways


def _repeated(low: int, high: int, body: float) -> float:
    counts = min(high - low + 1, _OPEN_WAYS)
    if body == 1:
        return counts
    if high >= _OPEN_WAYS:
        return math.inf
    # Beyond the limit how far does not matter, but the largest number is soon reached.
    if math.isinf(body) or high * math.log2(body) > math.log2(WAYS_MAX):
        return max(body, 2.0 * WAYS_MAX)
    return counts * body**high


def _inside(argument: Any) -> list[Any]:
    """The expressions within the argument of a group, an assertion or a condition."""
    if isinstance(argument, _parser.SubPattern):
        return [argument]
    if isinstance(argument, tuple | list):
        return [inner for item in argument for inner in _inside(item)]
    return []
