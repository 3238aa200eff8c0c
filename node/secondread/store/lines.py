"""The lines to destinations: whether they are open, and what goes over them next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from secondread.domain.line import Line, LineState
from secondread.domain.network import Urgency
from secondread.domain.result import OutboxItem
from secondread.domain.states import DeliveryState
from secondread.store.outbox import to_item
from secondread.store.tables import job, line, outbox
from secondread.store.trail import Trail

EVENT = "line"
"""The trail's rows about lines that open, close, or are paused."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """An object to be sent, with what its study has to say about it."""

    item: OutboxItem
    study_id: int
    urgency: Urgency


def _can_be_claimed() -> tuple[sa.ColumnElement[bool], ...]:
    """What is due, and neither being sent nor kept back by what goes before it in its job."""
    now = sa.bindparam("now", type_=sa.Float)
    earlier = outbox.alias("earlier")
    taken = sa.and_(earlier.c.claimed_until.is_not(None), earlier.c.claimed_until >= now)
    blocked = sa.exists().where(
        earlier.c.destination == outbox.c.destination,
        earlier.c.state == DeliveryState.READY,
        # The same for all of a job; it is in the index.
        earlier.c.urgency == outbox.c.urgency,
        earlier.c.job_id == outbox.c.job_id,
        earlier.c.sequence < outbox.c.sequence,
        sa.or_(earlier.c.next_at > now, taken),
    )
    free = sa.or_(outbox.c.claimed_until.is_(None), outbox.c.claimed_until < now)
    # The sum keeps SQLite from the index of what is due, all of which it would have to sort.
    return (outbox.c.state == DeliveryState.READY, outbox.c.next_at + 0 <= now, free, ~blocked)


# Built once: building them costs more than what they do.
_CANDIDATES = (
    sa.select(outbox.c.id)
    .where(
        outbox.c.destination == sa.bindparam("destination"),
        outbox.c.urgency == sa.bindparam("urgency"),
        *_can_be_claimed(),
    )
    .order_by(outbox.c.job_id, outbox.c.sequence, outbox.c.id)
    .limit(sa.bindparam("limit", type_=sa.Integer))
)
_CLAIMABLE = (
    sa.select(outbox.c.id, job.c.study_id, job.c.urgency)
    .join(job, job.c.id == outbox.c.job_id)
    .where(outbox.c.id.in_(sa.bindparam("ids", expanding=True)), *_can_be_claimed())
    .with_for_update(skip_locked=True, of=outbox)
)


class Lines:
    """The lines, in one transaction."""

    def __init__(self, connection: sa.Connection, trail: Trail) -> None:
        self._connection = connection
        self._trail = trail

    def get(self, destination: str) -> Line:
        """The line to a destination; a closed one where nothing is known."""
        query = sa.select(line).where(line.c.destination == destination)
        row = self._connection.execute(query).one_or_none()
        if row is None:
            return Line(destination)
        return Line(**{**row._mapping, "state": LineState(row.state)})

    def all(self) -> Sequence[Line]:
        """Every line that ever failed or was paused, by name."""
        rows = self._connection.execute(sa.select(line).order_by(line.c.destination))
        return tuple(Line(**{**row._mapping, "state": LineState(row.state)}) for row in rows)

    def keep(self, changed: Line, text: str = "") -> None:
        """Write a line as it is now; ``text`` is the sentence for the trail, where there is one."""
        before = self.get(changed.destination)
        values = {
            "state": changed.state,
            "paused": changed.paused,
            "failures": changed.failures,
            "since": changed.since,
            "next_at": changed.next_at,
            "reason": changed.reason,
        }
        where = line.c.destination == changed.destination
        if not self._connection.execute(sa.update(line).where(where).values(**values)).rowcount:
            self._connection.execute(
                line.insert().values(destination=changed.destination, **values)
            )
        if text:
            self._trail.append(
                changed.since,
                EVENT,
                text,
                change=(before.state, changed.state),
                detail={"destination": changed.destination, "paused": changed.paused},
            )

    def claim(
        self, destination: str, owner: str, now: float, lease_s: float, limit: int
    ) -> Sequence[Claimed]:
        """Claim the next objects for a destination, in the order in which they are to be sent.

        Those of urgent studies go first, then those of older jobs; within a job the order is kept:
        an object that waits for a later try, or that somebody else is sending, keeps back those
        behind it.
        """
        return self.claim_these(self.candidates(destination, now, limit), owner, now, lease_s)

    def candidates(self, destination: str, now: float, limit: int) -> Sequence[int]:
        """The ids of the next objects for a destination, in the order of ``claim``; claims none.

        The order of sending is that of an index, which is read from its beginning until there are
        enough: what waits behind them costs nothing.
        """
        found: list[int] = []
        for urgency in sorted(Urgency, reverse=True):
            values = {
                "destination": destination,
                "urgency": urgency,
                "now": now,
                "limit": limit - len(found),
            }
            found += self._connection.execute(_CANDIDATES, values).scalars()
            if len(found) >= limit:
                break
        return found

    def claim_these(
        self, ids: Sequence[int], owner: str, now: float, lease_s: float
    ) -> Sequence[Claimed]:
        """Claim ``candidates``, in their order, as far as they still can be.

        Args:
            ids: they may have been read in an earlier transaction.
            owner: names the claims.
            now: what is due is due by it.
            lease_s: how long the claims hold.
        """
        if not ids:
            return ()
        values = {"ids": list(ids), "now": now}
        found = {row.id: row for row in self._connection.execute(_CLAIMABLE, values)}
        if not found:
            return ()
        claimed = sa.update(outbox).where(outbox.c.id.in_(list(found)))
        rows = self._connection.execute(
            claimed.values(claimed_by=owner, claimed_until=now + lease_s).returning(outbox)
        )
        items = {row.id: to_item(row) for row in rows}
        return tuple(
            Claimed(items[row_id], found[row_id].study_id, Urgency(found[row_id].urgency))
            for row_id in ids
            if row_id in items
        )

    def count_ready(self, destination: str, now: float, at_most: int) -> int:
        """How many objects could be sent now, as far as it matters."""
        some = (
            sa.select(outbox.c.id)
            .where(
                outbox.c.destination == destination,
                outbox.c.state == DeliveryState.READY,
                outbox.c.next_at <= now,
            )
            .limit(at_most)
            .subquery()
        )
        return int(
            self._connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()
        )

    def next_due(self) -> Mapping[str, float]:
        """When the first object that waits is due, for each destination for which there is one.

        It jumps from name to name and looks up one row for each, however many rows there are.
        """
        first = sa.select(sa.func.min(outbox.c.destination).label("name"))
        names = first.cte("names", recursive=True)
        later = sa.select(sa.func.min(outbox.c.destination)).where(
            outbox.c.destination > names.c.name
        )
        names = names.union_all(sa.select(later.scalar_subquery()).where(names.c.name.is_not(None)))
        due = (
            sa.select(sa.func.min(outbox.c.next_at))
            .where(outbox.c.destination == names.c.name, outbox.c.state == DeliveryState.READY)
            .scalar_subquery()
        )
        query = sa.select(names.c.name, due.label("at")).where(names.c.name.is_not(None))
        rows = self._connection.execute(query)
        return {row.name: float(row.at) for row in rows if row.at is not None}

    def waiting(self) -> Mapping[str, Mapping[DeliveryState, int]]:
        """How many objects each destination has in each state."""
        query = sa.select(outbox.c.destination, outbox.c.state, sa.func.count())
        found: dict[str, dict[DeliveryState, int]] = {}
        grouped = query.group_by(outbox.c.destination, outbox.c.state)
        for destination, state, count in self._connection.execute(grouped):
            found.setdefault(destination, {})[DeliveryState(state)] = int(count)
        return found

    def destinations_with_work(self) -> frozenset[str]:
        """The names for which something is to be sent or to be proven."""
        query = sa.select(outbox.c.destination).where(
            sa.or_(
                outbox.c.state == DeliveryState.READY,
                sa.and_(outbox.c.state == DeliveryState.SENT, outbox.c.prove_at.is_not(None)),
            )
        )
        return frozenset(self._connection.execute(query.distinct()).scalars())
