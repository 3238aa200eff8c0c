"""The summary of a series as a document for JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from secondread.domain.series import PartSummary, SeriesSummary, Values

FORM = 1
"""Form of the document and of what a summary says; another one is worked out anew."""

_PART = tuple(field.name for field in fields(PartSummary))
_SPACING, _ATTRIBUTES = _PART.index("spacing_mm"), _PART.index("attributes")


def to_document(summary: SeriesSummary) -> list[Any]:
    """Lists and a few dictionaries rather than names at every value: thousands are read at once."""
    return [
        FORM,
        summary.series_instance_uid,
        summary.number,
        summary.objects,
        summary.unreadable,
        summary.holds_images,
        _lists(summary.attributes),
        [_part_document(part) for part in summary.parts],
        summary.digest,
    ]


def from_document(document: Any) -> SeriesSummary | None:
    """The summary; None where another version of the node wrote it in another form."""
    if not isinstance(document, list) or not document or document[0] != FORM:
        return None
    _, uid, number, objects, unreadable, holds_images, attributes, parts, digest = document
    return SeriesSummary(
        series_instance_uid=uid,
        number=number,
        objects=objects,
        unreadable=unreadable,
        holds_images=holds_images,
        attributes=_tuples(attributes),
        parts=tuple(_part(row) for row in parts),
        digest=digest,
    )


def _part_document(part: PartSummary) -> list[Any]:
    row = [getattr(part, name) for name in _PART]
    row[_ATTRIBUTES] = _lists(part.attributes)
    return row


def _part(row: list[Any]) -> PartSummary:
    values = list(row)
    if values[_SPACING] is not None:
        values[_SPACING] = tuple(values[_SPACING])
    values[_ATTRIBUTES] = _tuples(values[_ATTRIBUTES])
    return PartSummary(*values)


def _lists(attributes: Mapping[str, Values]) -> dict[str, list[str | float]]:
    return {keyword: list(values) for keyword, values in attributes.items()}


def _tuples(attributes: Mapping[str, Any]) -> dict[str, Values]:
    return {keyword: tuple(values) for keyword, values in attributes.items()}
