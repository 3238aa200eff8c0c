"""A fast sender of many small objects that are made from their numbers, and checked by them."""

from __future__ import annotations

import hashlib
import itertools
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from .hostile import EndedError, open_association
from .intake_node import ATTACKER, IntakeNode, Row, Usage
from .wire import (
    IMPLICIT,
    MR,
    STORE,
    VERIFICATION,
    MrObject,
    Proposal,
    async_window,
    message,
    store_rq,
)

CONTEXTS = (Proposal(1, VERIFICATION, (IMPLICIT,)), Proposal(STORE, MR))
ROOT = "1.2.826.0.1.3680043.10.511.8"
FIRST = 10_000_000
PER_STUDY = 200
WINDOW = 8
ASSOCIATIONS = 8
_LOOK_S = 0.002
_UID_SAMPLE = f"{ROOT}.{FIRST}"
_STUDY_SAMPLE = f"{ROOT}.9.{FIRST}"
_PIXELS = 16 * 16 * 2


def uid_of(number: int) -> str:
    """The SOP Instance UID of an object; all have the same length."""
    return f"{ROOT}.{FIRST + number}"


class Press:
    """Makes the object of a number: 16 × 16 pixels, of which every object has its own."""

    def __init__(self) -> None:
        whole = MrObject(_UID_SAMPLE, study=_STUDY_SAMPLE).encode()
        self._head, rest = whole.split(_UID_SAMPLE.encode(), 1)
        self._between, self._between_series, self._tail = rest.split(_STUDY_SAMPLE.encode(), 2)
        self._tail = self._tail[: len(self._tail) - _PIXELS]

    def encode(self, number: int) -> bytes:
        """The data set."""
        study = f"{ROOT}.9.{FIRST + number // PER_STUDY}".encode()
        return b"".join(
            (
                self._head,
                uid_of(number).encode(),
                self._between,
                study,
                self._between_series,
                study,
                self._tail,
                struct.pack(">Q", number) * (_PIXELS // 8),
            )
        )


@dataclass(frozen=True)
class Sample:
    """What the process took up when so many objects had been acknowledged."""

    acknowledged: int
    usage: Usage


class Replay:
    """Sends the objects 0 to ``count`` - 1 over several associations until all have Success.

    A number whose association breaks before its answer is sent again, as a scanner does.
    """

    def __init__(self, node: IntakeNode, count: int, associations: int = ASSOCIATIONS) -> None:
        self._node = node
        self._count = count
        self._press = Press()
        self._numbers = iter(range(count))
        self._again: list[int] = []
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, name=f"replay{n}", daemon=True)
            for n in range(associations)
        ]
        self.acknowledged: set[int] = set()
        self.failures: list[str] = []
        self.broken = 0

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    def give_up(self) -> None:
        """Send nothing more."""
        self._done.set()

    def join(self, within_s: float) -> None:
        """Wait until every object has Success.

        Raises:
            AssertionError: it has not, or the node gave a wrong answer.
        """
        until = time.monotonic() + within_s
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0.1))
        self._done.set()
        assert not self.failures, self.failures[:5]
        missing = self._count - len(self.acknowledged)
        assert not missing, f"{missing} of {self._count} objects have no Success"

    def sample_until_done(self, every: int, within_s: float) -> list[Sample]:
        """What the process takes up whenever so many more objects have got Success."""
        found: list[Sample] = []
        due = 0
        until = time.monotonic() + within_s
        while any(t.is_alive() for t in self._threads) and time.monotonic() < until:
            acknowledged = len(self.acknowledged)
            if acknowledged < due:
                time.sleep(_LOOK_S)
                continue
            found.append(Sample(acknowledged, self._node.usage()))
            due = acknowledged + every
        return found

    def _batch(self) -> list[int]:
        with self._lock:
            batch, self._again = self._again[:WINDOW], self._again[WINDOW:]
            return batch or list(itertools.islice(self._numbers, WINDOW))

    def _send(self) -> None:
        while not self._done.is_set():
            try:
                self._associate_and_send()
            except (OSError, EndedError):
                self.broken += 1
                time.sleep(0.05)
                continue
            except Exception as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                return
            with self._lock:
                finished = len(self.acknowledged) == self._count
            if finished:
                return
            # Another thread may still have to hand back what it could not send.
            time.sleep(0.05)

    def _associate_and_send(self) -> None:
        if len(self.acknowledged) == self._count:
            return
        window = async_window(WINDOW, 1)
        with open_association(
            self._node.port, ATTACKER, contexts=CONTEXTS, user_items=window
        ) as client:
            while (batch := self._batch()) and not self._done.is_set():
                try:
                    client.send(
                        b"".join(
                            message(STORE, store_rq(uid_of(number), at), self._press.encode(number))
                            for at, number in enumerate(batch, 1)
                        )
                    )
                    for _ in list(batch):
                        answer = client.answer(60.0)
                        number = batch[answer.message_id - 1]
                        if answer.status == 0:
                            self.acknowledged.add(number)
                        else:
                            self.failures.append(f"status 0x{answer.status:04X}")
                            self._done.set()
                finally:
                    left = [number for number in batch if number not in self.acknowledged]
                    with self._lock:
                        self._again += left
            client.release()


def check_objects(node: IntakeNode, acknowledged: set[int]) -> None:
    """Every object that got Success is in the ledger and on the disk, bit for bit."""
    press = Press()
    node.settle()
    rows = node.rows()
    lost = [number for number in acknowledged if uid_of(number) not in rows]
    assert not lost, f"{len(lost)} objects got Success and are not in the ledger: {lost[:5]}"
    for number, row in _numbered(rows):
        data = press.encode(number)
        assert row.sha256 == hashlib.sha256(data).hexdigest(), f"object {number} in the ledger"
        assert row.data() == data, f"object {number} on the disk"
    assert set(node.object_files()) == {row.path for row in rows.values()}
    assert not node.incoming()


def _numbered(rows: dict[str, Row]) -> Iterator[tuple[int, Row]]:
    for uid, row in rows.items():
        last = uid.rpartition(".")[2]
        if uid.startswith(ROOT) and len(last) == len(str(FIRST)):
            yield int(last) - FIRST, row
