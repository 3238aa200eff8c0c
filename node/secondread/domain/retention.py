"""What is kept how long, and what may go: decided from what is known, and from nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from secondread.domain.destination import Destination, Proof, Way
from secondread.domain.hold import Hold
from secondread.domain.states import DeliveryState, JobState, StudyState

DAY_S = 86_400.0
NEVER = math.inf


class Kind(StrEnum):
    """A kind of file, with a time of its own."""

    IMAGES = "images"
    """The objects of a study that a rule wanted."""
    UNWANTED = "unwanted"
    """The objects of a study that no rule wanted."""
    RESULTS = "results"
    """What a job made, in every form, but for the reports."""
    REPORTS = "reports"
    """Its structured reports: small, and what a later study is compared with."""
    SHADOW = "shadow"
    """What a job in shadow made, its reports too."""
    QUARANTINE = "quarantine"
    """What intake or the gate set aside for a person."""


class WhenLow(StrEnum):
    """What the node does when space runs short."""

    WARN = "warn"
    """It says so."""
    PURGE_SAFE = "purge-safe"
    """It says so, and what is safe goes before its time, the oldest first."""


class Haste(StrEnum):
    """Whether the times of ``Retention`` are waited for."""

    NONE = "none"
    """They are."""
    EARLY = "early"
    """What is safe goes when it is ``early_days`` old; what is kept for ever stays."""
    ANY_AGE = "any-age"
    """What is safe goes."""


EARLY_KINDS = frozenset({Kind.IMAGES, Kind.UNWANTED, Kind.RESULTS, Kind.SHADOW})
"""What may go before its time; reports and what is in quarantine are small, and needed."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long files are kept, in days; 0 is for ever. Times count from when a study came to rest.

    Attributes:
        warn_days: the node warns when the disk will be full in fewer days; 0 is never.
        warn_bytes: and when less than this is free.
        when_low: what else it does then.
        early_days: what goes before its time is at least so old.
        observations_days: for rows of the ledger by which models are watched.
    """

    images_days: float = 30.0
    unwanted_days: float = 14.0
    results_days: float = 90.0
    reports_days: float = 1825.0
    shadow_days: float = 90.0
    quarantine_days: float = 90.0
    warn_days: float = 7.0
    warn_bytes: int = 5 * 1024**3
    when_low: WhenLow = WhenLow.WARN
    early_days: float = 3.0
    observations_days: float = 730.0

    @property
    def observations_s(self) -> float:
        """How long rows by which models are watched are kept, in seconds; ``NEVER`` has no end."""
        return self.observations_days * DAY_S if self.observations_days else NEVER

    def length_s(self, kind: Kind, haste: Haste = Haste.NONE) -> float:
        """How long a kind is kept, in seconds; ``NEVER`` has no end."""
        if haste is Haste.ANY_AGE:
            return 0.0
        days = {
            Kind.IMAGES: self.images_days,
            Kind.UNWANTED: self.unwanted_days,
            Kind.RESULTS: self.results_days,
            Kind.REPORTS: self.reports_days,
            Kind.SHADOW: self.shadow_days,
            Kind.QUARANTINE: self.quarantine_days,
        }[kind]
        if not days:
            return NEVER
        if haste is Haste.EARLY and kind in EARLY_KINDS:
            days = min(days, self.early_days)
        return days * DAY_S


@dataclass(frozen=True, slots=True)
class KeptJob:
    """A job, as far as it decides what may go; ``sendings`` are destination and state of each."""

    id: int
    key: str
    state: JobState
    shadow: bool
    sendings: frozenset[tuple[str, DeliveryState]] = frozenset()


@dataclass(frozen=True, slots=True)
class KeptStudy:
    """A study, as far as it decides what may go.

    Attributes:
        rested_at: when something happened to it last, in seconds since the epoch: an object came, a
            job or a delivery changed its state, a peer asked for commitment.
        hold: what keeps all of it, or None.
        images: objects of it that are on disk.
        image_bytes: their size.
    """

    id: int
    study_instance_uid: str
    state: StudyState
    rested_at: float
    hold: Hold | None = None
    images: int = 0
    image_bytes: int = 0
    jobs: tuple[KeptJob, ...] = ()

    @property
    def image_kind(self) -> Kind:
        """Of which kind its objects are."""
        return Kind.IMAGES if self.jobs else Kind.UNWANTED


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether something may go.

    Attributes:
        due_at: when its time is over, in seconds since the epoch; ``NEVER`` is not at all.
        objection: why it may not go, whatever its age; '' is no reason.
    """

    due_at: float
    objection: str = ""

    def may_go(self, now: float) -> bool:
        """Whether it may go now."""
        return not self.objection and self.due_at <= now


SentIsSafe = Callable[[str], bool]
"""Whether a destination, by the name in the outbox, gives no proof, so that ``sent`` is the end."""


def sent_is_safe(destinations: Iterable[Destination]) -> SentIsSafe:
    """Tell the destinations that are asked for no proof; one that is not configured is none."""
    trusted = tuple(one for one in destinations if one.terms.proof is Proof.NONE)
    exact = frozenset(one.name for one in trusted if one.way is not Way.SENDER)
    begins = tuple(f"{one.name}/" for one in trusted if one.way is Way.SENDER)
    return lambda name: name in exact or name.startswith(begins)


_ENDED = frozenset({JobState.DELIVERED, JobState.SUPERSEDED})
_SETTLED = frozenset({DeliveryState.SAFE, DeliveryState.RESERVED, DeliveryState.REPLACED})


def find_objection(study: KeptStudy, is_safe: SentIsSafe) -> str:
    """Why nothing of a study may go, whatever its age; '' where nothing objects.

    One object that is not safe keeps the images and all results: whoever looks for it, or makes it
    again, needs them.
    """
    if study.hold is not None:
        return f"It is on hold, placed by {study.hold.placed_by}."
    if study.state is not StudyState.DONE:
        return f"The study is {study.state}."
    for job in study.jobs:
        if job.state not in _ENDED:
            return f"A job is {job.state}."
        for destination, state in sorted(job.sendings):
            if state in _SETTLED:
                continue
            if state is not DeliveryState.SENT:
                return f"An object for '{destination}' is {state}."
            if not is_safe(destination):
                return f"An object was sent to '{destination}' and is not proven to be there."
    return ""


def judge(
    study: KeptStudy,
    kind: Kind,
    terms: Retention,
    is_safe: SentIsSafe,
    haste: Haste = Haste.NONE,
) -> Verdict:
    """Whether the files of one kind of a study may go, and when.

    Args:
        study: what is known of it.
        kind: of the files.
        terms: how long they are kept.
        is_safe: which destinations are asked for no proof.
        haste: whether what is safe waits for its time.
    """
    due_at = study.rested_at + terms.length_s(kind, haste)
    return Verdict(due_at, find_objection(study, is_safe))
