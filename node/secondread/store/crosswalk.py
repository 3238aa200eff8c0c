"""The tables of the crosswalk: sealed pairs, sealed projects, and which keys there were.

Nothing here can open what it keeps; ``deid`` seals it before it comes and opens it afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from secondread.domain.crosswalk import KeyState, PairKind, SealedPair, SealedProject
from secondread.store.tables import crosswalk, crosswalk_key, export_project

_MARKS_AT_ONCE = 900
"""Values in one IN (…); SQLite of old builds takes 999."""


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key that the ledger has seen, by its id; the key itself is not in the ledger."""

    id: str
    state: KeyState
    since: float
    retired_at: float | None


class Crosswalk:
    """The crosswalk, in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def known_keys(self) -> Sequence[KnownKey]:
        """Every key there was, oldest first."""
        query = sa.select(crosswalk_key).order_by(crosswalk_key.c.since, crosswalk_key.c.id)
        return tuple(
            KnownKey(row.id, KeyState(row.state), row.since, row.retired_at)
            for row in self._connection.execute(query)
        )

    def take_up(self, key_id: str, at: float) -> None:
        """Make a key the current one; what was current becomes old."""
        table = crosswalk_key
        current = table.c.state == KeyState.CURRENT
        self._connection.execute(sa.update(table).where(current).values(state=KeyState.OLD))
        values = {"id": key_id, "state": KeyState.CURRENT, "since": at, "retired_at": None}
        self._connection.execute(table.insert().values(**values))

    def retire_old(self, at: float) -> int:
        """Retire the old keys; how many there were."""
        statement = sa.update(crosswalk_key).where(crosswalk_key.c.state == KeyState.OLD)
        done = self._connection.execute(statement.values(state=KeyState.RETIRED, retired_at=at))
        return done.rowcount

    def projects(self) -> Sequence[SealedProject]:
        """Every project, in the order in which they began."""
        rows = self._connection.execute(sa.select(export_project).order_by(export_project.c.id))
        return tuple(
            SealedProject(row.id, row.name, row.key_id, row.sealed, row.since) for row in rows
        )

    def add_project(self, name: str, key_id: str, sealed: bytes, at: float) -> SealedProject:
        """Begin a project."""
        insert = export_project.insert().values(name=name, key_id=key_id, sealed=sealed, since=at)
        found = self._connection.execute(insert.returning(export_project.c.id))
        return SealedProject(found.scalar_one(), name, key_id, sealed, at)

    def replace_project(self, project_id: int, key_id: str, sealed: bytes) -> None:
        """Keep a project sealed with another key."""
        statement = sa.update(export_project).where(export_project.c.id == project_id)
        self._connection.execute(statement.values(key_id=key_id, sealed=sealed))

    def known(self, marks: Sequence[bytes]) -> frozenset[bytes]:
        """Those of these marks that are the mark of some original."""
        column = crosswalk.c.original_mark
        return frozenset(
            found
            for some in _portions(marks)
            for found in self._connection.execute(sa.select(column).where(column.in_(some)))
            .scalars()
            .all()
        )

    def add(self, pairs: Sequence[SealedPair]) -> None:
        """Add pairs that are not there yet."""
        if pairs:
            self._connection.execute(crosswalk.insert(), [_values(pair) for pair in pairs])

    def with_pseudonym(self, marks: Sequence[bytes]) -> Sequence[SealedPair]:
        """The pairs whose pseudonym has one of these marks."""
        column = crosswalk.c.pseudonym_mark
        return tuple(
            _pair(row)
            for some in _portions(marks)
            for row in self._connection.execute(sa.select(crosswalk).where(column.in_(some)))
        )

    def sealed_with(self, key_ids: Iterable[str], limit: int) -> Sequence[SealedPair]:
        """Some pairs that are sealed with one of these keys."""
        query = sa.select(crosswalk).where(crosswalk.c.key_id.in_(list(key_ids)))
        return tuple(_pair(row) for row in self._connection.execute(query.limit(limit)))

    def replace(self, pairs: Sequence[SealedPair]) -> None:
        """Keep pairs as they are sealed now."""
        if not pairs:
            return
        statement = sa.update(crosswalk).where(crosswalk.c.id == sa.bindparam("row"))
        self._connection.execute(statement, [{"row": pair.id, **_values(pair)} for pair in pairs])

    def count_by_key(self) -> Mapping[str, int]:
        """How many pairs are sealed with each key."""
        query = sa.select(crosswalk.c.key_id, sa.func.count()).group_by(crosswalk.c.key_id)
        return {key_id: int(count) for key_id, count in self._connection.execute(query)}

    def count_of(self, project_id: int) -> Mapping[PairKind, int]:
        """How many pairs of each kind a project has."""
        query = (
            sa.select(crosswalk.c.kind, sa.func.count())
            .where(crosswalk.c.project_id == project_id)
            .group_by(crosswalk.c.kind)
        )
        found = {PairKind(kind): int(count) for kind, count in self._connection.execute(query)}
        return {kind: found.get(kind, 0) for kind in PairKind}

    def discard(self, at: float) -> int:
        """Remove every pair and project, and retire every key; how many pairs there were."""
        gone = self._connection.execute(crosswalk.delete()).rowcount
        self._connection.execute(export_project.delete())
        statement = sa.update(crosswalk_key).where(crosswalk_key.c.state != KeyState.RETIRED)
        self._connection.execute(statement.values(state=KeyState.RETIRED, retired_at=at))
        return gone


def _values(pair: SealedPair) -> dict[str, Any]:
    return {
        "project_id": pair.project_id,
        "kind": pair.kind,
        "original_mark": pair.original_mark,
        "pseudonym_mark": pair.pseudonym_mark,
        "key_id": pair.key_id,
        "sealed": pair.sealed,
    }


def _pair(row: Any) -> SealedPair:
    return SealedPair(**{**row._mapping, "kind": PairKind(row.kind)})


def _portions(marks: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    return (marks[at : at + _MARKS_AT_ONCE] for at in range(0, len(marks), _MARKS_AT_ONCE))
