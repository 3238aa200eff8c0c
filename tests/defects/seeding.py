"""What a seeded defect is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydicom.dataset import Dataset

ELSEWHERE = "2.25.123456789"
SOURCE_SERIES = "2.25.89613676905408769392023980775108408415"
"""Series Instance UID of the images that the defects' objects were made from."""
ANY = (
    "BINARY",
    "LABELMAP",
    "FRACTIONAL",
    "report",
    "key objects",
    "presentation state",
    "capture",
    "summary",
    "PDF",
    "parametric map",
    "structure set",
)
"""Every kind of object that a job can have."""
SEGMENTATIONS = ANY[:3]

Seed = Callable[[Dataset], None]


@dataclass(frozen=True)
class Defect:
    """One defect: the objects that it is seeded into, and a part of the sentence that names it."""

    kinds: tuple[str, ...]
    what: str
    sentence: str
    seed: Seed


class Seeds:
    """Collects the defects of a module in the order in which they stand there."""

    def __init__(self) -> None:
        self.defects: list[Defect] = []

    def __call__(self, kinds: str | tuple[str, ...], sentence: str) -> Callable[[Seed], Seed]:
        """Registers a function that seeds a defect; its docstring says what is wrong then."""
        of = (kinds,) if isinstance(kinds, str) else kinds

        def register(seed: Seed) -> Seed:
            assert seed.__doc__, seed
            self.defects.append(Defect(of, seed.__doc__, sentence, seed))
            return seed

        return register


def item_of(container: Dataset, meaning: str) -> Dataset:
    """The first child with this concept name, case aside."""
    for item in container.ContentSequence:
        names = item.get("ConceptNameCodeSequence")
        if names and names[0].CodeMeaning.lower() == meaning.lower():
            found: Dataset = item
            return found
    raise AssertionError(meaning)


def drop(container: Dataset, meaning: str) -> None:
    """Remove the first child with this concept name."""
    container.ContentSequence.remove(item_of(container, meaning))
