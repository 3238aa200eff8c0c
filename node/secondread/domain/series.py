"""The summary of a series: all that rules, selection and replay ask of its headers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Values = tuple[str | float, ...]
"""The distinct values of an attribute over the objects of a series, in order of appearance."""


@dataclass(frozen=True, slots=True)
class PartSummary:
    """One volume that the images of a series make, or why they make none.

    A series that holds several echoes, phases or acquisitions has a part for each.

    Attributes:
        name: '' where the series is one part; else what tells it apart, such as 'EchoNumbers 2'.
        outcome: 'sound', or the stable name of what is wrong.
        reason: the sentence for that; '' where it is sound.
        pixels: why its pixels cannot be decoded, in one sentence; '' where they can.
        slices: how many it has.
        rows, columns: of every slice; 0 where they differ.
        spacing_mm: (slice, row, column); None where the geometry is not sound.
        plane: 'axial', 'sagittal', 'coronal', 'oblique', or '' where there is none.
        tilt_degrees: by which its slices lean against their stack; 0 where they do not.
        digest: sha256 over the sorted (SOP Instance UID, sha256) of its objects, without duplicates
            that were left out, and its frames where it has some of an object's only; hex. So it
            is the same when a neighbour comes later and the part gets a name.
        attributes: values of those attributes that are not the same in all parts; they go before
            those of the series, and an empty tuple says that this part has none.
    """

    name: str
    outcome: str
    reason: str
    pixels: str
    slices: int
    rows: int
    columns: int
    spacing_mm: tuple[float, float, float] | None
    plane: str
    tilt_degrees: float
    digest: str
    attributes: Mapping[str, Values] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SeriesSummary:
    """One series of a study.

    Attributes:
        number: Series Number.
        objects: how many there are, readable or not.
        unreadable: how many of them cannot be read.
        holds_images: whether it holds source images, not somebody's results or documents.
        attributes: values by keyword, of those in ``domain.attributes`` that it has, of all its
            objects together; those of a part go before.
        parts: at least one where it holds images.
        digest: sha256 over the sorted (SOP Instance UID, sha256) of its objects, hex.
    """

    series_instance_uid: str
    number: int | None
    objects: int
    unreadable: int
    holds_images: bool
    attributes: Mapping[str, Values]
    parts: tuple[PartSummary, ...]
    digest: str


def digest(objects: Iterable[tuple[str, str]], more: str = "") -> str:
    """sha256 over the sorted (SOP Instance UID, sha256) of objects, and ``more``, as hex."""
    total = hashlib.sha256()
    for uid, content in sorted(objects):
        total.update(f"{uid} {content}\n".encode())
    total.update(more.encode())
    return total.hexdigest()
