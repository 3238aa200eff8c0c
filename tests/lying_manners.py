"""What the lying PACS can be told to do, and what it writes down of what it did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pydicom.dataset import Dataset

STRANGER = ("1.2.840.10008.5.1.4.1.1.4", "2.25.4711")
"""An object that nobody asks about and the PACS commits to all the same."""
OTHER_TRANSACTION = "2.25.4712"
Pair = tuple[str, str]
"""SOP Class UID and SOP Instance UID."""


class Hang(StrEnum):
    """Where it stops for ever, without closing anything."""

    NOWHERE = "nowhere"
    CONNECTION = "after TCP"
    ASSOCIATION = "after accepting the association"


class Break(StrEnum):
    """Where it ends the connection in the course of a C-STORE."""

    NOWHERE = "nowhere"
    IN_OBJECT = "aborts in the middle of a PDU of the object"
    IN_ANSWER = "resets in the middle of its answer, having kept the object"
    BEFORE_SUCCESS = "keeps the object and resets without an answer"
    AFTER_SUCCESS = "answers Success and closes"


class Commit(StrEnum):
    """What it reports when it is asked for commitment."""

    TRUTH = "what it has, and 0112H for what it has not"
    NOTHING = "that it commits to none"
    HALF = "that it commits to every other one"
    EVERYTHING = "that it commits to all, whether it has them or not"
    STRANGERS = "the truth, and commits to an object that nobody asked about"
    WRONG_TRANSACTION = "the truth under another Transaction UID"
    NEVER = "nothing, ever"


class By(StrEnum):
    """How the report goes to whoever asked."""

    SAME = "on the association of the request, after its answer"
    SAME_FIRST = "on the association of the request, before its answer"
    NEW = "on a new association, at once"
    LATER = "on a new association, when report_owed() is called"


@dataclass(frozen=True)
class Behaviour:
    """What it does; the fields go together as one likes.

    Attributes:
        refused: SOP classes of which it accepts no presentation context.
        rejects: result, source and reason with which it rejects every association.
        status: the status of the C-STORE with this number, counted from 1 since ``behave``.
        status_of: the status of each C-STORE of a SOP class, whatever its number is.
        loses: the numbers of the C-STOREs whose objects it has not got although it said Success.
        breaks_left: how often it breaks before it is honest; None is always.
        again_status: the status of each C-STORE of an object that it has already.
        bytes_per_s: how fast it reads; 0 is as fast as it can.
        failure_reason: (0008,1197) of what it says it does not commit to.
        action_status: its answer to the N-ACTION; with a failure it reports nothing.
    """

    hang: Hang = Hang.NOWHERE
    breaks: Break = Break.NOWHERE
    breaks_left: int | None = None
    refused: frozenset[str] = frozenset()
    rejects: tuple[int, int, int] | None = None
    status: Callable[[int], int] = lambda number: 0x0000
    status_of: Mapping[str, int] = field(default_factory=dict)
    loses: frozenset[int] = frozenset()
    again_status: int = 0x0000
    bytes_per_s: float = 0.0
    commit: Commit = Commit.TRUTH
    by: By = By.SAME
    failure_reason: int = 0x0110
    action_status: int = 0x0000


def always(status: int) -> Callable[[int], int]:
    """This status for every C-STORE."""
    return lambda number: status


def each(nth: int, status: int) -> Callable[[int], int]:
    """This status for each nth C-STORE, Success for the others."""
    return lambda number: 0x0000 if number % nth else status


@dataclass(frozen=True)
class Event:
    """Something that happened; ``uid`` is an object's or a transaction's."""

    kind: str
    uid: str = ""
    status: int = 0


@dataclass
class Kept:
    """An object, and how often it came; more than one digest is a conflict."""

    sop_class: str
    size_bytes: int
    series: str = ""
    times: int = 0
    digests: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Report:
    """A commitment report that it owes."""

    transaction: str
    committed: tuple[Pair, ...]
    failed: tuple[tuple[Pair, int], ...]

    def data_set(self) -> Dataset:
        """PS3.4 table J.3-2."""
        found = Dataset()
        found.TransactionUID = self.transaction
        if self.failed:
            found.FailedSOPSequence = [_item(pair, reason) for pair, reason in self.failed]
        if self.committed:
            found.ReferencedSOPSequence = [_item(pair) for pair in self.committed]
        return found

    @property
    def event_type(self) -> int:
        return 2 if self.failed else 1


def _item(pair: Pair, reason: int = 0) -> Dataset:
    found = Dataset()
    found.ReferencedSOPClassUID, found.ReferencedSOPInstanceUID = pair
    if reason:
        found.FailureReason = reason
    return found
