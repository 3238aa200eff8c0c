"""Objects stored as the committer does it, one step after the other."""

from __future__ import annotations

from collections.abc import Sequence

from secondread.intake.reception import Arrival
from secondread.intake.storing import ObjectStore, Outcome


def store_arrivals(objects: ObjectStore, arrivals: Sequence[Arrival]) -> Sequence[Outcome]:
    """Name, sync and close objects."""
    outcomes = objects.commit(objects.place(arrivals))
    for arrival, outcome in zip(arrivals, outcomes, strict=True):
        if outcome is True:
            arrival.close()
    return outcomes
