"""What the node holds: answers to those who ask, from the instance table and without headers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import sqlalchemy as sa

from secondread.store.tables import instance

# SQLite before 3.32 takes at most 999 values in a statement.
_AT_A_TIME = 500


@dataclass(frozen=True, slots=True)
class Holding:
    """A stored object, as far as it takes to see whether its file is whole.

    ``path`` is relative to the data folder; the file ends ``size_bytes`` after ``data_offset``,
    which is 0 where an older version of the node did not note it.
    """

    sop_class_uid: str
    study_instance_uid: str
    path: str
    data_offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of a study is here."""

    series: int
    instances: int


class Holdings:
    """The stored objects, looked up many at a time, in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def find(self, sop_instance_uids: Collection[str]) -> Mapping[str, Holding]:
        """Those of these objects that are here, by SOP Instance UID."""
        found: dict[str, Holding] = {}
        columns = instance.c.sop_instance_uid, *(instance.c[name] for name in Holding.__slots__)
        for some in _portions(sop_instance_uids):
            query = sa.select(*columns).where(
                instance.c.sop_instance_uid.in_(some), instance.c.purged_at.is_(None)
            )
            for uid, *values in self._connection.execute(query):
                found[uid] = Holding(*values)
        return found

    def extents(self, study_instance_uids: Collection[str]) -> Mapping[str, Extent]:
        """How much is here of those of these studies of which there is anything."""
        found: dict[str, Extent] = {}
        series = sa.func.count(sa.distinct(instance.c.series_instance_uid))
        for some in _portions(study_instance_uids):
            query = (
                sa.select(instance.c.study_instance_uid, series, sa.func.count())
                .where(instance.c.study_instance_uid.in_(some), instance.c.purged_at.is_(None))
                .group_by(instance.c.study_instance_uid)
            )
            for uid, *counts in self._connection.execute(query):
                found[uid] = Extent(*counts)
        return found


def _portions(values: Collection[str]) -> Iterator[Sequence[str]]:
    rest = iter(dict.fromkeys(values))
    while some := tuple(islice(rest, _AT_A_TIME)):
        yield some
