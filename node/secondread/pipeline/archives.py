"""Asking archives how many objects of a study they have, in threads that nobody waits for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace

import structlog

from secondread.delivery.address import Address
from secondread.delivery.association import Identity
from secondread.delivery.calling import address_of, identity_of, security_of
from secondread.delivery.find_scu import count_objects
from secondread.delivery.reach import Security
from secondread.domain.clock import Clock
from secondread.domain.destination import Destination
from secondread.domain.study import Study
from secondread.errors import DeliveryError, LedgerError
from secondread.store import Ledger
from secondread.store.archive_counts import ArchiveCount

log = structlog.stdlib.get_logger(__name__)

_THREADS = 2
_QUESTIONS_MAX = 1000
_TIMEOUT_S = 10.0

Count = Callable[[str, Address, Security | None, Identity | None], int]
"""Says how many objects of a study an archive has; raises DeliveryError where it does not say."""


class Archives:
    """Takes questions and writes the answers into the ledger; the study is then looked at again.

    Args:
        ledger: where the answers go.
        clock: tells when it was asked.
        destinations: who can be asked, by name.
        count: asks; a test may bring its own.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        destinations: Mapping[str, Destination],
        count: Count = count_objects,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._destinations = destinations
        self._count = count
        self._questions: queue.Queue[tuple[Study, str] | None] = queue.Queue(_QUESTIONS_MAX)
        self._asked: set[tuple[int, str]] = set()
        self._guard = threading.Lock()
        self._threads = [
            # An archive that does not answer must not keep the node from ending.
            threading.Thread(target=self._run, name=f"archives-{number}", daemon=True)
            for number in range(_THREADS)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask nobody any more; what is under way is left to end by itself."""
        with self._guard:
            self._asked.clear()
        while True:
            try:
                self._questions.get_nowait()
            except queue.Empty:
                break
        for _ in self._threads:
            self._questions.put(None)

    def ask(self, study: Study, destination: str) -> None:
        """Have an archive asked, unless that is under way; with too many questions, not now."""
        key = (study.id, destination)
        with self._guard:
            if key in self._asked:
                return
            self._asked.add(key)
        try:
            self._questions.put_nowait((study, destination))
        except queue.Full:
            self._forget(key)

    def _forget(self, key: tuple[int, str]) -> None:
        with self._guard:
            self._asked.discard(key)

    def _run(self) -> None:
        while (question := self._questions.get()) is not None:
            study, name = question
            try:
                self._answer(study, name)
            except LedgerError as error:
                log.error("an archive's answer could not be kept", reason=str(error))
            finally:
                self._forget((study.id, name))

    def _answer(self, study: Study, name: str) -> None:
        at = self._clock.now()
        objects, reason = None, ""
        try:
            asked = self._destination(name)
            objects = self._count(
                study.study_instance_uid,
                address_of(asked),
                security_of(asked),
                identity_of(asked),
            )
        except DeliveryError as error:
            reason = str(error)
            log.warning("archive not asked", study_id=study.id, destination=name, reason=reason)
        with self._ledger.begin() as change:
            change.archive_counts.keep(ArchiveCount(study.id, name, objects, at, reason))
            change.looks.hurry([study.study_instance_uid], self._clock.now())

    def _destination(self, name: str) -> Destination:
        found = self._destinations.get(name)
        if found is None:
            raise DeliveryError(f"There is no destination '{name}' in the configuration.")
        return replace(found, timeout_s=min(found.timeout_s, _TIMEOUT_S))
