"""The pause table: how long studies of a peer and a protocol fell silent while they came."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from secondread.store.tables import pause

KEPT_MAX = 500
"""Rows that are kept of a peer and protocol."""


@dataclass(frozen=True, slots=True)
class Pause:
    """The longest time between two consecutive objects of a study.

    Attributes:
        peer: the name of the peer that sent it.
        protocol: a keyed hash that stands for the protocol; no word of the study is in it.
        longest_s: in seconds; 0 where there was one object.
        at: when that was worked out; seconds since the epoch, UTC.
    """

    study_id: int
    peer: str
    protocol: str
    longest_s: float
    at: float


class Pauses:
    """The pauses, in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def keep(self, found: Pause) -> None:
        """Write down the pause of a study, instead of what was known of it before."""
        values = {
            "peer": found.peer,
            "protocol": found.protocol,
            "longest_s": found.longest_s,
            "at": found.at,
        }
        changed = self._connection.execute(
            sa.update(pause).where(pause.c.study_id == found.study_id).values(**values)
        )
        if changed.rowcount:
            return
        self._connection.execute(pause.insert().values(study_id=found.study_id, **values))
        same = (pause.c.peer == found.peer, pause.c.protocol == found.protocol)
        old = (
            sa.select(pause.c.id)
            .where(*same)
            .order_by(pause.c.at.desc(), pause.c.id.desc())
            .offset(KEPT_MAX)
            .limit(-1)
        )
        self._connection.execute(sa.delete(pause).where(pause.c.id.in_(old.scalar_subquery())))

    def of_study(self, study_id: int) -> Pause | None:
        """What was learned from a study."""
        row = self._connection.execute(sa.select(pause).filter_by(study_id=study_id)).first()
        if row is None:
            return None
        return Pause(row.study_id, row.peer, row.protocol, row.longest_s, row.at)

    def last(self, peer: str, protocol: str, count: int, but: int = 0) -> tuple[float, ...]:
        """The longest pauses of the last studies of a peer and a protocol, the newest first.

        ``but`` is the row id of a study that is left out.
        """
        query = (
            sa.select(pause.c.longest_s)
            .where(pause.c.peer == peer, pause.c.protocol == protocol, pause.c.study_id != but)
            .order_by(pause.c.at.desc(), pause.c.id.desc())
            .limit(count)
        )
        return tuple(float(value) for value in self._connection.execute(query).scalars())
