"""The refusal table: who was not let in, from where, for which reason, and how often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from secondread.errors import NotFoundError
from secondread.store.tables import refusal

_KEY = ("code", "calling", "called", "address", "certificate_sha256")


@dataclass(frozen=True, slots=True)
class RefusedCaller:
    """One caller that was refused for one reason, perhaps many times.

    Attributes:
        code: the stable name of the reason.
        calling: the AE title it called itself, made printable.
        called: the AE title it called.
        address: its IP address.
        certificate_sha256: fingerprint of its TLS certificate; '' without one.
        peer: the administrator's name for it, where its titles are known; else ''.
        reason: the sentence for the administrator, as it was the last time.
        first_at: the first time, in seconds since the epoch.
        last_at: the last time.
        times: how often.
        id: its number in the ledger; 0 before it has one.
    """

    code: str
    calling: str
    called: str
    address: str
    certificate_sha256: str
    peer: str
    reason: str
    first_at: float
    last_at: float
    times: int
    id: int = 0


class Refusals:
    """The refused callers, in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def merge(self, refused: RefusedCaller) -> None:
        """Add a caller, or add its times to those of the same caller for the same reason."""
        values = asdict(refused)
        del values["id"]
        same = sa.and_(*(refusal.c[name] == values[name] for name in _KEY))
        # The transaction is exclusive from its begin, so nobody else can add it in between.
        before = self._connection.execute(sa.select(refusal).where(same)).one_or_none()
        if before is None:
            self._connection.execute(refusal.insert().values(**values))
            return
        values["times"] += before.times
        values["first_at"] = min(before.first_at, refused.first_at)
        values["last_at"] = max(before.last_at, refused.last_at)
        self._connection.execute(refusal.update().where(refusal.c.id == before.id).values(**values))

    def newest(self, limit: int = 100) -> Sequence[RefusedCaller]:
        """The callers that were refused last, newest first."""
        query = sa.select(refusal).order_by(refusal.c.last_at.desc(), refusal.c.id.desc())
        rows = self._connection.execute(query.limit(limit))
        return tuple(RefusedCaller(**row._mapping) for row in rows)

    def find(self, number: int) -> RefusedCaller:
        """The refused caller with this number.

        Raises:
            NotFoundError: there is none, or no more.
        """
        query = sa.select(refusal).where(refusal.c.id == number)
        row = self._connection.execute(query).one_or_none()
        if row is None:
            raise NotFoundError(
                f"There is no refusal {number}; 'secondread peer refused' lists the last ones."
            )
        return RefusedCaller(**row._mapping)

    def forget(self, number: int) -> bool:
        """Remove one; whether it was there."""
        gone = self._connection.execute(refusal.delete().where(refusal.c.id == number))
        return gone.rowcount > 0

    def trim(self, keep: int) -> int:
        """Remove those that were refused longest ago, beyond ``keep``; how many that were."""
        order = (refusal.c.last_at.desc(), refusal.c.id.desc())
        old = sa.select(refusal.c.id).order_by(*order).offset(keep)
        gone = self._connection.execute(refusal.delete().where(refusal.c.id.in_(old)))
        return int(gone.rowcount)
