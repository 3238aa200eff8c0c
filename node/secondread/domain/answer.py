"""What a model answers besides its label map: numbers, findings and places that it declares."""

from __future__ import annotations

from dataclasses import dataclass


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
