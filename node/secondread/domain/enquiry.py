"""What the node asks archives to commit to (PS3.4 J), as the ledger keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class EnquiryState(StrEnum):
    """Where a question is; a report that comes late still makes it ``REPORTED``."""

    ASKED = "asked"
    """It may have left; a report may come at any time."""
    REPORTED = "reported"
    """There is a report that has not been judged."""
    JUDGED = "judged"
    """Every report that came has been judged; another may still come."""
    EXPIRED = "expired"
    """No report came in time, and the objects are asked about again."""


@dataclass(frozen=True, slots=True)
class AskedObject:
    """An object in a question; ``outbox_id`` is its row in the outbox."""

    outbox_id: int
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class HeardReport:
    """What an archive said about a transaction, as it said it.

    Attributes:
        committed: (SOP Class UID, SOP Instance UID).
        failed: (SOP Class UID, SOP Instance UID, Failure Reason or None).
    """

    committed: tuple[tuple[str, str], ...]
    failed: tuple[tuple[str, str, int | None], ...]


@dataclass(frozen=True, slots=True)
class StoredEnquiry:
    """One row of the enquiry table; times are seconds since the epoch, UTC.

    Attributes:
        ae_title: whom the node called; a report counts if its caller says it is that.
        due_at: when the report is given up, and asked for again.
        reports: those that have not been judged, oldest first.
    """

    id: int
    transaction_uid: str
    destination: str
    ae_title: str
    state: EnquiryState
    objects: tuple[AskedObject, ...]
    asked_at: float
    due_at: float
    reports: tuple[HeardReport, ...]
