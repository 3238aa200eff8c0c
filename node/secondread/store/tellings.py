"""The telling table: what listeners are to be told, drawn from the trail.

Whatever happens leaves a row in the trail, in the same transaction. So messages are made from the
trail and from a mark for each listener up to where it was read: none is forgotten, whenever the
node stops, and nobody who changes a state needs to know that there are listeners.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from secondread.domain.telling import Event, Telling, TellingState
from secondread.store.claims import claim_one, release_claims_of
from secondread.store.tables import telling, telling_mark, trail
from secondread.store.trail import TrailRow

KEPT_MAX = 20_000
"""Rows that are kept; the oldest that are not waiting go first."""

_COLUMNS = [column for column in telling.c if not column.name.startswith("claimed_")]


@dataclass(frozen=True, slots=True)
class Message:
    """What a listener is to be told; see ``domain.telling.Telling``."""

    event: Event
    key: str
    study_id: int | None
    job_id: int | None
    content: Mapping[str, Any]


def _record(row: Any) -> Telling:
    values = {column.name: getattr(row, column.name) for column in _COLUMNS}
    states = {"event": Event(row.event), "state": TellingState(row.state)}
    return Telling(**{**values, **states})


class Tellings:
    """The messages, in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def unread(self, target: str, events: Collection[str], limit: int) -> Sequence[TrailRow]:
        """Rows of the trail that a listener's messages have not been made from, oldest first.

        None of a listener that was not introduced.
        """
        mark = sa.select(telling_mark.c.trail_id).where(telling_mark.c.target == target)
        query = sa.select(trail).where(
            trail.c.id > mark.scalar_subquery(), trail.c.event.in_(list(events))
        )
        rows = self._connection.execute(query.order_by(trail.c.id).limit(limit))
        return tuple(TrailRow(**row._mapping) for row in rows)

    def is_known(self, target: str) -> bool:
        """Whether a listener was introduced."""
        query = sa.select(telling_mark.c.trail_id).where(telling_mark.c.target == target)
        return self._connection.execute(query).first() is not None

    def introduce(self, target: str) -> None:
        """Begin to make messages for a listener that is new: of what happens from now on."""
        if not self.is_known(target):
            values = {"target": target, "trail_id": self.newest_row()}
            self._connection.execute(telling_mark.insert().values(**values))

    def unread_rows(self, target: str) -> int:
        """How many rows the trail has behind a listener's mark, of whatever kind."""
        mark = sa.select(telling_mark.c.trail_id).where(telling_mark.c.target == target)
        read = self._connection.execute(mark).scalar()
        return self.newest_row() - int(read) if read is not None else 0

    def newest_row(self) -> int:
        """The last row of the trail; 0 where there is none."""
        return int(self._connection.execute(sa.select(sa.func.max(trail.c.id))).scalar() or 0)

    def keep_read(self, target: str, trail_id: int) -> None:
        """The messages from all rows up to this one have been made."""
        statement = sa.update(telling_mark).where(telling_mark.c.target == target)
        self._connection.execute(statement.values(trail_id=trail_id))

    def add(self, target: str, message: Message, at: float) -> bool:
        """Keep a message until it has been told; False where it was there already."""
        known = sa.select(telling.c.id).where(
            telling.c.target == target, telling.c.key == message.key
        )
        if self._connection.execute(known).first() is not None:
            return False
        newest = self._connection.execute(
            telling.insert()
            .values(
                target=target,
                event=message.event,
                key=message.key,
                study_id=message.study_id,
                job_id=message.job_id,
                content=dict(message.content),
                state=TellingState.READY,
                attempts=0,
                created_at=at,
                next_at=at,
                reason="",
            )
            .returning(telling.c.id)
        ).scalar_one()
        self._connection.execute(
            sa.delete(telling).where(
                telling.c.id <= newest - KEPT_MAX, telling.c.state != TellingState.READY
            )
        )
        return True

    def is_due(self, target: str, now: float) -> bool:
        """Whether there is anything that a listener could be told now."""
        query = sa.select(telling.c.id).where(
            telling.c.target == target,
            telling.c.state == TellingState.READY,
            telling.c.next_at <= now,
        )
        return self._connection.execute(query.limit(1)).first() is not None

    def claim(self, target: str, owner: str, now: float, lease_s: float) -> Telling | None:
        """Claim the oldest of the messages for a listener that are due and were tried the least.

        So one that the listener cannot take does not keep those behind it back.
        """
        wanted = (
            sa.select(telling.c.id)
            .where(
                telling.c.target == target,
                telling.c.state == TellingState.READY,
                telling.c.next_at <= now,
            )
            .order_by(telling.c.attempts, telling.c.id)
        )
        row = claim_one(self._connection, telling, wanted, owner, now, lease_s)
        return None if row is None else _record(row)

    def close(self, one: Telling, state: TellingState, reason: str = "") -> None:
        """It has been told, or is given up."""
        self._change(one, {"state": state, "reason": reason})

    def postpone(self, one: Telling, next_at: float, reason: str, *, counts: bool = True) -> None:
        """Try again at ``next_at``; ``counts`` is whether the try counts."""
        attempts = one.attempts + 1 if counts else one.attempts
        self._change(one, {"next_at": next_at, "reason": reason, "attempts": attempts})

    def _change(self, one: Telling, values: Mapping[str, Any]) -> None:
        statement = sa.update(telling).where(telling.c.id == one.id)
        self._connection.execute(statement.values(claimed_by=None, claimed_until=None, **values))

    def release_claims_of(self, owner_prefix: str) -> int:
        """Give back the claims of an owner that is known to be dead."""
        return release_claims_of(self._connection, telling, owner_prefix)

    def of_target(self, target: str, limit: int = 50) -> Sequence[Telling]:
        """The last messages for a listener, newest first."""
        query = sa.select(telling).where(telling.c.target == target)
        rows = self._connection.execute(query.order_by(telling.c.id.desc()).limit(limit))
        return tuple(_record(row) for row in rows)

    def counts(self) -> Mapping[str, Mapping[TellingState, int]]:
        """How many messages there are for each listener in each state."""
        query = sa.select(telling.c.target, telling.c.state, sa.func.count())
        found: dict[str, dict[TellingState, int]] = {}
        grouped = query.group_by(telling.c.target, telling.c.state)
        for target, state, count in self._connection.execute(grouped):
            found.setdefault(target, {})[TellingState(state)] = int(count)
        return found
