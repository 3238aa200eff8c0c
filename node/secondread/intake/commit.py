"""The committer: one thread that syncs whatever objects are waiting, as one group."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue

import structlog

from secondread.errors import SecondReadError
from secondread.intake.reception import Arrival
from secondread.intake.storing import ObjectStore, Outcome, Placed

log = structlog.stdlib.get_logger(__name__)

_GROUP_MAX = 256
_SLOW_S = 0.02
_WAIT_S = 0.25
_PATIENCE = 100
"""Objects that go to the thread after one that took the reactor too long."""

Done = Callable[[Outcome], None]
"""Told what became of one object."""


class CommitFailedError(SecondReadError):
    """The fault is the node's own; the sender should try again."""

    retryable = True
    audit_code = "commit-failed"


Group = list[tuple[Placed, Done]]
Tell = Callable[[], None]


class Committer:
    """Group commit across associations.

    Objects that become whole in one turn of the reactor get their names there, and are one group
    for the thread that waits for the disk. While it waits the next group gathers, so the more
    associations are open, the less each object pays. The thread does little else, because two that
    take turns at short calls make each other wait for the interpreter.

    Args:
        store: where the objects go.
        post: runs a function in the reactor's thread.
        note_group: told how many objects each group had.
    """

    def __init__(
        self,
        store: ObjectStore,
        post: Callable[[Callable[[], None]], None],
        note_group: Callable[[int], None],
    ) -> None:
        self._store = store
        self._post = post
        self._note_group = note_group
        self._gathered: list[tuple[Arrival, Done]] = []
        # Groups that the thread has not told about yet; the reactor's thread counts.
        self._handed = 0
        self._patience = 0
        self._waiting: SimpleQueue[Group | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, arrival: Arrival, done: Done) -> None:
        """Store an object after this turn; ``done`` is called in the reactor's thread."""
        self._gathered.append((arrival, done))

    def store_all(
        self, arrivals: Sequence[Arrival], goes_on: Callable[[], bool]
    ) -> Sequence[Outcome] | None:
        """Store objects that did not come over an association, and wait, in any other thread.

        None where ``goes_on`` said no while it waited: they may have been stored, or may be yet.
        """
        outcomes: dict[int, Outcome] = {}
        ended = threading.Event()

        def note(number: int, outcome: Outcome) -> None:
            outcomes[number] = outcome
            if len(outcomes) == len(arrivals):
                ended.set()

        def submit() -> None:
            for number, arrival in enumerate(arrivals):
                self.submit(arrival, partial(note, number))

        self._post(submit)
        while not ended.wait(_WAIT_S):
            if not goes_on():
                return None
        return [outcomes[number] for number in range(len(arrivals))]

    def hand_over(self, *, alone: bool) -> None:
        """The reactor's turn is over.

        Where a single association is open (``alone``) and the disk is fast, the reactor stores the
        object itself: nobody else waits, and two switches between threads cost as much as a tenth
        of it.
        """
        if not self._gathered:
            return
        gathered, self._gathered = self._gathered, []
        group = self._place(gathered)
        if not group:
            return
        self._patience = max(self._patience - 1, 0)
        if alone and not self._patience and not self._handed:
            began = time.monotonic()
            tell = self._store_group(group)
            if time.monotonic() - began > _SLOW_S:
                self._patience = _PATIENCE
            tell()
        else:
            self._handed += 1
            self._waiting.put(group)

    def _place(self, gathered: Sequence[tuple[Arrival, Done]]) -> Group:
        try:
            placed = self._store.place([arrival for arrival, _ in gathered])
        except Exception:
            # Every sender must get an answer; the fault is ours.
            log.exception("a group of objects could not be named", objects=len(gathered))
            for _, done in gathered:
                done(_failed())
            return []
        return [(one, done) for one, (_, done) in zip(placed, gathered, strict=True)]

    def stop(self) -> None:
        """Store what is waiting and end."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (group := self._waiting.get()) is not None:
            count = 1
            while len(group) < _GROUP_MAX:
                try:
                    more = self._waiting.get_nowait()
                except Empty:
                    break
                if more is None:
                    self._waiting.put(None)
                    break
                group += more
                count += 1
            self._post(partial(self._end, count, self._store_group(group)))

    def _end(self, count: int, tell: Tell) -> None:
        self._handed -= count
        tell()

    def _store_group(self, group: Group) -> Tell:
        """Store a group; what it returns tells the senders."""
        try:
            outcomes = self._store.commit([placed for placed, _ in group])
        except Exception:
            # The thread must live on, and every sender must get an answer; the fault is ours.
            log.exception("a group of objects could not be stored", objects=len(group))
            outcomes = [_failed()] * len(group)

        def tell() -> None:
            for (_, done), outcome in zip(group, outcomes, strict=True):
                done(outcome)
            # Senders do not wait for this.
            self._note_group(len(group))
            for (placed, _), outcome in zip(group, outcomes, strict=True):
                if outcome is True:
                    placed.arrival.close()

        return tell


def _failed() -> CommitFailedError:
    return CommitFailedError("The node failed while it stored the object.")
