"""Removing what was set aside for a person, when its time is over.

    spool/quarantine/<random>.dcm      by intake: belongs to the study that its header names
    quarantine/<job key>/…/<name>.dcm  by the gate: belongs to the study of the job

A file counts from when it was written. What belongs to a study that is on hold stays; what the gate
stopped stays as long as its study waits for a person.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread

from secondread.domain.clock import Clock
from secondread.domain.retention import Haste, Kind, Retention, SentIsSafe, find_objection
from secondread.pipeline.purge import remove_empty
from secondread.pipeline.removal import HOURLY, Amount, Amounts, Wish, add_up, note_purge
from secondread.results.gate.quarantine import QUARANTINE_FOLDER, publish_counts
from secondread.store import Ledger, Spool


@dataclass(frozen=True, slots=True)
class SetAside:
    """A file that was set aside; ``written_at`` is in seconds since the epoch."""

    path: Path
    size_bytes: int
    written_at: float


@dataclass(frozen=True, slots=True)
class Shelf:
    """Files that belong together.

    Attributes:
        study_id: whose they are; None where that is not known.
        objection: why none of them may go; '' where nothing objects.
    """

    files: tuple[SetAside, ...]
    study_id: int | None = None
    objection: str = ""


class QuarantinePurge:
    """Removes old files from both quarantines; the arguments are those of ``Purge``."""

    def __init__(
        self, ledger: Ledger, spool: Spool, clock: Clock, terms: Retention, is_safe: SentIsSafe
    ) -> None:
        self._ledger = ledger
        self._spool = spool
        self._clock = clock
        self._length_s = terms.length_s(Kind.QUARANTINE)
        self._is_safe = is_safe

    def run(self, stop: threading.Event, wish: Wish = HOURLY) -> Amounts:
        """Remove what may go, until ``stop``; what went, or would go."""
        if Kind.QUARANTINE not in wish.kinds or wish.haste is Haste.ANY_AGE:
            return {}
        found: Amounts = {}
        for shelf in self.shelves():
            if stop.is_set():
                break
            found = add_up([found, self._purge(shelf, wish)])
        if found and not wish.dry:
            publish_counts(self._spool.root)
        return found

    def _purge(self, shelf: Shelf, wish: Wish) -> Amounts:
        latest = self._clock.now() - self._length_s
        files = [file for file in shelf.files if file.written_at <= latest]
        if shelf.objection or not files:
            return {}
        size_bytes = sum(file.size_bytes for file in files)
        amounts = {Kind.QUARANTINE: Amount(len(files), size_bytes)}
        if wish.dry:
            return amounts
        with self._ledger.begin() as change:
            note_purge(change, self._clock.now(), amounts, wish, shelf.study_id)
        for file in files:
            file.path.unlink(missing_ok=True)
            remove_empty(file.path.parent, self._root_of(file.path))
        return amounts

    def _root_of(self, path: Path) -> Path:
        of_intake = path.parent == self._spool.quarantine
        return self._spool.quarantine if of_intake else self._spool.root / QUARANTINE_FOLDER

    def shelves(self) -> Iterator[Shelf]:
        """What is set aside."""
        yield from self._of_intake()
        yield from self._of_gate()

    def _of_intake(self) -> Iterator[Shelf]:
        files = set_aside(self._spool.quarantine)
        with self._ledger.read() as view:
            held = view.keeping.on_hold()
        # A file that does not say whose it is may be that of any study.
        kept = tuple(file for file in files if held and study_of(file.path) in held | {""})
        if kept:
            yield Shelf(kept, None, "Their study is on hold, or may be.")
        if rest := tuple(file for file in files if file not in kept):
            yield Shelf(rest)

    def _of_gate(self) -> Iterator[Shelf]:
        root = self._spool.root / QUARANTINE_FOLDER
        if not root.is_dir():
            return
        keys = sorted(path.name for path in root.iterdir())
        with self._ledger.read() as view:
            owners = view.keeping.folders(keys)
            studies = view.keeping.look({owner.study_id for owner in owners.values()})
        for key in keys:
            owner = owners.get(key)
            study = None if owner is None else studies.get(owner.study_id)
            objection = "" if study is None else find_objection(study, self._is_safe)
            yield Shelf(set_aside(root / key), None if study is None else study.id, objection)


def set_aside(folder: Path) -> tuple[SetAside, ...]:
    """The files in a folder and below it."""
    found = []
    for path in sorted(folder.rglob("*.dcm")):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        found.append(SetAside(path, status.st_size, status.st_mtime))
    return tuple(found)


def study_of(path: Path) -> str:
    """The Study Instance UID in a file's header; '' where it cannot be read."""
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=["StudyInstanceUID"])
        return str(header.get("StudyInstanceUID") or "")
    except Exception:
        # Whatever is wrong with it is why it was set aside.
        return ""
