"""The job table: one model on one series, for one rule."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from secondread.domain.job import Candidate, Job, PlannedJob
from secondread.domain.network import Urgency
from secondread.domain.states import JobState, check_transition
from secondread.store.claims import claim_one, release_claims_of
from secondread.store.tables import job
from secondread.store.trail import Trail

_HIDDEN = {"claimed_by", "claimed_until", "next_at", "candidates", "checks", "sources"}
_COLUMNS = [column for column in job.c if column.name not in _HIDDEN]


def _record(row: Any) -> Job:
    values = {column.name: getattr(row, column.name) for column in _COLUMNS}
    return Job(
        **{
            **values,
            "state": JobState(values["state"]),
            "urgency": Urgency(values["urgency"]),
        }
    )


class Jobs:
    """The jobs, in one transaction."""

    def __init__(self, connection: sa.Connection, trail: Trail) -> None:
        self._connection = connection
        self._trail = trail

    def add(self, study_id: int, planned: PlannedJob, at: float) -> Job | None:
        """Add a job; None if the same images have been given to the same model before."""
        same = sa.select(job).where(
            job.c.study_id == study_id,
            job.c.rule == planned.rule,
            job.c.model_id == planned.model_id,
            job.c.model_version == planned.model_version,
            job.c.input_digest == planned.input_digest,
        )
        row = self._connection.execute(same).one_or_none()
        if row is not None:
            return None
        state = JobState.REFUSED if planned.refusal else JobState.QUEUED
        values = {
            "key": secrets.token_hex(16),
            "study_id": study_id,
            "state": state,
            "rule": planned.rule,
            "model_id": planned.model_id,
            "model_version": planned.model_version,
            "series_instance_uid": planned.series_instance_uid,
            "input_digest": planned.input_digest,
            "priority": planned.priority,
            "attempts": 0,
            "losses": 0,
            "created_at": at,
            "next_at": at,
            "outcome": "not analysed" if planned.refusal else "",
            "reason": planned.refusal,
            "candidates": [asdict(candidate) for candidate in planned.candidates],
            "checks": [],
        }
        record = _record(
            self._connection.execute(job.insert().values(**values).returning(job)).one()
        )
        text = (
            f"Not analysed: {planned.refusal}"
            if planned.refusal
            else (f"Planned for model '{planned.model_id}' {planned.model_version}.")
        )
        self._trail.append(at, "job", text, study_id=study_id, job_id=record.id, change=("", state))
        return record

    def move(
        self,
        record: Job,
        after: JobState,
        at: float,
        text: str,
        *,
        detail: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> None:
        """Change a job's state, give its claim back and leave a row in the trail."""
        check_transition(record.state, after)
        self._connection.execute(
            sa.update(job)
            .where(job.c.id == record.id)
            .values(state=after, attempts=0, claimed_by=None, claimed_until=None, **values)
        )
        self._trail.append(
            at,
            "job",
            text,
            study_id=record.study_id,
            job_id=record.id,
            change=(record.state, after),
            detail=detail,
        )

    def claim(
        self, states: Sequence[JobState], owner: str, now: float, lease_s: float
    ) -> Job | None:
        """Claim the most urgent job in one of these states, the oldest of equal priority first."""
        wanted = (
            sa.select(job.c.id)
            .where(job.c.state.in_(list(states)), job.c.next_at <= now)
            .order_by(job.c.priority.desc(), job.c.created_at, job.c.id)
        )
        row = claim_one(self._connection, job, wanted, owner, now, lease_s)
        if row is None:
            return None
        self._connection.execute(
            sa.update(job).where(job.c.id == row.id).values(attempts=job.c.attempts + 1)
        )
        return self.get(row.id)

    def holds(self, record: Job, owner: str) -> bool:
        """Whether this owner still holds the claim of this attempt."""
        query = sa.select(job.c.claimed_by, job.c.attempts).where(job.c.id == record.id)
        row = self._connection.execute(query).one()
        return bool(row.claimed_by == owner and row.attempts == record.attempts)

    def postpone(self, record: Job, next_at: float, *, lost: bool = False) -> None:
        """Give a claim back; the job is tried again at ``next_at``, and this try does not count."""
        values: dict[str, Any] = {
            "next_at": next_at,
            "attempts": max(record.attempts - 1, 0),
            "claimed_by": None,
            "claimed_until": None,
        }
        if lost:
            values["losses"] = job.c.losses + 1
        self._connection.execute(sa.update(job).where(job.c.id == record.id).values(**values))

    def keep_checks(self, record: Job, checks: Sequence[Sequence[Any]]) -> None:
        """Keep the model's plausibility checks of a job that it refused."""
        self._connection.execute(
            sa.update(job).where(job.c.id == record.id).values(checks=[list(c) for c in checks])
        )

    def release_claims_of(self, owner_prefix: str) -> int:
        """Give back the claims of an owner that is known to be dead."""
        return release_claims_of(self._connection, job, owner_prefix)

    def get(self, job_id: int) -> Job:
        """The job with this row id."""
        return _record(self._connection.execute(sa.select(job).where(job.c.id == job_id)).one())

    def of_study(self, study_id: int) -> Sequence[Job]:
        """The jobs of a study, oldest first."""
        query = sa.select(job).where(job.c.study_id == study_id).order_by(job.c.id)
        return tuple(_record(row) for row in self._connection.execute(query))

    def keys_in(self, states: Collection[JobState]) -> frozenset[str]:
        """The keys of the jobs in these states."""
        query = sa.select(job.c.key).where(job.c.state.in_(list(states)))
        return frozenset(self._connection.execute(query).scalars())

    def candidates(self, job_id: int) -> tuple[Candidate, ...]:
        """What series selection thought of each series when the job was planned."""
        query = sa.select(job.c.candidates).where(job.c.id == job_id)
        rows: list[dict[str, Any]] = self._connection.execute(query).scalar_one()
        return tuple(Candidate(**row) for row in rows)

    def checks(self, job_id: int) -> tuple[tuple[str, float, float, float, bool], ...]:
        """The model's plausibility checks: (name, value, low, high, passed)."""
        query = sa.select(job.c.checks).where(job.c.id == job_id)
        rows: list[list[Any]] = self._connection.execute(query).scalar_one()
        return tuple(
            (str(n), float(v), float(lo), float(hi), bool(ok)) for n, v, lo, hi, ok in rows
        )
