"""``model.toml``: what a model is, what it accepts and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from secondread.bundles.entry import Entry, EntryFault
from secondread.bundles.input import InputEnvelope, read_input
from secondread.bundles.output import Output, read_output
from secondread.bundles.package import MANIFEST_NAME, Package, faults_of, read_package, verify
from secondread.bundles.upstream import Pin, read_upstream
from secondread.domain.answer import Declared
from secondread.domain.code import Code
from secondread.domain.engine import Upstream
from secondread.errors import ManifestError

__all__ = ["MANIFEST_NAME", "Label", "Manifest", "read_manifest", "verify"]


@dataclass(frozen=True, slots=True)
class Label:
    """One structure of a model's answer; ``value`` is its number in the label map, from 1."""

    value: int
    name: str
    meaning: str
    category: Code
    type: Code
    laterality: str
    """``left``, ``right`` or empty."""
    color_rgb: tuple[int, int, int]
    dice_held_out: float | None
    type_modifiers: tuple[Code, ...] = ()
    """Of the type besides the laterality, such as its part or its state."""
    region: Code | None = None
    """Where in the body it lies, of a segment that is not itself a place."""
    region_modifiers: tuple[Code, ...] = ()
    reference_ml: tuple[float, float] | None = None
    """Volumes that the card names as usual, mL."""
    meanings: Mapping[str, str] = field(default_factory=dict)
    """What it is called in other languages, by their names in RFC 5646."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A model package.

    Attributes:
        digest: sha256 over ``model.toml``, which itself names the digest of every other file.
        raw: the parsed file, for the runtime's own tables.
        output: what it answers besides its label map.
        upstream: the models that it names in ``[[upstream]]``.
        builds_on: all that it builds on and where that lies, what others need first; filled in by
            ``bundles.registry``.
    """

    id: str
    version: str
    title: str
    task: str
    manufacturer: str
    intended_use: str
    research_only: bool
    input: InputEnvelope
    runtime: str
    deadline_s: float
    memory_mib: int
    labels: tuple[Label, ...]
    files: Mapping[str, str]
    folder: Path
    digest: str
    raw: Mapping[str, Any]
    output: Output = field(default_factory=Output)
    upstream: tuple[Pin, ...] = ()
    builds_on: tuple[Upstream, ...] = ()

    @property
    def declared(self) -> Declared:
        """What an answer may hold besides the label map."""
        return self.output.declared(len(self.labels))


def read_manifest(folder: Path) -> Manifest:
    """Read and check ``model.toml``; the digests of the other files are checked by ``verify``.

    Raises:
        ManifestError: it is absent, not TOML, or lacks or misspells something.
    """
    package = read_package(folder)
    with faults_of(package.path):
        return _build(package)


def _build(package: Package) -> Manifest:
    raw, folder = package.raw, package.folder
    model, runtime = raw["model"], raw["runtime"]
    labels = _labels(raw.get("labels", []))
    output = read_output(raw.get("output", {}), [label.name for label in labels])
    values = [label.value for label in labels]
    if sorted(values) != list(range(1, len(values) + 1)):
        raise ManifestError(f"The labels of '{folder}' must be numbered 1, 2, 3 … without gaps.")
    if not labels and not output.stands_alone:
        raise ManifestError(
            f"The model in '{folder}' has no labels and declares no number, finding, place or map, "
            "so that it has nothing to answer."
        )
    return Manifest(
        id=package.id,
        version=str(model["version"]),
        title=str(model["title"]),
        task=str(model["task"]),
        manufacturer=str(model["manufacturer"]),
        intended_use=str(model["intended_use"]),
        research_only=bool(model["research_only"]),
        input=read_input(raw["input"]),
        runtime=package.runtime,
        deadline_s=_limit(runtime, "deadline_s", _DEADLINE_S),
        memory_mib=int(_limit(runtime, "memory_mib", _MEMORY_MIB)),
        labels=tuple(sorted(labels, key=lambda label: label.value)),
        files=package.files,
        folder=folder,
        digest=package.digest,
        raw=raw,
        output=output,
        upstream=read_upstream(raw.get("upstream", []), package.id),
    )


_DEADLINE_S, _MEMORY_MIB = (0.001, 7 * 86_400.0), (1.0, 16.0 * 1024**2)
"""The least and the most; beyond, neither a clock nor a limit of the system takes the number."""


def _limit(runtime: Mapping[str, Any], key: str, ends: tuple[float, float]) -> float:
    value = float(runtime[key])
    if not ends[0] <= value <= ends[1]:
        raise EntryFault(
            "[runtime]",
            f"has the {key} {value:g}; it is a number from {ends[0]:g} to {ends[1]:.0f}",
        )
    return value


_LABEL_KEYS = {one.name for one in fields(Label)}
_COLOUR_PARTS, _BRIGHTEST = 3, 255
_LABELS_MAX = 255


def _labels(rows: object) -> tuple[Label, ...]:
    if not isinstance(rows, list) or len(rows) > _LABELS_MAX:
        raise ValueError(f"labels is a list of at most {_LABELS_MAX} tables")
    labels: dict[str, Label] = {}
    for number, row in enumerate(rows, 1):
        entry = Entry(f"[[labels]] {number}", row, _LABEL_KEYS)
        label = _label(entry)
        if label.name in labels:
            raise entry.fault(f"has the name '{label.name}' of another one")
        labels[label.name] = label
    return tuple(labels.values())


def _label(row: Entry) -> Label:
    region = row.code("region") if row.has("region") else None
    region_modifiers = row.codes("region_modifiers")
    if region_modifiers and region is None:
        raise row.fault("has region_modifiers but no region")
    return Label(
        value=row.whole("value"),
        name=row.text("name"),
        meaning=row.text("meaning"),
        category=row.code("category"),
        type=row.code("type"),
        laterality=row.one_of("laterality", ("left", "right"), ""),
        color_rgb=_colour(row),
        dice_held_out=row.number_if_any("dice_held_out"),
        type_modifiers=row.codes("type_modifiers"),
        region=region,
        region_modifiers=region_modifiers,
        reference_ml=row.pair("reference_ml") if row.has("reference_ml") else None,
        meanings=row.meanings(),
    )


def _colour(row: Entry) -> tuple[int, int, int]:
    parts = row.value("color_rgb")
    sound = isinstance(parts, list) and len(parts) == _COLOUR_PARTS
    if not sound or not all(type(p) is int and 0 <= p <= _BRIGHTEST for p in parts):
        raise row.fault("has a color_rgb that is not [red, green, blue], each 0 to 255")
    red, green, blue = parts
    return red, green, blue
