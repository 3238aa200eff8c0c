"""When the disk will be full, at the rate of the last days."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from secondread.domain.retention import DAY_S, Retention

WINDOW_S = 7 * DAY_S
"""The rate is that of so long."""
_SHORTEST_S = 3600.0
_GIB = 1024**3
_EASE_DAYS = 1.25
_EASE_BYTES = 1.1
_DAYS_TOLD = 730.0


class Pressure(StrEnum):
    """How short space is."""

    EASY = "easy"
    """Nothing to do."""
    SOON = "soon"
    """A person should look: it is getting short."""
    FULL = "full"
    """Intake refuses objects."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What came, and what will go because its time will be over.

    What went in the past says little: the first purge after a change of the times removes more in
    an hour than others do in a month.

    Attributes:
        received_bytes: of images, in a span of time.
        span_s: how long that was, in seconds; shorter than ``WINDOW_S`` where the node is younger.
        going_per_day: bytes of images a day, in the days to come.
    """

    received_bytes: int
    span_s: float
    going_per_day: float = 0.0

    @property
    def received_per_day(self) -> float:
        """Bytes of images."""
        return self.received_bytes * DAY_S / max(self.span_s, _SHORTEST_S)


@dataclass(frozen=True, slots=True)
class Forecast:
    """How much space there is, and for how long.

    Attributes:
        free_bytes: on the disk.
        minimum_bytes: below which intake refuses objects.
        received_per_day: bytes of images.
        going_per_day: bytes of images.
        days_left: until intake refuses objects; infinite where not more comes than goes.
    """

    free_bytes: int
    minimum_bytes: int
    received_per_day: float
    going_per_day: float
    days_left: float

    @property
    def sentence(self) -> str:
        """The forecast for people."""
        free = f"{self.free_bytes / _GIB:.1f} GiB are free"
        if self.free_bytes <= self.minimum_bytes:
            return f"{free}, so objects are refused."
        came = f"{self.received_per_day / _GIB:.2f} GiB of images came a day"
        goes = f" and {self.going_per_day / _GIB:.2f} GiB will go" if self.going_per_day else ""
        if self.days_left > _DAYS_TOLD:
            return f"{free}; {came}{goes}, so the disk does not fill up."
        return f"{free}; {came}{goes}: full in {self.days_left:.1f} days at this rate."


def forecast(free_bytes: int, minimum_bytes: int, traffic: Traffic) -> Forecast:
    """Say when the disk will be full if as much comes as in the last days."""
    received, going = traffic.received_per_day, traffic.going_per_day
    left_bytes = max(free_bytes - minimum_bytes, 0)
    growth = received - going
    days = left_bytes / growth if growth > 0 else (math.inf if left_bytes else 0.0)
    return Forecast(free_bytes, minimum_bytes, received, going, days)


def judge_pressure(found: Forecast, terms: Retention, before: Pressure = Pressure.EASY) -> Pressure:
    """How short space is; once it was short it has to be better by a margin to count as easy."""
    if found.free_bytes <= found.minimum_bytes:
        return Pressure.FULL
    ease_days, ease_bytes = (1.0, 1.0) if before is Pressure.EASY else (_EASE_DAYS, _EASE_BYTES)
    is_soon = bool(terms.warn_days) and found.days_left < terms.warn_days * ease_days
    is_little = found.free_bytes < terms.warn_bytes * ease_bytes
    return Pressure.SOON if is_soon or is_little else Pressure.EASY


def wanted_free_bytes(found: Forecast, terms: Retention) -> float:
    """How much must be free for space not to be short any more."""
    growth = max(found.received_per_day - found.going_per_day, 0.0)
    by_days = found.minimum_bytes + growth * terms.warn_days * _EASE_DAYS
    return max(by_days, terms.warn_bytes * _EASE_BYTES)
