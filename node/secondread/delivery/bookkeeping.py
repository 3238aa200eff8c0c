"""Writing down what became of the objects that were to be brought somewhere."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from secondread.delivery.backoff import delay_s
from secondread.delivery.carriers import Blame, Carried
from secondread.delivery.fallback import SEGMENTATION
from secondread.delivery.settling import settle, settle_all
from secondread.domain.destination import Destination, Proof, ProofTerms
from secondread.domain.result import OutboxItem
from secondread.domain.states import DeliveryState
from secondread.errors import DeliveryError, KindRefusedError
from secondread.store import Transaction
from secondread.store.outbox import Arrival, Stored

log = structlog.stdlib.get_logger(__name__)

_READ_BACK_IS_PROOF = frozenset({Proof.AUTO, Proof.READ_BACK})


@dataclass(slots=True)
class Outcome:
    """What became of some claimed objects, until it is in the ledger.

    Attributes:
        carried: in the order in which they were carried; those whose line was to blame are not
            among them.
        back: those that were not tried.
        trouble: what befell the line itself.
    """

    carried: list[Carried] = field(default_factory=list)
    back: list[OutboxItem] = field(default_factory=list)
    trouble: DeliveryError | None = None

    @property
    def stored(self) -> list[Carried]:
        """Those that the destination has."""
        return [told for told in self.carried if told.fault is None]

    def followed_by(self, later: Outcome) -> Outcome:
        """Both, this one first."""
        return Outcome(
            [*self.carried, *later.carried],
            [*self.back, *later.back],
            later.trouble or self.trouble,
        )

    def add(self, told: Carried) -> None:
        """Keep what became of one."""
        if told.fault is not None and told.blame is not Blame.OBJECT:
            self.trouble = told.fault
        if told.fault is not None and told.blame is Blame.LINE:
            self.back.append(told.parcel.item)
        else:
            self.carried.append(told)


def write_down(
    change: Transaction, outcome: Outcome, destination: Destination | None, now: float
) -> None:
    """Put an outcome into the ledger; the line is not touched.

    ``destination`` is None where it is not configured any more.
    """
    terms = destination.terms if destination is not None else ProofTerms(Proof.NONE)
    attempts_max = destination.attempts_max if destination is not None else 1
    stored = outcome.stored
    change.outbox.keep_all_sent([_arrival(told, terms, now) for told in stored], now)
    for told in outcome.carried:
        if told.fault is not None:
            _keep_failure(change, told.parcel.item, told.fault, attempts_max, now)
    change.outbox.give_back(*outcome.back)
    if stored:
        settle_all(change, {told.parcel.item.job_id for told in stored}, now)
    if stored:
        log.info(
            "sent",
            destination=stored[0].parcel.item.destination,
            objects=len(stored),
            jobs=sorted({told.parcel.item.job_id for told in stored}),
        )
    for name, remark in dict.fromkeys(
        (told.parcel.item.destination, told.remark) for told in stored
    ):
        if remark:
            log.warning("stored with a remark", destination=name, remark=remark)


def bury(change: Transaction, item: OutboxItem, reason: str, now: float) -> None:
    """Make an object a dead letter: a person has to look."""
    log.error(
        "delivery given up",
        destination=item.destination,
        job_id=item.job_id,
        attempts=item.attempts + 1,
        reason=reason,
    )
    change.outbox.move(item, DeliveryState.DEAD, now, reason)
    settle(change, item.job_id, now)


def _arrival(told: Carried, terms: ProofTerms, now: float) -> Arrival:
    prove_at = None if terms.proof is Proof.NONE else now + terms.delay_s
    proof = told.proof if terms.proof in _READ_BACK_IS_PROOF else ""
    answer = Stored(told.status, told.remark, prove_at)
    return Arrival(told.parcel.item, told.parcel.study_id, answer, proof)


def _keep_failure(
    change: Transaction,
    item: OutboxItem,
    error: DeliveryError,
    attempts_max: int,
    now: float,
) -> None:
    """An object was refused, or it broke while it was on its way."""
    is_of_kind = isinstance(error, KindRefusedError) and item.kind == SEGMENTATION
    if is_of_kind and change.outbox.fall_back(item, now, str(error)):
        log.warning(
            "segmentation refused, another form goes instead",
            destination=item.destination,
            job_id=item.job_id,
            level=item.level,
            reason=str(error),
        )
        return
    tries = item.attempts + 1
    if not error.retryable or tries >= attempts_max:
        bury(change, item, str(error), now)
        return
    wait_s = delay_s(tries)
    log.warning(
        "delivery postponed",
        destination=item.destination,
        job_id=item.job_id,
        attempt=tries,
        wait_s=round(wait_s, 1),
        reason=str(error),
    )
    change.outbox.postpone(item, now + wait_s, str(error))
