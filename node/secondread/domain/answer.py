"""What a model answers besides its label map: numbers, findings and places that it declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Declared:
    """What an answer may hold besides the label map, by the names that the manifest gives.

    Attributes:
        probabilities: how many labels have a probability for every voxel; 0 for none.
        maps: the maps, in the order in which they are kept.
        numbers: the numbers.
        findings: the findings, and the values that each may have.
        places: the places, and the kind of each: ``point``, ``polyline`` or ``polygon``.
    """

    probabilities: int = 0
    maps: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    findings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> bool:
        """Whether it holds more than arrays."""
        return bool(self.numbers or self.findings or self.places)


@dataclass(frozen=True, slots=True)
class AnsweredNumber:
    """A value of a measurement that the manifest declares, in the unit that it declares."""

    id: str
    value: float


@dataclass(frozen=True, slots=True)
class AnsweredFinding:
    """One of the values that the manifest declares for a finding.

    ``probability`` is between 0 and 1, or None where the model gives none.
    """

    id: str
    value: str
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class AnsweredPlace:
    """A point or a line of what the manifest declares.

    ``points`` are ``(slice, row, column)`` in voxels of the volume that the model saw, fractions
    allowed; 0 is the middle of the first voxel.
    """

    id: str
    points: tuple[tuple[float, float, float], ...]
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """All of it; empty for a model that answers a label map alone."""

    numbers: tuple[AnsweredNumber, ...] = ()
    findings: tuple[AnsweredFinding, ...] = ()
    places: tuple[AnsweredPlace, ...] = ()
