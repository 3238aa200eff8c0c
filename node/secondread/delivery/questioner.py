"""Asking a destination for proof of what it was sent, and what its answer or silence means.

A question is in the ledger before it leaves, for its report may be at the node's port before the
answer to the request is read. Whoever cannot be reached costs an object nothing but time; only
questions that were taken on, or turned down, and proved nothing are counted.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import partial

import structlog

from secondread.delivery.calling import address_of, identity_of, security_of
from secondread.delivery.commitment_scu import Enquiry, NotNowError, ask
from secondread.delivery.judging import READ_BACK, is_still
from secondread.delivery.proof_desk import AT_A_TIME, DAY_S, HOUR_S, ProofDesk, still
from secondread.delivery.read_back import CHANGES_REMARKED, Reader, Seen
from secondread.dicom.commitment_report import Report, to_heard
from secondread.domain.destination import Destination, Proof, Way
from secondread.domain.enquiry import AskedObject, EnquiryState, StoredEnquiry
from secondread.domain.result import OutboxItem
from secondread.errors import DeliveryError, PeerRefusedError, ServiceMissingError
from secondread.store import Spool, Transaction

log = structlog.stdlib.get_logger(__name__)


class Questioner:
    """Asks; safe for several threads, as long as each destination is asked by one at a time.

    Args:
        desk: what is due.
        spool: where the objects' files are.
    """

    def __init__(self, desk: ProofDesk, spool: Spool) -> None:
        self._desk = desk
        self._spool = spool

    def ask(self, name: str) -> bool:
        """Ask a destination about what is due; False where nothing is, or it is left alone.

        Raises:
            LedgerError: the ledger cannot be used; what was asked is asked again later.
        """
        desk = self._desk
        if not (items := desk.due_objects(name)):
            return False
        destination = desk.destinations().get(name)
        if destination is None:
            why = f"Destination '{name}' is not in the configuration any more; nobody can be asked."
            desk.put_off(items, desk.now + HOUR_S, why)
        elif destination.terms.proof is Proof.NONE:
            desk.put_off(items, None, f"'{name}' is asked for no proof.")
        elif self._commits(destination):
            if destination.terms.proof is Proof.AUTO and desk.never_reports(name):
                self._read_back_besides(destination, items)
            self._ask_to_commit(destination)
        elif destination.terms.proof is Proof.COMMITMENT:
            why = f"Storage Commitment goes over DICOM alone; choose another proof for '{name}'."
            desk.put_off(items, desk.now + HOUR_S, why)
        else:
            self._read_back(destination, items)
        return True

    def _commits(self, destination: Destination) -> bool:
        """Whether it is asked to commit."""
        if destination.way is not Way.DICOM:
            return False
        if destination.terms.proof is Proof.AUTO:
            return self._desk.may_commit(destination)
        return destination.terms.proof is Proof.COMMITMENT

    # --- Storage Commitment ---

    def _ask_to_commit(self, destination: Destination) -> None:
        asked = self._write_down(destination)
        if asked is None:
            return
        pairs = [(one.sop_class_uid, one.sop_instance_uid) for one in asked.objects]
        question = Enquiry(asked.transaction_uid, pairs, destination.terms.wait_s)
        try:
            ask(
                address_of(destination),
                question,
                partial(self._hear, destination),
                security_of(destination),
                identity_of(destination),
            )
        except ServiceMissingError as error:
            self._do_without(destination, asked, error)
        except NotNowError as error:
            self._turn_down(asked, error, 0.0)
        except PeerRefusedError as error:
            items = self._turn_down(asked, error, HOUR_S)
            if destination.terms.proof is Proof.AUTO:
                self._read_back_besides(destination, items)
        except DeliveryError as error:
            self._desk.rest(destination.name, self._take_back(asked), error)
        else:
            log.info("commitment asked", destination=destination.name, objects=len(pairs))
            self._desk.answered(destination.name)
            self._look_for_changes(destination, asked)

    def _write_down(self, destination: Destination) -> StoredEnquiry | None:
        """Keep a question about what is due, before it leaves; None where nothing is due any more.

        What came and what is overdue is judged first, lest it be asked about and then given up.
        """
        transaction_uid = f"2.25.{uuid.uuid4().int}"  # PS3.5 B.2
        name = destination.name
        with self._desk.ledger.begin() as change:
            judge = self._desk.judge(change)
            while judge.judge_reports() or judge.expire():
                pass
            items = change.outbox.due_for_proof(name, judge.now, AT_A_TIME)
            if not items:
                return None
            due_at = judge.now + destination.terms.report_timeout_s
            objects = [
                AskedObject(item.id, item.sop_class_uid, item.sop_instance_uid) for item in items
            ]
            change.enquiries.add(
                transaction_uid, name, destination.ae_title, objects, judge.now, due_at
            )
            why = f"'{name}' was asked to commit to it; its report is awaited."
            for item in items:
                change.outbox.prove_later(item, due_at, why, counts=False)
            return change.enquiries.find(transaction_uid)

    def _hear(self, destination: Destination, report: Report) -> bool:
        """Write a report down; whether its transaction is known."""
        with self._desk.ledger.begin() as change:
            return change.enquiries.hear(
                report.transaction_uid, destination.ae_title, to_heard(report)
            )

    def _take_back(self, asked: StoredEnquiry) -> Sequence[OutboxItem]:
        """End a question that was not taken on; the objects that still wait for it."""
        with self._desk.ledger.begin() as change:
            return _end(change, asked)

    def _turn_down(
        self, asked: StoredEnquiry, error: DeliveryError, at_least_s: float
    ) -> Sequence[OutboxItem]:
        """The destination is there, and has turned the question about these objects down."""
        log.warning("commitment turned down", destination=asked.destination, reason=str(error))
        with self._desk.ledger.begin() as change:
            judge, items = self._desk.judge(change), _end(change, asked)
            for item in items:
                judge.ask_again(item, str(error), at_least_s)
        return items

    def _do_without(
        self, destination: Destination, asked: StoredEnquiry, error: ServiceMissingError
    ) -> None:
        """The destination has no commitment."""
        items, desk = self._take_back(asked), self._desk
        log.info("no commitment there", destination=destination.name, reason=str(error))
        if destination.terms.proof is Proof.AUTO:
            desk.remember_no_commitment(destination)
            desk.put_off(items, desk.now, str(error))
            self._read_back(destination, items)
            return
        why = f"{error} Switch it on there, or choose another proof for this destination."
        desk.put_off(items, desk.now + HOUR_S, why)

    def _look_for_changes(self, destination: Destination, asked: StoredEnquiry) -> None:
        """Ask what the archive has changed, where it said that it has."""
        with self._desk.ledger.read() as view:
            items = view.outbox.of_ids([one.outbox_id for one in asked.objects]).values()
        reader = Reader(destination, self._spool)
        for item in items:
            if item.status == CHANGES_REMARKED and not item.proof_tries:
                changed = reader.find_changes(item)
                with self._desk.ledger.begin() as change:
                    _remark(change, [item], changed, self._desk.now)

    # --- reading back ---

    def _read_back(self, destination: Destination, items: Sequence[OutboxItem]) -> None:
        reader, asked_at = Reader(destination, self._spool), self._desk.now
        left = {item.id: item for item in items}
        try:
            for seen in reader.look(items):
                self._take(destination, seen, asked_at)
                for item in (*seen.there, *seen.missing, *seen.unread):
                    left.pop(item.id)
        except PeerRefusedError as error:
            log.warning("not read back", destination=destination.name, reason=str(error))
            self._stay_sent(destination, tuple(left.values()), error)
        except DeliveryError as error:
            self._desk.rest(destination.name, tuple(left.values()), error)
        else:
            self._desk.answered(destination.name)

    def _read_back_besides(self, destination: Destination, items: Sequence[OutboxItem]) -> None:
        """See what is there of what it is asked, or asked again, to commit to; the rest waits."""
        asked_at = self._desk.now
        try:
            for seen in Reader(destination, self._spool).look(items):
                self._take(destination, Seen(there=seen.there, changed=seen.changed), asked_at)
        except DeliveryError as error:
            log.info("not read back", destination=destination.name, reason=str(error))

    def _take(self, destination: Destination, seen: Seen, asked_at: float) -> None:
        """What was found, or not."""
        to = destination.name
        with self._desk.ledger.begin() as change:
            judge = self._desk.judge(change)
            there = still(change, seen.there, asked_at)
            judge.keep_safe(to, there, READ_BACK)
            _remark(change, there, seen.changed, judge.now)
            for item in still(change, seen.missing, asked_at):
                judge.miss(item)
            for item in still(change, seen.unread, asked_at):
                why = "The local file cannot be read, so that nobody knows what to ask for."
                change.outbox.prove_later(item, judge.now + DAY_S, why, counts=False)
        log.info("read back", destination=to, there=len(seen.there), missing=len(seen.missing))

    def _stay_sent(
        self, destination: Destination, items: Sequence[OutboxItem], error: PeerRefusedError
    ) -> None:
        """The destination will not be asked what it has; nothing becomes safe by guessing."""
        is_auto = destination.terms.proof is Proof.AUTO
        lacks = "queries (QIDO-RS)" if destination.way is Way.STOW else "queries (C-FIND)"
        both = destination.way is Way.DICOM and is_auto
        lacks = f"neither Storage Commitment nor {lacks}" if both else f"no {lacks}"
        why = (
            f"'{destination.name}' offers no proof that it has what it was sent: {lacks} for this "
            f'node. {error} Have it switched on there, or set kind = "none" in '
            "[destinations.proof] to take its word for it; until then the object stays 'sent'."
        )
        self._desk.put_off(items, self._desk.now + (DAY_S if is_auto else HOUR_S), why)


def _end(change: Transaction, asked: StoredEnquiry) -> Sequence[OutboxItem]:
    """End a question without a report; the objects that still wait for it.

    A report that comes all the same counts. One that has come already is judged by itself.
    """
    now = change.enquiries.find(asked.transaction_uid)
    if now is None or now.state is not EnquiryState.ASKED:
        return ()
    change.enquiries.close(asked, EnquiryState.EXPIRED)
    items = change.outbox.of_ids([one.outbox_id for one in asked.objects])
    return tuple(
        item
        for item in items.values()
        if is_still(item, asked.asked_at) and item.prove_at == asked.due_at
    )


def _remark(
    change: Transaction, items: Sequence[OutboxItem], changed: Sequence[str], at: float
) -> None:
    """Keep the names of the attributes that an archive has changed, never their values."""
    if changed:
        for item in items:
            change.outbox.add_remark(item, f"changed {', '.join(changed)}", at)
