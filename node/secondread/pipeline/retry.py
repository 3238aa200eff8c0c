"""Putting a study back on its way, by hand."""

from __future__ import annotations

from collections.abc import Sequence

from secondread.delivery.resending import wake
from secondread.domain.job import Job
from secondread.domain.monitoring import ModelPause
from secondread.domain.states import DeliveryState, JobState, StudyState
from secondread.domain.study import Study
from secondread.errors import UsageError
from secondread.monitoring.pausing import OUTCOME, beginnings
from secondread.store import Transaction

_RETRIED = "Retried by hand."


def retry_study(change: Transaction, study: Study, now: float) -> int:
    """Retry what failed in a study; results that exist are sent again, not computed again.

    Where a model was paused when the study came, and is not any more, it looks at the study now:
    a new version of its job, whose report replaces the one that said so.

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
    count = _set_aside(change, study)
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


def retry_paused(change: Transaction, pause: ModelPause, now: float) -> Sequence[int]:
    """Retry every study that came while a model was paused, and has come to rest since.

    Those of models that build on it are among them. A study whose images are gone stays as it is:
    there is nothing to look at, and to try would only leave a person with a failure.

    Args:
        change: the transaction, in which the model has been resumed.
        pause: what its pause was.
        now: in seconds since the epoch, UTC.

    Returns:
        Row ids of the studies that are on their way again.
    """
    retried = []
    begins = beginnings(pause)
    for study_id in change.jobs.studies_not_analysed(begins):
        study = change.studies.get(study_id)
        if study.state is not StudyState.DONE:
            continue
        met = [job for job in _met_pause(change, study) if job.reason.startswith(begins)]
        if met and _has_images(change, study):
            retry_study(change, study, now)
            retried.append(study_id)
    return retried


def _has_images(change: Transaction, study: Study) -> bool:
    kept = change.keeping.look([study.id]).get(study.id)
    return kept is not None and bool(kept.images)


def _set_aside(change: Transaction, study: Study) -> int:
    """Make room for a new version of every job that ended because its model was paused."""
    found = _met_pause(change, study)
    for job in found:
        change.jobs.set_aside(job)
    return len(found)


def _met_pause(change: Transaction, study: Study) -> Sequence[Job]:
    """The jobs of a study that ended because a model was paused, which is not any more."""
    still = tuple(begin for pause in change.model_pauses.list() for begin in beginnings(pause))
    refused = {
        row.job_id
        for row in change.trail.of_study(study.id)
        if row.event == "job" and row.detail.get("outcome") == OUTCOME
    }
    return [
        job
        for job in change.jobs.of_study(study.id)
        if job.id in refused
        and job.state is JobState.DELIVERED
        and not change.jobs.has_newer(job)
        and not job.reason.startswith(still)
        and change.model_pauses.paused(job.model_id, job.model_version) is None
    ]
