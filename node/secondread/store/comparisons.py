"""The comparison table: pairs of jobs of two rules on one study, and how their answers compare."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from secondread.domain.monitoring import Comparison
from secondread.domain.states import JOB_ENDS, JobState
from secondread.store.monitoring_tables import comparison
from secondread.store.tables import job

_Side = sa.FromClause
_SETTLED = (JobState.REFUSED, JobState.WRITTEN, JobState.DELIVERED, JobState.FAILED)


@dataclass(frozen=True, slots=True)
class Challenge:
    """Two rules: the results of ``challenger``, in shadow, are compared with ``champion``'s."""

    champion: str
    challenger: str


class Comparisons:
    """The comparisons, in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def keep(self, found: Comparison) -> None:
        """Write down what came of a comparison; one that is there already stays."""
        query = sa.select(comparison.c.id).where(
            comparison.c.champion_job_id == found.champion_job_id,
            comparison.c.challenger_job_id == found.challenger_job_id,
        )
        if self._connection.execute(query).first() is not None:
            return
        values = {
            "champion_job_id": found.champion_job_id,
            "challenger_job_id": found.challenger_job_id,
            "at": found.at,
            "measures": dict(found.measures),
        }
        self._connection.execute(comparison.insert().values(**values))

    def due(self, challenge: Challenge, since: float, limit: int) -> Sequence[tuple[int, int]]:
        """Row ids of the jobs (champion's, challenger's) that can be compared now, oldest first.

        They are the newest job of either rule on one study; both have been analysed or refused, and
        they have not been compared.

        Args:
            challenge: the two rules.
            since: jobs that were planned before are left alone, seconds since the epoch.
            limit: at most so many.
        """
        first, second = job.alias("champion"), job.alias("challenger")
        query = _open_pairs(challenge, since, first, second).where(
            *(
                condition
                for side in (first, second)
                for condition in (side.c.outcome != "", side.c.state.in_(_SETTLED))
            )
        )
        rows = self._connection.execute(query.order_by(second.c.id).limit(limit))
        return tuple((row.champion_id, row.challenger_id) for row in rows)

    def awaited(self, challenges: Collection[Challenge], since: float) -> frozenset[str]:
        """Keys of the jobs whose answers are wanted for a comparison that is still to come.

        A job that failed without an answer is waited for by nobody.
        """
        first, second = job.alias("champion"), job.alias("challenger")
        keys: set[str] = set()
        for challenge in challenges:
            query = _open_pairs(challenge, since, first, second).where(
                *(
                    sa.or_(side.c.outcome != "", side.c.state.not_in(list(JOB_ENDS)))
                    for side in (first, second)
                )
            )
            for row in self._connection.execute(query):
                keys |= {row.champion_key, row.challenger_key}
        return frozenset(keys)

    def of_model(self, model_id: str, version: str, limit: int) -> Sequence[Comparison]:
        """The last comparisons in which a model was champion or challenger, oldest first."""
        # From the newest comparison on: a model has many more jobs than it has comparisons.
        sides = (comparison.c.champion_job_id, comparison.c.challenger_job_id)
        query = sa.select(comparison).where(
            sa.or_(*(_is_of_model(side, model_id, version) for side in sides))
        )
        rows = self._connection.execute(query.order_by(comparison.c.id.desc()).limit(limit)).all()
        return tuple(_record(row) for row in reversed(rows))


def _open_pairs(challenge: Challenge, since: float, first: _Side, second: _Side) -> sa.Select[Any]:
    """The newest jobs of two rules on each study that have not been compared."""
    done = sa.select(comparison.c.id).where(
        comparison.c.champion_job_id == first.c.id,
        comparison.c.challenger_job_id == second.c.id,
    )
    return (
        sa.select(
            first.c.id.label("champion_id"),
            second.c.id.label("challenger_id"),
            first.c.key.label("champion_key"),
            second.c.key.label("challenger_key"),
        )
        .join(second, second.c.study_id == first.c.study_id)
        .where(
            first.c.rule == challenge.champion,
            second.c.rule == challenge.challenger,
            second.c.created_at >= since,
            ~done.exists(),
            ~_newer(second),
            ~_newer(first),
        )
    )


def _is_of_model(job_id: sa.Column[Any], model_id: str, version: str) -> sa.Exists:
    query = sa.select(job.c.id).where(
        job.c.id == job_id, job.c.model_id == model_id, job.c.model_version == version
    )
    return query.exists()


def _newer(side: _Side) -> sa.Exists:
    other = job.alias()
    query = sa.select(other.c.id).where(
        other.c.study_id == side.c.study_id, other.c.rule == side.c.rule, other.c.id > side.c.id
    )
    return query.exists()


def _record(row: Any) -> Comparison:
    return Comparison(
        champion_job_id=row.champion_job_id,
        challenger_job_id=row.challenger_job_id,
        at=row.at,
        measures=dict(row.measures),
        id=row.id,
    )
