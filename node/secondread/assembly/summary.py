"""From the headers of a series to its summary, which is all that rules and selection look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from secondread.assembly.series import SeriesHeaders
from secondread.dicom.geometry import Array, SamePixels, Stack, StackedPlane, stack
from secondread.dicom.headers import SliceHeader
from secondread.dicom.parts import PlaneGroup, split
from secondread.dicom.pixels import why_undecodable
from secondread.domain.attributes import ATTRIBUTES
from secondread.domain.series import PartSummary, SeriesSummary, Values, digest
from secondread.errors import NotAnalysedError

VALUES_MAX = 32
"""Distinct values that are kept of one attribute of one series or part."""
PLANE_TOLERANCE_DEGREES = 20.0
"""Slices whose normal lies so near to an axis of the patient are called after it."""

# A segmentation by any modality, maps of values and a dose distribution: made by somebody from
# images (PS3.4 B.5).
_MADE_FROM_IMAGES = (
    "1.2.840.10008.5.1.4.1.1.66.",
    "1.2.840.10008.5.1.4.1.1.30.",
    "1.2.840.10008.5.1.4.1.1.481.",
)
_PLANES = ("sagittal", "coronal", "axial")
_SOUND = "sound"


def summarize(series: SeriesHeaders, same_pixels: SamePixels | None = None) -> SeriesSummary:
    """Say what a series holds and which sound volumes its images make.

    Args:
        series: its headers.
        same_pixels: whether two planes hold the same pixels, for images that came twice under two
            UIDs; without it they are duplicates that make no volume.
    """
    objects = (*series.instances, *series.unreadable)
    attributes = _merged(header.attributes for header in series.headers)
    holds_images = series.holds_images and not any(
        f"{uid}.".startswith(_MADE_FROM_IMAGES) for uid in attributes.get("SOPClassUID", ())
    )
    return SeriesSummary(
        series_instance_uid=series.series_instance_uid,
        number=series.number,
        objects=len(objects),
        unreadable=len(series.unreadable),
        holds_images=holds_images,
        attributes=attributes,
        parts=_parts(series, attributes, same_pixels) if holds_images else (),
        digest=digest((item.sop_instance_uid, item.sha256) for item in objects),
    )


def plane_of(normal: Array) -> str:
    """The name of how slices lie whose normal this is, of any length and either sign."""
    towards = np.abs(normal) / np.linalg.norm(normal)
    axis = int(np.argmax(towards))
    if towards[axis] < np.cos(np.radians(PLANE_TOLERANCE_DEGREES)):
        return "oblique"
    return _PLANES[axis]


def _parts(
    series: SeriesHeaders, attributes: Mapping[str, Values], same_pixels: SamePixels | None
) -> tuple[PartSummary, ...]:
    groups = split(series.headers)
    return tuple(
        _part(series, group, _differing(series, group, attributes, len(groups)), same_pixels)
        for group in groups
    )


def _part(
    series: SeriesHeaders,
    group: PlaneGroup,
    attributes: Mapping[str, Values],
    same_pixels: SamePixels | None,
) -> PartSummary:
    volume: Stack | None = None
    outcome, reason = _SOUND, ""
    try:
        volume = stack(series.headers, group.planes, same_pixels)
    except NotAnalysedError as error:
        outcome, reason = error.outcome, str(error)
    # What came twice is not the model's input, so it changes nothing when it comes again.
    planes = volume.planes if volume else group.planes
    members = sorted({item.header for item in planes})
    layouts = dict.fromkeys(series.headers[index].pixels for index in members)
    sizes = {(layout.rows, layout.columns) for layout in layouts}
    rows, columns = sizes.pop() if len(sizes) == 1 else (0, 0)
    return PartSummary(
        name=group.name,
        outcome=outcome,
        reason=reason,
        pixels=next(filter(None, map(why_undecodable, layouts)), ""),
        slices=len(planes),
        rows=rows,
        columns=columns,
        spacing_mm=_spacing_mm(volume) if volume else None,
        plane=plane_of(_normal(volume)) if volume else "",
        tilt_degrees=volume.tilt_degrees if volume else 0.0,
        digest=digest(_contents(series, planes)),
        attributes=attributes,
    )


def _contents(series: SeriesHeaders, planes: Sequence[StackedPlane]) -> Iterator[tuple[str, str]]:
    """What the model gets of each object, whatever the part is called among the others."""
    frames: dict[int, list[int]] = {}
    for item in planes:
        frames.setdefault(item.header, []).append(item.plane.frame)
    for index, found in frames.items():
        instance, all_frames = series.instances[index], len(series.headers[index].planes)
        content = instance.sha256
        if len(found) < all_frames:
            content += f" {sorted(found)}"
        yield instance.sop_instance_uid, content


def _normal(volume: Stack) -> Array:
    """The direction across the slices, which is that of their stack unless they lean."""
    normal: Array = np.cross(volume.affine_lps[:3, 2], volume.affine_lps[:3, 1])
    return normal / np.linalg.norm(normal)


def _spacing_mm(volume: Stack) -> tuple[float, float, float]:
    """(slice, row, column); the first along the normal, as it is meant where slices lean."""
    _, between_rows, between_columns = volume.spacing_mm
    between_slices = abs(float(_normal(volume) @ volume.affine_lps[:3, 0]))
    return between_slices, between_rows, between_columns


def _differing(
    series: SeriesHeaders, group: PlaneGroup, attributes: Mapping[str, Values], groups: int
) -> Mapping[str, Values]:
    """The values of a part's attributes that are not those of its series."""
    if groups == 1:
        return {}
    own = _of_planes(series.headers, group.planes)
    return {
        keyword: own.get(keyword, ())
        for keyword, values in attributes.items()
        if own.get(keyword, ()) != values
    }


def _of_planes(headers: Sequence[SliceHeader], planes: Sequence[StackedPlane]) -> dict[str, Values]:
    """The values of these planes; frames of one object say for themselves what tells them apart."""
    said: list[Mapping[str, Values]] = []
    for index in dict.fromkeys(item.header for item in planes):
        header = headers[index]
        if len(header.planes) == 1:
            said.append(header.attributes)
            continue
        varying = {keyword for plane in header.planes for keyword, _ in plane.traits}
        said.append({k: values for k, values in header.attributes.items() if k not in varying})
    for item in planes:
        if len(headers[item.header].planes) > 1:
            said.append(
                {
                    keyword: tuple(value.split("\\")) if isinstance(value, str) else (value,)
                    for keyword, value in item.plane.traits
                    if keyword in ATTRIBUTES
                }
            )
    return _merged(said)


def _merged(said: Iterable[Mapping[str, Values]]) -> dict[str, Values]:
    """The distinct values of each attribute, in order of appearance."""
    found: dict[str, dict[str | float, None]] = {}
    # Most headers of a series say the same.
    last: Mapping[str, Values] = {}
    for attributes in said:
        for keyword, values in attributes.items():
            if last.get(keyword) == values:
                continue
            kept = found.setdefault(keyword, {})
            for value in values:
                if len(kept) < VALUES_MAX:
                    kept[value] = None
        last = attributes
    return {keyword: tuple(kept) for keyword, kept in found.items() if kept}
