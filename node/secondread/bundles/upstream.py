"""``[[upstream]]``: the models that must have run on the same volume before a model can."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from secondread.bundles.entry import Entry
from secondread.bundles.package import MANIFEST_NAME, digest_of
from secondread.errors import ManifestError

__all__ = ["Needing", "Pin", "candidates", "read_upstream", "resolve"]

_KEYS = ("id", "version", "sha256")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_UPSTREAM_MAX = 16


@dataclass(frozen=True, slots=True)
class Pin:
    """One ``[[upstream]]``: a model, and the sha256 of the very ``model.toml`` that is meant."""

    id: str
    version: str
    sha256: str


class Needing(Protocol):
    """A package that may name others."""

    @property
    def id(self) -> str:
        """Of the model."""

    @property
    def folder(self) -> Path:
        """Where its files lie."""

    @property
    def digest(self) -> str:
        """sha256 of its ``model.toml``."""

    @property
    def upstream(self) -> tuple[Pin, ...]:
        """What it names."""


Model = TypeVar("Model", bound=Needing)


def read_upstream(rows: object, model_id: str) -> tuple[Pin, ...]:
    """Read the ``[[upstream]]`` of the model ``model_id``.

    Raises:
        ValueError: it is not a list of tables.
        EntryFault: one of them lacks something, or names the model itself or one twice.
    """
    if not isinstance(rows, list) or len(rows) > _UPSTREAM_MAX:
        raise ValueError(f"upstream is a list of at most {_UPSTREAM_MAX} tables")
    pins: dict[str, Pin] = {}
    for number, row in enumerate(rows, 1):
        entry = Entry(f"[[upstream]] {number}", row, _KEYS)
        pin = Pin(entry.text("id"), entry.text("version"), entry.text("sha256"))
        if not _SHA256.fullmatch(pin.sha256):
            raise entry.fault("has a sha256 that is not 64 hexadecimal digits in small letters")
        if pin.id == model_id:
            raise entry.fault("names the model itself")
        if pin.id in pins:
            raise entry.fault(f"names '{pin.id}' a second time")
        pins[pin.id] = pin
    return tuple(pins.values())


def candidates(folders: Iterable[Path]) -> Mapping[str, Path]:
    """The packages in these folders by the digest of their ``model.toml``; others are left out."""
    found: dict[str, Path] = {}
    for folder in folders:
        try:
            content = (folder / MANIFEST_NAME).read_bytes()
        except OSError:
            continue
        found.setdefault(digest_of(content), folder)
    return found


def resolve(
    model: Model, folders: Mapping[str, Path], read: Callable[[Path], Model]
) -> tuple[Model, ...]:
    """All that a model builds on, also by way of others: each once, what others need first.

    Args:
        model: where to begin.
        folders: where packages lie, by digest.
        read: reads one of them.

    Raises:
        ManifestError: one is not there as it was pinned, two of one id are asked for, or they
            build on each other in a circle.
    """
    found: dict[str, Model] = {}
    _walk(model, (model.id,), found, lambda pin, by: _find(pin, by, folders, read))
    return tuple(found.values())


def _walk(
    model: Model,
    chain: tuple[str, ...],
    found: dict[str, Model],
    find: Callable[[Pin, str], Model],
) -> None:
    for pin in model.upstream:
        if pin.id in chain:
            raise ManifestError(
                f"The models {' → '.join((*chain, pin.id))} build on each other in a circle, so "
                "that none of them can run first. Take one of them out of [[models]]."
            )
        if pin.id in found:
            if found[pin.id].digest != pin.sha256:
                raise ManifestError(
                    f"Model '{chain[0]}' builds on two versions of '{pin.id}' at once, which "
                    "cannot be. Install versions that name the same one."
                )
            continue
        upstream = find(pin, model.id)
        _walk(upstream, (*chain, pin.id), found, find)
        found[pin.id] = upstream


def _find(pin: Pin, by: str, folders: Mapping[str, Path], read: Callable[[Path], Model]) -> Model:
    wanted = f"Model '{by}' builds on '{pin.id}' {pin.version} (sha256 {pin.sha256[:12]}…)"
    if pin.sha256 not in folders:
        raise ManifestError(
            f"{wanted}, and no model that is installed is exactly that one: it is missing, has "
            f"changed, or is another version. Install '{pin.id}' {pin.version} and name it in "
            f"[[models]], or install a '{by}' that was made for the version you have."
        )
    model = read(folders[pin.sha256])
    if model.id != pin.id:
        raise ManifestError(
            f"{wanted}, but the model with this digest is called '{model.id}'. "
            f"Correct [[upstream]] of '{by}'."
        )
    return model
