"""What became of the jobs of one version of a model: how many, and why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from secondread.domain.states import JobState
from secondread.store.tables import job
from secondread.store.versions import NOT_ANALYSED

DAY_S = 86_400
PLANNED_DAY = (sa.cast(job.c.created_at, sa.BigInteger) // DAY_S).label("day")
"""Days from the epoch until a job was planned; in whole seconds first, for a cast of the days
themselves is rounded by some databases and cut by others."""


@dataclass(frozen=True, slots=True)
class WorkDone:
    """Jobs by what became of them; ``refused`` is 'not analysed'."""

    analysed: int = 0
    refused: int = 0
    failed: int = 0
    on_its_way: int = 0

    @property
    def ended(self) -> int:
        """Those that were analysed or refused."""
        return self.analysed + self.refused


@dataclass(frozen=True, slots=True)
class Day:
    """What was planned on one day; ``at`` is its first second, UTC."""

    at: int
    analysed: int
    refused: int


class ModelWork:
    """The jobs of models, counted, in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def done(self, model_id: str, version: str) -> WorkDone:
        """Every job of a model; those that were replaced before they were begun do not count."""
        query = (
            sa.select(job.c.state, job.c.outcome, sa.func.count().label("jobs"))
            .where(*_of(model_id, version), job.c.state != JobState.SUPERSEDED)
            .group_by(job.c.state, job.c.outcome)
        )
        found: Counter[str] = Counter()
        for row in self._connection.execute(query):
            found[_kind(row.state, row.outcome)] += int(row.jobs)
        return WorkDone(**found)

    def refusals(self, model_id: str, version: str, limit: int) -> Mapping[str, int]:
        """Why the last jobs were refused: names of the checks that failed, the commonest first.

        '' is a study of which the model saw nothing: none of its images suited it, or the model was
        paused.
        """
        query = (
            sa.select(job.c.checks)
            .where(*_of(model_id, version), job.c.outcome == NOT_ANALYSED)
            .order_by(job.c.id.desc())
            .limit(limit)
        )
        found: Counter[str] = Counter()
        for checks in self._connection.execute(query).scalars():
            failed = [str(name) for name, *_, passed in checks if not passed]
            found.update(failed[:1] or [""])
        return dict(found.most_common())

    def days(self, model_id: str, version: str, since: float) -> Sequence[Day]:
        """How many jobs were analysed and refused of those planned on each day, oldest first."""
        query = (
            sa.select(PLANNED_DAY, job.c.state, job.c.outcome, sa.func.count().label("jobs"))
            .where(*_of(model_id, version), job.c.created_at >= since)
            .group_by(PLANNED_DAY, job.c.state, job.c.outcome)
        )
        found: dict[int, Counter[str]] = {}
        for row in self._connection.execute(query):
            found.setdefault(row.day, Counter())[_kind(row.state, row.outcome)] += int(row.jobs)
        return tuple(
            Day(number * DAY_S, counts["analysed"], counts["refused"])
            for number, counts in sorted(found.items())
        )

    def versions(self, model_id: str) -> Sequence[str]:
        """The versions of a model that have had a job, the last one first."""
        query = (
            sa.select(job.c.model_version)
            .where(job.c.model_id == model_id)
            .group_by(job.c.model_version)
            .order_by(sa.func.max(job.c.id).desc())
        )
        return tuple(self._connection.execute(query).scalars())


def _of(model_id: str, version: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (job.c.model_id == model_id, job.c.model_version == version)


def _kind(state: str, outcome: str) -> str:
    if state == JobState.FAILED:
        return "failed"
    if outcome == NOT_ANALYSED:
        return "refused"
    return "analysed" if outcome else "on_its_way"
