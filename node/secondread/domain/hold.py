"""A hold: nothing of a study is removed, however old it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hold:
    """One row of the ledger's hold table.

    Attributes:
        reason: why, in the words of who placed it; it may name a person, so it is for no log.
        placed_by: the user of the system.
        at: when, in seconds since the epoch, UTC.
    """

    study_id: int
    reason: str
    placed_by: str
    at: float
