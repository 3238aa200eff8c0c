"""What files the ledger knows of, what becomes of their studies, and the marks of those removed.

A row whose file was removed keeps all it says and has ``purged_at``. The mark comes first and the
file goes then, so no row promises a file that was removed on purpose.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import sqlalchemy as sa

from secondread.domain.disk_pressure import WINDOW_S, Traffic
from secondread.domain.hold import Hold
from secondread.domain.retention import (
    DAY_S,
    NEVER,
    KeptJob,
    KeptStudy,
    Kind,
    Retention,
)
from secondread.domain.states import DeliveryState, JobState, StudyState
from secondread.store.holds import EVENT as HOLD_EVENT
from secondread.store.holds import to_hold
from secondread.store.tables import hold, instance, job, outbox, study, trail

PURGE_EVENT = "purge"
"""Trail event: files were removed."""
_QUIET_EVENTS = (PURGE_EVENT, HOLD_EVENT)
"""What does not count as something that happened to a study: its time goes on."""
# SQLite before 3.32 takes at most 999 values in a statement.
_AT_A_TIME = 500


@dataclass(frozen=True, slots=True)
class JobFolder:
    """Whose a folder of results is."""

    job_id: int
    study_id: int
    created_at: float
    shadow: bool


@dataclass(frozen=True, slots=True)
class Resting:
    """A study that is done and has images on disk; ``last_at`` is when the last of them came."""

    study_id: int
    last_at: float


class Keeping:
    """What is kept and what was removed, in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def look(self, study_ids: Collection[int]) -> Mapping[int, KeptStudy]:
        """What decides about these studies, by id."""
        found: dict[int, KeptStudy] = {}
        for some in _portions(study_ids):
            found.update((one.id, one) for one in self._look(some))
        return found

    def _look(self, ids: Sequence[int]) -> Iterator[KeptStudy]:
        rows = self._connection.execute(
            sa.select(study.c.id, study.c.study_instance_uid, study.c.state, study.c.last_at).where(
                study.c.id.in_(ids)
            )
        ).all()
        happened = self._happened(ids)
        images = self._images([row.study_instance_uid for row in rows])
        jobs = self._jobs(ids)
        holds = self._holds(ids)
        for row in rows:
            count, size_bytes, newest = images.get(row.study_instance_uid, (0, 0, 0.0))
            yield KeptStudy(
                id=row.id,
                study_instance_uid=row.study_instance_uid,
                state=StudyState(row.state),
                rested_at=max(row.last_at, happened.get(row.id, 0.0), newest),
                hold=holds.get(row.id),
                images=count,
                image_bytes=size_bytes,
                jobs=tuple(jobs.get(row.id, ())),
            )

    def _happened(self, ids: Sequence[int]) -> Mapping[int, float]:
        query = (
            sa.select(trail.c.study_id, sa.func.max(trail.c.at).label("at"))
            .where(trail.c.study_id.in_(ids), trail.c.event.not_in(_QUIET_EVENTS))
            .group_by(trail.c.study_id)
        )
        return {row.study_id: row.at for row in self._connection.execute(query)}

    def _images(self, uids: Sequence[str]) -> Mapping[str, tuple[int, int, float]]:
        """Number, bytes and newest arrival of the objects on disk, by study."""
        query = (
            sa.select(
                instance.c.study_instance_uid,
                sa.func.count(),
                sa.func.sum(instance.c.size_bytes),
                sa.func.max(instance.c.received_at),
            )
            .where(instance.c.study_instance_uid.in_(uids), instance.c.purged_at.is_(None))
            .group_by(instance.c.study_instance_uid)
        )
        return {
            uid: (int(n), int(size), at) for uid, n, size, at in self._connection.execute(query)
        }

    def _jobs(self, ids: Sequence[int]) -> Mapping[int, list[KeptJob]]:
        sendings: dict[int, set[tuple[str, DeliveryState]]] = {}
        query = (
            sa.select(outbox.c.job_id, outbox.c.destination, outbox.c.state)
            .join(job, job.c.id == outbox.c.job_id)
            .where(job.c.study_id.in_(ids))
            .distinct()
        )
        for job_id, destination, state in self._connection.execute(query):
            sendings.setdefault(job_id, set()).add((destination, DeliveryState(state)))
        found: dict[int, list[KeptJob]] = {}
        columns = (job.c.id, job.c.key, job.c.state, job.c.shadow, job.c.study_id)
        jobs = sa.select(*columns).where(job.c.study_id.in_(ids)).order_by(job.c.id)
        for row in self._connection.execute(jobs):
            entry = KeptJob(
                row.id,
                row.key,
                JobState(row.state),
                row.shadow,
                frozenset(sendings.get(row.id, ())),
            )
            found.setdefault(row.study_id, []).append(entry)
        return found

    def _holds(self, ids: Sequence[int]) -> Mapping[int, Hold]:
        columns = (hold.c.study_id, hold.c.reason, hold.c.placed_by, hold.c.at)
        rows = self._connection.execute(sa.select(*columns).where(hold.c.study_id.in_(ids)))
        return {row.study_id: to_hold(row) for row in rows}

    def resting(
        self, after: Resting | None = None, *, before: float | None = None, limit: int = 500
    ) -> Sequence[Resting]:
        """Studies that are done and have images on disk, those first whose last one came first.

        Args:
            after: where the page before ended.
            before: only those whose last object came no later than this.
            limit: at most so many.
        """
        kept = sa.exists().where(
            instance.c.study_instance_uid == study.c.study_instance_uid,
            instance.c.purged_at.is_(None),
        )
        query = sa.select(study.c.id, study.c.last_at).where(study.c.state == StudyState.DONE, kept)
        if before is not None:
            query = query.where(study.c.last_at <= before)
        if after is not None:
            query = query.where(
                sa.tuple_(study.c.last_at, study.c.id) > (after.last_at, after.study_id)
            )
        rows = self._connection.execute(query.order_by(study.c.last_at, study.c.id).limit(limit))
        return tuple(Resting(row.id, row.last_at) for row in rows)

    def not_resting(self) -> Sequence[int]:
        """Ids of the studies that are not done; few, for most are done soon."""
        query = sa.select(study.c.id).where(study.c.state != StudyState.DONE)
        return tuple(self._connection.execute(query.order_by(study.c.id)).scalars())

    def folders(self, job_keys: Collection[str]) -> Mapping[str, JobFolder]:
        """Whose folders of results these are, by the key of the job."""
        found: dict[str, JobFolder] = {}
        columns = (job.c.key, job.c.id, job.c.study_id, job.c.created_at, job.c.shadow)
        for some in _portions(job_keys):
            for row in self._connection.execute(sa.select(*columns).where(job.c.key.in_(some))):
                found[row.key] = JobFolder(row.id, row.study_id, row.created_at, row.shadow)
        return found

    def image_paths(self, study_instance_uid: str) -> Sequence[str]:
        """Where the objects of a study lie that have not been removed."""
        query = sa.select(instance.c.path).where(
            instance.c.study_instance_uid == study_instance_uid, instance.c.purged_at.is_(None)
        )
        return tuple(self._connection.execute(query.order_by(instance.c.path)).scalars())

    def mark_images(self, study_instance_uid: str, at: float) -> None:
        """Mark every object of a study as removed."""
        self._connection.execute(
            sa.update(instance)
            .where(
                instance.c.study_instance_uid == study_instance_uid, instance.c.purged_at.is_(None)
            )
            .values(purged_at=at)
        )

    def mark_results(self, job_id: int, paths: Collection[str], at: float) -> None:
        """Mark these files of a job as removed, for every destination."""
        for some in _portions(paths):
            self._connection.execute(
                sa.update(outbox)
                .where(
                    outbox.c.job_id == job_id,
                    outbox.c.path.in_(some),
                    outbox.c.purged_at.is_(None),
                )
                .values(purged_at=at)
            )

    def marked(self, paths: Collection[str]) -> frozenset[str]:
        """Those of these paths in the spool whose objects are marked as removed."""
        found: set[str] = set()
        for some in _portions(paths):
            query = sa.select(instance.c.path).where(
                instance.c.path.in_(some), instance.c.purged_at.is_not(None)
            )
            found.update(self._connection.execute(query).scalars())
        return frozenset(found)

    def marked_results(self, job_id: int) -> frozenset[str]:
        """The paths of a job's results that are marked as removed."""
        query = sa.select(outbox.c.path).where(
            outbox.c.job_id == job_id, outbox.c.purged_at.is_not(None)
        )
        return frozenset(self._connection.execute(query).scalars())

    def purged_of(self, study_instance_uid: str) -> frozenset[str]:
        """SOP Instance UIDs of the objects of a study that were removed."""
        query = sa.select(instance.c.sop_instance_uid).where(
            instance.c.study_instance_uid == study_instance_uid, instance.c.purged_at.is_not(None)
        )
        return frozenset(self._connection.execute(query).scalars())

    def on_hold(self) -> frozenset[str]:
        """Study Instance UIDs of the studies on hold."""
        query = sa.select(study.c.study_instance_uid).join(hold, hold.c.study_id == study.c.id)
        return frozenset(self._connection.execute(query).scalars())

    def traffic(self, now: float, terms: Retention) -> Traffic:
        """What came in the last days, and what will go in the next because its time is over."""
        size = sa.func.coalesce(sa.func.sum(instance.c.size_bytes), 0)
        received = self._scalar(sa.select(size).where(instance.c.received_at > now - WINDOW_S))
        first_at = self._scalar(sa.select(sa.func.min(study.c.first_at)))
        span_s = WINDOW_S if first_at is None else min(max(now - first_at, 0.0), WINDOW_S)
        has_job = sa.exists().where(job.c.study_id == study.c.id)
        going = 0.0
        for kind, wanted in ((Kind.IMAGES, has_job), (Kind.UNWANTED, ~has_job)):
            length_s = terms.length_s(kind)
            window_s = min(WINDOW_S, length_s)
            if length_s == NEVER or not window_s:
                continue
            due = self._scalar(
                sa.select(size)
                .join(study, study.c.study_instance_uid == instance.c.study_instance_uid)
                .where(
                    instance.c.purged_at.is_(None),
                    instance.c.received_at > now - length_s,
                    instance.c.received_at <= now - length_s + window_s,
                    wanted,
                )
            )
            going += int(due) * DAY_S / window_s
        return Traffic(int(received), span_s, going)

    def _scalar(self, query: sa.Select[Any]) -> Any:
        return self._connection.execute(query).scalar()


def _portions(values: Collection[Any]) -> Iterator[Sequence[Any]]:
    rest = iter(dict.fromkeys(values))
    while some := tuple(islice(rest, _AT_A_TIME)):
        yield some
