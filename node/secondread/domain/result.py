"""What leaves the node."""

from __future__ import annotations

from dataclasses import dataclass

from secondread.domain.states import DeliveryState


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number about one segment, with its UCUM unit."""

    segment: int
    name: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class ResultObject:
    """A DICOM object that passed the gate; ``path`` is relative to the data folder."""

    kind: str
    """``seg`` or ``sr``."""
    sop_instance_uid: str
    sop_class_uid: str
    path: str


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """One object for one destination; times are seconds since the epoch, UTC."""

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
