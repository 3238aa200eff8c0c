"""When studies that wait are looked at: sooner where something happened, shifted with the clock."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from secondread.domain.states import StudyState
from secondread.store.tables import study

_WAITING = (StudyState.RECEIVING, StudyState.ASSEMBLING)
_FUTURE_S = 1.0


class Looks:
    """The times in the study table that say what is waited for, in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def hurry(self, study_instance_uids: Collection[str], at: float) -> None:
        """Something happened to these studies: look at them now, if they wait.

        Whoever is looking at one just now finds its ``due_at`` changed, and looks again.
        """
        self._connection.execute(
            sa.update(study)
            .where(
                study.c.study_instance_uid.in_(list(study_instance_uids)),
                study.c.state == StudyState.RECEIVING,
            )
            .values(due_at=at)
        )

    def release(self, study_instance_uids: Collection[str], at: float) -> None:
        """The last association that had brought these studies was released.

        Objects that came after ``at`` belong to a newer one, and the study is not released.
        """
        self._connection.execute(
            sa.update(study)
            .where(
                study.c.study_instance_uid.in_(list(study_instance_uids)),
                study.c.state == StudyState.RECEIVING,
                study.c.last_at <= at,
            )
            .values(released_at=at)
        )
        self.hurry(study_instance_uids, at)

    def begin_again(self, now: float) -> int:
        """Have every study that waits looked at, and bring those back that are in the future.

        For the start: whatever was to happen meanwhile is found out by looking. A study whose last
        object came later than now was received before somebody set the clock back.
        """
        ahead = sa.select(study.c.id, study.c.last_at).where(
            study.c.state.in_(_WAITING), study.c.last_at > now + _FUTURE_S
        )
        rows = self._connection.execute(ahead).all()
        for row in rows:
            self._move_times(study.c.id == row.id, now - row.last_at, (now, now))
        self._connection.execute(
            sa.update(study)
            .where(study.c.state == StudyState.RECEIVING, study.c.due_at > now)
            .values(due_at=now)
        )
        return len(rows)

    def shift(self, by_s: float, since: float, now: float) -> None:
        """The clock was set: move the times of studies that wait by as much.

        ``since`` is when the new time began, at the earliest; what is between it and ``now`` was
        written by the new time already.
        """
        self._move_times(study.c.state.in_(_WAITING), by_s, (since, now))

    def rounds(self, study_id: int) -> Mapping[str, float]:
        """When the study last went on for each rule; '' stands for the peer's own terms."""
        query = sa.select(study.c.rounds).where(study.c.id == study_id)
        found: dict[str, float] = self._connection.execute(query).scalar_one()
        return found

    def end_rounds(self, study_id: int, names: Collection[str], at: float) -> None:
        """The study went on, is held or was dropped for these rules; their waits begin anew."""
        rounds = {**self.rounds(study_id), **dict.fromkeys(names, at)}
        self._connection.execute(
            sa.update(study).where(study.c.id == study_id).values(rounds=rounds)
        )

    def _move_times(
        self, which: sa.ColumnElement[bool], by_s: float, fresh: tuple[float, float]
    ) -> None:
        """Move the times of some studies, but not those between the two of ``fresh``."""

        def moved(column: sa.Column[Any], judge: sa.Column[Any]) -> sa.ColumnElement[Any]:
            return sa.case((judge.between(*fresh), column), else_=column + by_s)

        columns = study.c
        for row in self._connection.execute(
            sa.select(columns.id, columns.rounds).where(which, columns.rounds != {})
        ).all():
            low, high = fresh
            rounds = {
                name: at if low <= at <= high else at + by_s for name, at in row.rounds.items()
            }
            self._connection.execute(
                sa.update(study).where(columns.id == row.id).values(rounds=rounds)
            )
        self._connection.execute(
            sa.update(study)
            .where(which)
            .values(
                first_at=moved(columns.first_at, columns.first_at),
                last_at=moved(columns.last_at, columns.last_at),
                quiet_from=moved(columns.quiet_from, columns.quiet_from),
                released_at=moved(columns.released_at, columns.released_at),
                # These lie ahead, and were worked out from the last object.
                due_at=moved(columns.due_at, columns.last_at),
                next_look_at=moved(columns.next_look_at, columns.first_at),
            )
        )
