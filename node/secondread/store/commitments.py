"""The commitment table: what peers asked to be kept safe, and whether they know the answer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from secondread.domain.commitment import (
    Commitment,
    CommitmentState,
    Failure,
    FailureReason,
    Reference,
    Result,
)
from secondread.store.tables import commitment, study
from secondread.store.trail import Trail

EVENT = "commitment"
"""The trail's rows about commitment; ``detail`` names the row as ``commitment``."""
UNREPORTED = "commitment-unreported"
"""The trail's rows about results that a peer cannot be told; somebody has to do something."""
KEPT_MAX = 10_000
"""Rows that are kept; the oldest that are not waiting to be reported go first."""

_STUDIES_TOLD_MAX = 20
_RESULT = ("transaction_uid", "committed", "failed")


def _record(row: Any) -> Commitment:
    values = {key: value for key, value in row._mapping.items() if key not in _RESULT}
    return Commitment(
        **{**values, "state": CommitmentState(row.state)},
        result=Result(
            row.transaction_uid,
            tuple(Reference(*reference) for reference in row.committed),
            tuple(
                Failure(Reference(sop_class, instance), FailureReason(reason))
                for sop_class, instance, reason in row.failed
            ),
        ),
    )


class Commitments:
    """The commitment requests, in one transaction."""

    def __init__(self, connection: sa.Connection, trail: Trail) -> None:
        self._connection = connection
        self._trail = trail

    def find(self, transaction_uid: str, peer: str) -> Commitment | None:
        """The request of this peer with this Transaction UID."""
        row = self._connection.execute(
            sa.select(commitment).where(
                commitment.c.transaction_uid == transaction_uid, commitment.c.peer == peer
            )
        ).one_or_none()
        return None if row is None else _record(row)

    def of_ids(self, ids: Collection[int]) -> Sequence[Commitment]:
        """Those of these requests that are still there, in the order in which they came."""
        query = sa.select(commitment).where(commitment.c.id.in_(sorted(ids)))
        rows = self._connection.execute(query.order_by(commitment.c.id))
        return tuple(_record(row) for row in rows)

    def open_of_peer(self, peer: str) -> int:
        """How many results a peer has not been told."""
        query = sa.select(sa.func.count()).where(
            commitment.c.state == CommitmentState.ANSWERED, commitment.c.peer == peer
        )
        return int(self._connection.execute(query).scalar_one())

    def due(self, now: float) -> Commitment | None:
        """The result that has waited longest to be reported."""
        query = (
            sa.select(commitment)
            .where(commitment.c.state == CommitmentState.ANSWERED, commitment.c.next_at <= now)
            .order_by(commitment.c.next_at, commitment.c.id)
            .limit(1)
        )
        row = self._connection.execute(query).one_or_none()
        return None if row is None else _record(row)

    def record(self, asked: Commitment, study_instance_uids: Collection[str]) -> int:
        """Write a request and its result; one that the peer has made before is written anew.

        Args:
            asked: its ``id`` is not looked at.
            study_instance_uids: the studies of the objects that were found; each one's trail
                tells of the request, unless it was told the same before.

        Returns:
            The row id.
        """
        result = asked.result
        before = self.find(result.transaction_uid, asked.peer)
        values: dict[str, Any] = {
            "called_ae_title": asked.called_ae_title,
            "host": asked.host,
            "port": asked.port,
            "state": asked.state,
            "asked_at": asked.asked_at,
            "next_at": asked.next_at,
            "attempts": asked.attempts,
            "committed": [[ref.sop_class_uid, ref.sop_instance_uid] for ref in result.committed],
            "failed": [
                [item.reference.sop_class_uid, item.reference.sop_instance_uid, int(item.reason)]
                for item in result.failed
            ],
            "reason": asked.reason,
        }
        if before is None:
            unique = {"transaction_uid": result.transaction_uid, "peer": asked.peer}
            new = commitment.insert().values(**unique, **values).returning(commitment.c.id)
            row_id = int(self._connection.execute(new).scalar_one())
            self._forget_old(row_id)
        else:
            row_id = before.id
            self._connection.execute(
                sa.update(commitment).where(commitment.c.id == row_id).values(**values)
            )
        if before is None or before.result != result:
            self._tell(row_id, asked, study_instance_uids)
        return row_id

    def move(self, commitment_id: int, after: CommitmentState, at: float, reason: str) -> bool:
        """End a request that waits to be reported, with a row in the trail.

        Returns:
            False where it did not wait any more, as when both ways of reporting succeeded.
        """
        changed = self._connection.execute(
            sa.update(commitment)
            .where(commitment.c.id == commitment_id, commitment.c.state == CommitmentState.ANSWERED)
            .values(state=after, reason=reason)
        ).rowcount
        if changed:
            self._trail.append(
                at,
                UNREPORTED if after is CommitmentState.FAILED else EVENT,
                reason,
                change=(CommitmentState.ANSWERED, after),
                detail={"commitment": commitment_id},
            )
        return bool(changed)

    def postpone(self, commitment_id: int, next_at: float, reason: str, *, attempts: int) -> None:
        """Let a request that waits to be reported wait until ``next_at``."""
        self._connection.execute(
            sa.update(commitment)
            .where(commitment.c.id == commitment_id, commitment.c.state == CommitmentState.ANSWERED)
            .values(next_at=next_at, reason=reason, attempts=attempts)
        )

    def hasten(self, asked_before: float, now: float) -> int:
        """Make due at once what was left to associations that ended with an earlier process.

        Returns:
            How many requests there were.
        """
        statement = (
            sa.update(commitment)
            .where(
                commitment.c.state == CommitmentState.ANSWERED,
                commitment.c.attempts == 0,
                commitment.c.asked_at < asked_before,
                commitment.c.next_at > now,
            )
            .values(next_at=now)
        )
        return self._connection.execute(statement).rowcount

    def _tell(self, row_id: int, asked: Commitment, study_instance_uids: Collection[str]) -> None:
        """One row for each study; one for all where there are many, so that it stays cheap."""
        ids: Sequence[int | None] = ()
        if len(study_instance_uids) <= _STUDIES_TOLD_MAX:
            query = sa.select(study.c.id).where(study.c.study_instance_uid.in_(study_instance_uids))
            ids = tuple(self._connection.execute(query.order_by(study.c.id)).scalars())
        for study_id in ids or (None,):
            self._trail.append(
                asked.asked_at,
                EVENT,
                f"Peer '{asked.peer}' asked for commitment: {len(asked.result.committed)} objects "
                f"are safe, {len(asked.result.failed)} are not.",
                study_id=study_id,
                change=("", asked.state),
                detail={"commitment": row_id},
            )

    def _forget_old(self, newest_id: int) -> None:
        self._connection.execute(
            sa.delete(commitment).where(
                commitment.c.id <= newest_id - KEPT_MAX,
                commitment.c.state != CommitmentState.ANSWERED,
            )
        )
