"""What was decided about the studies of the past days, for comparing it with other rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from secondread.store.tables import job, series, study

_PAGE = 2000


@dataclass(frozen=True, slots=True)
class PastJob:
    """What was planned for one study by one rule, the last time.

    Attributes:
        accepted: whether a series was found for the model; what the model made of it is another
            matter.
        reason: why none was found; '' where one was.
    """

    rule: str
    model_id: str
    series_instance_uid: str
    part: str
    accepted: bool
    reason: str


class History:
    """Jobs and studies of a span of time, in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def count_since(self, at: float) -> int:
        """How many studies had a new object at ``at`` or later and have a summary."""
        known = sa.exists().where(series.c.study_id == study.c.id)
        query = sa.select(sa.func.count()).select_from(study).where(study.c.last_at >= at, known)
        return int(self._connection.execute(query).scalar_one())

    def planned_since(self, at: float) -> Mapping[int, Mapping[str, PastJob]]:
        """The last version of every job of those studies: by id of the study, then by rule."""
        query = (
            sa.select(
                job.c.study_id,
                job.c.rule,
                job.c.model_id,
                job.c.series_instance_uid,
                job.c.part,
                job.c.candidates,
                job.c.reason,
            )
            .join(study, study.c.id == job.c.study_id)
            .where(study.c.last_at >= at)
            .order_by(job.c.id)
            .execution_options(yield_per=_PAGE)
        )
        found: dict[int, dict[str, PastJob]] = {}
        for study_id, rule, model_id, uid, part, candidates, reason in self._connection.execute(
            query
        ):
            accepted = any(candidate["accepted"] for candidate in candidates)
            found.setdefault(study_id, {})[rule] = PastJob(
                rule, model_id, uid, part, accepted, "" if accepted else reason
            )
        return found
