"""Removing files whose time is over: the mark in the ledger first, the file then.

One study is one transaction. What a crash leaves between its mark and the last file is removed by
the next round, or by the next start.
"""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from secondread.domain.clock import Clock
from secondread.domain.retention import (
    KeptJob,
    Kind,
    Retention,
    SentIsSafe,
    find_objection,
    judge,
)
from secondread.errors import UsageError
from secondread.pipeline.removal import HOURLY, Amount, Amounts, Wish, add_up, note_purge
from secondread.results.write import REPORT_NAME
from secondread.store import Ledger, Spool, Transaction
from secondread.store.purging import Purging

LOCK_NAME = "purge.lock"


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A file of a job; ``path`` is relative to the data folder.

    ``marked`` is that an interrupted purge has left it: the trail has it already.
    """

    job_id: int
    kind: Kind
    path: str
    size_bytes: int
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Going:
    """What goes of one study.

    Attributes:
        images: paths of objects, relative to the data folder.
        results: files of its jobs.
        amounts: of each kind, without what an interrupted purge has left.
    """

    study_id: int
    images: tuple[str, ...] = ()
    results: tuple[ResultFile, ...] = ()
    amounts: Amounts = field(default_factory=dict)


def result_files(spool: Spool, job: KeptJob, marked: Collection[str] = ()) -> Iterator[ResultFile]:
    """Every file in the folder of a job's results; ``marked`` are paths of those removed."""
    for path in sorted((spool.results / job.key).rglob("*")):
        try:
            if path.is_dir():
                continue
            size_bytes = path.lstat().st_size
        except FileNotFoundError:
            continue
        name = spool.relative(path)
        kind = Kind.REPORTS if path.name == REPORT_NAME else Kind.RESULTS
        whole = Kind.SHADOW if job.shadow else kind
        yield ResultFile(job.id, whole, name, size_bytes, name in marked)


class Purge:
    """Removes what may go.

    Args:
        ledger: where everything is marked; its commits must be synced.
        spool: where the files are.
        clock: tells the time.
        terms: how long what is kept.
        is_safe: which destinations are asked for no proof.
    """

    def __init__(
        self, ledger: Ledger, spool: Spool, clock: Clock, terms: Retention, is_safe: SentIsSafe
    ) -> None:
        self._ledger = ledger
        self._spool = spool
        self._clock = clock
        self._terms = terms
        self._is_safe = is_safe
        self._purging = Purging(spool.root)

    def finish_earlier(self) -> int:
        """Remove what is marked and still there, because the node stopped; the number of files."""
        return self._purging.finish(self._purging.left(), self._marked)

    def purge_study(self, study_id: int, wish: Wish = HOURLY) -> Amounts:
        """Remove what may go of a study; what went, or would go."""
        with self._ledger.read() as view:
            going = self._find_going(view, study_id, wish)
        if going is None or wish.dry:
            return {} if going is None else going.amounts
        with self._ledger.begin() as change:
            # Asked again: whatever happened meanwhile has come first, or waits for this to end.
            going = self._find_going(change, study_id, wish)
            if going is None:
                return {}
            self._purging.begin(going.images)
            self._mark(change, going, wish)
        self._purging.finish(going.images, self._marked)
        self._remove_results(going)
        return going.amounts

    def objection(self, study_id: int) -> str:
        """Why nothing of a study may go, whatever its age; '' where nothing objects."""
        with self._ledger.read() as view:
            study = view.keeping.look([study_id]).get(study_id)
        return "" if study is None else find_objection(study, self._is_safe)

    def _find_going(self, view: Transaction, study_id: int, wish: Wish) -> Going | None:
        """What goes of a study; None where that is nothing."""
        study = view.keeping.look([study_id]).get(study_id)
        if study is None:
            return None
        now = self._clock.now()

        def goes(kind: Kind) -> bool:
            verdict = judge(study, kind, self._terms, self._is_safe, wish.haste)
            return kind in wish.kinds and verdict.may_go(now)

        amounts: dict[Kind, Amount] = {}
        images: tuple[str, ...] = ()
        if study.images and goes(study.image_kind):
            images = tuple(view.keeping.image_paths(study.study_instance_uid))
            amounts[study.image_kind] = Amount(study.images, study.image_bytes)
        results = []
        going = {kind for kind in (Kind.RESULTS, Kind.REPORTS, Kind.SHADOW) if goes(kind)}
        for job in study.jobs if going else ():
            for file in result_files(self._spool, job, view.keeping.marked_results(job.id)):
                if file.kind not in going:
                    continue
                results.append(file)
                if not file.marked:
                    one = Amount(1, file.size_bytes)
                    amounts[file.kind] = amounts.get(file.kind, Amount()) + one
        if not images and not results:
            return None
        return Going(study_id, images, tuple(results), amounts)

    def _mark(self, change: Transaction, going: Going, wish: Wish) -> None:
        now = self._clock.now()
        if going.images:
            uid = change.studies.get(going.study_id).study_instance_uid
            change.keeping.mark_images(uid, now)
        by_job: dict[int, list[str]] = {}
        for file in going.results:
            by_job.setdefault(file.job_id, []).append(file.path)
        for job_id, paths in by_job.items():
            change.keeping.mark_results(job_id, paths, now)
        if going.amounts:
            note_purge(change, now, going.amounts, wish, going.study_id)

    def _remove_results(self, going: Going) -> None:
        folders: set[Path] = set()
        for file in going.results:
            path = self._spool.absolute(file.path)
            path.unlink(missing_ok=True)
            folders.add(path.parent)
        for folder in sorted(folders, key=lambda one: len(one.parts), reverse=True):
            remove_empty(folder, self._spool.results)

    def _marked(self, paths: Collection[str]) -> Collection[str]:
        with self._ledger.read() as view:
            return view.keeping.marked(paths)

    def due_studies(self, wish: Wish) -> Iterator[int]:
        """Ids of studies of which something may go by its age, the oldest first, each once."""
        told: set[int] = set()
        now = self._clock.now()
        lengths = [
            self._terms.length_s(kind, wish.haste)
            for kind in wish.kinds & {Kind.IMAGES, Kind.UNWANTED}
        ]
        if lengths and (before := now - min(lengths)) > 0:
            for study_id in self._with_images(before):
                told.add(study_id)
                yield study_id
        for study_id in self._with_results(wish, now):
            if study_id not in told:
                told.add(study_id)
                yield study_id

    def _with_images(self, before: float) -> Iterator[int]:
        last = None
        while True:
            with self._ledger.read() as view:
                page = view.keeping.resting(last, before=before)
            if not page:
                return
            yield from (one.study_id for one in page)
            last = page[-1]

    def _with_results(self, wish: Wish, now: float) -> Iterator[int]:
        """Studies with files of results that are old enough, as far as the age of the job tells."""

        def is_old(kind: Kind, created_at: float) -> bool:
            length_s = self._terms.length_s(kind, wish.haste)
            return kind in wish.kinds and created_at + length_s <= now

        if not self._spool.results.is_dir():
            return
        keys = sorted(path.name for path in self._spool.results.iterdir())
        with self._ledger.read() as view:
            owners = view.keeping.folders(keys)
        for key, owner in sorted(owners.items(), key=lambda pair: pair[1].created_at):
            if owner.shadow:
                wanted = is_old(Kind.SHADOW, owner.created_at)
            elif is_old(Kind.REPORTS, owner.created_at):
                wanted = True
            else:
                wanted = is_old(Kind.RESULTS, owner.created_at) and has_more_than_reports(
                    self._spool.results / key
                )
            if wanted:
                yield owner.study_id

    def run(self, stop: threading.Event, wish: Wish = HOURLY) -> Amounts:
        """Remove all that may go, until ``stop``; what went, or would go.

        A study whose files the disk does not let go keeps no other study from going.

        Raises:
            UsageError: somebody else is removing files.
            OSError: the disk did not let go of some files; all that could be done was done.
        """
        with self.alone():
            if not wish.dry:
                self.finish_earlier()
            found: dict[Kind, Amount] = {}
            fault: OSError | None = None
            for study_id in self.due_studies(wish):
                if stop.is_set():
                    break
                try:
                    found = add_up([found, self.purge_study(study_id, wish)])
                except OSError as error:
                    fault = error
            if fault is not None:
                raise fault
            return found

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock of whoever removes files.

        Raises:
            UsageError: somebody else holds it.
        """
        with (self._spool.root / LOCK_NAME).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    "Files are being removed already, by the node or by another command; wait "
                    "until that has ended."
                ) from None
            yield


def has_more_than_reports(folder: Path) -> bool:
    """Whether a folder of results has other files than reports, here or further down."""
    return any(path.name != REPORT_NAME and not path.is_dir() for path in folder.rglob("*"))


def remove_empty(folder: Path, root: Path) -> None:
    """Remove a folder and those above it, up to ``root``, as far as nothing is in them."""
    while folder != root:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
