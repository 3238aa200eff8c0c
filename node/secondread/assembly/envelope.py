"""Is a series inside what a model accepts, judged by headers and geometry alone."""

from __future__ import annotations

from dataclasses import dataclass

from secondread.assembly.series import SeriesHeaders
from secondread.bundles.manifest import InputEnvelope
from secondread.dicom.geometry import Stack
from secondread.dicom.pixels import why_undecodable
from secondread.errors import GeometryError

# A scanogram is never a volume, and a screen shot of one is not one either, whatever the manifest
# says (PS3.3 C.7.6.1.1.2, C.8.2.1.1.1).
_NEVER = {"LOCALIZER": "a localizer", "MOSAIC": "a mosaic", "SCREEN SAVE": "a screen shot"}
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a model's envelope makes of one series.

    Attributes:
        reason: one sentence; why not, or what was found where ``accepted``.
        outcome: stable name of the reason.
        progress: how far the series came, for telling the nearest miss.
        slices: number of its slices.
        voxel_mm3: volume of a voxel, 0 where the geometry is not sound.
    """

    accepted: bool
    reason: str
    outcome: str
    progress: int
    slices: int
    voxel_mm3: float


def judge(
    series: SeriesHeaders, geometry: Stack | GeometryError | None, envelope: InputEnvelope
) -> Verdict:
    """Compare a series with an envelope; ``geometry`` is None when it was not worth asking for."""
    checks = (
        _kind(series),
        _modality(series, envelope),
        _image_type(series, envelope),
        _body_part(series, envelope),
        _wholeness(series),
        _count(series, envelope),
        _pixels(series),
        _geometry(geometry),
        _lengths(geometry, envelope),
    )
    for progress, (outcome, reason) in enumerate(checks):
        if reason:
            return Verdict(False, reason, outcome, progress, series.slices, 0.0)
    assert isinstance(geometry, Stack)
    slice_mm, row_mm, column_mm = geometry.spacing_mm
    reason = f"{series.slices} slices, {slice_mm:.2f} x {row_mm:.2f} x {column_mm:.2f} mm."
    volume = slice_mm * row_mm * column_mm
    return Verdict(True, reason, "accepted", len(checks), series.slices, volume)


def is_worth_stacking(series: SeriesHeaders) -> bool:
    """Whether the geometry of a series can be asked for at all."""
    return series.holds_images and not series.unreadable


def _kind(series: SeriesHeaders) -> tuple[str, str]:
    if series.unreadable and not series.headers:
        return "unreadable", _unreadable(series)
    if series.headers[0].sop_class_uid.startswith(_SECONDARY_CAPTURE):
        return "secondary-capture", "It is a secondary capture."
    if not series.holds_images:
        return "no-images", f"It holds no images ({series.modality or 'no modality'})."
    return "", ""


def _modality(series: SeriesHeaders, envelope: InputEnvelope) -> tuple[str, str]:
    found = {header.modality for header in series.headers}
    if found <= set(envelope.modality):
        return "", ""
    wanted = " or ".join(envelope.modality)
    return "modality", f"Its modality is {', '.join(sorted(found))}; the model takes {wanted}."


def _image_type(series: SeriesHeaders, envelope: InputEnvelope) -> tuple[str, str]:
    found = {value for header in series.headers for value in header.image_type}
    for value, words in _NEVER.items():
        if value in found:
            return "image-type", f"It is {words}."
    forbidden = sorted(found & {value.upper() for value in envelope.forbidden_image_types})
    if forbidden:
        return "image-type", f"Its Image Type holds {', '.join(forbidden)}."
    if any(header.burned_in for header in series.headers):
        return "burned-in", "Its images have text burned in, which a model must not see."
    return "", ""


def _body_part(series: SeriesHeaders, envelope: InputEnvelope) -> tuple[str, str]:
    wanted = {part.upper() for part in envelope.body_part}
    found = {header.body_part for header in series.headers} - {""}
    if not wanted or found <= wanted:
        return "", ""
    takes = " or ".join(sorted(wanted))
    return "body-part", f"Its body part is {', '.join(sorted(found))}; the model takes {takes}."


def _wholeness(series: SeriesHeaders) -> tuple[str, str]:
    return ("unreadable", _unreadable(series)) if series.unreadable else ("", "")


def _unreadable(series: SeriesHeaders) -> str:
    total = len(series.unreadable) + len(series.headers)
    return f"{len(series.unreadable)} of its {total} objects cannot be read."


def _count(series: SeriesHeaders, envelope: InputEnvelope) -> tuple[str, str]:
    low, high = envelope.min_slices, envelope.max_slices
    if low <= series.slices <= high:
        return "", ""
    words = "one slice" if series.slices == 1 else f"{series.slices} slices"
    return "slice-count", f"It has {words}; the model takes {low} to {high}."


def _pixels(series: SeriesHeaders) -> tuple[str, str]:
    for layout in {header.pixels for header in series.headers}:
        if reason := why_undecodable(layout):
            return "unsupported-pixels", reason
    return "", ""


def _geometry(geometry: Stack | GeometryError | None) -> tuple[str, str]:
    if isinstance(geometry, GeometryError):
        return geometry.outcome, str(geometry)
    return ("", "") if geometry else ("no-geometry", "It has no geometry.")


def _lengths(geometry: Stack | GeometryError | None, envelope: InputEnvelope) -> tuple[str, str]:
    if not isinstance(geometry, Stack):
        return "", ""
    finest, coarsest = min(geometry.spacing_mm), max(geometry.spacing_mm)
    if finest < envelope.min_spacing_mm or coarsest > envelope.max_spacing_mm:
        return (
            "spacing",
            f"Its voxels measure {finest:.2f} to {coarsest:.2f} mm; the model takes "
            f"{envelope.min_spacing_mm:g} to {envelope.max_spacing_mm:g} mm.",
        )
    counts = (len(geometry.planes), geometry.rows, geometry.columns)
    pairs = zip(counts, geometry.spacing_mm, strict=True)
    shortest = min(count * spacing for count, spacing in pairs)
    if shortest < envelope.min_extent_mm:
        return (
            "extent",
            f"It covers only {shortest:.1f} mm in one direction; the model needs "
            f"{envelope.min_extent_mm:g} mm.",
        )
    return "", ""
