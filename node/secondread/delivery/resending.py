"""Sending again by hand: what was given up, or what a destination has lost."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from secondread.domain.result import OutboxItem
from secondread.domain.states import DeliveryState, JobState, StudyState
from secondread.errors import NotFoundError, UsageError
from secondread.store import Transaction

SENT_AGAIN = "Sent again by hand."
_LOST = frozenset({DeliveryState.SENT, DeliveryState.SAFE})
_PURGED = (
    "The local file of {what} was removed, as the retention rules say, so that it cannot be sent "
    "again. Have the study analysed anew: send its images again, then retry the study."
)


@dataclass(frozen=True, slots=True)
class Resent:
    """What was put on its way again.

    Attributes:
        objects: how many.
        purged: dead ones that stay so, because their local files are not there any more.
    """

    objects: int
    purged: int = 0


def resend_object(change: Transaction, outbox_id: int, now: float) -> Resent:
    """Send one object again, be it given up, sent or safe.

    Raises:
        NotFoundError: there is no such object.
        UsageError: it is to be sent anyway, is not meant to be, or its file is not there any more.
    """
    item = change.outbox.of_ids([outbox_id]).get(outbox_id)
    if item is None:
        raise NotFoundError(f"There is no object {outbox_id} in the outbox.")
    if item.state is DeliveryState.READY:
        raise UsageError(f"Object {outbox_id} waits to be sent to '{item.destination}' already.")
    if item.state not in _LOST | {DeliveryState.DEAD}:
        raise UsageError(
            f"Object {outbox_id} is {item.state}: another form of it went to "
            f"'{item.destination}', or would go if it were refused."
        )
    if item.purged_at is not None:
        raise UsageError(_PURGED.format(what=f"object {outbox_id}"))
    return _resend(change, [item], now)


def resend_study(change: Transaction, study_id: int, now: float) -> Resent:
    """Send again what was given up of a study.

    Raises:
        UsageError: nothing was, or the files are not there any more.
    """
    items = [
        item for job in change.jobs.of_study(study_id) for item in change.outbox.of_job(job.id)
    ]
    return _resend_dead(change, items, f"of study {study_id}", now)


def resend_destination(change: Transaction, name: str, now: float) -> Resent:
    """Send again what was given up for a destination; ``name`` is the one in the outbox.

    Raises:
        UsageError: nothing was, or the files are not there any more.
    """
    return _resend_dead(change, change.outbox.dead_for(name), f"for '{name}'", now)


def wake(change: Transaction, items: Collection[OutboxItem], now: float, text: str) -> None:
    """Make objects ready, to be sent now and as if for the first time.

    Raises:
        UsageError: the file of one is not there any more.
    """
    if any(item.purged_at is not None for item in items):
        raise UsageError(_PURGED.format(what="a result"))
    for item in items:
        change.outbox.move(item, DeliveryState.READY, now, text)


def _resend_dead(
    change: Transaction, items: Sequence[OutboxItem], whose: str, now: float
) -> Resent:
    dead = [item for item in items if item.state is DeliveryState.DEAD]
    if not dead:
        raise UsageError(f"There is nothing {whose} that was given up.")
    kept = [item for item in dead if item.purged_at is None]
    if not kept:
        raise UsageError(_PURGED.format(what=f"all {len(dead)} results {whose}"))
    return _resend(change, kept, now, purged=len(dead) - len(kept))


def _resend(
    change: Transaction, items: Sequence[OutboxItem], now: float, purged: int = 0
) -> Resent:
    wake(change, items, now, SENT_AGAIN)
    for job_id in sorted({item.job_id for item in items}):
        job = change.jobs.get(job_id)
        if job.state is JobState.FAILED:
            change.jobs.move(
                job, JobState.WRITTEN, now, SENT_AGAIN, losses=0, next_at=now, reason=""
            )
            study = change.studies.get(job.study_id)
            if study.state is StudyState.HELD:
                change.studies.move(study, StudyState.ASSEMBLING, now, SENT_AGAIN)
    return Resent(len(items), purged)
