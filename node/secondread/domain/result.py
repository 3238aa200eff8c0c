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
        status: what the destination answered when it stored the object: 0x0000 or a warning
            (PS3.4 B.2.3); None before, and where the way has no such number.
        remark: what the destination said or changed when it stored the object, in words of ours
            and without values.
        proof: what proved that it is there: ``commitment``, ``read-back``; '' is nothing.
        prove_at: when the destination is asked, or asked again, for proof; None is never.
        proof_tries: questions about it without proof, since it was sent last.
        sendings: how often it was sent and stored.
        sent_at: when it was stored last.
        safe_at: when it was proven to be there.
        purged_at: when the local file was removed.
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
    status: int | None = None
    remark: str = ""
    proof: str = ""
    prove_at: float | None = None
    proof_tries: int = 0
    sendings: int = 0
    sent_at: float | None = None
    safe_at: float | None = None
    purged_at: float | None = None
