"""What is to be removed, how much that is, and what the trail says of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from secondread.domain.retention import EARLY_KINDS, Haste, Kind
from secondread.store import Transaction
from secondread.store.retention import PURGE_EVENT

THE_NODE = "the node"
"""Who removes what nobody asked for by hand."""
_WORDS = {
    Kind.IMAGES: "images",
    Kind.UNWANTED: "images that no rule wanted",
    Kind.RESULTS: "results",
    Kind.REPORTS: "reports",
    Kind.SHADOW: "results in shadow",
    Kind.QUARANTINE: "objects from the quarantine",
}
_MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to go.

    Attributes:
        haste: whether what is safe waits for its time.
        kinds: of files; nothing else goes.
        dry: nothing goes, it is only told what would.
        who: asked for it; goes into the trail.
        why: in their own words, into the trail, too.
    """

    haste: Haste = Haste.NONE
    kinds: frozenset[Kind] = frozenset(Kind)
    dry: bool = False
    who: str = THE_NODE
    why: str = ""


HOURLY = Wish()
SHORT_OF_SPACE = Wish(haste=Haste.EARLY, kinds=EARLY_KINDS, why="Space runs short.")


@dataclass(frozen=True, slots=True)
class Amount:
    """Files and their size."""

    files: int = 0
    size_bytes: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.files + other.files, self.size_bytes + other.size_bytes)


Amounts = Mapping[Kind, Amount]


def add_up(parts: Collection[Amounts]) -> dict[Kind, Amount]:
    """The sum of each kind; kinds of which there is nothing are left out."""
    found: dict[Kind, Amount] = {}
    for part in parts:
        for kind, amount in part.items():
            found[kind] = found.get(kind, Amount()) + amount
    return found


def tell_amounts(amounts: Amounts) -> str:
    """Amounts in words: ``120 images (61 MiB) and 2 results (1 MiB)``."""
    parts = [
        f"{amount.files} {_WORDS[kind]} ({amount.size_bytes / _MIB:.0f} MiB)"
        for kind, amount in amounts.items()
    ]
    return " and ".join(parts) or "nothing"


def note_purge(
    change: Transaction, at: float, amounts: Amounts, wish: Wish, study_id: int | None = None
) -> None:
    """Leave a row in the trail: what went, at whose wish and why."""
    by = "" if wish.who == THE_NODE else f", at the wish of {wish.who}"
    early = "" if wish.haste is Haste.NONE else ", before its time"
    detail = {
        "kinds": {
            kind.value: {"files": amount.files, "bytes": amount.size_bytes}
            for kind, amount in amounts.items()
        },
        "haste": wish.haste,
        "who": wish.who,
        "why": wish.why,
    }
    text = f"Removed {tell_amounts(amounts)}{early}{by}."
    change.trail.append(at, PURGE_EVENT, text, study_id=study_id, detail=detail)
