"""What every way to a destination has in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from secondread.domain.network import Urgency
from secondread.domain.result import OutboxItem
from secondread.errors import DeliveryError


class Blame(StrEnum):
    """Whose fault it is that an object was not stored."""

    OBJECT = "object"
    """The destination spoke of the object: the next may go."""
    LINE = "line"
    """No object had its turn: nobody there, no association, no trust, no access."""
    BOTH = "both"
    """It broke while the object was on its way, and nobody can tell which of the two did it."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """An object that is to be brought somewhere.

    Attributes:
        path: its file.
        completes: for the last object of a job in a folder, the SOP Instance UIDs of its study
            that are to be there with it; None for all others.
    """

    item: OutboxItem
    study_id: int
    path: Path
    urgency: Urgency = Urgency.MEDIUM
    completes: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Carried:
    """What became of an object.

    Attributes:
        status: 0x0000 or a warning (PS3.4 B.2.3); None where the way has no such number.
        remark: what the destination said or changed, in words of ours and without values.
        proof: what has proven already that it is there; or "".
        fault: why it was not stored; None where it was.
        blame: whose fault that is.
    """

    parcel: Parcel
    status: int | None = None
    remark: str = ""
    proof: str = ""
    fault: DeliveryError | None = None
    blame: Blame = Blame.OBJECT


class Carrier(Protocol):
    """Brings objects to one destination; for one thread at a time.

    Every wait has an end, and no method raises but for what it says.
    """

    @property
    def at_once(self) -> int:
        """How many objects go in one request at the most; each of another job."""

    def expect(self, parcels: Sequence[Parcel]) -> None:
        """These are to be carried next."""

    def carry(self, parcels: Sequence[Parcel]) -> Iterator[Carried]:
        """Bring some there, ``at_once`` at the most; tells what became of each, in their order.

        Where the line is to blame, it ends there, and the others have not been carried.
        """

    def probe(self) -> None:
        """Ask whether somebody is there.

        Raises:
            DeliveryError: nobody is, or nobody who would talk to this node.
        """

    def close(self) -> None:
        """Let go of what is open; it may be used again."""
