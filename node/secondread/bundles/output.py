"""``[output]`` of ``model.toml``: what a model answers, and which numbers a report gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from secondread.domain.code import Code

STATISTICS = (
    "volume",
    "mean",
    "deviation",
    "minimum",
    "maximum",
    "median",
    "p05",
    "p10",
    "p25",
    "p75",
    "p90",
    "p95",
    "longest_diameter",
    "perpendicular_diameter",
    "surface",
    "voxels",
)
"""What the node can measure of a segment: mL, the unit of the voxels, mm, cm², a count."""

USUAL_STATISTICS = ("volume", "mean", "deviation")


@dataclass(frozen=True, slots=True)
class DeclaredNumber:
    """A measurement of the model's own.

    Attributes:
        name: what is measured.
        unit: of the value, in UCUM.
        label: name of the label it is about; '' for the whole image.
        low: lower end of the reference range, or None; ``high`` likewise.
        meanings: what ``name`` is called in other languages.
    """

    id: str
    name: Code
    unit: Code
    label: str = ""
    low: float | None = None
    high: float | None = None
    meanings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeclaredFinding:
    """A qualitative finding; ``values`` are the answers that there are, by the model's own name."""

    id: str
    name: Code
    values: Mapping[str, Code]
    label: str = ""
    meanings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeclaredPlace:
    """A point or line in space; ``kind`` is ``point``, ``polyline`` or ``polygon``."""

    id: str
    name: Code
    kind: str
    label: str = ""
    meanings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeclaredMap:
    """A number for every voxel; ``low`` and ``high`` are the ends of the window it is shown in."""

    id: str
    name: Code
    unit: Code
    low: float
    high: float
    meanings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Output:
    """What a model answers besides its label map.

    Attributes:
        probabilities: whether it gives a probability for every voxel and label.
        statistics: which of ``STATISTICS`` the report gives of each segment.
    """

    probabilities: bool = False
    statistics: tuple[str, ...] = USUAL_STATISTICS
    numbers: tuple[DeclaredNumber, ...] = ()
    findings: tuple[DeclaredFinding, ...] = ()
    places: tuple[DeclaredPlace, ...] = ()
    maps: tuple[DeclaredMap, ...] = ()
