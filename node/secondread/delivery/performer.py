"""Working off the worklists of others: what is found is claimed, watched, and ended.

Each step is written down before it is taken, so that a node that is killed goes on where it was:
see docs/worklist.md. Each worklist has a thread of its own, so that none waits for another.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import structlog

from secondread.delivery.assignment import (
    Finished,
    GivenUp,
    Going,
    outputs_of,
    standing_of,
    study_of,
)
from secondread.delivery.backoff import delay_s, line_delay_s
from secondread.delivery.calling import address_of, security_of
from secondread.delivery.patience import Patience
from secondread.delivery.telling.worklist import performer
from secondread.delivery.telling.worklist.channel import GoneError, TakenError, Worklist
from secondread.delivery.telling.worklist.dimse import DimseWorklist
from secondread.delivery.telling.worklist.web import WebWorklist
from secondread.delivery.telling.worklist.workitem import (
    Cancellation,
    Claim,
    Criteria,
    Performed,
    Progress,
    Workitem,
    claim_of,
)
from secondread.domain.clock import Clock
from secondread.domain.code import Code
from secondread.domain.destination import Destination
from secondread.domain.worklist import WorklistTerms, WorkRow, WorkState
from secondread.errors import DeliveryError, PeerRefusedError, SecondReadError
from secondread.store import Ledger, Spool
from secondread.store.workitems import NewWork

log = structlog.stdlib.get_logger(__name__)

ATTEMPTS_MAX = 20
"""Refusals after which an item is left to a person."""
_LOOK_S = 1.0
_FAULT_S = 30.0
"""Pause after a fault that nobody foresaw, so that it does not fill the log."""
_GRACE_S = 5.0


class Performer:
    """Does the work of worklists.

    Args:
        ledger: where items are kept; commits must be synced.
        spool: where the files of results are.
        worklists: where work is looked for.
        destinations: every destination by the name that the outbox keeps, as it is now.
        clock: tells the time.
        secret: the node's own; what it claims nobody else can change.
    """

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        worklists: Sequence[WorklistTerms],
        destinations: Callable[[], Mapping[str, Destination]],
        clock: Clock,
        secret: bytes,
    ) -> None:
        self._ledger = ledger
        self._spool = spool
        self._worklists = tuple(worklists)
        self._destinations = destinations
        self._clock = clock
        self._secret = secret
        # Each is used by the thread of its worklist alone.
        self._patience = {one.name: Patience() for one in self._worklists}
        self._search_at = {one.name: 0.0 for one in self._worklists}

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop``; a call that hangs then is left behind, and made again."""
        threads = [
            threading.Thread(
                target=self._serve, args=(one, stop), name=f"worklist {one.name}", daemon=True
            )
            for one in self._worklists
        ]
        for thread in threads:
            thread.start()
        stop.wait()
        for thread in threads:
            thread.join(_GRACE_S / len(threads))

    def _serve(self, terms: WorklistTerms, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self.step(terms)
            except SecondReadError as error:
                log.error("worklist not served", worklist=terms.name, reason=str(error))
            except Exception:
                # One fault of ours must not end the work for good.
                log.exception("worklist not served", worklist=terms.name)
                stop.wait(_FAULT_S)
            stop.wait(_LOOK_S)

    def step(self, terms: WorklistTerms) -> None:
        """Look for work where that is due, and do what can be done about each item once.

        Raises:
            LedgerError: the ledger cannot be used.
        """
        patience = self._patience[terms.name]
        if not patience.is_over(self._clock.now()):
            return
        try:
            worklist = _reach(terms)
            self._search(terms, worklist)
            with self._ledger.read() as view:
                rows = view.workitems.due(terms.name, self._clock.now())
            for row in rows:
                self._attend(terms, worklist, row)
        except DeliveryError as error:
            patience.fail(error, self._clock.now())
            log.warning("worklist not reached", worklist=terms.name, reason=str(error))

    def _search(self, terms: WorklistTerms, worklist: Worklist) -> None:
        """Find work, as much as the node may hold; it is claimed from its row."""
        now = self._clock.now()
        with self._ledger.read() as view:
            free = terms.open_max - view.workitems.open_count(terms.name)
        if now < self._search_at[terms.name] or free <= 0:
            return
        found = performer.find_work(worklist, Criteria(terms.workitem_codes, terms.station_codes))
        self._patience[terms.name].succeed()
        self._search_at[terms.name] = now + terms.poll_s
        for item in found:
            study, code = _study_of(item), _code_of(item, terms)
            if free <= 0 or not study or code is None:
                continue
            with self._ledger.begin() as change:
                held = claim_of(item.sop_instance_uid, self._secret)
                content = {"code": [code.value, code.scheme, code.meaning]}
                new = NewWork(terms.name, held.workitem_uid, held.transaction_uid, study, content)
                free -= change.workitems.add(new, now)

    def _attend(self, terms: WorklistTerms, worklist: Worklist, row: WorkRow) -> None:
        """Do what is to be done about an item now.

        Raises:
            PeerUnreachableError: the worklist does not answer; nobody else is to be told now.
        """
        again = row.state is WorkState.CLAIMING
        if row.state is WorkState.FOUND:
            # That it was asked for is written before the request leaves.
            self._move(row, WorkState.CLAIMING, f"An item of worklist '{row.worklist}' is claimed.")
            row = replace(row, state=WorkState.CLAIMING)
        try:
            if row.state is WorkState.CLAIMED:
                self._follow(terms, worklist, row)
            else:
                self._claim(terms, worklist, row, again=again)
        except (TakenError, GoneError) as error:
            self._move(row, WorkState.LOST, str(error))
        except DeliveryError as error:
            if not error.retryable and row.attempts + 1 >= ATTEMPTS_MAX:
                self._move(row, WorkState.DEAD, str(error))
                return
            tries = row.attempts + 1
            lasts = not error.retryable
            wait_s = line_delay_s(tries, lasting=True) if lasts else delay_s(tries)
            with self._ledger.begin() as change:
                change.workitems.postpone(row, self._clock.now() + wait_s, str(error))
            if error.retryable:
                raise
            log.warning("worklist refuses", worklist=terms.name, reason=str(error))

    def _claim(
        self, terms: WorklistTerms, worklist: Worklist, row: WorkRow, *, again: bool
    ) -> None:
        performer.claim(worklist, _held(row), again=again)
        self._patience[terms.name].succeed()
        now = self._clock.now()
        with self._ledger.begin() as change:
            if terms.source:
                change.fetches.ask_for_work(terms.source, row.study_instance_uid, now)
            change.workitems.keep_content(row, {"claimed_at": now})
            study = study_of(change, row)
            text = f"Worklist '{row.worklist}' has given an item to the node."
            change.workitems.move(
                row, WorkState.CLAIMED, now, text, study.id if study is not None else None
            )
        log.info("work claimed", worklist=row.worklist)

    def _follow(self, terms: WorklistTerms, worklist: Worklist, row: WorkRow) -> None:
        """Tell how a claimed item stands, where that is news."""
        with self._ledger.read() as view:
            standing = standing_of(view, terms, row, self._clock.now())
        if isinstance(standing, Going):
            self._report(worklist, row, standing.progress)
        elif isinstance(standing, GivenUp):
            self._cancel(worklist, row, standing)
        else:
            self._complete(terms, worklist, row, standing)

    def _report(self, worklist: Worklist, row: WorkRow, progress: Progress | None) -> None:
        if progress is None or row.content.get("percent") == progress.percent:
            return
        try:
            performer.report_progress(worklist, _held(row), progress)
        except (TakenError, GoneError):
            raise
        except PeerRefusedError as error:
            # The work goes on, and only its end must be told.
            log.warning("progress not taken", worklist=row.worklist, reason=str(error))
        with self._ledger.begin() as change:
            change.workitems.keep_content(row, {"percent": progress.percent})

    def _complete(
        self, terms: WorklistTerms, worklist: Worklist, row: WorkRow, done: Finished
    ) -> None:
        now = self._clock.now()
        outputs = outputs_of(self._spool, done.items, self._destinations().get)
        performed = Performed(
            Code(*row.content["code"]),
            terms.station,
            min(float(row.content.get("claimed_at", row.created_at)), now),
            now,
            outputs,
        )
        performer.complete(worklist, _held(row), performed)
        self._patience[terms.name].succeed()
        text = f"Worklist '{row.worklist}' was told that its item is completed."
        self._move(row, WorkState.COMPLETED, text)

    def _cancel(self, worklist: Worklist, row: WorkRow, given_up: GivenUp) -> None:
        cancellation = Cancellation(self._clock.now(), given_up.reason, given_up.words)
        performer.cancel(worklist, _held(row), cancellation)
        self._patience[row.worklist].succeed()
        text = f"Worklist '{row.worklist}' was told that its item is given up: {given_up.words}."
        self._move(row, WorkState.CANCELED, text)

    def _move(self, row: WorkRow, after: WorkState, text: str) -> None:
        with self._ledger.begin() as change:
            study = study_of(change, row)
            change.workitems.move(
                row, after, self._clock.now(), text, study.id if study is not None else None
            )
        log.info("work", worklist=row.worklist, state=str(after))


def _reach(terms: WorklistTerms) -> Worklist:
    """A worklist as it is called; its files are read each time, so that they can be renewed."""
    if terms.web is not None:
        return WebWorklist(terms.web, terms.in_array)
    assert terms.call is not None
    return DimseWorklist(address_of(terms.call), security_of(terms.call))


def _held(row: WorkRow) -> Claim:
    return Claim(row.workitem_uid, row.transaction_uid)


def _study_of(item: Workitem) -> str:
    """The study that is to be worked on; '' where it is not one, and the item not for us."""
    studies = {one.study_instance_uid for one in item.inputs if one.study_instance_uid}
    if not studies:
        return item.study_instance_uid
    return studies.pop() if len(studies) == 1 else ""


def _code_of(item: Workitem, terms: WorklistTerms) -> Code | None:
    """The kind of work, as the configuration spells it."""
    asked = {(code.value, code.scheme) for code in item.workitem_codes}
    known = (code for code in terms.workitem_codes if (code.value, code.scheme) in asked)
    return next(known, None)
