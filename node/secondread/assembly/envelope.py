"""Is a part of a series inside what a model accepts, judged by headers and geometry alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from secondread.assembly.conditions import Circumstances, holds
from secondread.assembly.objections import keywords, quoted, what_is, why_not
from secondread.bundles.input import InputEnvelope
from secondread.domain.attributes import WORKED_OUT
from secondread.domain.condition import Condition
from secondread.domain.series import PartSummary, SeriesSummary, Values

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
# Whatever the manifest says. Terms of PS3.3 C.7.6.1.1.2, C.8.2.1.1.1, C.8.16.1 and C.8.16.2, and
# what scanners write instead.
_NEVER: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("LOCALIZER", "SCOUT", "TOPOGRAM", "SURVIEW"), "a localizer"),
        "REF_SURVIEW": "a localizer",
        "MOSAIC": "a mosaic",
        **dict.fromkeys(("SCREEN SAVE", "SCREENSHOT", "SCREEN SHOT"), "a screen shot"),
        **dict.fromkeys(("DOSE_INFO", "PATIENT_INFO", "DOSE REPORT"), "a report, not an image"),
        **dict.fromkeys(
            ("MIP", "MINIP", "MAX_IP", "MIN_IP", "CSA MIP", "PROJECTION IMAGE"), "a projection"
        ),
        **dict.fromkeys(
            ("VRT", "VOLUME_RENDER", "SURFACE_RENDER", "CSA VRT"), "a rendering of a surface"
        ),
    }
)
_DERIVED = ("DERIVED", "MIXED")
# How many objects there are says nothing about their geometry.
_GEOMETRIC = frozenset(WORKED_OUT) - {"Objects"}
_NOWHERE = Circumstances(peer="", first_at=0.0)
Outcome = tuple[str, str]
_SOUND: Outcome = ("", "")


@dataclass(frozen=True, slots=True)
class Offer:
    """A part of a series that may be analysed, or a series that has no parts."""

    series: SeriesSummary
    part: PartSummary | None
    attributes: Mapping[str, Values]

    @property
    def slices(self) -> int:
        """How many it has."""
        return self.part.slices if self.part else 0


def name_of(offers: Sequence[Offer]) -> str:
    """What some parts of one series are called in reports: not its description, it is free text."""
    series, names = offers[0].series, [offer.part.name for offer in offers if offer.part]
    name = "A series without a number" if series.number is None else f"Series {series.number}"
    if not any(names) or len(offers) == len(series.parts) > 1:
        return name
    rest = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{name} ({names[0]}{rest})"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a model's envelope makes of an offer.

    Attributes:
        reason: one sentence; why not, or what was found where ``accepted``.
        outcome: stable name of the reason.
        progress: how far it came, for telling the nearest miss.
        lacks: for each of the preferred conditions, whether it does not hold.
        voxel_mm3: volume of a voxel, 0 where it is not accepted.
    """

    accepted: bool
    reason: str
    outcome: str
    progress: int
    lacks: tuple[bool, ...] = ()
    voxel_mm3: float = 0.0


@dataclass(frozen=True, slots=True)
class _Asked:
    """An envelope, and those of its conditions that look at the geometry apart from the others."""

    envelope: InputEnvelope
    required: tuple[Condition, ...]
    forbidden: tuple[Condition, ...]
    required_geometry: tuple[Condition, ...]
    forbidden_geometry: tuple[Condition, ...]


def judge(
    offers: Sequence[Offer], envelope: InputEnvelope, unwanted: Sequence[str]
) -> tuple[Verdict, ...]:
    """Compare offers with an envelope.

    Args:
        offers: what there is.
        envelope: what the model takes.
        unwanted: for each offer, a sentence why the rule does not ask for it; '' where it does.
    """
    asked = _Asked(
        envelope,
        *_parted(envelope.required, envelope.forbidden, geometric=False),
        *_parted(envelope.required, envelope.forbidden, geometric=True),
    )
    return tuple(
        _judge(offer, asked, reason) for offer, reason in zip(offers, unwanted, strict=True)
    )


def _parted(*conditions: tuple[Condition, ...], geometric: bool) -> Iterator[tuple[Condition, ...]]:
    """Those of each group that look at the geometry, or those that do not."""
    for group in conditions:
        yield tuple(item for item in group if bool(keywords(item) & _GEOMETRIC) is geometric)


def _judge(offer: Offer, asked: _Asked, unwanted: str) -> Verdict:
    outcome, reason = _kind(offer)
    if reason:
        return Verdict(False, reason, outcome, 0)
    if unwanted:
        return Verdict(False, unwanted, "unwanted", 1)
    for progress, check in enumerate(_CHECKS, 2):
        outcome, reason = check(offer, asked)
        if reason:
            return Verdict(False, reason, outcome, progress)
    assert offer.part is not None and offer.part.spacing_mm is not None
    slice_mm, row_mm, column_mm = offer.part.spacing_mm
    return Verdict(
        accepted=True,
        reason=f"{offer.slices} slices, {slice_mm:.2f} x {row_mm:.2f} x {column_mm:.2f} mm.",
        outcome="accepted",
        progress=len(_CHECKS) + 2,
        lacks=tuple(
            not holds((condition,), offer.attributes, _NOWHERE)
            for condition in asked.envelope.preferred
        ),
        voxel_mm3=slice_mm * row_mm * column_mm,
    )


def why_not_preferred(offer: Offer, envelope: InputEnvelope, at: int) -> str:
    """Why the preferred condition with this index does not hold, as a clause."""
    return why_not(envelope.preferred[at], offer.attributes, _NOWHERE)


def _kind(offer: Offer) -> Outcome:
    series = offer.series
    if series.unreadable == series.objects:
        return _wholeness(offer)
    # Not 1.1.77 and so on, which are photographs and microscopy.
    classes = offer.attributes.get("SOPClassUID", ())
    if any(f"{uid}.".startswith(f"{_SECONDARY_CAPTURE}.") for uid in classes):
        return "secondary-capture", "It is a secondary capture."
    if not series.holds_images or offer.part is None:
        modality = quoted("Modality", offer.attributes.get("Modality", ()))
        return "no-images", f"It holds no images ({modality or 'no modality'})."
    return _SOUND


def _modality(offer: Offer, asked: _Asked) -> Outcome:
    found = offer.attributes.get("Modality", ())
    if found and all(value in asked.envelope.modality for value in found):
        return _SOUND
    wanted = " or ".join(asked.envelope.modality)
    named = quoted("Modality", found) or "unknown"
    return "modality", f"Its modality is {named}; the model takes {wanted}."


def _image_type(offer: Offer, asked: _Asked) -> Outcome:
    found = offer.attributes.get("ImageType", ())
    for value in found:
        if value in _NEVER:
            return "image-type", f"It is {_NEVER[str(value)]}."
    if "YES" in offer.attributes.get("BurnedInAnnotation", ()):
        return "burned-in", "Its images have text burned in, which a model must not see."
    for value in _DERIVED:
        if value in found and not asked.envelope.allow_derived:
            return "derived", f"It was made from other images (its Image Type holds {value})."
    forbidden = sorted(
        {str(value) for value in found if value in asked.envelope.forbidden_image_types}
    )
    if forbidden:
        return "image-type", f"Its Image Type holds {', '.join(forbidden)}."
    return _SOUND


def _body_part(offer: Offer, asked: _Asked) -> Outcome:
    found = offer.attributes.get("BodyPartExamined", ())
    if not asked.envelope.body_part or all(value in asked.envelope.body_part for value in found):
        return _SOUND
    takes = " or ".join(sorted(asked.envelope.body_part))
    named = quoted("BodyPartExamined", found) or "another one"
    return "body-part", f"Its body part is {named}; the model takes {takes}."


def _header_conditions(offer: Offer, asked: _Asked) -> Outcome:
    return _conditions(offer, asked.required, asked.forbidden)


def _geometric_conditions(offer: Offer, asked: _Asked) -> Outcome:
    """These wait until the geometry is known to be sound, or they would hide what is wrong."""
    return _conditions(offer, asked.required_geometry, asked.forbidden_geometry)


def _conditions(
    offer: Offer, required: tuple[Condition, ...], forbidden: tuple[Condition, ...]
) -> Outcome:
    if not holds(required, offer.attributes, _NOWHERE):
        clauses = (why_not(condition, offer.attributes, _NOWHERE) for condition in required)
        return "required", f"{_capital(next(filter(None, clauses)))}."
    for condition in forbidden:
        if holds((condition,), offer.attributes, _NOWHERE):
            clause = what_is(condition, offer.attributes, _NOWHERE)
            return "forbidden", f"{_capital(clause)}, which the model does not take."
    return _SOUND


def _wholeness(offer: Offer, _asked: _Asked | None = None) -> Outcome:
    series = offer.series
    if not series.unreadable:
        return _SOUND
    return "unreadable", f"{series.unreadable} of its {series.objects} objects cannot be read."


def _count(offer: Offer, asked: _Asked) -> Outcome:
    low, high = asked.envelope.min_slices, asked.envelope.max_slices
    if low <= offer.slices <= high:
        return _SOUND
    words = "one slice" if offer.slices == 1 else f"{offer.slices} slices"
    return "slice-count", f"It has {words}; the model takes {low} to {high}."


def _pixels(offer: Offer, _asked: _Asked) -> Outcome:
    reason = offer.part.pixels if offer.part else ""
    return ("unsupported-pixels", reason) if reason else _SOUND


def _geometry(offer: Offer, asked: _Asked) -> Outcome:
    part = offer.part
    if part is None or part.spacing_mm is None:
        outcome = part.outcome if part else "no-geometry"
        return outcome, (part.reason if part else "") or "It has no geometry."
    if part.tilt_degrees and asked.envelope.gantry_tilt == "refuse":
        return (
            "gantry-tilt",
            "Its slices are not at a right angle to their stack: the gantry was tilted by "
            f"{part.tilt_degrees:.1f} degrees.",
        )
    if asked.envelope.plane and part.plane not in asked.envelope.plane:
        wanted = " or ".join(asked.envelope.plane)
        return "plane", f"Its slices are {part.plane}; the model takes {wanted} ones."
    return _SOUND


def _lengths(offer: Offer, asked: _Asked) -> Outcome:
    part = offer.part
    assert part is not None and part.spacing_mm is not None
    finest, coarsest = min(part.spacing_mm), max(part.spacing_mm)
    if finest < asked.envelope.min_spacing_mm or coarsest > asked.envelope.max_spacing_mm:
        return (
            "spacing",
            f"Its voxels measure {finest:.2f} to {coarsest:.2f} mm; the model takes "
            f"{asked.envelope.min_spacing_mm:g} to {asked.envelope.max_spacing_mm:g} mm.",
        )
    counts = (part.slices, part.rows, part.columns)
    shortest = min(n * mm for n, mm in zip(counts, part.spacing_mm, strict=True))
    if shortest < asked.envelope.min_extent_mm:
        return (
            "extent",
            f"It covers only {shortest:.1f} mm in one direction; the model needs "
            f"{asked.envelope.min_extent_mm:g} mm.",
        )
    return _SOUND


def _capital(clause: str) -> str:
    return clause[:1].upper() + clause[1:]


_CHECKS: tuple[Callable[[Offer, _Asked], Outcome], ...] = (
    _modality,
    _image_type,
    _body_part,
    _header_conditions,
    _wholeness,
    _count,
    _pixels,
    _geometry,
    _lengths,
    _geometric_conditions,
)
"""The order is that of how near a miss is: what a series is goes before how it was made."""
