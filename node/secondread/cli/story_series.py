"""The series of a study, told in lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secondread.domain.series import PartSummary, SeriesSummary

_PARTS_TOLD = 12


@dataclass(frozen=True, slots=True)
class SeriesStory:
    """One series: how many objects have come, and what their headers say, once they were read."""

    series_instance_uid: str
    objects: int
    summary: SeriesSummary | None

    @property
    def name(self) -> str:
        """What people call it."""
        if self.summary is None:
            return "A series that has not been looked at"
        number = self.summary.number
        return "A series without a number" if number is None else f"Series {number}"

    def text(self, keyword: str) -> str:
        """The first value of a text attribute; '' where there is none."""
        values = self.summary.attributes.get(keyword, ()) if self.summary else ()
        return str(values[0]) if values else ""


def tell_series(series: SeriesStory) -> Iterator[str]:
    """One line about a series, and one for each volume that its images make."""
    modality = series.text("Modality")
    description = series.text("SeriesDescription")
    yield "  " + "  ".join(
        word
        for word in (
            series.name,
            modality,
            f"{series.objects} object{'' if series.objects == 1 else 's'}",
            f"'{description}'" if description else "",
            series.series_instance_uid,
        )
        if word
    )
    summary = series.summary
    if summary is None:
        return
    if summary.unreadable:
        yield f"      {summary.unreadable} of them cannot be read"
    if not summary.holds_images:
        yield "      no images of a scanner"
    for part in summary.parts[:_PARTS_TOLD]:
        yield f"      {_part(part)}"
    if rest := summary.parts[_PARTS_TOLD:]:
        yield f"      and {len(rest)} more parts"


def _part(part: PartSummary) -> str:
    name = f"{part.name}: " if part.name else ""
    if part.spacing_mm is None:
        return f"{name}no volume ({part.outcome}): {part.reason}"
    spacing = " x ".join(f"{length:.3g}" for length in part.spacing_mm)
    tilt = f", tilted by {part.tilt_degrees:.1f} degrees" if part.tilt_degrees else ""
    size = f"{part.slices} {part.plane} slices of {part.rows} x {part.columns}"
    pixels = f"; but {part.pixels}" if part.pixels else ""
    return f"{name}{size}, {spacing} mm{tilt}: {part.outcome}{pixels}"
