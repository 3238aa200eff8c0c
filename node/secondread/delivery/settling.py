"""What becomes of a job when the last of its objects has been sent, or one turns out to be lost."""

from __future__ import annotations

from collections.abc import Collection

from secondread.delivery.fallback import tell_fallbacks
from secondread.domain.states import DeliveryState, JobState
from secondread.store import Transaction

_TELLING = frozenset({DeliveryState.DEAD, DeliveryState.REPLACED})


def settle(change: Transaction, job_id: int, now: float) -> None:
    """End a job whose objects have all been sent or given up, and its study with it.

    What is still in reserve then was never needed and stays so, and what was replaced has been
    taken care of. A job that was delivered fails if a destination turns out not to have an object
    that the node cannot bring it again.
    """
    settle_all(change, [job_id], now)


def settle_all(change: Transaction, job_ids: Collection[int], now: float) -> None:
    """``settle`` for several jobs, in as many statements as for one."""
    states = change.outbox.states_of_jobs(job_ids)
    ended = [job_id for job_id, found in states.items() if DeliveryState.READY not in found]
    if not ended:
        return
    # Of most jobs there is nothing to tell but that they have ended.
    told = change.outbox.of_jobs([job_id for job_id in ended if states[job_id] & _TELLING])
    jobs = change.jobs.of_ids(ended)
    delivered, studies = [], set()
    for job_id in ended:
        job, found = jobs[job_id], told.get(job_id, ())
        dead = [item for item in found if item.state is DeliveryState.DEAD]
        if dead and job.state in {JobState.WRITTEN, JobState.DELIVERED}:
            reason = "Not delivered: " + "; ".join(dict.fromkeys(item.reason for item in dead))
            change.jobs.move(job, JobState.FAILED, now, reason, reason=reason)
        elif not dead and job.state is JobState.WRITTEN:
            text = "; ".join(["Everything was delivered", *tell_fallbacks(found)])
            delivered.append((job, f"{text}."))
        else:
            continue
        studies.add(job.study_id)
    if delivered:
        change.jobs.deliver_all(delivered, now)
    change.studies.close_all_finished(studies, now)
