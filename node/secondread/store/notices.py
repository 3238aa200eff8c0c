"""The notice table: what peers say they have done or have."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from secondread.domain.notice import Notice, NoticeKind
from secondread.store.tables import notice

KEPT_MAX = 10_000
"""Rows that are kept; a hint so much older than the newest is of no use to anybody."""


def _record(row: Any) -> Notice:
    values = {key: value for key, value in row._mapping.items() if key != "id"}
    return Notice(**{**values, "kind": NoticeKind(row.kind), "objects": tuple(values["objects"])})


class Notices:
    """The notices, in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def find(self, kind: NoticeKind, sop_instance_uid: str) -> Sequence[Notice]:
        """What the notice with this SOP Instance UID says, study by study."""
        query = sa.select(notice).where(
            notice.c.kind == kind, notice.c.sop_instance_uid == sop_instance_uid
        )
        rows = self._connection.execute(query.order_by(notice.c.id))
        return tuple(_record(row) for row in rows)

    def of_study(self, study_instance_uid: str) -> Sequence[Notice]:
        """The notices about a study, in the order in which they came."""
        query = sa.select(notice).where(notice.c.study_instance_uid == study_instance_uid)
        rows = self._connection.execute(query.order_by(notice.c.id))
        return tuple(_record(row) for row in rows)

    def replace(self, notices: Collection[Notice]) -> None:
        """Write what one notice says now, in place of what it said before."""
        for said in notices:
            values = {
                "peer": said.peer,
                "status": said.status,
                "at": said.at,
                "objects": list(said.objects),
            }
            key = (
                notice.c.kind == said.kind,
                notice.c.sop_instance_uid == said.sop_instance_uid,
                notice.c.study_instance_uid == said.study_instance_uid,
            )
            changed = self._connection.execute(sa.update(notice).where(*key).values(**values))
            if changed.rowcount:
                continue
            new = notice.insert().values(
                kind=said.kind,
                sop_instance_uid=said.sop_instance_uid,
                study_instance_uid=said.study_instance_uid,
                **values,
            )
            newest = self._connection.execute(new.returning(notice.c.id)).scalar_one()
            self._connection.execute(sa.delete(notice).where(notice.c.id <= newest - KEPT_MAX))
