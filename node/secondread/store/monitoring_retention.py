"""Rows about models at work whose time is over: which they are, and their removal.

Feedback of people, pauses, baselines and drift are few, and stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from secondread.domain.monitoring import Observed
from secondread.store.monitoring_tables import comparison, feedback, observation
from secondread.store.tables import hold, job


@dataclass(frozen=True, slots=True)
class Watched:
    """One version of a model on one scanner and protocol."""

    model_id: str
    model_version: str
    scanner: str
    protocol: str


@dataclass(frozen=True, slots=True)
class Span:
    """What is old, and what of it is needed all the same; times are seconds since the epoch.

    Attributes:
        before: what was seen before is old.
        since: from here on the reference of the model is taken.
        reference: how many answered studies that is.
        recent: the last so many studies after it are compared with it.
    """

    before: float
    since: float
    reference: int
    recent: int


class MonitoringKeeping:
    """What is kept of models at work, in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def watched(self) -> Sequence[Watched]:
        """Every model, scanner and protocol of which there is an observation, sorted."""
        names = [observation.c[name] for name in Watched.__slots__]
        query = sa.select(*names).distinct()
        return tuple(Watched(*row) for row in self._connection.execute(query.order_by(*names)))

    def old_observations(self, watched: Watched, span: Span) -> Sequence[int]:
        """Row ids of observations that are old and that drift is not judged by, oldest first.

        While the reference is not full, all that may become part of it stays.
        """
        mine = _of(watched)
        end = self._end_of_reference(watched, span)
        needless = observation.c.at < span.since
        if end is not None:
            last = (
                sa.select(observation.c.id)
                .where(*mine, observation.c.at > end)
                .order_by(observation.c.at.desc(), observation.c.id.desc())
                .limit(span.recent)
                .correlate(None)
            )
            later = sa.and_(observation.c.at > end, observation.c.id.not_in(last))
            needless = sa.or_(needless, later)
        query = (
            sa.select(observation.c.id)
            .where(*mine, observation.c.at < span.before, needless, _may_go(observation))
            .order_by(observation.c.at, observation.c.id)
        )
        return tuple(self._connection.execute(query).scalars())

    def _end_of_reference(self, watched: Watched, span: Span) -> float | None:
        """When the last study of the reference was seen; None while it is not full."""
        query = (
            sa.select(observation.c.at)
            .where(
                *_of(watched),
                observation.c.at >= span.since,
                observation.c.outcome == Observed.ANSWERED,
            )
            .order_by(observation.c.at, observation.c.id)
            .offset(span.reference - 1)
            .limit(1)
        )
        found: float | None = self._connection.execute(query).scalar_one_or_none()
        return found

    def old_comparisons(self, before: float) -> Sequence[int]:
        """Row ids of comparisons made before then whose results nobody judged, oldest first."""
        # They are written in the order of their times: from the first that is not old on, none is.
        first_kept = (
            sa.select(comparison.c.id)
            .where(comparison.c.at >= before)
            .order_by(comparison.c.id)
            .limit(1)
        )
        end = self._connection.execute(first_kept).scalar_one_or_none()
        query = sa.select(comparison.c.id).where(_may_go(comparison))
        if end is not None:
            query = query.where(comparison.c.id < end)
        return tuple(self._connection.execute(query.order_by(comparison.c.id)).scalars())

    def remove_observations(self, ids: Sequence[int]) -> int:
        """Remove these rows, but for those that must stay now; how many that were."""
        return self._remove(observation, ids)

    def remove_comparisons(self, ids: Sequence[int]) -> int:
        """Remove these rows, but for those that must stay now; how many that were."""
        return self._remove(comparison, ids)

    def _remove(self, table: sa.Table, ids: Sequence[int]) -> int:
        if not ids:
            return 0
        statement = sa.delete(table).where(table.c.id.in_(ids), _may_go(table))
        return self._connection.execute(statement).rowcount


def _of(watched: Watched) -> tuple[sa.ColumnElement[bool], ...]:
    return tuple(observation.c[name] == getattr(watched, name) for name in Watched.__slots__)


def _may_go(table: sa.Table) -> sa.ColumnElement[bool]:
    """Whether nobody holds the study of a row, nor judged what it compares."""
    if table is observation:
        return ~_is_on_hold(observation.c.job_id)
    jobs = (comparison.c.champion_job_id, comparison.c.challenger_job_id)
    judged = sa.select(feedback.c.id).where(feedback.c.job_id.in_(jobs))
    return ~sa.or_(judged.exists(), _is_on_hold(comparison.c.champion_job_id))


def _is_on_hold(job_id: sa.Column[int]) -> sa.Exists:
    held = sa.select(hold.c.id).join(job, job.c.study_id == hold.c.study_id)
    return held.where(job.c.id == job_id).exists()
