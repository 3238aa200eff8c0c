"""The study table: where each study is on its way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from secondread.domain.instance import Instance
from secondread.domain.network import Urgency
from secondread.domain.states import JOB_ENDS, JobState, StudyState, check_transition
from secondread.domain.study import Study
from secondread.errors import NotFoundError
from secondread.store.claims import claim_one, release_claims_of
from secondread.store.tables import job, study
from secondread.store.trail import Trail

_HIDDEN = {"claimed_by", "claimed_until", "answers"}
_COLUMNS = [column for column in study.c if column.name not in _HIDDEN]


def _record(row: Any) -> Study:
    values = {column.name: getattr(row, column.name) for column in _COLUMNS}
    return Study(
        **{
            **values,
            "state": StudyState(values["state"]),
            "urgency": Urgency(values["urgency"]),
            "ready": None if values["ready"] is None else tuple(values["ready"]),
        }
    )


_ARRIVED = (
    sa.update(study)
    .where(study.c.study_instance_uid == sa.bindparam("uid"))
    .values(
        last_at=sa.bindparam("at"),
        quiet_s=sa.bindparam("quiet"),
        due_at=sa.bindparam("due"),
        instances=study.c.instances + sa.bindparam("count"),
        urgency=sa.case(
            (study.c.urgency < sa.bindparam("urgent"), sa.bindparam("urgent")),
            else_=study.c.urgency,
        ),
    )
)


def _arrival(group: Sequence[Instance], quiet_s: float) -> dict[str, Any]:
    last = group[-1]
    return {
        "uid": last.study_instance_uid,
        "at": last.received_at,
        "quiet": quiet_s,
        "due": last.received_at + quiet_s,
        "count": len(group),
        "urgent": max(record.urgency for record in group),
    }


class Studies:
    """The studies, in one transaction."""

    def __init__(self, connection: sa.Connection, trail: Trail) -> None:
        self._connection = connection
        self._trail = trail

    def add_instances(self, records: Sequence[Instance], quiet_s: Callable[[str], float]) -> None:
        """Note that objects were stored; a study that had gone on comes back.

        ``quiet_s`` gives the quiet time of a peer's studies, in seconds.
        """
        groups: dict[str, list[Instance]] = {}
        for record in records:
            groups.setdefault(record.study_instance_uid, []).append(record)
        query = sa.select(study).where(study.c.study_instance_uid.in_(list(groups)))
        known = {row.study_instance_uid: row for row in self._connection.execute(query)}
        for uid, group in groups.items():
            if uid not in known:
                self._begin(group[0], quiet_s(group[0].peer))
            elif known[uid].state != StudyState.RECEIVING:
                found = _record(known[uid])
                at = group[-1].received_at
                self.move(found, StudyState.RECEIVING, at, "Images are still arriving.")
        changes = [_arrival(group, quiet_s(group[-1].peer)) for group in groups.values()]
        if changes:
            self._connection.execute(_ARRIVED, changes)

    def _begin(self, first: Instance, quiet_s: float) -> None:
        values: dict[str, Any] = {
            "study_instance_uid": first.study_instance_uid,
            "state": StudyState.RECEIVING,
            "peer": first.peer,
            "first_at": first.received_at,
            "last_at": first.received_at,
            "quiet_s": quiet_s,
            "due_at": first.received_at + quiet_s,
            "instances": 0,
            "urgency": first.urgency,
            "attempts": 0,
            "reason": "Images are still arriving.",
        }
        row = self._connection.execute(study.insert().values(**values).returning(study.c.id)).one()
        self._trail.append(
            first.received_at,
            "study",
            f"First object, from peer '{first.peer}'.",
            study_id=row.id,
            change=("", StudyState.RECEIVING),
        )

    def move(
        self,
        record: Study,
        after: StudyState,
        at: float,
        reason: str,
        *,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Change a study's state, give its claim back and leave a row in the trail."""
        check_transition(record.state, after)
        self._connection.execute(
            sa.update(study)
            .where(study.c.id == record.id)
            .values(state=after, reason=reason, attempts=0, claimed_by=None, claimed_until=None)
        )
        self._trail.append(
            at, "study", reason, study_id=record.id, change=(record.state, after), detail=detail
        )

    def restart_quiet_time(self, now: float) -> int:
        """Give every study that is receiving its whole quiet time again; how many there are."""
        statement = (
            sa.update(study)
            .where(study.c.state == StudyState.RECEIVING)
            .values(due_at=now + study.c.quiet_s)
        )
        return self._connection.execute(statement).rowcount

    def due(self, now: float) -> Sequence[Study]:
        """The studies that are receiving and whose quiet time has passed."""
        query = sa.select(study).where(study.c.state == StudyState.RECEIVING, study.c.due_at <= now)
        return tuple(_record(row) for row in self._connection.execute(query))

    def claim(self, owner: str, now: float, lease_s: float) -> Study | None:
        """Claim the most urgent study to be assembled; of equals, that which has waited longest."""
        wanted = (
            sa.select(study.c.id)
            .where(study.c.state == StudyState.ASSEMBLING)
            .order_by(study.c.urgency.desc(), study.c.due_at, study.c.id)
        )
        row = claim_one(self._connection, study, wanted, owner, now, lease_s)
        if row is None:
            return None
        self._connection.execute(
            sa.update(study).where(study.c.id == row.id).values(attempts=study.c.attempts + 1)
        )
        return self.get(row.id)

    def release_claims_of(self, owner_prefix: str) -> int:
        """Give back the claims of an owner that is known to be dead."""
        return release_claims_of(self._connection, study, owner_prefix)

    def close_if_finished(self, study_id: int, at: float) -> None:
        """End a study whose jobs have all ended: done, or held if one of them failed."""
        record = self.get(study_id)
        if record.state is not StudyState.ANALYSING:
            return
        query = sa.select(job.c.state, job.c.outcome, job.c.model_id, job.c.reason)
        rows = self._connection.execute(query.where(job.c.study_id == study_id)).all()
        if not all(JobState(row.state) in JOB_ENDS for row in rows):
            return
        failed = [row for row in rows if row.state == JobState.FAILED]
        if failed:
            text = "; ".join(f"model '{row.model_id}': {row.reason}" for row in failed)
            self.move(record, StudyState.HELD, at, f"Waits for a person: {text}")
            return
        parts = [f"model '{r.model_id}': {r.outcome or 'analysed'}" for r in rows]
        self.move(record, StudyState.DONE, at, "Finished; " + ", ".join(parts) + ".")

    def get(self, study_id: int) -> Study:
        """The study with this row id."""
        query = sa.select(study).where(study.c.id == study_id)
        return _record(self._connection.execute(query).one())

    def find(self, key: str) -> Study:
        """The study with this row id or Study Instance UID.

        Raises:
            NotFoundError: there is none.
        """
        condition = study.c.study_instance_uid == key
        if key.isdigit() and len(key) < 16:
            condition = sa.or_(condition, study.c.id == int(key))
        row = self._connection.execute(sa.select(study).where(condition)).first()
        if row is None:
            raise NotFoundError(
                f"There is no study '{key}'. 'secondread study list' shows those that are there."
            )
        return _record(row)

    def list(self, limit: int = 50) -> Sequence[Study]:
        """The studies that changed last, newest first."""
        query = sa.select(study).order_by(study.c.last_at.desc(), study.c.id.desc()).limit(limit)
        return tuple(_record(row) for row in self._connection.execute(query))

    def counts(self) -> Mapping[StudyState, int]:
        """How many studies there are in each state."""
        query = sa.select(study.c.state, sa.func.count()).group_by(study.c.state)
        found = {StudyState(state): int(n) for state, n in self._connection.execute(query)}
        return {state: found.get(state, 0) for state in StudyState}
