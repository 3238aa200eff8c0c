"""The job table: one model on one series, for one rule, in one or more versions."""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from secondread.domain.job import Candidate, Job, PlannedJob
from secondread.domain.network import Urgency
from secondread.domain.states import JobState, check_transition
from secondread.store.claims import claim_one, release_claims_of
from secondread.store.tables import job, study
from secondread.store.trail import Entry, Trail
from secondread.store.versions import (
    ASIDE,
    LIVE,
    NOT_ANALYSED,
    Terms,
    find_bar,
    is_new,
    is_untouched,
)

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


def _planned_text(record: Job) -> str:
    if record.reason:
        return f"Not analysed: {record.reason}"
    text = f"Planned for model '{record.model_id}' {record.model_version}"
    if record.version > 1:
        text += f", version {record.version}"
    return f"{text}{', in shadow' if record.shadow else ''}."


class Jobs:
    """The jobs, in one transaction."""

    def __init__(self, connection: sa.Connection, trail: Trail) -> None:
        self._connection = connection
        self._trail = trail

    def add(
        self,
        study_id: int,
        planned: PlannedJob,
        sources: Sequence[str],
        at: float,
        terms: Terms = LIVE,
    ) -> Job | None:
        """Add a job, or a new version of one.

        The newest job of the same study, rule and model becomes its predecessor. Versions that
        nobody has begun to work on are superseded, because the new one holds all that they would.

        Args:
            study_id: row id of the study.
            planned: what assembly decided.
            sources: SOP Instance UIDs of the objects that it is about, from now on for good.
            at: now.
            terms: what the rule and the study say about it.

        Returns:
            None if the same images have been given to the same model before, or if the rule allows
            no new version, which ``objection`` explains.
        """
        earlier = self._versions(study_id, planned)
        if not is_new(earlier, planned, sources, terms):
            return None
        if find_bar(earlier, planned, terms, self._last_at(study_id), at):
            return None
        for row in earlier:
            if is_untouched(row, at):
                text = "A newer version was planned, before this one was begun."
                self.move(_record(row), JobState.SUPERSEDED, at, text)
        state = JobState.REFUSED if planned.refusal else JobState.QUEUED
        predecessor = earlier[-1] if earlier else None
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
            "outcome": NOT_ANALYSED if planned.refusal else "",
            "reason": planned.refusal,
            "candidates": [asdict(candidate) for candidate in planned.candidates],
            "checks": [],
            "part": planned.part,
            "sources": sorted(sources),
            "version": predecessor.version + 1 if predecessor else 1,
            "predecessor_id": predecessor.id if predecessor else None,
            "urgency": terms.urgency,
            "shadow": terms.shadow,
        }
        record = _record(
            self._connection.execute(job.insert().values(**values).returning(job)).one()
        )
        detail = {
            "rule": record.rule,
            "version": record.version,
            "predecessor": record.predecessor_id,
            "shadow": record.shadow,
            "sources": len(sources),
        }
        self._trail.append(
            at,
            "job",
            _planned_text(record),
            study_id=study_id,
            job_id=record.id,
            change=("", state),
            detail=detail,
        )
        return record

    def objection(
        self,
        study_id: int,
        planned: PlannedJob,
        sources: Sequence[str],
        at: float,
        terms: Terms = LIVE,
    ) -> str:
        """Why images that came late give no new version of a job; '' where nothing objects."""
        earlier = self._versions(study_id, planned)
        if not is_new(earlier, planned, sources, terms):
            return ""
        return find_bar(earlier, planned, terms, self._last_at(study_id), at)

    def _versions(self, study_id: int, planned: PlannedJob) -> Sequence[Any]:
        """The rows of the jobs of the same study, rule and model, oldest first."""
        query = sa.select(job).where(
            job.c.study_id == study_id,
            job.c.rule == planned.rule,
            job.c.model_id == planned.model_id,
        )
        return self._connection.execute(query.order_by(job.c.version, job.c.id)).all()

    def has_newer(self, record: Job) -> bool:
        """Whether there is a version after this one."""
        query = sa.select(job.c.id).where(job.c.predecessor_id == record.id)
        return self._connection.execute(query.limit(1)).first() is not None

    def before(self, record: Job) -> Iterator[Job]:
        """The versions before this one, newest first."""
        while record.predecessor_id is not None:
            record = self.get(record.predecessor_id)
            yield record

    def _last_at(self, study_id: int) -> float:
        """When the last object of a study came."""
        query = sa.select(study.c.last_at).where(study.c.id == study_id)
        found: float = self._connection.execute(query).scalar_one()
        return found

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

    def deliver_all(self, ended: Sequence[tuple[Job, str]], at: float) -> None:
        """Move jobs to ``DELIVERED``, each with its sentence for the trail, in one go."""
        for record, _ in ended:
            check_transition(record.state, JobState.DELIVERED)
        ids = [record.id for record, _ in ended]
        values = {"state": JobState.DELIVERED, "attempts": 0}
        self._connection.execute(
            sa.update(job)
            .where(job.c.id.in_(ids))
            .values(**values, claimed_by=None, claimed_until=None)
        )
        self._trail.append_all(
            [
                Entry(
                    at,
                    "job",
                    text,
                    record.study_id,
                    record.id,
                    (record.state, JobState.DELIVERED),
                )
                for record, text in ended
            ]
        )

    def claim(
        self, states: Sequence[JobState], owner: str, now: float, lease_s: float
    ) -> Job | None:
        """Claim the job of the most urgent study; of those, the first by priority and age."""
        wanted = (
            sa.select(job.c.id)
            .where(job.c.state.in_(list(states)), job.c.next_at <= now)
            .order_by(job.c.urgency.desc(), job.c.priority.desc(), job.c.created_at, job.c.id)
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

    def renew(self, record: Job, owner: str, until: float) -> bool:
        """Hold the claim of this attempt until then; False where it is held no more."""
        statement = sa.update(job).where(
            job.c.id == record.id,
            job.c.claimed_by == owner,
            job.c.attempts == record.attempts,
        )
        return self._connection.execute(statement.values(claimed_until=until)).rowcount == 1

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
        """Keep the model's plausibility checks of a job; an end without limit is null there."""
        rows = [[name, value, *map(_end, ends), ok] for name, value, *ends, ok in checks]
        self._connection.execute(sa.update(job).where(job.c.id == record.id).values(checks=rows))

    def studies_not_analysed(self, reasons: Sequence[str]) -> Sequence[int]:
        """Row ids of the studies with a job whose reason begins with one of these, sorted."""
        query = sa.select(job.c.study_id).where(
            job.c.outcome == NOT_ANALYSED,
            job.c.state == JobState.DELIVERED,
            sa.or_(*(job.c.reason.startswith(reason, autoescape=True) for reason in reasons)),
        )
        rows = self._connection.execute(query.distinct().order_by(job.c.study_id))
        return tuple(rows.scalars())

    def set_aside(self, record: Job) -> None:
        """Let the same images be planned for the same model once more, as a new version.

        The job keeps all but the digest by which a plan would be known for one that was made.
        """
        digest = hashlib.sha256(f"{record.input_digest} aside {record.id}".encode()).hexdigest()
        self._connection.execute(
            sa.update(job)
            .where(job.c.id == record.id)
            .values(input_digest=f"{ASIDE}{digest[len(ASIDE) :]}")
        )

    def release_claims_of(self, owner_prefix: str) -> int:
        """Give back the claims of an owner that is known to be dead."""
        return release_claims_of(self._connection, job, owner_prefix)

    def get(self, job_id: int) -> Job:
        """The job with this row id."""
        return _record(self._connection.execute(sa.select(job).where(job.c.id == job_id)).one())

    def of_ids(self, ids: Collection[int]) -> Mapping[int, Job]:
        """The jobs with these row ids, by id."""
        # Not the lists of images, which are long, and of which there is one for each.
        query = sa.select(*_COLUMNS).where(job.c.id.in_(sorted(ids)))
        return {row.id: _record(row) for row in self._connection.execute(query)}

    def of_study(self, study_id: int) -> Sequence[Job]:
        """The jobs of a study, oldest first."""
        query = sa.select(job).where(job.c.study_id == study_id).order_by(job.c.id)
        return tuple(_record(row) for row in self._connection.execute(query))

    def delivered_of_patient(self, record: Job, patient_mark: str, limit: int) -> Sequence[Job]:
        """Analysed jobs of the same patient and model in other studies, delivered, newest first.

        Args:
            record: the job that asks; only what was planned in another study is found.
            patient_mark: whose; '' is nobody.
            limit: at most so many.
        """
        if not patient_mark:
            return ()
        query = sa.select(job).where(
            job.c.patient_mark == patient_mark,
            job.c.model_id == record.model_id,
            job.c.study_id != record.study_id,
            job.c.state == JobState.DELIVERED,
            job.c.outcome != NOT_ANALYSED,
        )
        rows = self._connection.execute(query.order_by(job.c.id.desc()).limit(limit))
        return tuple(_record(row) for row in rows)

    def keys_in(self, states: Collection[JobState], keys: Collection[str]) -> frozenset[str]:
        """Those of these keys whose jobs are in these states."""
        query = sa.select(job.c.key).where(job.c.key.in_(list(keys)), job.c.state.in_(list(states)))
        return frozenset(self._connection.execute(query).scalars())

    def sources(self, job_id: int) -> tuple[str, ...]:
        """SOP Instance UIDs of the objects that a job is about, sorted.

        Empty for a job that was planned before they were kept.
        """
        query = sa.select(job.c.sources).where(job.c.id == job_id)
        return tuple(self._connection.execute(query).scalar_one())

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
            (
                str(name),
                float(value),
                -math.inf if low is None else float(low),
                math.inf if high is None else float(high),
                bool(passed),
            )
            for name, value, low, high, passed in rows
        )


def _end(limit: float) -> float | None:
    """An end of a range for JSON, which has no number for what has no end (RFC 8259 6)."""
    return limit if math.isfinite(limit) else None
