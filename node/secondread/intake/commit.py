"""The committer: one thread that stores whatever objects are waiting, as one group."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

import structlog

from secondread.errors import SecondReadError
from secondread.intake.reception import Arrival
from secondread.intake.storing import ObjectStore, Outcome

log = structlog.stdlib.get_logger(__name__)

_GROUP_MAX = 256

Done = Callable[[Outcome], None]
"""Told what became of one object."""


class CommitFailedError(SecondReadError):
    """The fault is the node's own; the sender should try again."""

    retryable = True
    audit_code = "commit-failed"


class Committer:
    """Group commit across associations.

    While one group waits for the disk the next one gathers, so the more associations are open, the
    less each object pays.

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
        self._waiting: SimpleQueue[tuple[Arrival, Done] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, arrival: Arrival, done: Done) -> None:
        """Store an object; ``done`` is called in the reactor's thread."""
        self._waiting.put((arrival, done))

    def stop(self) -> None:
        """Store what is waiting and end."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            group = [first]
            ends = False
            while len(group) < _GROUP_MAX:
                try:
                    item = self._waiting.get_nowait()
                except Empty:
                    break
                if item is None:
                    ends = True
                    break
                group.append(item)
            self._commit(group)
            if ends:
                return

    def _commit(self, group: list[tuple[Arrival, Done]]) -> None:
        try:
            outcomes = self._store.commit([arrival for arrival, _ in group])
        except Exception:
            # The thread must live on, and every sender must get an answer; the fault is ours.
            log.exception("a group of objects could not be stored", objects=len(group))
            failure = CommitFailedError("The node failed while it stored the object.")
            outcomes = [failure] * len(group)
        self._note_group(len(group))

        def tell() -> None:
            for (_, done), outcome in zip(group, outcomes, strict=True):
                done(outcome)

        self._post(tell)
