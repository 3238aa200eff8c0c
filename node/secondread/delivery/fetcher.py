"""Fetching what rules ask for: missing images, and earlier studies to compare with.

Each archive has a thread of its own while there is something to fetch from it, so that one that
hangs keeps nobody waiting. A study never waits for a fetch without an end: see
``pipeline.fetching``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from secondread.delivery.archive import Archive, Dock, open_archive
from secondread.delivery.arrival import discard_leftovers
from secondread.delivery.backoff import delay_s, line_delay_s
from secondread.delivery.prior_search import find_terms, read_keys
from secondread.delivery.query_status import Progress, Retrieved, objects
from secondread.delivery.study_keys import StudyFound
from secondread.delivery.web_wording import PeerBusyError
from secondread.domain.clock import Clock
from secondread.domain.destination import Destination
from secondread.domain.fetch import Fetch, FetchKind, FetchState
from secondread.domain.job import Job
from secondread.domain.line import Line, LineState
from secondread.domain.network import Rule
from secondread.errors import (
    DeliveryError,
    NotFoundError,
    OutOfResourcesError,
    PeerRefusedError,
    PeerUnreachableError,
    SecondReadError,
)
from secondread.store import Ledger, Spool, Transaction

log = structlog.stdlib.get_logger(__name__)

ATTEMPTS_MAX = 20
"""Failed tries after which nothing is fetched any more."""
_PARTIAL_MAX = 3
"""Tries for what an archive cannot send, or the node does not take: that seldom changes."""
_ASKED_AT_ONCE_MAX = 16
_IDLE_S = 1.0
_GRACE_S = 5.0
_TELL_S = 10.0
_LINE_S = 60.0
# Longer than a retrieval may take (``move_scu``, ``get_scu``).
_LEASE_S = 7 * 3600.0
_NO_DATE = "The study does not say whose it is and of which day; no earlier one is looked for."
_NO_IMAGE = "No image of the study is here any more; no earlier one is looked for."
_NO_RULE = "No rule wants earlier studies any more."
_NAMES = {
    FetchKind.MISSING: "missing images",
    FetchKind.SEARCH: "earlier studies",
    FetchKind.PRIOR: "an earlier study",
    FetchKind.WORK: "a study of a worklist",
}
# Nobody waits for these until a person has mended something.
_PASSING = frozenset({FetchKind.SEARCH, FetchKind.PRIOR})


class _StoppingError(Exception):
    """The node ends; the retrieval is broken off and made again after the next start."""


@dataclass(frozen=True, slots=True)
class Haul:
    """What came of a fetch: a sentence for the trail, and how many objects."""

    text: str
    objects: int | None = None


@dataclass(frozen=True, slots=True)
class FetcherTerms:
    """How the node fetches.

    Attributes:
        dock: where what is fetched comes in.
        rules: those that may ask for something.
        owner: names the claims of this process.
    """

    dock: Dock
    rules: Sequence[Rule]
    owner: str


class Fetcher:
    """Fetches.

    Args:
        ledger: where it is written what to fetch.
        spool: where the images are.
        destinations: every destination by its name, as it is now.
        clock: tells the time.
        terms: how.
    """

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        destinations: Callable[[], Mapping[str, Destination]],
        clock: Clock,
        terms: FetcherTerms,
    ) -> None:
        self._ledger = ledger
        self._spool = spool
        self._destinations = destinations
        self._clock = clock
        self._terms = terms
        self._busy: dict[str, threading.Thread] = {}
        self._stop = threading.Event()

    def step(self, source: str | None = None) -> bool:
        """Fetch what is due first, from one archive or from any; False where nothing is.

        Raises:
            LedgerError: the ledger cannot be used.
        """
        now = self._clock.now()
        with self._ledger.begin() as change:
            one = change.fetches.claim(self._terms.owner, now, _LEASE_S, source)
        if one is None:
            return False
        if (wait := self._obstacle(one, now)) is not None:
            self._put_off(one, *wait)
            return True
        try:
            haul = self._fetch(one)
        except _StoppingError:
            self._put_off(one, self._clock.now(), "The node was ended meanwhile.")
        except OutOfResourcesError as error:
            self._put_off(one, self._clock.now() + _LINE_S, str(error))
        except (DeliveryError, NotFoundError) as error:
            self._fail(one, error)
        else:
            self._close(one, FetchState.DONE, haul)
        return True

    def run(self, stop: threading.Event) -> None:
        """Fetch until ``stop``; a retrieval that is under way then is broken off."""
        self._stop = stop
        for folder in self._terms.dock.handed.root.glob("*/"):
            discard_leftovers(folder)
        while not stop.is_set():
            try:
                self._begin()
            except SecondReadError as error:
                log.error("nothing fetched", reason=str(error))
            stop.wait(_IDLE_S)
        deadline = time.monotonic() + _GRACE_S
        for thread in tuple(self._busy.values()):
            thread.join(max(0.0, deadline - time.monotonic()))

    def _begin(self) -> None:
        self._busy = {name: one for name, one in self._busy.items() if one.is_alive()}
        with self._ledger.read() as view:
            due = view.fetches.due_sources(self._clock.now())
        for name in sorted(due):
            if name in self._busy or len(self._busy) >= _ASKED_AT_ONCE_MAX:
                continue
            thread = threading.Thread(
                target=self._serve, args=(name,), name=f"fetch {name}", daemon=True
            )
            self._busy[name] = thread
            thread.start()

    def _serve(self, name: str) -> None:
        try:
            while not self._stop.is_set() and self.step(name):
                continue
        except SecondReadError as error:
            log.error("nothing fetched", source=name, reason=str(error))
        except Exception:
            # The claim stays until its lease is over, so that a fault of ours is not made at once
            # again and again.
            log.exception("fetching has failed", source=name)

    def _obstacle(self, one: Fetch, now: float) -> tuple[float, str] | None:
        """When to look again, and why, where the archive is not to be called at all."""
        with self._ledger.read() as view:
            line: Line = view.lines.get(one.source)
        if line.paused:
            return now + _LINE_S, f"Destination '{one.source}' is paused."
        if line.state is LineState.OPEN and line.next_at > now:
            return line.next_at, line.reason
        return None

    def _fetch(self, one: Fetch) -> Haul:
        destination = self._destinations().get(one.source)
        if destination is None:
            raise PeerRefusedError(
                f"There is no destination '{one.source}' in the configuration any more."
            )
        archive = open_archive(destination, self._terms.dock)
        if one.kind is FetchKind.SEARCH:
            return self._search(one, archive)
        return self._bring(one, archive)

    def _search(self, one: Fetch, archive: Archive) -> Haul:
        """Look for earlier studies, and have those fetched that are not here."""
        with self._ledger.read() as view:
            jobs = tuple(view.jobs.of_study(one.study_id))
            own = view.studies.get(one.study_id).study_instance_uid
            terms = find_terms(self._terms.rules, one.source, jobs)
            images = [
                found
                for job in reversed(jobs)
                for uid in view.jobs.sources(job.id)[:1]
                if (found := view.instances.find(uid)) is not None
            ]
        if terms is None:
            return Haul(_NO_RULE)
        paths = [self._spool.absolute(image.path) for image in images]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            return Haul(_NO_IMAGE)
        keys = read_keys(path, terms.prior_days)
        if keys is None:
            return Haul(_NO_DATE)
        earlier = [it for it in archive.find_studies(keys) if it.study_instance_uid != own]
        return self._ask_for(one, earlier[: terms.priors], len(earlier))

    def _ask_for(self, one: Fetch, chosen: Sequence[StudyFound], known: int) -> Haul:
        now, asked = self._clock.now(), 0
        with self._ledger.begin() as change:
            for study in chosen:
                if not _is_here(change, one.source, study):
                    uid = study.study_instance_uid
                    asked += change.fetches.ask(one.study_id, one.source, FetchKind.PRIOR, uid, now)
        text = f"'{one.source}' has {_earlier(known)} of the patient"
        if not known:
            return Haul(f"{text}.")
        return Haul(f"{text}; {asked or 'none'} of the newest {len(chosen)} to be fetched.")

    def _bring(self, one: Fetch, archive: Archive) -> Haul:
        """Have a study sent, or what lacks of it."""
        with self._ledger.read() as view:
            here = {found.sop_instance_uid for found in view.instances.of_study(_uid(one))}
            known = _results(view, _uid(one))
        total, rest = 0, ""
        for wanted in archive.lacking(_uid(one), here, known):
            retrieved = archive.bring(wanted, self._teller(one))
            total += _count(retrieved)
            if not retrieved.is_complete:
                rest = f" Not all: {retrieved.sentence}"
        if rest and one.attempts + 1 < _PARTIAL_MAX:
            raise PeerUnreachableError(rest.strip())
        what = _NAMES[one.kind]
        if not total and not rest:
            return Haul(f"'{one.source}' has nothing to fetch: {what}.", 0)
        return Haul(f"Fetched from '{one.source}': {what}, {objects(total)}.{rest}", total)

    def _teller(self, one: Fetch) -> Callable[[Progress], None]:
        told_at = time.monotonic()

        def tell(progress: Progress) -> None:
            nonlocal told_at
            if self._stop.is_set():
                raise _StoppingError
            if time.monotonic() - told_at >= _TELL_S:
                told_at = time.monotonic()
                log.info(
                    "fetching",
                    source=one.source,
                    study_id=one.study_id,
                    what=str(one.kind),
                    objects=progress.completed,
                    left=progress.remaining,
                )

        return tell

    def _put_off(self, one: Fetch, until: float, reason: str) -> None:
        with self._ledger.begin() as change:
            change.fetches.postpone(one, until, reason, counts=False)

    def _fail(self, one: Fetch, error: SecondReadError) -> None:
        """Try again later, or give it up: at once where only a person can help and nobody waits."""
        attempts = one.attempts + 1
        given_up = not error.retryable and one.kind in _PASSING
        log.warning(
            "not fetched",
            source=one.source,
            study_id=one.study_id,
            what=str(one.kind),
            tries=attempts,
            reason=str(error),
        )
        if given_up or attempts >= ATTEMPTS_MAX:
            text = f"Given up, to fetch {_NAMES[one.kind]} from '{one.source}': {error}"
            self._close(one, FetchState.FAILED, Haul(text))
            return
        wait_s = delay_s(attempts) if error.retryable else line_delay_s(attempts, lasting=True)
        if isinstance(error, PeerBusyError):
            wait_s = max(wait_s, error.retry_after_s)
        with self._ledger.begin() as change:
            change.fetches.postpone(one, self._clock.now() + wait_s, str(error))

    def _close(self, one: Fetch, state: FetchState, haul: Haul) -> None:
        now = self._clock.now()
        log.info(
            "fetch ended",
            source=one.source,
            study_id=one.study_id,
            what=str(one.kind),
            state=str(state),
            objects=haul.objects,
        )
        with self._ledger.begin() as change:
            change.fetches.close(one, state, now, haul.text, haul.objects)


def _uid(one: Fetch) -> str:
    return one.study_instance_uid


def _count(retrieved: Retrieved) -> int:
    """Objects that came; of a C-MOVE, as the archive counts."""
    progress = retrieved.progress
    return retrieved.received or (progress.completed or 0) + (progress.warned or 0)


def _earlier(count: int) -> str:
    return {0: "no earlier study", 1: "1 earlier study"}.get(count, f"{count} earlier studies")


def _is_here(view: Transaction, source: str, study: StudyFound) -> bool:
    """Whether all of a study has come, be it that its images were removed since."""
    uid = study.study_instance_uid
    here = len(view.instances.of_study(uid))
    sent = len(_results(view, uid, source))
    return bool(here) and here + sent >= (study.instances or 0)


def _results(
    view: Transaction, study_instance_uid: str, destination: str | None = None
) -> frozenset[str]:
    """What this node has made for a study and sent to one destination, or to any.

    An archive counts it too; and it may have come there by another way than from here.
    """
    try:
        study = view.studies.find(study_instance_uid)
    except NotFoundError:
        return frozenset()
    jobs: Sequence[Job] = view.jobs.of_study(study.id)
    return frozenset(
        item.sop_instance_uid
        for job in jobs
        for item in view.outbox.of_job(job.id)
        if destination in (None, item.destination)
    )
