"""The hold table: studies of which nothing is removed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from secondread.domain.hold import Hold
from secondread.errors import UsageError
from secondread.store.tables import hold
from secondread.store.trail import Trail

EVENT = "hold"
"""Trail event: a hold was placed or released."""


class Holds:
    """The holds, in one transaction; each change leaves a row in the trail."""

    def __init__(self, connection: sa.Connection, trail: Trail) -> None:
        self._connection = connection
        self._trail = trail

    def place(self, wanted: Hold) -> None:
        """Let nothing of a study be removed from now on.

        Raises:
            UsageError: it is on hold already.
        """
        if (before := self.find(wanted.study_id)) is not None:
            raise UsageError(
                f"Study {wanted.study_id} is on hold already, placed by {before.placed_by}. "
                "Release it first, to give another reason."
            )
        self._connection.execute(
            hold.insert().values(
                study_id=wanted.study_id,
                reason=wanted.reason,
                placed_by=wanted.placed_by,
                at=wanted.at,
            )
        )
        text = f"Put on hold by {wanted.placed_by}: nothing of it is removed."
        self._note(wanted, text, {"act": "hold"})

    def release(self, study_id: int, who: str, why: str, at: float) -> Hold:
        """Take the hold of a study away; what it was.

        Raises:
            UsageError: there is none.
        """
        found = self.find(study_id)
        if found is None:
            raise UsageError(f"Study {study_id} is not on hold.")
        self._connection.execute(sa.delete(hold).where(hold.c.study_id == study_id))
        text = f"Released by {who}: it is kept as long as any other study."
        self._note(Hold(study_id, why, who, at), text, {"act": "release"})
        return found

    def _note(self, acted: Hold, text: str, detail: dict[str, str]) -> None:
        # The reason is somebody's own words, which the trail keeps beside the text, not in it.
        self._trail.append(
            acted.at,
            EVENT,
            text,
            study_id=acted.study_id,
            detail={**detail, "who": acted.placed_by, "why": acted.reason},
        )

    def find(self, study_id: int) -> Hold | None:
        """The hold of a study."""
        row = self._connection.execute(_all().where(hold.c.study_id == study_id)).one_or_none()
        return None if row is None else to_hold(row)

    def list(self) -> Sequence[Hold]:
        """Every hold, the oldest first."""
        return tuple(to_hold(row) for row in self._connection.execute(_all().order_by(hold.c.id)))


def _all() -> sa.Select[Any]:
    return sa.select(hold.c.study_id, hold.c.reason, hold.c.placed_by, hold.c.at)


def to_hold(row: Any) -> Hold:
    """A row as a record."""
    return Hold(row.study_id, row.reason, row.placed_by, row.at)
