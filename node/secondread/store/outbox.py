"""The outbox table: each result object, for each destination."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from secondread.domain.result import OutboxItem, ResultObject
from secondread.domain.states import DeliveryState, check_transition
from secondread.store.claims import claim_one, release_claims_of
from secondread.store.tables import job, outbox
from secondread.store.trail import Trail

_COLUMNS = [column for column in outbox.c if not column.name.startswith("claimed_")]


def _record(row: Any) -> OutboxItem:
    values = {column.name: getattr(row, column.name) for column in _COLUMNS}
    return OutboxItem(**{**values, "state": DeliveryState(values["state"])})


class Outbox:
    """The outbox, in one transaction."""

    def __init__(self, connection: sa.Connection, trail: Trail) -> None:
        self._connection = connection
        self._trail = trail

    def add(
        self,
        job_id: int,
        destination: str,
        objects: Sequence[ResultObject],
        at: float,
        level: int = 0,
    ) -> None:
        """Queue the objects of a job for a destination, to be sent in this order.

        Those of level 1 and more are held in reserve until ``fall_back`` wants them. What the
        destination has got already, or is to get, is left out.
        """
        state = DeliveryState.RESERVED if level else DeliveryState.READY
        for sequence, item in enumerate(objects):
            known = sa.select(outbox.c.id).where(
                outbox.c.destination == destination,
                outbox.c.sop_instance_uid == item.sop_instance_uid,
            )
            if self._connection.execute(known).first() is not None:
                continue
            self._connection.execute(
                outbox.insert().values(
                    job_id=job_id,
                    destination=destination,
                    sequence=sequence,
                    level=level,
                    kind=item.kind,
                    sop_instance_uid=item.sop_instance_uid,
                    sop_class_uid=item.sop_class_uid,
                    path=item.path,
                    state=state,
                    attempts=0,
                    next_at=at,
                    reason="",
                )
            )

    def fall_back(self, item: OutboxItem, at: float, refusal: str) -> bool:
        """Let what is in reserve go instead of what a destination refused.

        Everything of the same level that has not been sent yet is replaced, because it refers to
        the refused object; what has been sent stays where it is. All of it is one transaction with
        the trail rows that say why.

        Args:
            item: the object that was refused.
            at: now.
            refusal: what the destination said, a sentence.

        Returns:
            Whether there was anything in reserve; if not, nothing is changed.
        """
        rows = [one for one in self.of_job(item.job_id) if one.destination == item.destination]
        levels = [
            one.level
            for one in rows
            if one.state is DeliveryState.RESERVED and one.level > item.level
        ]
        if not levels:
            return False
        to = f"'{item.destination}'"
        for one in rows:
            if one.level == item.level and one.state is DeliveryState.READY:
                text = f"Not sent, because {to} refused the segmentation that it goes with."
                if one.id == item.id:
                    text = f"{refusal} What is in reserve goes instead."
                self.move(one, DeliveryState.REPLACED, at, text)
        for one in rows:
            if one.level == min(levels) and one.state is DeliveryState.RESERVED:
                text = f"{to} refused the segmentation; this goes instead."
                self.move(one, DeliveryState.READY, at, text)
        return True

    def knows(self, sop_instance_uid: str) -> bool:
        """Whether an object was ever to be sent to anybody."""
        query = sa.select(outbox.c.id).where(outbox.c.sop_instance_uid == sop_instance_uid)
        return self._connection.execute(query.limit(1)).first() is not None

    def claim(self, owner: str, now: float, lease_s: float) -> OutboxItem | None:
        """Claim the next object that is due and that no earlier one of its job waits before.

        Those of urgent studies go first.
        """
        earlier = outbox.alias("earlier")
        blocked = sa.exists().where(
            earlier.c.job_id == outbox.c.job_id,
            earlier.c.destination == outbox.c.destination,
            earlier.c.sequence < outbox.c.sequence,
            earlier.c.state == DeliveryState.READY,
        )
        urgency = sa.select(job.c.urgency).where(job.c.id == outbox.c.job_id).scalar_subquery()
        wanted = (
            sa.select(outbox.c.id)
            .where(outbox.c.state == DeliveryState.READY, outbox.c.next_at <= now, ~blocked)
            .order_by(urgency.desc(), outbox.c.next_at, outbox.c.id)
        )
        row = claim_one(self._connection, outbox, wanted, owner, now, lease_s)
        if row is None:
            return None
        self._connection.execute(
            sa.update(outbox).where(outbox.c.id == row.id).values(attempts=outbox.c.attempts + 1)
        )
        query = sa.select(outbox).where(outbox.c.id == row.id)
        return _record(self._connection.execute(query).one())

    def move(self, item: OutboxItem, after: DeliveryState, at: float, reason: str) -> None:
        """Change an item's state, give its claim back and leave a row in the trail."""
        check_transition(item.state, after)
        values: dict[str, Any] = {"state": after, "reason": reason}
        if after is DeliveryState.READY:
            values.update(attempts=0, next_at=at)
        self._connection.execute(
            sa.update(outbox)
            .where(outbox.c.id == item.id)
            .values(claimed_by=None, claimed_until=None, **values)
        )
        study_id = self._connection.execute(
            sa.select(job.c.study_id).where(job.c.id == item.job_id)
        ).scalar_one()
        self._trail.append(
            at,
            "delivery",
            reason,
            study_id=study_id,
            job_id=item.job_id,
            change=(item.state, after),
            detail={"destination": item.destination, "sop_instance_uid": item.sop_instance_uid},
        )

    def postpone(self, item: OutboxItem, next_at: float, reason: str) -> None:
        """Give a claim back; the object is sent again at ``next_at``."""
        self._connection.execute(
            sa.update(outbox)
            .where(outbox.c.id == item.id)
            .values(next_at=next_at, reason=reason, claimed_by=None, claimed_until=None)
        )

    def release_claims_of(self, owner_prefix: str) -> int:
        """Give back the claims of an owner that is known to be dead."""
        return release_claims_of(self._connection, outbox, owner_prefix)

    def of_job(self, job_id: int) -> Sequence[OutboxItem]:
        """The objects of a job, for every destination and level, in the order of sending."""
        query = sa.select(outbox).where(outbox.c.job_id == job_id)
        order = (outbox.c.destination, outbox.c.level, outbox.c.sequence)
        rows = self._connection.execute(query.order_by(*order))
        return tuple(_record(row) for row in rows)
