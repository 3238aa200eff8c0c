"""Taking what was fetched: objects that lie in the hand-over folder, not those that a peer sends.

Each is looked at like an object that came over the network, and stored by the same committer; its
file there goes when it is durable here. What is met again after a crash is found to be the same.
Nobody waits for an answer, so what cannot be taken is told in the trail, and what is broken is kept
for a person.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import structlog

from secondread.dicom.file_meta import read_file_meta
from secondread.domain.network import Urgency
from secondread.errors import (
    CannotUnderstandError,
    ConflictingInstanceError,
    IntakeError,
    SecondReadError,
    SopClassNotSupportedError,
    WriteFailedError,
)
from secondread.intake.examine import Announcement
from secondread.intake.journal import Journal
from secondread.intake.reception import Arrival, Begin, Limits, Reception, Sender
from secondread.intake.storing import Outcome
from secondread.store import Spool
from secondread.store.handed import Handed

log = structlog.stdlib.get_logger(__name__)

_GROUP_MAX = 64
_PIECE = 1 << 20
_IDLE_S = 1.0


def named_after(source: str) -> str:
    """The name of the peer that objects have that were fetched from a source; no peer is called so.

    A rule that names peers does not want their study, unless others have sent of it first.
    """
    return f"destination:{source}"


@dataclass(frozen=True, slots=True)
class Means:
    """What taking objects needs of intake.

    Attributes:
        spool: gives names to files, and sets aside what is broken.
        limits: how much is taken.
        begin: has a part of a file written.
        sop_classes: SOP Class UIDs that are taken.
        quiet_s: how long a study is waited for of which nobody else sends.
        may_take: whether there is room, on disk and in the ledger.
        store: stores a group; None where that did not come to an end, and may have happened or not.
    """

    spool: Spool
    limits: Limits
    begin: Begin
    sop_classes: frozenset[str]
    quiet_s: Callable[[str], float]
    may_take: Callable[[], bool]
    store: Callable[[Sequence[Arrival]], Sequence[Outcome] | None]


class HandedObjects:
    """Takes them, in a thread of its own; only one at a time may."""

    def __init__(self, handed: Handed, means: Means, journal: Journal) -> None:
        self._handed = handed
        self._means = means
        self._journal = journal

    def run(self, stop: threading.Event) -> None:
        """Take what is there until ``stop``."""
        while not stop.is_set():
            try:
                busy = self.step()
            except (SecondReadError, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                log.error("fetched objects not taken", reason=reason)
                busy = False
            except Exception:
                # The fault is ours; what waits stays where it is.
                log.exception("fetched objects not taken")
                busy = False
            if not busy:
                stop.wait(_IDLE_S)

    def step(self) -> bool:
        """Take a group of objects; False where there is nothing, or no room, or the disk fails."""
        if not self._means.may_take():
            return False
        waiting = list(islice(self._handed.waiting(), _GROUP_MAX))
        found = []
        is_full = False
        for source, path in waiting:
            try:
                arrival = self._receive(source, path)
            except (WriteFailedError, OSError) as error:
                reason = str(error) if isinstance(error, WriteFailedError) else error.strerror
                log.error("fetched objects not taken", reason=reason)
                is_full = True
                break
            if arrival is not None:
                found.append((path, arrival))
        outcomes = self._means.store([arrival for _, arrival in found]) if found else ()
        if outcomes is None:
            return False
        kept = [
            self._end(path, arrival, outcome)
            for (path, arrival), outcome in zip(found, outcomes, strict=True)
        ]
        return bool(waiting) and all(kept) and not is_full

    def _receive(self, source: str, path: Path) -> Arrival | None:
        """Read a file as if a peer had sent it; None where it is no object that is taken."""
        peer, uid = named_after(source), ""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            meta = read_file_meta(descriptor)
            if meta is None:
                raise CannotUnderstandError("The file is not a DICOM file.")
            uid = meta.sop_instance_uid
            if meta.sop_class_uid not in self._means.sop_classes:
                raise SopClassNotSupportedError("This node does not take objects of its SOP class.")
            return self._read(
                descriptor,
                meta.offset,
                Announcement(meta.sop_class_uid, uid, meta.transfer_syntax_uid),
                Sender(peer, "", self._means.quiet_s(peer)),
            )
        except WriteFailedError:
            raise
        except IntakeError as error:
            self._refuse(peer, uid, path, error)
            return None
        finally:
            os.close(descriptor)

    def _read(
        self, descriptor: int, offset: int, announced: Announcement, sender: Sender
    ) -> Arrival:
        means = self._means
        reception = Reception(
            announced,
            sender,
            Urgency.MEDIUM,
            means.spool.new_incoming(),
            means.limits,
            means.begin,
        )
        try:
            while piece := os.pread(descriptor, _PIECE, offset):
                reception.feed(memoryview(piece))
                offset += len(piece)
        except OSError:
            reception.abandon()
            raise
        return reception.complete()

    def _refuse(self, peer: str, uid: str, path: Path, error: IntakeError) -> None:
        """Say why an object is not taken; what is broken is kept for a person to look at."""
        self._journal.object_refused(peer, uid, error)
        if isinstance(error, SopClassNotSupportedError):
            self._handed.remove(path)
        else:
            self._means.spool.set_aside(path)

    def _end(self, path: Path, arrival: Arrival, outcome: Outcome) -> bool:
        """Write down what became of an object; whether its file here is done with."""
        peer = arrival.sender.peer
        uid = arrival.examined.identity.sop_instance_uid
        if not isinstance(outcome, SecondReadError):
            self._journal.stored(peer, uid, arrival.size_bytes, outcome)
        else:
            self._journal.object_refused(peer, uid, outcome)
            if not isinstance(outcome, ConflictingInstanceError):
                # The disk, or a fault of the node: it is tried again.
                return False
        self._handed.remove(path)
        return True
