"""What leaves the node."""

from __future__ import annotations

from dataclasses import dataclass

from secondread.domain.states import DeliveryState


@dataclass(frozen=True, slots=True)
class ResultObject:
    """A DICOM object that passed the gate; ``path`` is relative to the data folder."""

    kind: str
    """``seg``, ``sr`` and what else ``results.context`` lists."""
    sop_instance_uid: str
    sop_class_uid: str
    path: str


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """One object for one destination; times are seconds since the epoch, UTC.

    Attributes:
        level: 0 for the form that the destination should get; 1 and more for what is held in
            reserve in case that it refuses the form before.
    """

    id: int
    job_id: int
    destination: str
    sequence: int
    sop_instance_uid: str
    sop_class_uid: str
    path: str
    state: DeliveryState
    attempts: int
    next_at: float
    reason: str
    kind: str = ""
    level: int = 0
