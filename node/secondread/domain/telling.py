"""Who else is told what happens, and what of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from secondread.domain.destination import Destination
from secondread.domain.web_target import WebTarget


class Event(StrEnum):
    """What can be told."""

    STUDY_DONE = "study-done"
    """Every job of a study has ended well, or no rule wanted it."""
    STUDY_HELD = "study-held"
    """A study waits for a person."""
    JOB_DELIVERED = "job-delivered"
    """Every object of a job was sent to every destination."""
    JOB_SAFE = "job-safe"
    """A destination has proven that it has all objects of a job; without proof, has taken them."""
    JOB_FAILED = "job-failed"
    """A job waits for a person."""
    DESTINATION_DOWN = "destination-down"
    """A destination does not answer."""
    DESTINATION_UP = "destination-up"
    """It answers again."""
    TEST = "test"
    """Nothing has happened; a person tries a listener out."""


class ListenerKind(StrEnum):
    """How a listener is told."""

    WEBHOOK = "webhook"
    """A signed POST."""
    AVAILABILITY = "availability"
    """Instance Availability Notification (PS3.4 R); of ``JOB_SAFE`` alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Somebody who is told; has ``web`` or ``call``, as its kind needs.

    Attributes:
        name: the administrator's.
        kind: how it is told.
        events: what it is told.
        destinations: names of the only destinations whose jobs it is told of; empty is all.
        web: where the POST goes.
        secret_file: holds the secret that signs it, in one line.
        with_uids: whether the POST names studies and objects by UID.
        call: who takes the notices, and how it is called.
        attempts_max: failed tries after which one message is given up.
    """

    name: str
    kind: ListenerKind
    events: frozenset[Event]
    destinations: frozenset[str] = frozenset()
    web: WebTarget | None = None
    secret_file: Path = Path()
    with_uids: bool = False
    call: Destination | None = None
    attempts_max: int = 400


class TellingState(StrEnum):
    """Where a message to a listener is."""

    READY = "ready"
    """To be told, now or at the time of the next try."""
    TOLD = "told"
    """The listener has confirmed it."""
    DEAD = "dead"
    """The listener refused it, or the tries are used up."""


@dataclass(frozen=True, slots=True)
class Telling:
    """One message for one listener; times are seconds since the epoch, UTC.

    Attributes:
        key: the same for the same message, at every try.
        content: what happened, without anything that tells who the patient is.
    """

    id: int
    target: str
    event: Event
    key: str
    study_id: int | None
    job_id: int | None
    content: Mapping[str, Any]
    state: TellingState
    attempts: int
    created_at: float
    next_at: float
    reason: str
