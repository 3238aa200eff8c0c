"""What a peer says it has done or has: hints, never proof."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class NoticeKind(StrEnum):
    """Which service the notice came by."""

    MPPS = "mpps"
    """Modality Performed Procedure Step (PS3.4 F.7): a scanner says what it does."""
    AVAILABILITY = "availability"
    """Instance Availability Notification (PS3.4 R): an archive says what can be had."""


class StepStatus(StrEnum):
    """Performed Procedure Step Status (PS3.3 C.4.14)."""

    IN_PROGRESS = "IN PROGRESS"
    """Started; the only status that may still change."""
    DISCONTINUED = "DISCONTINUED"
    """Ended before it was complete."""
    COMPLETED = "COMPLETED"
    """Ended; what it names is all there is."""


class Availability(StrEnum):
    """Instance Availability (PS3.3 C.4.23.1.1), the best first."""

    ONLINE = "ONLINE"
    """Can be had at once."""
    NEARLINE = "NEARLINE"
    """Can be had after a while."""
    OFFLINE = "OFFLINE"
    """Needs a person."""
    UNAVAILABLE = "UNAVAILABLE"
    """Cannot be had."""


UNKNOWN = "UNKNOWN"
"""The status of a notice that does not say it in the standard's words."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What one notice says about one study; no word in it says who the patient is.

    Attributes:
        sop_instance_uid: of the notice itself.
        study_instance_uid: '' where the notice does not name a study.
        peer: the name of the peer that sent it.
        status: a ``StepStatus`` or the worst ``Availability`` of its objects, or ``UNKNOWN``.
        at: when it came or changed last; seconds since the epoch, UTC.
        objects: the SOP Instance UIDs that it names.
    """

    kind: NoticeKind
    sop_instance_uid: str
    study_instance_uid: str
    peer: str
    status: str
    at: float
    objects: tuple[str, ...]
