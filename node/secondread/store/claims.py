"""Claims: a lease on a row, taken and given back in SQL alone.

The same statement serves SQLite (where BEGIN IMMEDIATE makes it exclusive) and PostgreSQL (where
SKIP LOCKED does).
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa


def claim_one(
    connection: sa.Connection,
    table: sa.Table,
    wanted: sa.Select[tuple[int]],
    owner: str,
    now: float,
    lease_s: float,
) -> Any | None:
    """Claim the first row whose id ``wanted`` selects and that nobody holds; the row, or None."""
    free = sa.or_(table.c.claimed_until.is_(None), table.c.claimed_until < now)
    first = wanted.where(free).limit(1).with_for_update(skip_locked=True)
    statement = (
        sa.update(table)
        .where(table.c.id == first.scalar_subquery())
        .values(claimed_by=owner, claimed_until=now + lease_s)
        .returning(table)
    )
    return connection.execute(statement).one_or_none()


def release_claims_of(connection: sa.Connection, table: sa.Table, owner_prefix: str) -> int:
    """Give back what an owner held that is known to be dead; the number of rows."""
    statement = (
        sa.update(table)
        .where(table.c.claimed_by.startswith(owner_prefix, autoescape=True))
        .values(claimed_by=None, claimed_until=None)
    )
    return connection.execute(statement).rowcount
