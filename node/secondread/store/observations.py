"""The observation, model_baseline and model_drift tables: what was seen of models at work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from secondread.domain.monitoring import Baseline, Drift, DriftRow, Observation, Observed
from secondread.store.monitoring_tables import model_baseline, model_drift, observation
from secondread.store.trail import Trail

BASELINE_EVENT = "model-baseline"
"""Trail event: a person said from when on the reference of a model is taken."""
DRIFT_EVENT = "model-drift"
"""Trail event: the drift of a model on a scanner and protocol has become another."""

GROUPS_MAX = 200
"""Scanners and protocols of one model that are looked at: headers can name as many as they like."""

Group = tuple[str, str]
"""Scanner and protocol."""


class Observations:
    """What was seen, in one transaction."""

    def __init__(self, connection: sa.Connection, trail: Trail) -> None:
        self._connection = connection
        self._trail = trail

    def keep(self, seen: Observation) -> None:
        """Write down what became of a job, instead of what a run before made of it."""
        values = asdict(seen)
        del values["id"]
        values["measures"] = dict(seen.measures)
        gone = sa.delete(observation).where(observation.c.job_id == seen.job_id)
        self._connection.execute(gone)
        self._connection.execute(observation.insert().values(**values))

    def of_job(self, job_id: int) -> Observation | None:
        """The observation of a job."""
        query = sa.select(observation).where(observation.c.job_id == job_id)
        row = self._connection.execute(query).one_or_none()
        return None if row is None else _observation(row)

    def groups(self, model_id: str, version: str) -> Sequence[Group]:
        """The scanners and protocols that a model has seen, sorted; of many the busiest."""
        query = (
            sa.select(observation.c.scanner, observation.c.protocol)
            .where(observation.c.model_id == model_id, observation.c.model_version == version)
            .group_by(observation.c.scanner, observation.c.protocol)
            # The names as well: which of equals are looked at must not change by the hour.
            .order_by(sa.func.count().desc(), observation.c.scanner, observation.c.protocol)
            .limit(GROUPS_MAX)
        )
        rows = self._connection.execute(query)
        return tuple(sorted((row.scanner, row.protocol) for row in rows))

    def first_answered(
        self, model_id: str, version: str, group: Group, since: float, limit: int
    ) -> Sequence[Observation]:
        """The first observations of answered studies from a time on, oldest first."""
        query = _of_group(model_id, version, group).where(
            observation.c.at >= since, observation.c.outcome == Observed.ANSWERED
        )
        rows = self._connection.execute(
            query.order_by(observation.c.at, observation.c.id).limit(limit)
        )
        return tuple(_observation(row) for row in rows)

    def refused(
        self, model_id: str, version: str, group: Group, between: tuple[float, float]
    ) -> int:
        """How many studies the model refused between two times, both included."""
        query = _of_group(model_id, version, group).where(
            observation.c.at.between(*between), observation.c.outcome == Observed.REFUSED
        )
        counted = sa.select(sa.func.count()).select_from(query.subquery())
        return int(self._connection.execute(counted).scalar_one())

    def last(
        self, model_id: str, version: str, group: Group, after: float, limit: int
    ) -> Sequence[Observation]:
        """The last observations after a time, oldest first."""
        query = _of_group(model_id, version, group).where(observation.c.at > after)
        rows = self._connection.execute(
            query.order_by(observation.c.at.desc(), observation.c.id.desc()).limit(limit)
        ).all()
        return tuple(_observation(row) for row in reversed(rows))

    def counts(self, model_id: str, version: str) -> dict[Observed, int]:
        """How many observations of a model there are, by outcome."""
        query = (
            sa.select(observation.c.outcome, sa.func.count())
            .where(observation.c.model_id == model_id, observation.c.model_version == version)
            .group_by(observation.c.outcome)
        )
        found = {Observed(outcome): int(n) for outcome, n in self._connection.execute(query)}
        return {outcome: found.get(outcome, 0) for outcome in Observed}

    def set_baseline(self, wanted: Baseline, why: str = "") -> None:
        """Take the reference of a model from this time on, and leave a row in the trail."""
        same = (
            model_baseline.c.model_id == wanted.model_id,
            model_baseline.c.model_version == wanted.model_version,
        )
        self._connection.execute(sa.delete(model_baseline).where(*same))
        self._connection.execute(model_baseline.insert().values(**asdict(wanted)))
        self._trail.append(
            wanted.set_at,
            BASELINE_EVENT,
            f"The reference of model '{wanted.model_id}' {wanted.model_version} was set anew by "
            f"{wanted.set_by}.",
            detail={**asdict(wanted), "why": why},
        )

    def baseline(self, model_id: str, version: str) -> Baseline | None:
        """The baseline that a person has set for a model."""
        query = sa.select(model_baseline).where(
            model_baseline.c.model_id == model_id, model_baseline.c.model_version == version
        )
        row = self._connection.execute(query).one_or_none()
        if row is None:
            return None
        return Baseline(row.model_id, row.model_version, row.since, row.set_by, row.set_at)

    def note_drift(self, found: DriftRow) -> bool:
        """Keep what was found; whether it is another state than before, which the trail tells."""
        same = (
            model_drift.c.model_id == found.model_id,
            model_drift.c.model_version == found.model_version,
            model_drift.c.scanner == found.scanner,
            model_drift.c.protocol == found.protocol,
        )
        row = self._connection.execute(sa.select(model_drift).where(*same)).one_or_none()
        before = Drift.FEW if row is None else Drift(row.state)
        changed = before is not found.state
        values = asdict(found)
        if row is not None and not changed:
            values["since"] = row.since
        self._connection.execute(sa.delete(model_drift).where(*same))
        self._connection.execute(model_drift.insert().values(**values))
        if changed:
            detail = {
                "model": found.model_id,
                "version": found.model_version,
                "scanner": found.scanner,
                "protocol": found.protocol,
                "psi_max": found.psi_max,
            }
            change = (before, found.state)
            self._trail.append(
                found.looked_at, DRIFT_EVENT, found.text, change=change, detail=detail
            )
        return changed

    def last_look(self, model_id: str, version: str) -> float:
        """When a model was last judged, in seconds since the epoch; 0 where it never was."""
        query = sa.select(sa.func.max(model_drift.c.looked_at)).where(
            model_drift.c.model_id == model_id, model_drift.c.model_version == version
        )
        found: float | None = self._connection.execute(query).scalar_one()
        return found or 0.0

    def drift_rows(self, model_id: str, version: str) -> Sequence[DriftRow]:
        """What was last found of a model, by scanner and protocol."""
        query = sa.select(model_drift).where(
            model_drift.c.model_id == model_id, model_drift.c.model_version == version
        )
        rows = self._connection.execute(query.order_by(model_drift.c.scanner, model_drift.c.id))
        return tuple(_drift_row(row) for row in rows)


def _of_group(model_id: str, version: str, group: Group) -> sa.Select[Any]:
    scanner, protocol = group
    return sa.select(observation).where(
        observation.c.model_id == model_id,
        observation.c.model_version == version,
        observation.c.scanner == scanner,
        observation.c.protocol == protocol,
    )


def _observation(row: Any) -> Observation:
    return Observation(**{**row._mapping, "outcome": Observed(row.outcome)})


def _drift_row(row: Any) -> DriftRow:
    values = dict(row._mapping)
    del values["id"]
    return DriftRow(**{**values, "state": Drift(row.state)})
