"""Removing what was noted of models at work, when its time is over.

Rows go, not files: observations that are neither in the reference of a model nor among its last
studies, and comparisons with challengers whose results nobody judged. What people said stays.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from secondread.domain.clock import Clock
from secondread.domain.monitoring_terms import MonitoringTerms
from secondread.domain.retention import DAY_S, Haste, Retention
from secondread.pipeline.removal import HOURLY, THE_NODE, Wish
from secondread.store import Ledger, Transaction
from secondread.store.monitoring_retention import Span
from secondread.store.retention import PURGE_EVENT

# Intake must not wait for the ledger meanwhile.
_AT_A_TIME = 500


@dataclass(frozen=True, slots=True)
class Rows:
    """How many rows went, or would go."""

    observations: int = 0
    comparisons: int = 0

    def __bool__(self) -> bool:
        return bool(self.observations or self.comparisons)

    def __add__(self, other: Rows) -> Rows:
        observations = self.observations + other.observations
        return Rows(observations, self.comparisons + other.comparisons)

    def __str__(self) -> str:
        counts = (
            (self.observations, "observation", "of models"),
            (self.comparisons, "comparison", "with challengers"),
        )
        parts = [f"{n} {noun}{'' if n == 1 else 's'} {of}" for n, noun, of in counts if n]
        return " and ".join(parts) or "nothing"


@dataclass(frozen=True, slots=True)
class MonitoringPurge:
    """Removes old rows; ``terms`` say which of them drift is judged by."""

    ledger: Ledger
    clock: Clock
    retention: Retention
    terms: MonitoringTerms

    def run(self, stop: threading.Event, wish: Wish = HOURLY) -> Rows:
        """Remove what may go, until ``stop``; what went, or would go.

        They take little space, so that none goes before its time.
        """
        length_s = self.retention.observations_s
        if math.isinf(length_s) or wish.haste is Haste.ANY_AGE:
            return Rows()
        # By whole days: the trail gets a row a day, not one every hour.
        before = math.floor((self.clock.now() - length_s) / DAY_S) * DAY_S
        with self.ledger.read() as view:
            observations = self._observations(view, before)
            comparisons = view.monitoring_keeping.old_comparisons(before)
        if wish.dry:
            return Rows(len(observations), len(comparisons))
        found = Rows()
        for some in _portions(observations):
            if not stop.is_set():
                found += self._remove(some, (), wish)
        for some in _portions(comparisons):
            if not stop.is_set():
                found += self._remove((), some, wish)
        return found

    def _observations(self, view: Transaction, before: float) -> Sequence[int]:
        found: list[int] = []
        for one in view.monitoring_keeping.watched():
            baseline = view.observations.baseline(one.model_id, one.model_version)
            since = 0.0 if baseline is None else baseline.since
            span = Span(before, since, self.terms.reference, self.terms.recent)
            found += view.monitoring_keeping.old_observations(one, span)
        return found

    def _remove(self, observations: Sequence[int], comparisons: Sequence[int], wish: Wish) -> Rows:
        """Remove these rows and leave one in the trail: what went, and at whose wish."""
        with self.ledger.begin() as change:
            keeping = change.monitoring_keeping
            # What was put on hold, or judged, since they were found stays.
            found = Rows(
                keeping.remove_observations(observations), keeping.remove_comparisons(comparisons)
            )
            if found:
                by = "" if wish.who == THE_NODE else f", at the wish of {wish.who}"
                detail = {"rows": asdict(found), "who": wish.who, "why": wish.why}
                text = f"Removed {found}{by}."
                change.trail.append(self.clock.now(), PURGE_EVENT, text, detail=detail)
        return found


def _portions(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for at in range(0, len(ids), _AT_A_TIME):
        yield ids[at : at + _AT_A_TIME]
