"""Worklists that others keep, and the work that the node has taken from them (PS3.4 CC)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from secondread.domain.code import Code
from secondread.domain.destination import Destination
from secondread.domain.web_target import WebTarget


class WorklistKind(StrEnum):
    """How a worklist is reached."""

    DICOM = "dicom"
    """UPS Pull (PS3.4 CC)."""
    WEB = "web"
    """UPS-RS (PS3.18 11)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorklistTerms:
    """A worklist and what of it is for the node; has ``call`` or ``web``, as its kind needs.

    Attributes:
        name: the administrator's.
        kind: how it is reached.
        workitem_codes: the kinds of work that the node does.
        station_codes: the performers that it is one of; empty is any.
        station: who the node says has done the work.
        call: the manager, and how it is called.
        web: where its services begin.
        in_array: whether data sets go out within an array (PS3.18 11.1.3).
        poll_s: seconds between two searches.
        open_max: items that the node holds at a time.
        source: name of the destination that has the images; '' where they come by themselves.
        wait_s: seconds that a claimed item waits for its first image.
    """

    name: str
    kind: WorklistKind
    workitem_codes: tuple[Code, ...]
    station_codes: tuple[Code, ...] = ()
    station: Code
    call: Destination | None = None
    web: WebTarget | None = None
    in_array: bool = True
    poll_s: float = 15.0
    open_max: int = 4
    source: str = ""
    wait_s: float = 3600.0


class WorkState(StrEnum):
    """Where an item is that the node wants or wanted."""

    FOUND = "found"
    """To be claimed; nothing of it has left the node."""
    CLAIMING = "claiming"
    """The claim may have left the node, and its answer may be lost."""
    CLAIMED = "claimed"
    """The manager has given it to the node."""
    COMPLETED = "completed"
    """The manager was told what was done, and where the results are."""
    CANCELED = "canceled"
    """The manager was told why the node gave it up."""
    LOST = "lost"
    """Another performer has it, or it was over before the node could end it."""
    DEAD = "dead"
    """The manager refused what it was told: waits for a person."""


OPEN_WORK = frozenset({WorkState.FOUND, WorkState.CLAIMING, WorkState.CLAIMED})
"""States in which there is something left to do."""


@dataclass(frozen=True, slots=True)
class WorkRow:
    """One row of the workitem table; times are seconds since the epoch, UTC.

    Attributes:
        worklist: name of the worklist.
        transaction_uid: the lock; whoever knows it can change the item, so that it is for no log.
        study_instance_uid: of the images to be worked on.
        content: code of the work and when it was claimed; what was said of its progress.
        attempts: calls in vain since the last one that was not.
    """

    id: int
    worklist: str
    workitem_uid: str
    transaction_uid: str
    study_instance_uid: str
    rule: str
    content: Mapping[str, Any]
    state: WorkState
    attempts: int
    created_at: float
    next_at: float
    reason: str
