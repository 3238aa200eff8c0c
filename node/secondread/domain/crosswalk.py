"""Which original stands behind which pseudonym, and who wanted to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class PairKind(StrEnum):
    """What a pair names."""

    PATIENT = "patient"
    """Who it is: Patient ID and its issuer, or what takes their place."""
    STUDY = "study"
    """Study Instance UID."""
    SERIES = "series"
    """Series Instance UID."""
    INSTANCE = "instance"
    """SOP Instance UID."""


class KeyState(StrEnum):
    """What a key of the crosswalk is to the ledger."""

    CURRENT = "current"
    """New pairs are sealed with it."""
    OLD = "old"
    """Pairs that are sealed with it are being sealed anew."""
    RETIRED = "retired"
    """No pair is sealed with it any more."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One original and what stands for it in one project.

    Attributes:
        original: what tells it from all others; of a patient, the bytes it was named by, as hex.
        pseudonym: what the export shows instead.
        more: what a person wants to see of the original, by name; sealed like the rest.
    """

    kind: PairKind
    original: str
    pseudonym: str
    more: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SealedPair:
    """A pair as the ledger keeps it: nothing in it can be read or tried without the key.

    Attributes:
        project_id: the row of its project.
        original_mark: keyed hash of the original, to find it by.
        pseudonym_mark: keyed hash of the pseudonym.
        key_id: which key both were made with.
        sealed: the pair, encrypted.
        id: its row; 0 before it has one.
    """

    project_id: int
    kind: PairKind
    original_mark: bytes
    pseudonym_mark: bytes
    key_id: str
    sealed: bytes
    id: int = 0


@dataclass(frozen=True, slots=True)
class SealedProject:
    """A project as the ledger keeps it; its name is no secret, its own key is."""

    id: int
    name: str
    key_id: str
    sealed: bytes
    since: float


@dataclass(frozen=True, slots=True)
class Access:
    """Who does something with the crosswalk, and why; both go into the trail.

    Attributes:
        who: the user of the system.
        why: in their own words.
    """

    who: str
    why: str
