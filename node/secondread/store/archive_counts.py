"""The archive_count table: how many objects of a study an archive says it has."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from secondread.domain.states import DeliveryState
from secondread.store.tables import archive_count, job, outbox


@dataclass(frozen=True, slots=True)
class ArchiveCount:
    """One archive's last answer about one study.

    Attributes:
        destination: the archive's configured name.
        objects: how many it has; None where it did not say.
        at: when it was asked; seconds since the epoch, UTC.
        reason: why it did not say, in one sentence; else ''.
    """

    study_id: int
    destination: str
    objects: int | None
    at: float
    reason: str = ""


class ArchiveCounts:
    """The archives' answers, in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def keep(self, count: ArchiveCount) -> None:
        """Write an answer down, instead of the one before."""
        values = {"objects": count.objects, "at": count.at, "reason": count.reason}
        key = {"study_id": count.study_id, "destination": count.destination}
        changed = self._connection.execute(
            sa.update(archive_count).filter_by(**key).values(**values)
        )
        if not changed.rowcount:
            self._connection.execute(archive_count.insert().values(**key, **values))

    def of_study(self, study_id: int) -> tuple[ArchiveCount, ...]:
        """What archives have said about a study, by their names."""
        query = sa.select(archive_count).where(archive_count.c.study_id == study_id)
        rows = self._connection.execute(query.order_by(archive_count.c.destination))
        return tuple(
            ArchiveCount(row.study_id, row.destination, row.objects, row.at, row.reason)
            for row in rows
        )

    def results_sent(self, study_id: int, destination: str) -> int:
        """How many results of this node the archive has got for a study; it counts them too."""
        query = (
            sa.select(sa.func.count())
            .select_from(outbox.join(job, job.c.id == outbox.c.job_id))
            .where(
                job.c.study_id == study_id,
                outbox.c.destination == destination,
                outbox.c.state.in_([DeliveryState.SENT, DeliveryState.SAFE]),
            )
        )
        return int(self._connection.execute(query).scalar_one())
