"""The correction table: objects that may be feedback, and what was made of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any

import sqlalchemy as sa

from secondread.domain.correction import Correction, CorrectionState
from secondread.domain.instance import Instance
from secondread.store.monitoring_tables import correction
from secondread.store.tables import outbox

_COLUMNS = tuple(correction.c[field.name] for field in fields(Correction))
_AT_A_TIME = 500


def _record(row: Any) -> Correction:
    values = dict(row._mapping)
    return Correction(**{**values, "state": CorrectionState(values["state"])})


class Corrections:
    """The corrections, in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def expect(self, records: Sequence[Instance]) -> None:
        """Have these objects looked at; one that was expected before is left as it is."""
        for record in records:
            if self.find(record.sop_instance_uid) is None:
                self._connection.execute(
                    correction.insert().values(
                        sop_instance_uid=record.sop_instance_uid,
                        study_instance_uid=record.study_instance_uid,
                        peer=record.peer,
                        at=record.received_at,
                        state=CorrectionState.WAITING,
                        attempts=0,
                        next_at=0.0,
                        reason="",
                    )
                )

    def find(self, sop_instance_uid: str) -> Correction | None:
        """What was made of an object; None where it was never expected."""
        query = sa.select(*_COLUMNS).where(correction.c.sop_instance_uid == sop_instance_uid)
        row = self._connection.execute(query).one_or_none()
        return None if row is None else _record(row)

    def waiting(self, now: float, limit: int) -> Sequence[Correction]:
        """Those that are to be looked at now, the oldest first."""
        query = sa.select(*_COLUMNS).where(
            correction.c.state == CorrectionState.WAITING, correction.c.next_at <= now
        )
        order = (correction.c.at, correction.c.sop_instance_uid)
        rows = self._connection.execute(query.order_by(*order).limit(limit))
        return tuple(_record(row) for row in rows)

    def begin(self, sop_instance_uid: str, next_at: float) -> None:
        """Somebody looks at it now, and again at ``next_at`` where that comes to no end.

        It is written down beforehand: whoever takes the process, the disk or the ledger down with
        it could not write it afterwards.
        """
        values = {"attempts": correction.c.attempts + 1, "next_at": next_at}
        self._connection.execute(_of(sop_instance_uid).values(values))

    def put_back(self, sop_instance_uid: str) -> None:
        """The look that was begun was called off: it does not count."""
        values = {"attempts": correction.c.attempts - 1, "next_at": 0.0}
        self._connection.execute(_of(sop_instance_uid).values(values))

    def end(self, sop_instance_uid: str, state: CorrectionState, reason: str = "") -> None:
        """Write down what was made of it."""
        self._connection.execute(_of(sop_instance_uid).values(state=state, reason=reason))

    def jobs_of(
        self, sop_instance_uids: Collection[str], kinds: Collection[str]
    ) -> Mapping[str, int]:
        """The job of each of these objects that is a result of this node, of these kinds."""
        found: dict[str, int] = {}
        uids = sorted(sop_instance_uids)
        query = sa.select(outbox.c.sop_instance_uid, outbox.c.job_id)
        for at in range(0, len(uids), _AT_A_TIME):
            wanted = query.where(
                outbox.c.sop_instance_uid.in_(uids[at : at + _AT_A_TIME]),
                outbox.c.kind.in_(list(kinds)),
            )
            for row in self._connection.execute(wanted.order_by(outbox.c.id.desc())):
                found[row.sop_instance_uid] = row.job_id
        return found


def _of(sop_instance_uid: str) -> sa.Update:
    return sa.update(correction).where(correction.c.sop_instance_uid == sop_instance_uid)
