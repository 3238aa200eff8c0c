"""What the stages that work on jobs share: claiming, and what a failure means."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from secondread.domain.job import Job
from secondread.domain.states import JobState
from secondread.errors import ClaimLostError, NotAnalysedError, SecondReadError
from secondread.pipeline.workplace import ATTEMPTS_MAX, LEASE_S, Workplace
from secondread.store import Transaction

log = structlog.stdlib.get_logger(__name__)

NOT_ANALYSED = "not analysed"
POSTPONED_S = 20.0


def claim(place: Workplace, states: Sequence[JobState], lease_s: float = LEASE_S) -> Job | None:
    """Claim the next job in one of these states.

    A job that took the process down at every try is given up instead.
    """
    now = place.clock.now()
    with place.ledger.begin() as change:
        job = change.jobs.claim(states, place.owner, now, lease_s)
        if job is None or job.attempts <= ATTEMPTS_MAX:
            return job
    fail(
        place,
        job,
        f"The node failed {ATTEMPTS_MAX} times in state '{job.state}'; see the log, then retry.",
    )
    return None


def renew(place: Workplace, job: Job, lease_s: float = LEASE_S) -> None:
    """Hold a claim longer, before the next part of a stage that has several.

    Raises:
        ClaimLostError: somebody else has it.
    """
    with place.ledger.begin() as change:
        if not change.jobs.renew(job, place.owner, place.clock.now() + lease_s):
            raise ClaimLostError(f"Job {job.id} is worked on by somebody else.")


def attempt(place: Workplace, job: Job, action: Callable[[Job], None]) -> None:
    """Do one stage's work on a claimed job; a refusal or a failure ends up in the ledger."""
    try:
        action(job)
    except ClaimLostError as error:
        # Whoever has it brings it to its end; what was written here is what they write.
        log.warning("job left to another", job=job.key, reason=str(error))
    except NotAnalysedError as error:
        refuse(place, job, str(error), error.outcome)
    except SecondReadError as error:
        if error.retryable:
            postpone(place, job, str(error))
        else:
            fail(place, job, str(error), error.audit_code)
    except OSError as error:
        # A full or failing disk: nothing is lost by waiting.
        postpone(place, job, f"The disk did not answer: {error.strerror}.")
    except Exception as error:
        # One study must not stop the others; the fault is ours and the log has its trace.
        log.exception("stage failed", job=job.key, state=str(job.state))
        fail(place, job, f"The node failed with {type(error).__name__}; see the log, then retry.")


def refuse(
    place: Workplace,
    job: Job,
    reason: str,
    outcome: str,
    keep: Callable[[Transaction], None] | None = None,
) -> None:
    """The job ends as 'not analysed', for this reason; ``keep`` writes more with it."""
    log.info("not analysed", job=job.key, model=job.model_id, outcome=outcome)
    with place.ledger.begin() as change:
        if keep is not None:
            keep(change)
        change.jobs.move(
            job,
            JobState.REFUSED,
            place.clock.now(),
            f"Not analysed: {reason}",
            detail={"outcome": outcome},
            outcome=NOT_ANALYSED,
            reason=reason,
        )


def fail(place: Workplace, job: Job, reason: str, code: str = "") -> None:
    """A dead letter: a person has to look. The trail keeps the audit code, where there is one."""
    log.error("job failed", job=job.key, model=job.model_id, reason=reason, code=code)
    detail = {"code": code} if code else None
    with place.ledger.begin() as change:
        now = place.clock.now()
        change.jobs.move(job, JobState.FAILED, now, reason, detail=detail, reason=reason)
        change.studies.close_if_finished(job.study_id, now)


def queue_again(place: Workplace, job: Job, reason: str) -> None:
    """Start over from the images, which are never lost."""
    log.warning("job starts over", job=job.key, reason=reason)
    with place.ledger.begin() as change:
        change.jobs.move(job, JobState.QUEUED, place.clock.now(), reason)


def postpone(place: Workplace, job: Job, reason: str, wait_s: float = POSTPONED_S) -> None:
    """Try again in a while, as often as it takes: what is in the way is not the study's fault."""
    log.warning("job postponed", job=job.key, wait_s=wait_s, reason=reason)
    with place.ledger.begin() as change:
        change.jobs.postpone(job, place.clock.now() + wait_s)
