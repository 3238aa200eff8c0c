"""The registrar: enters stored objects into the ledger, many in one transaction.

A sender need not wait for its row. The object is on disk under its own name, and after a crash the
spool is read again and gives the rows that are missing. So rows are written a few times a second,
which costs a twentieth of one transaction for each object.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import groupby
from queue import Empty, SimpleQueue

import structlog

from secondread.domain.instance import Instance
from secondread.errors import LedgerError, SecondReadError
from secondread.store import Ledger

log = structlog.stdlib.get_logger(__name__)

_GATHER_S = 0.05
_RETRY_S = 1.0
_GROUP_MAX = 1000
BACKLOG_MAX = 20_000

QuietTime = Callable[[str], float]
"""The quiet time, in seconds, of the studies of a peer."""


class Registrar:
    """One thread that writes the rows of stored objects and never gives one up.

    Args:
        ledger: where the rows go.
        quiet_s: the quiet time of a peer's studies.
        alert: told a sentence when rows cannot be written, and '' when they can again.
    """

    def __init__(self, ledger: Ledger, quiet_s: QuietTime, alert: Callable[[str], None]) -> None:
        self._ledger = ledger
        self._quiet_s = quiet_s
        self._alert = alert
        self._queue: SimpleQueue[Sequence[Instance] | threading.Event] = SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registrar", daemon=True)
        self._waiting: list[Instance] = []
        self._failing = False

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def enter(self, records: Sequence[Instance]) -> None:
        """Write these rows soon."""
        self._queue.put(records)

    @property
    def overloaded(self) -> bool:
        """Whether so many rows wait that no more objects should be taken."""
        return len(self._waiting) + self._queue.qsize() > BACKLOG_MAX

    def settle(self, timeout_s: float) -> bool:
        """Wait until the rows of what was stored so far are written; False if that takes longer."""
        written = threading.Event()
        self._queue.put(written)
        return written.wait(timeout_s)

    def stop(self) -> None:
        """Write what is waiting, once more, and end."""
        self._stopping.set()
        self._queue.put(())
        self._thread.join()

    def _run(self) -> None:
        while True:
            ends = self._stopping.is_set()
            events = self._gather()
            if self._waiting and self._write():
                self._waiting.clear()
            if not self._waiting:
                for event in events:
                    event.set()
            if ends:
                return
            if self._waiting:
                self._stopping.wait(_RETRY_S)

    def _gather(self) -> list[threading.Event]:
        """Take what is there; wait for the first, and a moment for those that follow it."""
        events: list[threading.Event] = []
        block = not self._waiting and not self._stopping.is_set()
        while len(self._waiting) < _GROUP_MAX:
            try:
                item = self._queue.get(block=block)
            except Empty:
                return events
            if isinstance(item, threading.Event):
                events.append(item)
            else:
                self._waiting += item
            if block and not events:
                self._stopping.wait(_GATHER_S)
            block = False
        return events

    def _write(self) -> bool:
        try:
            with self._ledger.begin() as change:
                known = change.instances.known(record.sop_instance_uid for record in self._waiting)
                fresh = [one for one in self._waiting if one.sop_instance_uid not in known]
                back = [one for one in self._waiting if one.sop_instance_uid in known]
                # A row that is here already belonged to a file that had been removed.
                change.instances.replace(back)
                change.instances.add(fresh)
                fresh.sort(key=lambda record: record.study_instance_uid)
                for _, of_study in groupby(fresh, key=lambda record: record.study_instance_uid):
                    group = list(of_study)
                    change.studies.add_instances(group, self._quiet_s(group[-1].peer))
        except LedgerError as error:
            self._note_failure(error)
            return False
        except Exception as error:
            # The rows must not be lost because of one; the fault is ours.
            log.exception("rows could not be written", rows=len(self._waiting))
            self._note_failure(LedgerError(f"The ledger could not be written: {error!r}."))
            return False
        if self._failing:
            self._failing = False
            self._alert("")
        return True

    def _note_failure(self, error: SecondReadError) -> None:
        if not self._failing:
            self._failing = True
            self._alert(
                f"{error} {len(self._waiting)} stored objects wait to be entered; they are safe on "
                "disk, and the node tries again every second."
            )
