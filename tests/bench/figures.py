"""A figure and its goal, as one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Measured:
    """The same thing measured several times, and the CPU time it cost, where that is known."""

    values: tuple[float, ...]
    cpu_ms: float | None = None

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def spread(self) -> list[float]:
        return [_short(min(self.values)), _short(max(self.values))]


@dataclass(frozen=True)
class Goal:
    """What a figure must be: ``at_least`` times another one, or ``at_most`` or ``below`` a value.

    Attributes:
        ours, rival: names of the contenders; no rival where the goal is a value.
    """

    figure: str
    unit: str
    ours: str
    rival: str = ""
    at_least: float | None = None
    at_most: float | None = None
    below: float | None = None

    def __str__(self) -> str:
        if self.at_least is not None:
            return f">= {self.at_least:g} x {self.rival}"
        if self.at_most is not None:
            return f"<= {self.at_most:g} {self.unit}"
        return f"< {self.below:g} {self.unit}"

    def line(self, ours: Measured, rival: Measured | None = None) -> dict[str, Any]:
        """The figure with its verdict; ``ratio`` is ``value`` divided by ``against``."""
        ratio = None if rival is None else ours.median / rival.median
        line = {
            "figure": self.figure,
            "value": _short(ours.median),
            "unit": self.unit,
            "against": None if rival is None else _short(rival.median),
            "ratio": None if ratio is None else _short(ratio),
            "goal": str(self),
            "holds": self._holds(ours.median, ratio),
            "runs": len(ours.values),
            "spread": ours.spread,
        }
        if rival is not None:
            line["against_spread"] = rival.spread
        if ours.cpu_ms is not None:
            line["cpu_ms_per_object"] = _short(ours.cpu_ms)
        return line

    def without_value(self, **reason: str) -> dict[str, Any]:
        """The line of a figure that there is none of: ``skipped`` or ``error`` says why.

        What was skipped neither holds nor fails to, but the bench as a whole does not hold.
        """
        names = ("value", "against", "ratio")
        return {
            "figure": self.figure,
            "unit": self.unit,
            **dict.fromkeys(names),
            "goal": str(self),
            "holds": None if "skipped" in reason else False,
            **reason,
        }

    def _holds(self, value: float, ratio: float | None) -> bool:
        if self.at_least is not None:
            return ratio is not None and ratio >= self.at_least
        if self.at_most is not None:
            return value <= self.at_most
        return self.below is not None and value < self.below


def all_hold(lines: Sequence[dict[str, Any]]) -> bool:
    """Whether every figure was measured and holds."""
    return all(line["holds"] is True for line in lines)


def print_line(line: dict[str, Any], out: Callable[[str], object] = print) -> None:
    """One line of JSON."""
    out(json.dumps(line, ensure_ascii=False))


def _short(value: float) -> float:
    """Four significant digits; more would be noise."""
    return float(f"{value:.4g}")
