"""From ``sent`` to ``safe``: each destination is asked until it has proven what it has.

One thread judges what is known; a destination that has objects due gets a thread of its own while
it is asked, so that one that hangs keeps nobody waiting. Every question has an end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import structlog

from secondread.delivery.proof_desk import ProofDesk
from secondread.delivery.questioner import Questioner
from secondread.domain.clock import Clock
from secondread.domain.destination import Destination
from secondread.errors import DeliveryError, SecondReadError
from secondread.store import Ledger, Spool

log = structlog.stdlib.get_logger(__name__)

ASKED_AT_ONCE_MAX = 16
"""Destinations that are asked at a time."""
_IDLE_S = 1.0
_GRACE_S = 5.0


class Prover:
    """Proves deliveries.

    Args:
        ledger: where objects and questions are; commits must be synced.
        spool: where the objects' files are.
        destinations: every destination by the name that the outbox keeps, as it is now
            (``domain.destination.reachable``).
        clock: tells the time.
    """

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        destinations: Callable[[], Mapping[str, Destination]],
        clock: Clock,
    ) -> None:
        self._desk = ProofDesk(ledger, destinations, clock)
        self._questioner = Questioner(self._desk, spool)
        self._asking: dict[str, threading.Thread] = {}

    def step(self) -> bool:
        """Do all that is due now, once; False where there was nothing.

        Raises:
            LedgerError: the ledger cannot be used.
        """
        busy = self._review()
        for name in self._desk.due_destinations():
            busy = self._questioner.ask(name) or busy
        return self._review() or busy

    def run(self, stop: threading.Event) -> None:
        """Do all that becomes due, until ``stop``.

        A question that is under way then is waited for a few seconds and left behind; its report
        counts whenever it comes.
        """
        while not stop.is_set():
            try:
                self._review()
                self._begin_to_ask(stop)
            except SecondReadError as error:
                log.error("proof", reason=str(error))
            stop.wait(_IDLE_S)
        deadline = time.monotonic() + _GRACE_S
        for thread in tuple(self._asking.values()):
            thread.join(max(0.0, deadline - time.monotonic()))

    def _review(self) -> bool:
        """Judge the reports that came, and give up those that did not."""
        busy = False
        while self._review_some():
            busy = True
        return busy

    def _review_some(self) -> bool:
        # Looked at first: a writing transaction waits for the disk, and is seldom needed.
        with self._desk.ledger.read() as view:
            if not (view.enquiries.reported(1) or view.enquiries.overdue(self._desk.now, 1)):
                return False
        with self._desk.ledger.begin() as change:
            judge = self._desk.judge(change)
            heard, given_up = judge.judge_reports(), judge.expire()
            return heard or given_up

    def _begin_to_ask(self, stop: threading.Event) -> None:
        self._asking = {name: one for name, one in self._asking.items() if one.is_alive()}
        for name in self._desk.due_destinations():
            if name in self._asking or len(self._asking) >= ASKED_AT_ONCE_MAX:
                continue
            thread = threading.Thread(
                target=self._ask_all, args=(name, stop), name=f"proof {name}", daemon=True
            )
            self._asking[name] = thread
            thread.start()

    def _ask_all(self, name: str, stop: threading.Event) -> None:
        """Ask a destination until nothing is due there."""
        try:
            while not stop.is_set() and self._questioner.ask(name):
                pass
        except SecondReadError as error:
            log.error("proof", destination=name, reason=str(error))
        except Exception as error:
            # The fault is ours; it must not be made again and again, nor cost other destinations.
            kind = type(error).__name__
            log.exception("asking for proof has failed", destination=name, error=kind)
            self._desk.rest(name, (), DeliveryError(f"The node failed to ask '{name}': {kind}."))
