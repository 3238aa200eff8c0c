"""``model.toml``: what a model is, what it accepts and what it answers."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secondread.domain.code import Code
from secondread.errors import ManifestError

MANIFEST_NAME = "model.toml"
_SECTIONS = {"model", "input", "runtime", "preprocessing", "envelope", "files", "labels"}


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


@dataclass(frozen=True, slots=True)
class InputEnvelope:
    """What a model accepts, judged by headers alone; lengths in mm, counts in slices."""

    modality: tuple[str, ...]
    body_part: tuple[str, ...]
    min_slices: int
    max_slices: int
    min_spacing_mm: float
    max_spacing_mm: float
    min_extent_mm: float
    forbidden_image_types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A model package.

    Attributes:
        digest: sha256 over ``model.toml``, which itself names the digest of every other file.
        raw: the parsed file, for the runtime's own tables.
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


def read_manifest(folder: Path) -> Manifest:
    """Read and check ``model.toml``; the digests of the other files are checked by ``verify``.

    Raises:
        ManifestError: it is absent, not TOML, or lacks or misspells something.
    """
    path = folder / MANIFEST_NAME
    try:
        content = path.read_bytes()
        raw = tomllib.loads(content.decode("utf-8"))
    except FileNotFoundError:
        raise ManifestError(f"There is no {MANIFEST_NAME} in '{folder}'.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"'{path}' is not valid TOML: {error}.") from None
    if unknown := set(raw) - _SECTIONS:
        raise ManifestError(f"'{path}' has unknown sections: {', '.join(sorted(unknown))}.")
    try:
        return _build(raw, folder, hashlib.sha256(content).hexdigest())
    except KeyError as error:
        raise ManifestError(f"'{path}' lacks the key {error}.") from None
    except (TypeError, ValueError) as error:
        raise ManifestError(f"'{path}' has a value of the wrong kind: {error}.") from None


def _build(raw: Mapping[str, Any], folder: Path, digest: str) -> Manifest:
    model, runtime = raw["model"], raw["runtime"]
    labels = tuple(_label(row) for row in raw["labels"])
    values = [label.value for label in labels]
    if not labels or sorted(values) != list(range(1, len(values) + 1)):
        raise ManifestError(f"The labels of '{folder}' must be numbered 1, 2, 3 … without gaps.")
    return Manifest(
        id=str(model["id"]),
        version=str(model["version"]),
        title=str(model["title"]),
        task=str(model["task"]),
        manufacturer=str(model["manufacturer"]),
        intended_use=str(model["intended_use"]),
        research_only=bool(model["research_only"]),
        input=_envelope(raw["input"]),
        runtime=str(runtime["kind"]),
        deadline_s=float(runtime["deadline_s"]),
        memory_mib=int(runtime["memory_mib"]),
        labels=tuple(sorted(labels, key=lambda label: label.value)),
        files=dict(raw["files"]),
        folder=folder,
        digest=digest,
        raw=raw,
    )


def _envelope(row: Mapping[str, Any]) -> InputEnvelope:
    return InputEnvelope(
        modality=tuple(row["modality"]),
        body_part=tuple(row.get("body_part", ())),
        min_slices=int(row["min_slices"]),
        max_slices=int(row["max_slices"]),
        min_spacing_mm=float(row["min_spacing_mm"]),
        max_spacing_mm=float(row["max_spacing_mm"]),
        min_extent_mm=float(row.get("min_extent_mm", 0.0)),
        forbidden_image_types=tuple(row.get("forbidden_image_types", ())),
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


def verify(manifest: Manifest) -> None:
    """Compare every file that the manifest names with its digest.

    Raises:
        ManifestError: a file is absent, lies outside the folder, or a byte of it has changed.
    """
    for name, expected in manifest.files.items():
        path = (manifest.folder / name).resolve()
        if not path.is_relative_to(manifest.folder.resolve()):
            raise ManifestError(f"Model '{manifest.id}' names a file outside its folder: '{name}'.")
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            raise ManifestError(f"Model '{manifest.id}' lacks its file '{name}'.") from None
        if found != expected:
            raise ManifestError(
                f"File '{name}' of model '{manifest.id}' has changed: sha256 is {found[:12]}…, "
                f"the manifest says {expected[:12]}…. Reinstall the model."
            )
