"""Telling listeners what happens: messages are drawn from the trail, kept, and told until heard."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import structlog

from secondread.delivery.backoff import delay_s
from secondread.delivery.calling import address_of, security_of
from secondread.delivery.news import News, kinds_of_rows
from secondread.delivery.patience import Patience
from secondread.delivery.telling.availability import OBJECTS_MAX, Availability, notify
from secondread.delivery.telling.event import Announcement
from secondread.delivery.telling.webhook import Webhook, post
from secondread.delivery.whereabouts import Whereabouts, is_there, locate
from secondread.domain.clock import Clock
from secondread.domain.commitment import Reference
from secondread.domain.destination import Destination
from secondread.domain.telling import Listener, ListenerKind, Telling, TellingState
from secondread.errors import DeliveryError, PeerRefusedError, SecondReadError
from secondread.store import Ledger, Spool

log = structlog.stdlib.get_logger(__name__)

OWNER = "tell:"
"""How the names of those begin who claim messages."""
_ROWS = 1000
# Nobody else tells a listener, and what a process that is gone has claimed is given back at once.
_LEASE_S = 24 * 3600.0
_IDLE_S = 1.0
_FAULT_S = 30.0
"""Pause after a fault that nobody foresaw, so that it does not fill the log."""
_GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class Identity:
    """What the node calls itself in messages.

    Attributes:
        uid_root: the operator's UID root; '' is 2.25.
        secret: what studies are named by; see ``observe.keys``.
    """

    uid_root: str
    secret: bytes


class Teller:
    """Tells every listener, each in a thread of its own, so that none waits for another.

    Args:
        ledger: where messages are kept; commits must be synced.
        spool: where the files of results are.
        listeners: who is told.
        destinations: every destination by the name that the outbox keeps, as it is now.
        clock: tells the time.
        identity: what the node calls itself.
    """

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        listeners: Sequence[Listener],
        destinations: Callable[[], Mapping[str, Destination]],
        clock: Clock,
        identity: Identity,
    ) -> None:
        self._ledger = ledger
        self._spool = spool
        self._listeners = tuple(listeners)
        self._destinations = destinations
        self._clock = clock
        self._identity = identity
        # Each is used by the thread of its listener alone.
        self._patience = {one.name: Patience() for one in self._listeners}

    def run(self, stop: threading.Event) -> None:
        """Tell until ``stop``; who hangs then is left behind, and told again after the start."""
        with self._ledger.begin() as change:
            change.tellings.release_claims_of(OWNER)
        threads = [
            threading.Thread(
                target=self._serve, args=(one, stop), name=f"tell {one.name}", daemon=True
            )
            for one in self._listeners
        ]
        for thread in threads:
            thread.start()
        stop.wait()
        for thread in threads:
            thread.join(_GRACE_S / len(threads))

    def _serve(self, listener: Listener, stop: threading.Event) -> None:
        while not stop.is_set():
            busy = False
            try:
                busy = self.draw(listener)
                busy = self.tell(listener) or busy
            except SecondReadError as error:
                log.error("listener not served", listener=listener.name, reason=str(error))
            except Exception:
                # One fault of ours must not silence a listener for good.
                log.exception("listener not served", listener=listener.name)
                stop.wait(_FAULT_S)
            if not busy:
                stop.wait(_IDLE_S)

    def draw(self, listener: Listener) -> bool:
        """Make messages from the trail; False where there was nothing new in it."""
        kinds = kinds_of_rows(listener)
        with self._ledger.read() as view:
            # A writing transaction keeps others waiting, and is wanted seldom.
            if view.tellings.is_known(listener.name):
                rows = view.tellings.unread(listener.name, kinds, _ROWS)
                # The mark follows now and then, so that what is of no interest is read once.
                if not rows and view.tellings.unread_rows(listener.name) < _ROWS:
                    return False
        with self._ledger.begin() as change:
            change.tellings.introduce(listener.name)
            rows = change.tellings.unread(listener.name, kinds, _ROWS)
            news = News(change, listener, self._destinations(), self._identity.secret)
            now = self._clock.now()
            for message in news.of(rows):
                change.tellings.add(listener.name, message, now)
            read = rows[-1].id if len(rows) == _ROWS else change.tellings.newest_row()
            change.tellings.keep_read(listener.name, read)
        return bool(rows)

    def tell(self, listener: Listener) -> bool:
        """Tell the oldest message that is due; False where there is none, or it is too early."""
        now = self._clock.now()
        if not self._patience[listener.name].is_over(now):
            return False
        with self._ledger.read() as view:
            if not view.tellings.is_due(listener.name, now):
                return False
        with self._ledger.begin() as change:
            one = change.tellings.claim(listener.name, f"{OWNER}{listener.name}", now, _LEASE_S)
        if one is None:
            return False
        try:
            self._tell(listener, one)
        except DeliveryError as error:
            self._postpone_or_bury(listener, one, error)
            return True
        self._patience[listener.name].succeed()
        log.info("told", listener=listener.name, what=one.event, job_id=one.job_id)
        with self._ledger.begin() as change:
            change.tellings.close(one, TellingState.TOLD)
        return True

    def _postpone_or_bury(self, listener: Listener, one: Telling, error: DeliveryError) -> None:
        reason = str(error)
        if error.retryable and one.attempts + 1 < listener.attempts_max:
            # The others wait for a while, too: whoever does not answer is not asked by each.
            now = self._clock.now()
            quiet_until = self._patience[listener.name].fail(error, now)
            next_at = max(now + delay_s(one.attempts + 1), quiet_until)
            log.warning("not told yet", listener=listener.name, what=one.event, reason=reason)
            with self._ledger.begin() as change:
                change.tellings.postpone(one, next_at, reason)
            return
        log.error("telling given up", listener=listener.name, what=one.event, reason=reason)
        with self._ledger.begin() as change:
            change.tellings.close(one, TellingState.DEAD, reason)
            change.trail.append(
                self._clock.now(),
                "telling",
                f"Listener '{listener.name}' could not be told: {reason}",
                study_id=one.study_id,
                job_id=one.job_id,
                detail={"listener": listener.name, "event": one.event},
            )

    def _tell(self, listener: Listener, one: Telling) -> None:
        if listener.kind is ListenerKind.WEBHOOK:
            assert listener.web is not None
            webhook = Webhook(listener.web, listener.secret_file, listener.with_uids)
            post(webhook, Announcement.from_content(one.key, one.content), self._clock.now())
            return
        assert listener.call is not None
        for notice in self._notices(one):
            notify(address_of(listener.call), notice, security_of(listener.call))

    def _notices(self, one: Telling) -> Iterator[Availability]:
        """What is to be said of a job; the same notices, with the same UIDs, at every try."""
        (name,) = one.content["destinations"]
        known = self._destinations().get(name)
        if known is None or not known.ae_title:
            raise PeerRefusedError(
                f"Destination '{name}' is not configured any more, or has no AE title, so that "
                "nobody can be told where the objects can be had."
            )
        with self._ledger.read() as view:
            items = [
                item
                for item in view.outbox.of_job(one.job_id or 0)
                if item.destination == name and is_there(item)
            ]
        if not items:
            raise PeerRefusedError(
                f"Destination '{name}' has no object of the job any more, so that there is nothing "
                "to be told."
            )
        for study, series in _in_parts(locate(self._spool, items)):
            yield Availability(study, series, known.ae_title, uid_root=self._identity.uid_root)


def _in_parts(found: Whereabouts) -> Iterator[tuple[str, Mapping[str, Sequence[Reference]]]]:
    """The objects of one study by series, no more at a time than go into one notice."""
    for study in dict.fromkeys(study for study, _ in found):
        objects = [
            (series, reference)
            for (of_study, series), references in found.items()
            for reference in references
            if of_study == study
        ]
        for at in range(0, len(objects), OBJECTS_MAX):
            part: dict[str, list[Reference]] = {}
            for series, reference in objects[at : at + OBJECTS_MAX]:
                part.setdefault(series, []).append(reference)
            yield study, part
