"""Putting a study back on its way, by hand."""

from __future__ import annotations

from secondread.delivery.resending import wake
from secondread.domain.states import DeliveryState, JobState, StudyState
from secondread.domain.study import Study
from secondread.errors import UsageError
from secondread.store import Transaction

_RETRIED = "Retried by hand."


def retry_study(change: Transaction, study: Study, now: float) -> int:
    """Retry what failed in a study; results that exist are sent again, not computed again.

    Returns:
        How many jobs are retried.

    Raises:
        UsageError: the study is not waiting for a person, or what was to be sent is not there any
            more.
    """
    if study.state not in {StudyState.HELD, StudyState.DONE}:
        raise UsageError(
            f"Study {study.id} is {study.state}; only one that is held or done can be retried."
        )
    count = 0
    for job in change.jobs.of_study(study.id):
        if job.state is not JobState.FAILED:
            continue
        items = change.outbox.of_job(job.id)
        if not items and change.jobs.has_newer(job):
            change.jobs.move(job, JobState.SUPERSEDED, now, "A newer version takes its place.")
            continue
        count += 1
        dead = [item for item in items if item.state is DeliveryState.DEAD]
        wake(change, dead, now, _RETRIED)
        if items:
            after, outcome = JobState.WRITTEN, job.outcome
        elif job.outcome:
            after, outcome = JobState.REFUSED, job.outcome
        else:
            after, outcome = JobState.QUEUED, ""
        change.jobs.move(
            job, after, now, _RETRIED, losses=0, next_at=now, outcome=outcome, reason=""
        )
    change.studies.move(study, StudyState.ASSEMBLING, now, _RETRIED)
    return count
