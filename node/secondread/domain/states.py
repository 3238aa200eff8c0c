"""The state tables: what may follow what, checked by one function.

Every change of state in the node is one row of one of these tables and leaves one audit row.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from secondread.errors import InvalidTransitionError


class StudyState(StrEnum):
    """Where a study is on its way through the house."""

    RECEIVING = "receiving"
    """Objects are arriving, or something is waited for; the reason says what."""
    ASSEMBLING = "assembling"
    """Complete; rules, series and geometry are being looked at."""
    ANALYSING = "analysing"
    """At least one job is on its way."""
    DONE = "done"
    """Every job has ended, or no rule wanted the study."""
    HELD = "held"
    """Waits for a person; the reason says why."""


class JobState(StrEnum):
    """Where one (study, rule, model, series) is."""

    QUEUED = "queued"
    """Planned; the volume has not been read."""
    PREPARED = "prepared"
    """The de-identified volume lies ready for a worker."""
    INFERRED = "inferred"
    """The worker's checked answer lies on disk."""
    REFUSED = "refused"
    """Not analysed; the report that says why has not been written."""
    WRITTEN = "written"
    """The result objects passed the gate and are in the outbox."""
    DELIVERED = "delivered"
    """Every object reached every destination."""
    FAILED = "failed"
    """A dead letter: waits for a person."""
    SUPERSEDED = "superseded"
    """A newer version was planned before anything of this one left the node."""


class DeliveryState(StrEnum):
    """Where one (object, destination) is."""

    RESERVED = "reserved"
    """Made in case that the destination refuses the form before."""
    READY = "ready"
    """To be sent, now or at the time of the next try."""
    SENT = "sent"
    """The destination answered Success or a storage warning."""
    SAFE = "safe"
    """The destination has proven that it has the object; see ``domain.destination.Proof``."""
    DEAD = "dead"
    """The destination refused for good, or the tries are used up: waits for a person."""
    REPLACED = "replaced"
    """The destination refused its kind; what was in reserve goes instead."""


StateTable = Mapping[StrEnum, frozenset[StrEnum]]


def _table(rows: dict[StrEnum, set[StrEnum]]) -> StateTable:
    return MappingProxyType({state: frozenset(after) for state, after in rows.items()})


S, J, D = StudyState, JobState, DeliveryState

STUDY_TABLE: StateTable = _table(
    {
        S.RECEIVING: {S.ASSEMBLING, S.HELD, S.DONE},
        S.ASSEMBLING: {S.ANALYSING, S.DONE, S.HELD, S.RECEIVING},
        S.ANALYSING: {S.DONE, S.HELD, S.RECEIVING},
        S.DONE: {S.RECEIVING, S.ASSEMBLING, S.HELD},
        S.HELD: {S.RECEIVING, S.ASSEMBLING},
    }
)

JOB_TABLE: StateTable = _table(
    {
        J.QUEUED: {J.PREPARED, J.REFUSED, J.FAILED, J.SUPERSEDED},
        J.PREPARED: {J.INFERRED, J.REFUSED, J.FAILED, J.QUEUED, J.SUPERSEDED},
        J.INFERRED: {J.WRITTEN, J.FAILED, J.QUEUED},
        J.REFUSED: {J.WRITTEN, J.FAILED, J.DELIVERED},
        J.WRITTEN: {J.DELIVERED, J.FAILED},
        J.DELIVERED: {J.FAILED},
        J.FAILED: {J.QUEUED, J.REFUSED, J.WRITTEN, J.SUPERSEDED},
        J.SUPERSEDED: set(),
    }
)

DELIVERY_TABLE: StateTable = _table(
    {
        D.RESERVED: {D.READY},
        D.READY: {D.SENT, D.DEAD, D.REPLACED},
        D.SENT: {D.SAFE, D.READY, D.DEAD},
        D.SAFE: {D.READY},
        D.DEAD: {D.READY, D.SENT, D.SAFE},
        D.REPLACED: set(),
    }
)

_TABLES: Mapping[type[StrEnum], StateTable] = MappingProxyType(
    {StudyState: STUDY_TABLE, JobState: JOB_TABLE, DeliveryState: DELIVERY_TABLE}
)

JOB_ENDS = frozenset({JobState.DELIVERED, JobState.FAILED, JobState.SUPERSEDED})

for _states, _rows in _TABLES.items():
    assert set(_rows) == set(_states), f"the table of {_states.__name__} lacks a state"


def check_transition(before: StrEnum, after: StrEnum) -> None:
    """Raise ``InvalidTransitionError`` unless the table of ``before`` allows ``after``."""
    table = _TABLES[type(before)]
    if after not in table[before]:
        allowed = ", ".join(sorted(table[before])) or "nothing"
        raise InvalidTransitionError(
            f"{type(before).__name__} cannot go from '{before}' to '{after}'; allowed: {allowed}."
        )
