"""The fetch table: what is to be fetched from archives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from secondread.domain.fetch import Fetch, FetchKind, FetchState
from secondread.store.claims import claim_one, release_claims_of
from secondread.store.tables import fetch
from secondread.store.trail import Trail

EVENT = "fetch"
"""The trail's rows about what was fetched."""

_COLUMNS = [column for column in fetch.c if not column.name.startswith("claimed_")]


def _record(row: Any) -> Fetch:
    values = {column.name: getattr(row, column.name) for column in _COLUMNS}
    kinds = {"kind": FetchKind(row.kind), "state": FetchState(row.state)}
    # The table has NULL where a worklist names a study of which nothing is here yet.
    return Fetch(**{**values, **kinds, "study_id": row.study_id or 0})


class Fetches:
    """What is to be fetched, in one transaction."""

    def __init__(self, connection: sa.Connection, trail: Trail) -> None:
        self._connection = connection
        self._trail = trail

    def ask(
        self, study_id: int, source: str, kind: FetchKind, study_instance_uid: str, at: float
    ) -> bool:
        """Have something fetched; False where that was asked before."""
        known = sa.select(fetch.c.id).where(
            fetch.c.study_id == study_id,
            fetch.c.source == source,
            fetch.c.kind == kind,
            fetch.c.study_instance_uid == study_instance_uid,
        )
        if self._connection.execute(known).first() is not None:
            return False
        self._connection.execute(
            fetch.insert().values(
                study_id=study_id,
                source=source,
                kind=kind,
                study_instance_uid=study_instance_uid,
                state=FetchState.READY,
                attempts=0,
                created_at=at,
                next_at=at,
                reason="",
            )
        )
        return True

    def ask_for_work(self, source: str, study_instance_uid: str, at: float) -> None:
        """Have a study fetched that a worklist names; again where that is over."""
        values = {"state": FetchState.READY, "attempts": 0, "next_at": at, "reason": ""}
        which = self._of_work(source, study_instance_uid)
        ended = fetch.c.state != FetchState.READY
        if self.state_of_work(source, study_instance_uid) is None:
            self._connection.execute(
                fetch.insert().values(
                    study_id=None,
                    source=source,
                    kind=FetchKind.WORK,
                    study_instance_uid=study_instance_uid,
                    created_at=at,
                    **values,
                )
            )
        else:
            self._connection.execute(sa.update(fetch).where(which, ended).values(**values))

    def state_of_work(self, source: str, study_instance_uid: str) -> FetchState | None:
        """How far the fetch of a study is that a worklist names; None where nobody asked."""
        which = self._of_work(source, study_instance_uid)
        found = self._connection.execute(sa.select(fetch.c.state).where(which)).scalar()
        return None if found is None else FetchState(found)

    def _of_work(self, source: str, study_instance_uid: str) -> sa.ColumnElement[bool]:
        return sa.and_(
            fetch.c.kind == FetchKind.WORK,
            fetch.c.source == source,
            fetch.c.study_instance_uid == study_instance_uid,
        )

    def ask_for_missing(
        self,
        study_id: int,
        source: str,
        study_instance_uid: str,
        counts: tuple[int, int],
        at: float,
    ) -> bool:
        """Have what lacks of a study fetched; False where the archive had as many before.

        Args:
            study_id: the study.
            source: the archive.
            study_instance_uid: its UID.
            counts: how many objects are here, and how many the archive has.
            at: now.
        """
        here, there = counts
        detail = {"source": source, "kind": FetchKind.MISSING, "objects_there": there}
        known = self._trail.of_study(study_id)
        if any(row.event == EVENT and row.detail == detail for row in known):
            return False
        if not self.ask(study_id, source, FetchKind.MISSING, study_instance_uid, at):
            again = sa.update(fetch).where(
                fetch.c.study_id == study_id,
                fetch.c.source == source,
                fetch.c.kind == FetchKind.MISSING,
            )
            values = {"state": FetchState.READY, "attempts": 0, "next_at": at, "reason": ""}
            self._connection.execute(again.values(**values))
        text = f"{here} of {there} objects that '{source}' has are here; the others are fetched."
        self._trail.append(at, EVENT, text, study_id=study_id, detail=detail)
        return True

    def due_sources(self, now: float) -> frozenset[str]:
        """The archives from which something is to be fetched now."""
        query = sa.select(fetch.c.source).where(
            fetch.c.state == FetchState.READY,
            fetch.c.next_at <= now,
            sa.or_(fetch.c.claimed_until.is_(None), fetch.c.claimed_until < now),
        )
        return frozenset(self._connection.execute(query.distinct()).scalars())

    def claim(
        self, owner: str, now: float, lease_s: float, source: str | None = None
    ) -> Fetch | None:
        """Claim what has waited longest of what is due, from one archive or from any."""
        wanted = (
            sa.select(fetch.c.id)
            .where(fetch.c.state == FetchState.READY, fetch.c.next_at <= now)
            .order_by(fetch.c.next_at, fetch.c.id)
        )
        if source is not None:
            wanted = wanted.where(fetch.c.source == source)
        row = claim_one(self._connection, fetch, wanted, owner, now, lease_s)
        return None if row is None else _record(row)

    def close(
        self, one: Fetch, state: FetchState, at: float, text: str, objects: int | None = None
    ) -> None:
        """It has been fetched, or is given up; leaves a row in the trail."""
        self._change(one, {"state": state, "reason": text, "objects": objects})
        self._trail.append(
            at,
            EVENT,
            text,
            study_id=one.study_id or None,
            change=(one.state, state),
            detail={"source": one.source, "kind": one.kind, "objects": objects},
        )

    def postpone(self, one: Fetch, next_at: float, reason: str, *, counts: bool = True) -> None:
        """Try again at ``next_at``; a try that the archive has not seen does not count."""
        attempts = one.attempts + counts
        self._change(one, {"next_at": next_at, "reason": reason, "attempts": attempts})

    def _change(self, one: Fetch, values: dict[str, Any]) -> None:
        statement = sa.update(fetch).where(fetch.c.id == one.id)
        self._connection.execute(statement.values(claimed_by=None, claimed_until=None, **values))

    def release_claims_of(self, owner_prefix: str) -> int:
        """Give back the claims of an owner that is known to be dead."""
        return release_claims_of(self._connection, fetch, owner_prefix)

    def of_study(self, study_id: int) -> Sequence[Fetch]:
        """Everything that was asked for on behalf of a study, oldest first."""
        query = sa.select(fetch).where(fetch.c.study_id == study_id).order_by(fetch.c.id)
        return tuple(_record(row) for row in self._connection.execute(query))

    def brought(self, study_instance_uid: str) -> bool:
        """Whether a study was fetched for the sake of another, as a prior."""
        query = sa.select(fetch.c.id).where(
            fetch.c.study_instance_uid == study_instance_uid, fetch.c.kind == FetchKind.PRIOR
        )
        return self._connection.execute(query.limit(1)).first() is not None
