"""``[output]`` of ``model.toml``: what a model answers, and which numbers a report gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, TypeVar

from secondread.bundles.entry import Entry, EntryFault
from secondread.domain.answer import Declared
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

PLACE_KINDS = ("point", "polyline", "polygon")
_MAPS_MAX = 16
_ENTRIES_MAX = 200


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

    def declared(self, labels: int) -> Declared:
        """The names alone, for whoever checks an answer; ``labels`` is their number."""
        return Declared(
            probabilities=labels if self.probabilities else 0,
            maps=tuple(one.id for one in self.maps),
            numbers=tuple(one.id for one in self.numbers),
            findings={one.id: tuple(one.values) for one in self.findings},
            places={one.id: one.kind for one in self.places},
        )

    @property
    def stands_alone(self) -> bool:
        """Whether it says something even where the model has no labels."""
        return bool(self.numbers or self.findings or self.places or self.maps)


class _Named(Protocol):
    @property
    def id(self) -> str: ...


_One = TypeVar("_One", bound=_Named)


def read_output(row: object, labels: Sequence[str]) -> Output:
    """Read ``[output]``; ``labels`` are the names of the labels that there are.

    Raises:
        EntryFault: a key is unknown or absent, or a value is not what it should be.
    """
    table = Entry("[output]", row, {one.name for one in fields(Output)})
    output = Output(
        probabilities=table.switch("probabilities"),
        statistics=_statistics(table),
        numbers=_read(table, "numbers", DeclaredNumber, lambda one: _number(one, labels)),
        findings=_read(table, "findings", DeclaredFinding, lambda one: _finding(one, labels)),
        places=_read(table, "places", DeclaredPlace, lambda one: _place(one, labels)),
        maps=_read(table, "maps", DeclaredMap, _map),
    )
    if output.probabilities and not labels:
        raise table.fault("promises probabilities, but the model has no labels")
    if len(output.maps) > _MAPS_MAX:
        raise table.fault(f"declares {len(output.maps)} maps; {_MAPS_MAX} is the most")
    return output


def _statistics(table: Entry) -> tuple[str, ...]:
    if not table.has("statistics"):
        return USUAL_STATISTICS
    names = table.value("statistics")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise table.fault("has statistics that are no list of texts")
    if unknown := [name for name in names if name not in STATISTICS]:
        raise table.fault(
            f"asks for the statistics {', '.join(unknown)}, which the node does not measure; it "
            f"measures {', '.join(STATISTICS)}"
        )
    return tuple(dict.fromkeys(names))


def _read(
    table: Entry, key: str, kind: type[Any], read: Callable[[Entry], _One]
) -> tuple[_One, ...]:
    rows = table.value(key) if table.has(key) else []
    if not isinstance(rows, list) or len(rows) > _ENTRIES_MAX:
        raise table.fault(f"has {key} that are no list of at most {_ENTRIES_MAX} tables")
    keys = {one.name for one in fields(kind)}
    found = tuple(
        read(Entry(f"[[output.{key}]] {number}", row, keys)) for number, row in enumerate(rows, 1)
    )
    names = [one.id for one in found]
    for number, name in enumerate(names, 1):
        if name in names[: number - 1]:
            raise EntryFault(f"[[output.{key}]] {number}", f"has the id '{name}' of another one")
    return found


def _number(one: Entry, labels: Sequence[str]) -> DeclaredNumber:
    low, high = one.number_if_any("low"), one.number_if_any("high")
    if low is not None and high is not None and low >= high:
        raise one.fault(f"has a low end of {low:g} that is not below its high end of {high:g}")
    return DeclaredNumber(
        id=one.name(),
        name=one.code("name"),
        unit=one.unit(),
        label=_label(one, labels),
        low=low,
        high=high,
        meanings=one.meanings(),
    )


def _finding(one: Entry, labels: Sequence[str]) -> DeclaredFinding:
    return DeclaredFinding(
        id=one.name(),
        name=one.code("name"),
        values=one.coded_values("values"),
        label=_label(one, labels),
        meanings=one.meanings(),
    )


def _place(one: Entry, labels: Sequence[str]) -> DeclaredPlace:
    return DeclaredPlace(
        id=one.name(),
        name=one.code("name"),
        kind=one.one_of("kind", PLACE_KINDS),
        label=_label(one, labels),
        meanings=one.meanings(),
    )


def _map(one: Entry) -> DeclaredMap:
    low, high = one.number("low"), one.number("high")
    if low >= high:
        raise one.fault(f"has a low end of {low:g} that is not below its high end of {high:g}")
    return DeclaredMap(
        id=one.name(),
        name=one.code("name"),
        unit=one.unit(),
        low=low,
        high=high,
        meanings=one.meanings(),
    )


def _label(one: Entry, labels: Sequence[str]) -> str:
    name = one.text("label", "")
    if name and name not in labels:
        raise one.fault(f"is about the label '{name}', which the model does not have")
    return name
