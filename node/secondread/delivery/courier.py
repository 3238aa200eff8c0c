"""Working off the outbox: a few threads for each destination that has something to get."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from threading import Event

import structlog

from secondread.delivery.breaker import Breaker
from secondread.delivery.errand import Desk, Errand
from secondread.domain.clock import Clock
from secondread.domain.destination import Destination
from secondread.domain.line import Line, LineState
from secondread.errors import LedgerError
from secondread.store import Ledger, Spool

log = structlog.stdlib.get_logger(__name__)

Destinations = Callable[[], Mapping[str, Destination]]
"""Every destination by its name in the outbox (``domain.destination.reachable``), as it is now."""

_LOOK_S = 0.25
_REST_S = 3.0
"""How long a thread with nothing to do keeps what it has open.

Less than proof is usually waited for (``ProofTerms.delay_s``): a destination that takes one
association at a time could not be asked before.
"""
_RECOVERY_S = 5.0
_FAREWELL_S = 40.0


@dataclass(frozen=True, slots=True)
class _Hand:
    """A thread that works for one destination, and what wakes it."""

    thread: threading.Thread
    wake: Event = field(default_factory=Event)


class Courier:
    """Brings what is due in the outbox to where it belongs.

    Args:
        ledger: with the outbox.
        spool: with the files.
        destinations: whom there is; it is asked again and again, so that changes count.
        clock: what is due is due by it.
        owner: names the claims.
    """

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        destinations: Destinations,
        clock: Clock,
        owner: str,
    ) -> None:
        self._desk = Desk(ledger, spool, clock, owner)
        self._destinations = destinations
        self._breakers: dict[str, Breaker] = {}
        self._by_hand: dict[str, Errand] = {}
        self._hands: dict[tuple[str, int], _Hand] = {}
        self._guard = threading.Lock()

    def run(self, stop: Event) -> None:
        """Deliver until ``stop`` is set; what is under way then is ended in order.

        The ledger is looked at a few times a second; a destination for which nothing is due, or
        whose line is open or paused, has no thread and costs nothing.
        """
        self._take_over_probes()
        while not stop.is_set():
            try:
                self._look(stop)
            except LedgerError as error:
                log.error("outbox not read", reason=str(error))
                stop.wait(_RECOVERY_S)
            stop.wait(_LOOK_S)
        with self._guard:
            hands = list(self._hands.values())
        for hand in hands:
            hand.wake.set()
        until = time.monotonic() + _FAREWELL_S
        for hand in hands:
            hand.thread.join(max(until - time.monotonic(), 0))

    def step(self, name: str) -> bool:
        """One batch, or one probe, for a destination; whether there was anything to do.

        For tests and for whoever has no threads; its association stays open until ``close``.

        Raises:
            LedgerError: it could not be written down.
        """
        errand = self._by_hand.setdefault(name, self._errand(name, self._desk.owner))
        return errand.run(self._destinations().get(name), Event(), batches_max=1)

    def close(self) -> None:
        """Let go of what ``step`` has opened."""
        for errand in self._by_hand.values():
            errand.close()

    def _take_over_probes(self) -> None:
        """Lines that somebody was probing who is dead now are probed again at once."""
        with self._desk.ledger.begin() as change:
            now = self._desk.clock.now()
            for line in change.lines.all():
                if line.state is LineState.HALF_OPEN:
                    change.lines.keep(replace(line, state=LineState.OPEN, next_at=now))

    def _look(self, stop: Event) -> None:
        """Wake or start a thread for everything that can be done now."""
        with self._desk.ledger.read() as view:
            due = view.lines.next_due()
            lines = {line.destination: line for line in view.lines.all()}
        now = self._desk.clock.now()
        known = self._destinations()
        names = {name for name, at in due.items() if at <= now}
        # Whether somebody is there again is worth knowing even if nothing waits.
        names |= {name for name, line in lines.items() if _is_open(line) and name in known}
        for name in names:
            line = lines.get(name, Line(name))
            if line.paused or (_is_open(line) and now < line.next_at and name in known):
                continue
            parallel = known[name].parallel if name in known and not _is_open(line) else 1
            for number in range(parallel):
                self._rouse(name, number, stop)

    def _rouse(self, name: str, number: int, stop: Event) -> None:
        key = (name, number)
        with self._guard:
            hand = self._hands.get(key)
            if hand is None:
                thread = threading.Thread(
                    target=self._serve, args=(key, stop), name=f"to {name} {number}", daemon=True
                )
                self._hands[key] = _Hand(thread)
                thread.start()
            else:
                hand.wake.set()

    def _serve(self, key: tuple[str, int], stop: Event) -> None:
        """What a thread does, whatever happens to it, until it has had nothing to do for long."""
        name, number = key
        with self._guard:
            hand = self._hands[key]
        owner = f"{self._desk.owner}/{number}/{name}"
        errand = self._errand(name, owner)
        busy_at = time.monotonic()
        while not stop.is_set():
            hand.wake.clear()
            if self._run_safely(errand, owner, stop):
                busy_at = time.monotonic()
            hand.wake.wait(max(busy_at + _REST_S - time.monotonic(), 0.0))
            with self._guard:
                rested = time.monotonic() - busy_at >= _REST_S
                if rested and not hand.wake.is_set():
                    del self._hands[key]
                    break
        errand.close()

    def _run_safely(self, errand: Errand, owner: str, stop: Event) -> bool:
        """Run an errand; after a fault in it, wait a little."""
        try:
            return errand.run(self._destinations().get(errand.name), stop)
        except LedgerError as error:
            log.error("delivery not written down", destination=errand.name, reason=str(error))
        except Exception as error:
            kind = type(error).__name__
            log.exception("delivery stumbled", destination=errand.name, error=kind)
            self._release(owner)
        stop.wait(_RECOVERY_S)
        return True

    def _release(self, owner: str) -> None:
        try:
            with self._desk.ledger.begin() as change:
                change.outbox.release_claims_of(owner)
        except LedgerError as error:
            log.error("claims not given back", reason=str(error))

    def _errand(self, name: str, owner: str) -> Errand:
        with self._guard:
            breaker = self._breakers.setdefault(name, Breaker())
        return Errand(replace(self._desk, owner=owner), name, breaker)


def _is_open(line: Line) -> bool:
    return line.state is not LineState.CLOSED
