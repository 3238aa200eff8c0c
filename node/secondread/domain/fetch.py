"""What is fetched from an archive because a rule asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class FetchTerms:
    """What a rule wants to have fetched.

    Attributes:
        source: name of the destination that is asked.
        missing: whether images of the study that the archive has and the node has not are fetched.
        priors: earlier studies of the same patient that are fetched, the newest first; 0 is none.
        prior_days: how far back they are looked for.
        wait_s: seconds that a report waits for them, so that it can be compared with theirs.
    """

    source: str
    missing: bool = False
    priors: int = 0
    prior_days: int = 1825
    wait_s: float = 600.0


class FetchKind(StrEnum):
    """Why something is fetched."""

    MISSING = "missing"
    """Images of a study that is here in part."""
    SEARCH = "search"
    """The earlier studies of its patient are looked for; what is found is a row of its own."""
    PRIOR = "prior"
    """An earlier study of its patient."""
    WORK = "work"
    """A study that a worklist names."""


class FetchState(StrEnum):
    """Where it is."""

    READY = "ready"
    """To be fetched, now or at the time of the next try."""
    DONE = "done"
    """The archive says that it has sent everything, or there is nothing."""
    FAILED = "failed"
    """The archive refused, or the tries are used up; analysis goes on without."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """One row of the fetch table; times are seconds since the epoch, UTC.

    Attributes:
        study_id: the study on whose behalf it is; 0 where a worklist names one that is not here.
        source: name of the destination that is asked.
        study_instance_uid: the study that is fetched; '' for a search.
        objects: how many objects came of it; None before.
    """

    id: int
    study_id: int
    source: str
    kind: FetchKind
    study_instance_uid: str
    state: FetchState
    attempts: int
    objects: int | None
    created_at: float
    next_at: float
    reason: str
