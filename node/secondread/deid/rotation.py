"""Another key for the crosswalk: all of it is sealed anew, a part at a time.

It may be interrupted anywhere, also by kill -9. While it lasts, rows of both keys can be read, and
new rows take the new key. Whoever starts it again goes on where it stopped.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from secondread.deid import crosswalk
from secondread.deid.keys import Key, KeyRing, put_in_front, read_ring
from secondread.domain.clock import Clock
from secondread.domain.crosswalk import Access, SealedProject
from secondread.errors import CrosswalkKeyError, NotFoundError, UsageError
from secondread.store import Ledger, Transaction

LOCK_NAME = "crosswalk.lock"


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where keys are read from: see ``read_ring``."""

    key_file: Path
    credential: str

    def read(self) -> KeyRing:
        """The keys as they are now."""
        return read_ring(self.key_file, self.credential)


@dataclass(frozen=True, slots=True)
class Rotated:
    """What came of it.

    Attributes:
        key_id: the key that everything is sealed with now.
        old: ids of the keys that are needed no more.
        pairs: how many were sealed anew in this run.
        went_on: whether an earlier run had been interrupted.
    """

    key_id: str
    old: tuple[str, ...]
    pairs: int
    went_on: bool


class Rotation:
    """One change of the key.

    Args:
        data_dir: where the ledger lies; a lock there keeps a second rotation out.
        access: who asked for it, and why.
    """

    def __init__(
        self, ledger: Ledger, data_dir: Path, place: KeyPlace, access: Access, clock: Clock
    ) -> None:
        self._ledger, self._place, self._access, self._clock = ledger, place, access, clock
        self._lock = data_dir / LOCK_NAME

    def run(self, progress: Callable[[int, int], None] = lambda done, total: None) -> Rotated:
        """Seal the whole crosswalk with another key, or go on with that.

        The new key is the first of the ring if the ledger has not seen it; else one is made and
        written into the key file, where the old ones stay.

        Args:
            progress: called after each part with how many pairs are done and how many there are.

        Raises:
            CrosswalkKeyError: a key is missing, or the system gave no new one.
            NotFoundError: there is no crosswalk yet.
            UsageError: no reason was given, or somebody else is at it.
        """
        crosswalk.check_reason(self._access)
        with self._lock.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    "Another 'secondread crosswalk rotate' is at work here; let it finish."
                ) from None
            ring = self._place.read()
            went_on = self._is_under_way(ring)
            if not went_on:
                ring = self._begin(ring)
            pairs = self._seal_anew(ring, progress)
            key, old = self._finish(ring, pairs)
        return Rotated(key.id, old, pairs, went_on)

    def _is_under_way(self, ring: KeyRing) -> bool:
        with self._ledger.read() as view:
            keys = crosswalk.usable_keys(view, ring)
        if not keys:
            raise NotFoundError(
                "There is no crosswalk yet, for nothing was exported; so there is nothing to "
                "rotate."
            )
        return len(keys) > 1

    def _begin(self, ring: KeyRing) -> KeyRing:
        """Make a new key the current one; the projects, a few rows, are sealed with it at once."""
        with self._ledger.read() as view:
            seen = {key.id for key in view.crosswalk.known_keys()}
        if ring.newest.id in seen:
            if ring.path is None:
                raise CrosswalkKeyError(
                    f"The first key of {ring.place} is one that the crosswalk has had already. "
                    "Make a new line with 'secondread crosswalk key --print', put it before the "
                    "others in the credential, keep the others, and run this again."
                )
            # In the file before it is in the ledger: what was sealed must be sure to open again.
            ring = put_in_front(ring, Key.new())
        with self._ledger.begin() as change:
            change.crosswalk.take_up(ring.newest.id, self._clock.now())
            for record in change.crosswalk.projects():
                self._seal_project(change, ring, record)
            self._note(change, "begun", "began to give the crosswalk another key", ring.newest)
        return ring

    def _seal_project(self, change: Transaction, ring: KeyRing, record: SealedProject) -> None:
        key = ring.newest
        content = crosswalk.project_content(record, ring)
        sealed = key.seal(content, crosswalk.project_context(record.name, key))
        change.crosswalk.replace_project(record.id, key.id, sealed)

    def _seal_anew(self, ring: KeyRing, progress: Callable[[int, int], None]) -> int:
        with self._ledger.read() as view:
            current = crosswalk.usable_keys(view, ring)[0]
            counts = view.crosswalk.count_by_key()
        total = sum(counts.values()) - counts.get(current.id, 0)
        done = 0
        while True:
            with self._ledger.begin() as change:
                keys = crosswalk.usable_keys(change, ring)
                old = [key.id for key in keys[1:]]
                rows = change.crosswalk.sealed_with(old, crosswalk.PAIRS_AT_ONCE)
                change.crosswalk.replace(
                    [
                        crosswalk.seal_pair(
                            keys[0], row.project_id, crosswalk.open_pair(ring, row), row.id
                        )
                        for row in rows
                    ]
                )
            if not rows:
                return done
            done += len(rows)
            progress(done, max(total, done))

    def _finish(self, ring: KeyRing, pairs: int) -> tuple[Key, tuple[str, ...]]:
        with self._ledger.begin() as change:
            current, *old = crosswalk.usable_keys(change, ring)
            change.crosswalk.retire_old(self._clock.now())
            self._note(change, "done", "gave the crosswalk another key", current, pairs)
        return current, tuple(key.id for key in old)

    def _note(self, change: Transaction, step: str, what: str, key: Key, pairs: int = 0) -> None:
        crosswalk.note(
            change,
            self._clock.now(),
            f"{self._access.who} {what}",
            self._access,
            {"act": "rotate", "step": step, "key": key.id, "pairs": pairs},
        )
