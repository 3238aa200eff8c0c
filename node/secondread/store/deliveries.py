"""What the outbox comes to for each destination, for people and for monitoring; read only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from secondread.domain.result import OutboxItem
from secondread.domain.states import DeliveryState
from secondread.store.outbox import to_item
from secondread.store.tables import job, outbox

_OPEN = (DeliveryState.READY, DeliveryState.SENT, DeliveryState.DEAD)


@dataclass(frozen=True, slots=True)
class Figures:
    """How deliveries to one destination stand; times are seconds since the epoch, UTC.

    Attributes:
        counts: objects by state.
        proofs: safe objects by what proved that they are there.
        oldest_waiting_at: when the job was planned whose objects wait longest to be sent; None
            where nothing waits.
        oldest_sent_at: when that object was sent which waits longest for proof; None where none
            does.
    """

    destination: str
    counts: Mapping[DeliveryState, int] = field(default_factory=dict)
    proofs: Mapping[str, int] = field(default_factory=dict)
    oldest_waiting_at: float | None = None
    oldest_sent_at: float | None = None

    def count(self, state: DeliveryState) -> int:
        """Objects in a state."""
        return self.counts.get(state, 0)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An object that waits for a person."""

    item: OutboxItem
    study_id: int


@dataclass(frozen=True, slots=True)
class Reason:
    """Why objects of a destination are not where they should be, and how many say so."""

    state: DeliveryState
    reason: str
    objects: int


class Deliveries:
    """The outbox by destination, in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def figures(self) -> Mapping[str, Figures]:
        """Every destination that ever was to get anything, by its name in the outbox."""
        counts: dict[str, dict[DeliveryState, int]] = {}
        proofs: dict[str, dict[str, int]] = {}
        columns = (outbox.c.destination, outbox.c.state, outbox.c.proof)
        query = sa.select(*columns, sa.func.count().label("objects")).group_by(*columns)
        for row in self._connection.execute(query):
            state = DeliveryState(row.state)
            by_state = counts.setdefault(row.destination, {})
            by_state[state] = by_state.get(state, 0) + int(row.objects)
            if state is DeliveryState.SAFE:
                proofs.setdefault(row.destination, {})[row.proof] = int(row.objects)
        waiting, sent = self._oldest_waiting(), self._oldest_sent()
        return {
            name: Figures(
                name, counts[name], proofs.get(name, {}), waiting.get(name), sent.get(name)
            )
            for name in sorted(counts)
        }

    def reasons(self, destination: str, limit: int = 5) -> Sequence[Reason]:
        """What was said last of objects that are not safe yet, the most frequent first."""
        columns = (outbox.c.state, outbox.c.reason)
        count = sa.func.count().label("objects")
        query = (
            sa.select(*columns, count)
            .where(
                outbox.c.destination == destination,
                outbox.c.state.in_(_OPEN),
                outbox.c.reason != "",
                # What was sent says of that, until proof is asked for in vain.
                sa.or_(outbox.c.state != DeliveryState.SENT, outbox.c.proof_tries > 0),
            )
            .group_by(*columns)
            .order_by(count.desc(), outbox.c.reason)
            .limit(limit)
        )
        return tuple(
            Reason(DeliveryState(row.state), row.reason, int(row.objects))
            for row in self._connection.execute(query)
        )

    def dead(self, destination: str | None = None, limit: int = 100) -> Sequence[DeadLetter]:
        """Objects that wait for a person, of one destination or of all, the oldest first."""
        query = (
            sa.select(outbox, job.c.study_id)
            .join(job, job.c.id == outbox.c.job_id)
            .where(outbox.c.state == DeliveryState.DEAD)
            .order_by(outbox.c.id)
            .limit(limit)
        )
        if destination is not None:
            query = query.where(outbox.c.destination == destination)
        rows = self._connection.execute(query)
        return tuple(DeadLetter(to_item(row), row.study_id) for row in rows)

    def _oldest_waiting(self) -> Mapping[str, float]:
        query = (
            sa.select(outbox.c.destination, sa.func.min(job.c.created_at).label("at"))
            .join(job, job.c.id == outbox.c.job_id)
            .where(outbox.c.state == DeliveryState.READY)
            .group_by(outbox.c.destination)
        )
        return {row.destination: float(row.at) for row in self._connection.execute(query)}

    def _oldest_sent(self) -> Mapping[str, float]:
        query = (
            sa.select(outbox.c.destination, sa.func.min(outbox.c.sent_at).label("at"))
            .where(outbox.c.state == DeliveryState.SENT, outbox.c.sent_at.is_not(None))
            .group_by(outbox.c.destination)
        )
        return {row.destination: float(row.at) for row in self._connection.execute(query)}
