"""The instance table: every object that got Success."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

import sqlalchemy as sa

from secondread.domain.instance import Instance
from secondread.domain.network import Urgency
from secondread.store.tables import instance

_COLUMNS = tuple(field.name for field in fields(Instance))

_SELECTED = tuple(instance.c[name] for name in _COLUMNS)
_INSERT = instance.insert()


def _record(row: Any) -> Instance:
    values = dict(row._mapping)
    return Instance(**{**values, "urgency": Urgency(values["urgency"])})


class Instances:
    """The stored objects, in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def find(self, sop_instance_uid: str) -> Instance | None:
        """The object with this SOP Instance UID."""
        query = sa.select(*_SELECTED).where(instance.c.sop_instance_uid == sop_instance_uid)
        row = self._connection.execute(query).one_or_none()
        return None if row is None else _record(row)

    def add(self, records: Sequence[Instance]) -> None:
        """Add objects that are not there yet."""
        # dataclasses.asdict copies deeply and costs more than the insert.
        rows = [{name: getattr(record, name) for name in _COLUMNS} for record in records]
        if rows:
            self._connection.execute(_INSERT, rows)

    def replace(self, records: Sequence[Instance]) -> None:
        """Write over the rows of objects that had been removed and are here again."""
        for record in records:
            values = {name: getattr(record, name) for name in _COLUMNS} | {"purged_at": None}
            where = instance.c.sop_instance_uid == record.sop_instance_uid
            self._connection.execute(sa.update(instance).where(where).values(values))

    def known(self, sop_instance_uids: Iterable[str]) -> frozenset[str]:
        """Those of these objects that have a row."""
        query = sa.select(instance.c.sop_instance_uid).where(
            instance.c.sop_instance_uid.in_(list(sop_instance_uids))
        )
        return frozenset(self._connection.execute(query).scalars())

    def removed(self, sop_instance_uids: Iterable[str]) -> frozenset[str]:
        """Those of these objects that were here, and whose file was removed."""
        query = sa.select(instance.c.sop_instance_uid).where(
            instance.c.sop_instance_uid.in_(list(sop_instance_uids)),
            instance.c.purged_at.is_not(None),
        )
        return frozenset(self._connection.execute(query).scalars())

    def of_study(self, study_instance_uid: str) -> Sequence[Instance]:
        """The objects of a study, in the order of their UIDs."""
        query = sa.select(*_SELECTED).where(instance.c.study_instance_uid == study_instance_uid)
        return self._records(query)

    def of_series(self, study_instance_uid: str, series_instance_uid: str) -> Sequence[Instance]:
        """The objects of a series, in the order of their UIDs."""
        query = sa.select(*_SELECTED).where(
            instance.c.study_instance_uid == study_instance_uid,
            instance.c.series_instance_uid == series_instance_uid,
        )
        return self._records(query)

    def paths(self) -> frozenset[str]:
        """The spool paths of all objects that were not removed."""
        query = sa.select(instance.c.path).where(instance.c.purged_at.is_(None))
        return frozenset(self._connection.execute(query).scalars())

    def count(self) -> int:
        """How many objects there are."""
        return int(
            self._connection.execute(sa.select(sa.func.count()).select_from(instance)).scalar_one()
        )

    def _records(self, query: sa.Select[Any]) -> Sequence[Instance]:
        rows = self._connection.execute(query.order_by(instance.c.sop_instance_uid))
        return tuple(_record(row) for row in rows)
