"""``model.toml``: what a model is, what it accepts and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from secondread.bundles.input import InputEnvelope, read_input
from secondread.bundles.output import Output
from secondread.bundles.package import MANIFEST_NAME, Package, faults_of, read_package, verify
from secondread.domain.code import Code
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
    labels = tuple(_label(row) for row in raw["labels"])
    values = [label.value for label in labels]
    if not labels or sorted(values) != list(range(1, len(values) + 1)):
        raise ManifestError(f"The labels of '{folder}' must be numbered 1, 2, 3 … without gaps.")
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
        deadline_s=float(runtime["deadline_s"]),
        memory_mib=int(runtime["memory_mib"]),
        labels=tuple(sorted(labels, key=lambda label: label.value)),
        files=package.files,
        folder=folder,
        digest=package.digest,
        raw=raw,
    )


def _label(row: Mapping[str, Any]) -> Label:
    red, green, blue = row["color_rgb"]
    laterality = str(row.get("laterality", ""))
    if laterality not in {"", "left", "right"}:
        raise ValueError(f"laterality is '{laterality}', not left or right")
    dice = row.get("dice_held_out")
    return Label(
        value=int(row["value"]),
        name=str(row["name"]),
        meaning=str(row["meaning"]),
        category=Code(*map(str, row["category"])),
        type=Code(*map(str, row["type"])),
        laterality=laterality,
        color_rgb=(int(red), int(green), int(blue)),
        dice_held_out=None if dice is None else float(dice),
    )
