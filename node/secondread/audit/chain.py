"""Has anybody changed or removed a row of the trail?"""

from __future__ import annotations

from collections.abc import Iterable

from secondread.store.trail import FIRST_HASH, TrailRow, chain_hash


def first_break(rows: Iterable[TrailRow]) -> TrailRow | None:
    """The first row, oldest first, whose hash does not follow from the row before; else None.

    A trail that was cut off at its end cannot be told from a shorter one.
    """
    previous = FIRST_HASH
    for row in rows:
        values = {key: getattr(row, key) for key in TrailRow.__slots__}
        if row.hash != chain_hash(previous, values):
            return row
        previous = row.hash
    return None
