"""Summaries of series, made without files, for tests of rules, selection and completeness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from secondread.domain.attributes import ATTRIBUTES, Kind
from secondread.domain.series import PartSummary, SeriesSummary, Values

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR, SECONDARY = "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.7"
SEGMENTATION, REPORT = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.33"
DOSE_REPORT = "1.2.840.10008.5.1.4.1.1.88.67"


def part(
    name: str = "",
    slices: int = 24,
    spacing_mm: tuple[float, float, float] = (5.0, 0.5, 0.5),
    attributes: Mapping[str, Any] | None = None,
    **said: Any,
) -> PartSummary:
    """A sound axial volume; ``said`` replaces fields."""
    values: dict[str, Any] = {
        "name": name,
        "outcome": "sound",
        "reason": "",
        "pixels": "",
        "slices": slices,
        "rows": 512,
        "columns": 512,
        "spacing_mm": spacing_mm,
        "plane": "axial",
        "tilt_degrees": 0.0,
        "digest": f"part {name}",
        "attributes": values_of(attributes or {}),
    }
    return PartSummary(**{**values, **said})


def broken(outcome: str, reason: str, **said: Any) -> PartSummary:
    """A part that is no sound volume."""
    return part(outcome=outcome, reason=reason, spacing_mm=None, plane="", **said)


def series(
    number: int | None,
    parts: Sequence[PartSummary] | PartSummary = (),
    *,
    unreadable: int = 0,
    images: bool = True,
    **attributes: Any,
) -> SeriesSummary:
    """A series of images; a value may stand alone, and None takes an attribute out."""
    found = (parts,) if isinstance(parts, PartSummary) else tuple(parts)
    if images and not found:
        found = (part(),)
    modality = attributes.get("Modality", "CT")
    said = {
        "Modality": modality,
        "SOPClassUID": CT if modality == "CT" else MR,
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL" if modality == "CT" else "M"],
        **attributes,
    }
    objects = sum(item.slices for item in found) or 1
    return SeriesSummary(
        series_instance_uid=f"2.25.7{number or 0}",
        number=number,
        objects=objects + unreadable,
        unreadable=unreadable,
        holds_images=images,
        attributes=values_of(said),
        parts=found if images else (),
        digest=f"series {number}",
    )


def values_of(said: Mapping[str, Any]) -> dict[str, Values]:
    """Attributes as a summary has them: tuples, numbers as floats."""
    found: dict[str, Values] = {}
    for keyword, value in said.items():
        if value is None:
            continue
        listed = value if isinstance(value, list | tuple) else [value]
        number = ATTRIBUTES[keyword] is Kind.NUMBER
        found[keyword] = tuple(float(item) if number else item for item in listed)
    return found
