"""The tables of the profile: what the standard lists, and what nobody lists but is known.

``table.csv``, ``required.csv``, ``terms.txt`` and ``words.txt`` are generated (``generate.py``);
``technical.toml`` is written by hand.
"""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import tag_for_keyword


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of Table E.1-1: the basic action as it stands there; an option is ``K`` or ``C``."""

    name: str
    basic: str
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Known:
    """What the dictionary of PS3.6 says of an attribute.

    Attributes:
        vrs: value representations, the usual one first.
        values_max: how many values it may have, 0 for no limit.
    """

    vrs: tuple[bytes, ...]
    values_max: int


@dataclass(frozen=True, slots=True)
class SafePrivate:
    """A private block whose named elements hold numbers (PS3.15 Table E.3.10-1)."""

    creator: str
    group: int
    elements: Mapping[int, bytes]


def _lines(name: str) -> Iterator[str]:
    text = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    return (line for line in text.splitlines() if not line.startswith("#"))


@lru_cache(1)
def listed() -> Mapping[int, Listed]:
    """Table E.1-1 by tag; overlays, curves and private attributes are rules, not rows."""
    rows: dict[int, Listed] = {}
    for row in csv.DictReader(_lines("table.csv")):
        tag, name, basic = row.pop("tag"), row.pop("name"), row.pop("basic")
        row.pop("editions")
        if "X" not in tag and tag != "private":
            rows[int(tag, 16)] = Listed(name, basic, {key: at for key, at in row.items() if at})
    return rows


@lru_cache(2)
def required(in_item: bool) -> Mapping[int, str]:
    """The strictest type, ``1`` or ``2``, of attributes that the table leaves open."""
    column = "item" if in_item else "root"
    rows = csv.DictReader(_lines("required.csv"))
    return {int(row["tag"], 16): row[column] for row in rows if row[column]}


@lru_cache(1)
def terms() -> frozenset[bytes]:
    """Code strings that mean something technical and nobody."""
    by_hand = _technical()
    return frozenset(
        term.encode("ascii")
        for term in (
            *_lines("terms.txt"),
            *by_hand["terms"].split(),
            *by_hand["phrases"],
            *by_hand["character_sets"],
        )
    )


@lru_cache(1)
def words() -> frozenset[str]:
    """Words that may stay in a description, in small letters."""
    return frozenset(_lines("words.txt")) | frozenset(_technical()["words"].split())


@lru_cache(1)
def technical_texts() -> Mapping[int, re.Pattern[bytes]]:
    """Text attributes whose values may stay when they match."""
    return {
        _tag(keyword): re.compile(pattern.encode("ascii"))
        for keyword, pattern in _technical()["text"].items()
    }


@lru_cache(1)
def bulk_numbers() -> frozenset[int]:
    """Attributes of VR OW, OF … that hold nothing but numbers."""
    return frozenset(_tag(keyword) for keyword in _technical()["bulk"]["keywords"].split())


@lru_cache(1)
def safe_private() -> tuple[SafePrivate, ...]:
    """The private blocks that may stay under their option."""
    return tuple(
        SafePrivate(
            block["creator"],
            block["group"],
            {int(at, 0): vr.encode("ascii") for at, vr in block["elements"].items()},
        )
        for block in _technical()["private"]
    )


def known(tag: int) -> Known | None:
    """The dictionary's entry of a tag, or None; repeating groups have none."""
    entry = DicomDictionary.get(tag)
    if entry is None or entry[0] == "NONE":
        return None
    vr, multiplicity = entry[0], entry[1]
    last = multiplicity.split("-")[-1]
    return Known(
        tuple(name.encode("ascii") for name in vr.split(" or ")),
        int(last) if last.isdigit() else 0,
    )


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"technical.toml names '{keyword}', which is no attribute of PS3.6.")
    return int(tag)


@lru_cache(1)
def _technical() -> Mapping[str, Any]:
    text = resources.files(__package__).joinpath("technical.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
