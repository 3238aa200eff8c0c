"""What a peer asked to be kept safe, and what it was answered (PS3.4 J)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class CommitmentState(StrEnum):
    """Where a request is; it may come back to ``ANSWERED`` when the peer asks again."""

    ANSWERED = "answered"
    """The result is known and has to be reported."""
    REPORTED = "reported"
    """The peer has confirmed the report."""
    FAILED = "failed"
    """The peer could not be told in time."""


class FailureReason(IntEnum):
    """Why an object is not committed (PS3.3 C.14.1.1)."""

    PROCESSING_FAILURE = 0x0110
    """Its file cannot be looked at."""
    NO_SUCH_INSTANCE = 0x0112
    """It is not here, or its file is not whole."""
    CLASS_CONFLICT = 0x0119
    """It is here as another SOP class."""
    CLASS_NOT_SUPPORTED = 0x0122
    """It is not here, and the node takes no object of this SOP class."""
    DUPLICATE_TRANSACTION = 0x0131
    """The Transaction UID stands for another request that has not been reported yet."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An object that a peer asks about."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An object that is not committed, and why."""

    reference: Reference
    reason: FailureReason


@dataclass(frozen=True, slots=True)
class Result:
    """What is answered for a transaction; together every object that was asked about, once."""

    transaction_uid: str
    committed: tuple[Reference, ...]
    failed: tuple[Failure, ...]

    @property
    def references(self) -> frozenset[Reference]:
        """Every object that was asked about."""
        return frozenset(self.committed) | {failure.reference for failure in self.failed}


@dataclass(frozen=True, slots=True)
class Commitment:
    """One row of the ledger's commitment table; times are seconds since the epoch, UTC.

    Attributes:
        peer: the name of the peer that asked.
        called_ae_title: the title it called the node by; the report names the node so.
        host: where it can be called; its address where the administrator gave none.
        port: its port; 0 where the administrator gave none.
        next_at: when a report on a new association is due.
        attempts: reports on a new association that failed.
        reason: the sentence shown to people for the present state.
    """

    id: int
    peer: str
    called_ae_title: str
    host: str
    port: int
    state: CommitmentState
    asked_at: float
    next_at: float
    attempts: int
    result: Result
    reason: str
