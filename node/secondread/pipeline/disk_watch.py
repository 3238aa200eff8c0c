"""Disk pressure, seen long before the disk is full; and what the node does about it."""

from __future__ import annotations

import threading

import structlog

from secondread.domain.clock import Clock
from secondread.domain.disk_pressure import (
    Forecast,
    Pressure,
    forecast,
    judge_pressure,
    wanted_free_bytes,
)
from secondread.domain.retention import Retention, WhenLow
from secondread.pipeline.purge import Purge
from secondread.pipeline.removal import SHORT_OF_SPACE, Amounts, add_up, tell_amounts
from secondread.store import Ledger, Spool

log = structlog.stdlib.get_logger(__name__)

DISK_EVENT = "disk"
"""Trail event: space is running short, or is not any more."""
_REMEDY = (
    "Make room, shorten the times in [retention], or let the node remove early what is safe: "
    'when_low = "purge-safe".'
)


def look_ahead(
    ledger: Ledger, free_bytes: int, minimum_bytes: int, terms: Retention, now: float
) -> Forecast:
    """How long the space that is free will last."""
    with ledger.read() as view:
        traffic = view.keeping.traffic(now, terms)
    return forecast(free_bytes, minimum_bytes, traffic)


class DiskWatch:
    """Says once when space gets short, and once when it is not any more.

    What it has said is in the trail, so a restart does not say it again.

    Args:
        ledger: where the rate and the trail are.
        spool: on the disk that is watched.
        clock: tells the time.
        terms: when space is short, and what is done then.
        minimum_bytes: below which intake refuses objects.
    """

    def __init__(
        self, ledger: Ledger, spool: Spool, clock: Clock, terms: Retention, minimum_bytes: int
    ) -> None:
        self._ledger = ledger
        self._spool = spool
        self._clock = clock
        self._terms = terms
        self._minimum_bytes = minimum_bytes

    def look(self) -> Pressure:
        """Look at the disk, and say what has changed."""
        now = self._clock.now()
        found = self._look_ahead(now)
        before = self._before()
        pressure = judge_pressure(found, self._terms, before)
        if pressure is before:
            return pressure
        eased = pressure is Pressure.EASY
        text = found.sentence if eased else f"{found.sentence} {_REMEDY}"
        (log.info if eased else log.warning)("disk", pressure=pressure.value, reason=text)
        detail = {
            "free_bytes": found.free_bytes,
            "received_bytes_per_day": round(found.received_per_day),
            "going_bytes_per_day": round(found.going_per_day),
        }
        with self._ledger.begin() as change:
            change.trail.append(now, DISK_EVENT, text, change=(before, pressure), detail=detail)
        return pressure

    def _look_ahead(self, now: float) -> Forecast:
        free_bytes = self._spool.free_bytes()
        return look_ahead(self._ledger, free_bytes, self._minimum_bytes, self._terms, now)

    def _before(self) -> Pressure:
        with self._ledger.read() as view:
            rows = view.trail.of_event(DISK_EVENT, 1)
        known = {one.value: one for one in Pressure}
        return known.get(rows[-1].after, Pressure.EASY) if rows else Pressure.EASY

    def relieve(self, purge: Purge, stop: threading.Event) -> Amounts:
        """Where that is wished, remove what is safe before its time until space is not short.

        Raises:
            UsageError: somebody else is removing files.
        """
        if self._terms.when_low is not WhenLow.PURGE_SAFE or self.look() is Pressure.EASY:
            return {}
        found = self._look_ahead(self._clock.now())
        wanted = wanted_free_bytes(found, self._terms)
        gone: Amounts = {}
        with purge.alone():
            for study_id in purge.due_studies(SHORT_OF_SPACE):
                if stop.is_set() or self._spool.free_bytes() >= wanted:
                    break
                gone = add_up([gone, purge.purge_study(study_id, SHORT_OF_SPACE)])
        if gone:
            log.warning("files removed before their time", what=tell_amounts(gone))
        self.look()
        return gone
