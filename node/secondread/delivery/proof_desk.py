"""What is due to be asked about, who can be asked now, and what is kept of it.

Which destinations did not answer, and which have no commitment, is remembered in memory alone:
after a restart each is asked once too often, and no more comes of it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from secondread.delivery.judging import Judge, is_still, pause_s
from secondread.domain.clock import Clock
from secondread.domain.destination import Destination, ProofTerms
from secondread.domain.line import LineState
from secondread.domain.result import OutboxItem
from secondread.errors import DeliveryError
from secondread.store import Ledger, Transaction

log = structlog.stdlib.get_logger(__name__)

AT_A_TIME = 500
"""Objects in one question."""
UNREPORTED_MAX = 2
"""Questions in a row without a report after which an archive counts as one that never reports."""
DAY_S, HOUR_S = 86_400.0, 3_600.0


@dataclass(frozen=True, slots=True)
class _Rest:
    """A destination that did not answer is left alone until then."""

    failures: int
    until: float


class ProofDesk:
    """Stands between those who ask and the ledger; safe for several threads.

    Args:
        ledger: where objects and questions are; commits must be synced.
        destinations: every destination by the name that the outbox keeps, as it is now.
        clock: tells the time.
    """

    def __init__(
        self,
        ledger: Ledger,
        destinations: Callable[[], Mapping[str, Destination]],
        clock: Clock,
    ) -> None:
        self.ledger = ledger
        self.destinations = destinations
        self._clock = clock
        self._lock = threading.Lock()
        self._rests: dict[str, _Rest] = {}
        self._without_commitment: dict[str, tuple[Destination, float]] = {}
        self._unreported: Counter[str] = Counter()

    @property
    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        return self._clock.now()

    def judge(self, change: Transaction) -> Judge:
        """A judge for a transaction, who knows the terms of each destination."""
        known = self.destinations()

        def terms_of(name: str) -> ProofTerms:
            return known[name].terms if name in known else ProofTerms()

        return Judge(change, terms_of, self.now, self._note_report)

    def due_destinations(self) -> Sequence[str]:
        """The destinations that have objects to be asked about, and can be asked now."""
        now = self.now
        with self.ledger.read() as view:
            return tuple(
                name
                for name in sorted(view.lines.destinations_with_work())
                if self._may_ask(view, name, now) and view.outbox.due_for_proof(name, now, 1)
            )

    def due_objects(self, name: str) -> Sequence[OutboxItem]:
        """What a destination is to be asked about now; nothing where it cannot be asked."""
        now = self.now
        with self.ledger.read() as view:
            if not self._may_ask(view, name, now):
                return ()
            return view.outbox.due_for_proof(name, now, AT_A_TIME)

    def put_off(self, items: Sequence[OutboxItem], until: float | None, why: str) -> None:
        """Ask about objects later, or never, without a question having been in vain."""
        with self.ledger.begin() as change:
            for item in still(change, items, self.now):
                change.outbox.prove_later(item, until, why, counts=False)

    def rest(self, name: str, items: Sequence[OutboxItem], error: DeliveryError) -> None:
        """A destination does not answer: leave it alone for a while, longer each time."""
        with self._lock:
            before = self._rests.get(name)
            failures = 1 if before is None else before.failures + 1
            wait_s = max(pause_s(failures), getattr(error, "retry_after_s", None) or 0.0)
            until = self.now + wait_s
            self._rests[name] = _Rest(failures, until)
        log.warning(
            "no answer about proof", destination=name, wait_s=round(wait_s, 1), reason=str(error)
        )
        self.put_off(items, until, str(error))

    def answered(self, name: str) -> None:
        """A destination does answer."""
        with self._lock:
            self._rests.pop(name, None)

    def remember_no_commitment(self, destination: Destination) -> None:
        """It has none; for a day it is not asked whether it has."""
        with self._lock:
            self._without_commitment[destination.name] = (destination, self.now + DAY_S)

    def may_commit(self, destination: Destination) -> bool:
        """Whether it has commitment as far as is known; with another address it may."""
        with self._lock:
            known, until = self._without_commitment.get(destination.name, (None, 0.0))
        return known != destination or self.now >= until

    def never_reports(self, name: str) -> bool:
        """Whether a destination takes requests on and has not reported on the last few."""
        with self._lock:
            return self._unreported[name] >= UNREPORTED_MAX

    def _note_report(self, name: str, came: bool) -> None:
        with self._lock:
            self._unreported[name] = 0 if came else self._unreported[name] + 1

    def _may_ask(self, view: Transaction, name: str, now: float) -> bool:
        """Whether it is there, as far as is known, and nobody has paused it."""
        with self._lock:
            rest = self._rests.get(name)
        if rest is not None and now < rest.until:
            return False
        line = view.lines.get(name)
        return line.state is LineState.CLOSED and not line.paused


def still(
    change: Transaction, items: Sequence[OutboxItem], asked_at: float
) -> Sequence[OutboxItem]:
    """Those that wait for proof as they did when the question was asked, as they are now."""
    found = change.outbox.of_ids([item.id for item in items])
    return tuple(item for item in found.values() if is_still(item, asked_at))
