"""The trail: one append-only, hash-chained row for everything that happened."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from secondread.store.tables import trail

FIRST_HASH = "0" * 64


@dataclass(frozen=True, slots=True)
class TrailRow:
    """One row; ``hash`` covers the row and the hash before it."""

    id: int
    at: float
    event: str
    study_id: int | None
    job_id: int | None
    before: str
    after: str
    text: str
    detail: Mapping[str, Any]
    hash: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to become a row; ``change`` is (state before, state after)."""

    at: float
    event: str
    text: str
    study_id: int | None = None
    job_id: int | None = None
    change: tuple[str, str] = ("", "")
    detail: Mapping[str, Any] = field(default_factory=dict)


def chain_hash(previous: str, row: Mapping[str, Any]) -> str:
    """The hash of a row that follows one with the hash ``previous``."""
    keys = ("at", "event", "study_id", "job_id", "before", "after", "text", "detail")
    content = json.dumps([previous, *(row[key] for key in keys)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


class Trail:
    """The trail, in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def append(
        self,
        at: float,
        event: str,
        text: str,
        *,
        study_id: int | None = None,
        job_id: int | None = None,
        change: tuple[str, str] = ("", ""),
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a row; ``change`` is (state before, state after)."""
        self.append_all([Entry(at, event, text, study_id, job_id, change, detail or {})])

    def append_all(self, entries: Sequence[Entry]) -> None:
        """Add rows in their order."""
        if not entries:
            return
        last = sa.select(trail.c.hash).order_by(trail.c.id.desc()).limit(1)
        previous = self._connection.execute(last).scalar() or FIRST_HASH
        rows: list[dict[str, Any]] = []
        for entry in entries:
            row: dict[str, Any] = {
                "at": entry.at,
                "event": entry.event,
                "study_id": entry.study_id,
                "job_id": entry.job_id,
                "before": str(entry.change[0]),
                "after": str(entry.change[1]),
                "text": entry.text,
                "detail": dict(entry.detail),
            }
            previous = row["hash"] = chain_hash(previous, row)
            rows.append(row)
        self._connection.execute(trail.insert(), rows)

    def of_study(self, study_id: int) -> Sequence[TrailRow]:
        """Everything about one study, oldest first."""
        return self._rows(sa.select(trail).where(trail.c.study_id == study_id))

    def of_event(self, event: str, limit: int = 100) -> Sequence[TrailRow]:
        """The last rows of one kind of event, oldest first."""
        query = sa.select(trail).where(trail.c.event == event)
        rows = self._connection.execute(query.order_by(trail.c.id.desc()).limit(limit))
        return tuple(reversed([TrailRow(**row._mapping) for row in rows]))

    def all(self) -> Sequence[TrailRow]:
        """The whole trail, oldest first."""
        return self._rows(sa.select(trail))

    def _rows(self, query: sa.Select[Any]) -> Sequence[TrailRow]:
        rows = self._connection.execute(query.order_by(trail.c.id))
        return tuple(TrailRow(**row._mapping) for row in rows)
