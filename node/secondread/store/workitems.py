"""The workitem table: work of others' worklists that the node wants, has, or had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from secondread.domain.worklist import OPEN_WORK, WorkRow, WorkState
from secondread.store.tables import workitem
from secondread.store.trail import Trail

EVENT = "workitem"
"""The trail's rows about what became of items."""
KEPT_MAX = 20_000
"""Rows that are kept; the oldest of which nothing is left to do go first."""

_COLUMNS = [column for column in workitem.c if not column.name.startswith("claimed_")]


@dataclass(frozen=True, slots=True)
class NewWork:
    """An item that is to be claimed; see ``domain.worklist.WorkRow``."""

    worklist: str
    workitem_uid: str
    transaction_uid: str
    study_instance_uid: str
    content: Mapping[str, Any]


def _record(row: Any) -> WorkRow:
    values = {column.name: getattr(row, column.name) for column in _COLUMNS}
    return WorkRow(**{**values, "state": WorkState(row.state)})


class Workitems:
    """The items, in one transaction."""

    def __init__(self, connection: sa.Connection, trail: Trail) -> None:
        self._connection = connection
        self._trail = trail

    def add(self, new: NewWork, at: float) -> bool:
        """Keep an item that is to be claimed; False where it is known."""
        if self.knows(new.worklist, new.workitem_uid):
            return False
        values = {
            "worklist": new.worklist,
            "workitem_uid": new.workitem_uid,
            "transaction_uid": new.transaction_uid,
            "study_instance_uid": new.study_instance_uid,
            "content": dict(new.content),
            "rule": "",
            "state": WorkState.FOUND,
            "attempts": 0,
            "created_at": at,
            "next_at": at,
            "reason": "",
        }
        statement = workitem.insert().values(**values).returning(workitem.c.id)
        newest = self._connection.execute(statement).scalar_one()
        self._connection.execute(
            sa.delete(workitem).where(
                workitem.c.id <= newest - KEPT_MAX, workitem.c.state.not_in(OPEN_WORK)
            )
        )
        return True

    def knows(self, worklist: str, workitem_uid: str) -> bool:
        """Whether an item is or was the node's concern."""
        query = sa.select(workitem.c.id).where(
            workitem.c.worklist == worklist, workitem.c.workitem_uid == workitem_uid
        )
        return self._connection.execute(query).first() is not None

    def open_count(self, worklist: str) -> int:
        """How many items of a worklist the node holds or is about to claim."""
        query = sa.select(sa.func.count()).where(
            workitem.c.worklist == worklist, workitem.c.state.in_(OPEN_WORK)
        )
        return int(self._connection.execute(query).scalar_one())

    def due(self, worklist: str, now: float) -> Sequence[WorkRow]:
        """The items of a worklist with which something may be to be done, oldest first."""
        query = sa.select(workitem).where(
            workitem.c.worklist == worklist,
            workitem.c.state.in_(OPEN_WORK),
            workitem.c.next_at <= now,
        )
        rows = self._connection.execute(query.order_by(workitem.c.id))
        return tuple(_record(row) for row in rows)

    def of_worklist(self, worklist: str, limit: int = 50) -> Sequence[WorkRow]:
        """The last items of a worklist, newest first."""
        query = sa.select(workitem).where(workitem.c.worklist == worklist)
        rows = self._connection.execute(query.order_by(workitem.c.id.desc()).limit(limit))
        return tuple(_record(row) for row in rows)

    def move(
        self, one: WorkRow, after: WorkState, at: float, text: str, study_id: int | None = None
    ) -> None:
        """Change an item's state, and leave a row in the trail; it is looked at again at once."""
        self._change(one, {"state": after, "reason": text, "attempts": 0, "next_at": at})
        self._trail.append(
            at,
            EVENT,
            text,
            study_id=study_id,
            change=(one.state, after),
            detail={"worklist": one.worklist},
        )

    def keep_content(self, one: WorkRow, more: Mapping[str, Any]) -> None:
        """Keep what became of an item so far, besides what is kept of it."""
        self._change(one, {"content": {**one.content, **more}, "attempts": 0})

    def postpone(self, one: WorkRow, next_at: float, reason: str) -> None:
        """A call was in vain; look at the item again at ``next_at``."""
        values = {"next_at": next_at, "reason": reason, "attempts": one.attempts + 1}
        self._change(one, values)

    def _change(self, one: WorkRow, values: Mapping[str, Any]) -> None:
        self._connection.execute(
            sa.update(workitem).where(workitem.c.id == one.id).values(**values)
        )
