"""The registrar: enters stored objects into the ledger, many in one transaction.

A sender need not wait for its row. The object is on disk under its own name, and after a crash the
spool is read again and gives the rows that are missing. So rows, and the digests of large objects,
wait for a pause in what arrives, or for two seconds: a scanner sends in bursts, and while one lasts
everything else makes it wait.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence

import structlog

from secondread.domain.instance import Instance
from secondread.errors import LedgerError, SecondReadError
from secondread.intake.storing import Stored
from secondread.store import Ledger
from secondread.store.studies import Waits

log = structlog.stdlib.get_logger(__name__)

_PAUSE_S = 0.25
_LATEST_S = 2.0
_NICENESS = 10
_RETRY_S = 1.0
_GROUP_MAX = 1000
BACKLOG_MAX = 20_000

ToRecord = Callable[[Stored], Instance]
"""Makes the row of a stored object; raises OSError where it cannot be read."""


class Registrar:
    """One thread that writes the rows of stored objects and never gives one up.

    Args:
        ledger: where the rows go.
        waits: how long a peer's studies are waited for.
        alert: told a sentence when rows cannot be written, and '' when they can again.
    """

    def __init__(self, ledger: Ledger, waits: Waits, alert: Callable[[str], None]) -> None:
        self._ledger = ledger
        self._waits = waits
        self._alert = alert
        # One thread appends, another looks from time to time: to wake it for each object would make
        # senders wait for it.
        self._entered: deque[tuple[ToRecord, Sequence[Stored]]] = deque()
        self._settling: deque[threading.Event] = deque()
        self._released: deque[tuple[Collection[str], float]] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="registrar", daemon=True)
        self._stored: deque[tuple[ToRecord, Stored]] = deque()
        self._rows: list[Instance] = []
        self._failing = False

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def enter(self, to_record: ToRecord, stored: Sequence[Stored]) -> None:
        """Write the rows of these objects soon; ``to_record`` makes them, in the thread."""
        self._entered.append((to_record, stored))

    def release(self, study_instance_uids: Collection[str], at: float) -> None:
        """Enter that the peer has sent all of these studies, behind the rows of what it sent.

        ``at`` is when the association was released, in seconds since the epoch.
        """
        self._released.append((study_instance_uids, at))

    @property
    def overloaded(self) -> bool:
        """Whether so many rows wait that no more objects should be taken."""
        return len(self._stored) + len(self._rows) + len(self._entered) > BACKLOG_MAX

    def settle(self, timeout_s: float) -> bool:
        """Wait until the rows of what was stored so far are written; False if that takes longer."""
        written = threading.Event()
        self._settling.append(written)
        self._wake.set()
        return written.wait(timeout_s)

    def stop(self) -> None:
        """Write what is waiting, once more, and end."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        # Nobody waits for a row, and senders wait for the other threads.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while True:
            self._wait_for_pause()
            self._wake.clear()
            ends = self._stopping
            # First who wants to know, then what there is: nobody is told too early.
            events = [self._settling.popleft() for _ in range(len(self._settling))]
            releases = [self._released.popleft() for _ in range(len(self._released))]
            for _ in range(len(self._entered)):
                to_record, group = self._entered.popleft()
                self._stored.extend((to_record, one) for one in group)
            while (self._stored or self._rows) and self._write():
                continue
            if self._stored or self._rows or not self._write_releases(releases):
                self._settling.extend(events)
                self._released.extendleft(reversed(releases))
            else:
                for event in events:
                    event.set()
            if ends:
                return

    def _wait_for_pause(self) -> None:
        if self._failing:
            self._wake.wait(_RETRY_S)
            return
        latest = time.monotonic() + _LATEST_S
        before = -1
        while not self._wake.wait(_PAUSE_S) and time.monotonic() < latest:
            now = len(self._entered)
            if now == before:
                return
            before = now

    def _write(self) -> bool:
        """Write one group; False where that failed."""
        try:
            while self._stored and len(self._rows) < _GROUP_MAX:
                to_record, stored = self._stored[0]
                self._rows.append(to_record(stored))
                self._stored.popleft()
            with self._ledger.begin() as change:
                known = change.instances.known(row.sop_instance_uid for row in self._rows)
                fresh = [row for row in self._rows if row.sop_instance_uid not in known]
                removed = change.instances.removed(known)
                # A row that is here already belonged to a file that had been removed.
                change.instances.replace(
                    [row for row in self._rows if row.sop_instance_uid in known]
                )
                change.instances.add(fresh)
                change.studies.add_instances(fresh, self._waits)
                again = [row for row in self._rows if row.sop_instance_uid in removed]
                change.studies.add_instances(again, self._waits, again=True)
                change.corrections.expect([r for r in self._rows if self._waits.is_feedback(r)])
            self._rows.clear()
        except LedgerError as error:
            self._note_failure(error)
        except OSError as error:
            self._note_failure(LedgerError(f"A stored object cannot be read: {error.strerror}."))
        except Exception as error:
            # The rows must not be lost because of one; the fault is ours.
            log.exception("rows could not be written", rows=len(self._rows))
            self._note_failure(LedgerError(f"The ledger could not be written: {error!r}."))
        else:
            self._note_success()
            return True
        return False

    def _write_releases(self, releases: Sequence[tuple[Collection[str], float]]) -> bool:
        """Write what was released; False where that failed."""
        if not releases:
            return True
        try:
            with self._ledger.begin() as change:
                for uids, at in releases:
                    change.looks.release(uids, at)
        except LedgerError as error:
            self._note_failure(error)
            return False
        self._note_success()
        return True

    def _note_success(self) -> None:
        if self._failing:
            self._failing = False
            self._alert("")

    def _note_failure(self, error: SecondReadError) -> None:
        if not self._failing:
            self._failing = True
            waiting = len(self._stored) + len(self._rows)
            self._alert(
                f"{error} {waiting} stored objects wait to be entered; they are safe on disk, and "
                "the node tries again every second."
            )
