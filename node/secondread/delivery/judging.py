"""What an archive's word means for the objects in the outbox: safe, again, or a person.

Nothing here talks to anybody. A report counts for an object only where the question was about it
as it is now: it is ``sent``, to this destination, and was sent before the question was asked.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from secondread.delivery.settling import settle
from secondread.dicom.commitment_report import Refusal, Remedy, Verdict, judge_heard
from secondread.domain.destination import ProofTerms
from secondread.domain.enquiry import EnquiryState, StoredEnquiry
from secondread.domain.result import OutboxItem
from secondread.domain.states import DeliveryState
from secondread.store import Transaction

log = structlog.stdlib.get_logger(__name__)

SENDINGS_MAX = 5
"""How often an object is sent to an archive that says afterwards that it has not got it."""
LOOKS = 3
"""How often an archive is asked what it has before an object is sent again."""
COMMITMENT, READ_BACK = "commitment", "read-back"
"""What proved it (``OutboxItem.proof``)."""

_FIRST_S, _LONGEST_S = 10.0, 3600.0


def pause_s(failures: int) -> float:
    """Seconds until the next question after so many in vain: doubling, bounded, with jitter."""
    doubled = _FIRST_S * 2.0 ** min(max(failures - 1, 0), 20)
    return float(min(doubled, _LONGEST_S) * random.uniform(0.8, 1.2))


def is_still(item: OutboxItem, asked_at: float) -> bool:
    """Whether an object waits for proof, and was there to be asked about at that time."""
    was_there = item.sent_at is None or item.sent_at <= asked_at
    return item.state is DeliveryState.SENT and was_there


@dataclass(frozen=True, slots=True)
class Judge:
    """Changes the outbox by what is known, in one transaction.

    Attributes:
        change: the transaction.
        terms_of: how a destination proves what it has, by its name in the outbox.
        now: the time; seconds since the epoch, UTC.
        heard: told of each question, by its destination, whether a report has come on it.
    """

    change: Transaction
    terms_of: Callable[[str], ProofTerms]
    now: float
    heard: Callable[[str, bool], None] = lambda destination, came: None

    def judge_reports(self) -> bool:
        """Judge the oldest of the reports that came; False where there was none."""
        reported = self.change.enquiries.reported()
        for enquiry in reported:
            for heard in enquiry.reports:
                self._apply(enquiry, judge_heard(heard, enquiry))
            self.change.enquiries.close(enquiry, EnquiryState.JUDGED)
            self.heard(enquiry.destination, True)
        return bool(reported)

    def expire(self) -> bool:
        """Give up waiting for some reports that are overdue; False where there was none."""
        overdue = self.change.enquiries.overdue(self.now)
        for enquiry in overdue:
            self.change.enquiries.close(enquiry, EnquiryState.EXPIRED)
            waiting = [item for item in self._meant(enquiry) if _waits_for(enquiry, item)]
            to = enquiry.destination
            log.warning("no commitment report", destination=to, objects=len(waiting))
            why = (
                f"'{to}' took the commitment request on and did not report in time. Check that "
                "the node is entered there with its host and port, and that the AE title "
                f"'{enquiry.ae_title}' is one of the [[peers]] here, with 'commitment' in 'may'."
            )
            for item in waiting:
                self.ask_again(item, why)
            self.heard(to, False)
        return bool(overdue)

    def ask_again(self, item: OutboxItem, why: str, at_least_s: float = 0.0) -> None:
        """A question about an object was in vain: ask later, or leave it to a person."""
        tries = item.proof_tries + 1
        if tries >= self.terms_of(item.destination).tries_max:
            self.give_up(item, f"{why} It was asked {tries} times.")
            return
        wait_s = max(pause_s(tries), at_least_s)
        self.change.outbox.prove_later(item, self.now + wait_s, why, counts=True)

    def send_again(self, item: OutboxItem, why: str) -> None:
        """The destination has not got an object that it said it has stored."""
        if item.sendings >= SENDINGS_MAX:
            self.give_up(item, f"{why} It was sent {item.sendings} times; see the log there.")
            return
        self.change.outbox.move(item, DeliveryState.READY, self.now, f"{why} It is sent again.")

    def give_up(self, item: OutboxItem, why: str) -> None:
        """Leave an object to a person."""
        log.error("no proof", destination=item.destination, job_id=item.job_id, reason=why)
        self.change.outbox.move(item, DeliveryState.DEAD, self.now, why)
        settle(self.change, item.job_id, self.now)

    def miss(self, item: OutboxItem) -> None:
        """An archive was asked what it has, and does not name an object.

        Many answer Success before queries can find an object, so that it is not sent again at once.
        """
        why = f"'{item.destination}' was asked what it has, and does not name it."
        if item.proof_tries + 1 < LOOKS:
            self.ask_again(item, why)
        else:
            self.send_again(item, why)

    def keep_safe(self, destination: str, items: Sequence[OutboxItem], proof: str) -> None:
        """The destination has proven that it has these objects."""
        words = {
            COMMITMENT: f"'{destination}' has committed to keep it.",
            READ_BACK: f"'{destination}' has it: it was read back.",
        }
        self.change.outbox.keep_all_safe(items, proof, self.now, words[proof])

    def _meant(self, enquiry: StoredEnquiry) -> Sequence[OutboxItem]:
        """The objects of a question that it is still about."""
        items = self.change.outbox.of_ids([one.outbox_id for one in enquiry.objects])
        return tuple(
            item
            for one in enquiry.objects
            if (item := items.get(one.outbox_id)) is not None
            and item.sop_instance_uid == one.sop_instance_uid
            and item.destination == enquiry.destination
            and is_still(item, enquiry.asked_at)
        )

    def _apply(self, enquiry: StoredEnquiry, verdict: Verdict) -> None:
        """What one report says about each object of its question."""
        items = {item.sop_instance_uid: item for item in self._meant(enquiry)}
        to = enquiry.destination
        safe = [ref.sop_instance_uid for ref in verdict.safe]
        self.keep_safe(to, [items[uid] for uid in safe if uid in items], COMMITMENT)
        for refusal in verdict.refused:
            if item := items.get(refusal.reference.sop_instance_uid):
                self._refuse(enquiry, item, refusal)
        for reference in verdict.unmentioned:
            item = items.get(reference.sop_instance_uid)
            if item is not None and _waits_for(enquiry, item):
                self.ask_again(item, f"The commitment report of '{to}' says nothing of it.")
        log.info(
            "commitment",
            destination=to,
            safe=len(verdict.safe),
            refused=len(verdict.refused),
            unmentioned=len(verdict.unmentioned),
        )
        if verdict.strangers:
            log.warning(
                "commitment to what nobody asked about",
                destination=to,
                objects=verdict.strangers,
            )

    def _refuse(self, enquiry: StoredEnquiry, item: OutboxItem, refusal: Refusal) -> None:
        """An object that the archive does not commit to."""
        why = f"'{enquiry.destination}' does not commit to it: {refusal.meaning}."
        if refusal.remedy is Remedy.SEND_AGAIN:
            self.send_again(item, why)
        elif refusal.remedy is Remedy.PERSON:
            self.give_up(item, why)
        elif _waits_for(enquiry, item):
            self.ask_again(item, why)


def _waits_for(enquiry: StoredEnquiry, item: OutboxItem) -> bool:
    """Whether no newer question about an object is open."""
    return item.prove_at == enquiry.due_at
