"""Image planes: where one frame lies in the patient and how its stored values are to be read."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from secondread.dicom.elements import decimals, integer, items
from secondread.dicom.traits import CLASSIC, Trait, classic_traits, group_traits

Vector = tuple[float, float, float]

IMAGE_POSITION = 0x00200032
IMAGE_ORIENTATION = 0x00200037
PIXEL_SPACING = 0x00280030
RESCALE_INTERCEPT = 0x00281052
RESCALE_SLOPE = 0x00281053
MODALITY_LUT_SEQUENCE = 0x00283000
SHARED_GROUPS = 0x52009229
PER_FRAME_GROUPS = 0x52009230
NUMBER_OF_FRAMES = 0x00280008

# More would be a claim of a header that costs memory before anything is known to be there.
_FRAMES_MAX = 65535
_PLANE_POSITION = 0x00209113
_PLANE_ORIENTATION = 0x00209116
_PIXEL_MEASURES = 0x00289110
_PIXEL_VALUE_TRANSFORMATION = 0x00289145
_NAMES = {
    IMAGE_POSITION: "Image Position (Patient)",
    IMAGE_ORIENTATION: "Image Orientation (Patient)",
    PIXEL_SPACING: "Pixel Spacing",
    RESCALE_INTERCEPT: "Rescale Intercept",
    RESCALE_SLOPE: "Rescale Slope",
}

TAGS = (
    *CLASSIC,
    IMAGE_POSITION,
    IMAGE_ORIENTATION,
    PIXEL_SPACING,
    RESCALE_INTERCEPT,
    RESCALE_SLOPE,
    MODALITY_LUT_SEQUENCE,
    SHARED_GROUPS,
    PER_FRAME_GROUPS,
    NUMBER_OF_FRAMES,
)
"""What ``read_planes`` looks at."""


@dataclass(frozen=True, slots=True)
class Plane:
    """One frame of an image.

    Attributes:
        frame: 1-based frame number; 1 for a single-frame image.
        position_mm: LPS centre of the first voxel (PS3.3 C.7.6.2.1.1), None when absent or bad.
        row_direction: LPS direction in which the column index grows.
        column_direction: LPS direction in which the row index grows.
        spacing_mm: (between rows, between columns) (PS3.3 10.7.1.3).
        slope: factor from stored to modality values (PS3.3 C.11.1), None when it is bad.
        intercept: what is added after that, None when it is bad.
        unreadable: names of attributes that are there but do not hold what DICOM asks for.
        traits: what may tell it from other planes at its place, by DICOM keyword, sorted.
    """

    frame: int
    position_mm: Vector | None
    row_direction: Vector | None
    column_direction: Vector | None
    spacing_mm: tuple[float, float] | None
    slope: float | None
    intercept: float | None
    unreadable: tuple[str, ...]
    traits: tuple[tuple[str, Trait], ...] = ()


def read_planes(dataset: Dataset) -> tuple[Plane, ...]:
    """The planes of one object, in the order of its frames.

    A classic image gives one, an enhanced multi-frame image one for each item of its Per-Frame
    Functional Groups Sequence (PS3.3 C.7.6.16), a classic multi-frame image one per frame without
    a position, because it has none.
    """
    per_frame = items(dataset, PER_FRAME_GROUPS)
    if per_frame:
        shared = next(iter(items(dataset, SHARED_GROUPS)), Dataset())
        common = group_traits(shared)
        return tuple(
            _plane(number, _Groups(groups, shared), common | group_traits(groups))
            for number, groups in enumerate(per_frame, 1)
        )
    frames = integer(dataset, NUMBER_OF_FRAMES) or 1
    if frames == 1:
        return (_plane(1, _Classic(dataset), classic_traits(dataset)),)
    return tuple(
        Plane(number, None, None, None, None, 1.0, 0.0, ())
        for number in range(1, min(frames, _FRAMES_MAX) + 1)
    )


class _Classic:
    """Attributes at the top of a single-frame image."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def holder(self, _macro: int, tag: int) -> Dataset | None:
        return self._dataset if tag in self._dataset else None


class _Groups:
    """Attributes in the functional groups of one frame; its own go before the shared ones."""

    def __init__(self, own: Dataset, shared: Dataset) -> None:
        self._places = (own, shared)

    def holder(self, macro: int, tag: int) -> Dataset | None:
        for place in self._places:
            for item in items(place, macro):
                if tag in item:
                    return item
        return None


def _plane(frame: int, source: _Classic | _Groups, traits: dict[str, Trait]) -> Plane:
    unreadable: list[str] = []

    def numbers(macro: int, tag: int, count: int) -> tuple[float, ...] | None:
        holder = source.holder(macro, tag)
        if holder is None:
            return None
        found = decimals(holder, tag, count)
        if found is None:
            unreadable.append(_NAMES[tag])
        return found

    position = numbers(_PLANE_POSITION, IMAGE_POSITION, 3)
    orientation = numbers(_PLANE_ORIENTATION, IMAGE_ORIENTATION, 6)
    spacing = numbers(_PIXEL_MEASURES, PIXEL_SPACING, 2)
    slope = numbers(_PIXEL_VALUE_TRANSFORMATION, RESCALE_SLOPE, 1)
    intercept = numbers(_PIXEL_VALUE_TRANSFORMATION, RESCALE_INTERCEPT, 1)
    return Plane(
        frame=frame,
        position_mm=None if position is None else (position[0], position[1], position[2]),
        row_direction=None
        if orientation is None
        else (orientation[0], orientation[1], orientation[2]),
        column_direction=None
        if orientation is None
        else (orientation[3], orientation[4], orientation[5]),
        spacing_mm=None if spacing is None else (spacing[0], spacing[1]),
        slope=_or_default(slope, _NAMES[RESCALE_SLOPE] in unreadable, 1.0),
        intercept=_or_default(intercept, _NAMES[RESCALE_INTERCEPT] in unreadable, 0.0),
        unreadable=tuple(unreadable),
        traits=tuple(sorted(traits.items())),
    )


def _or_default(found: tuple[float, ...] | None, bad: bool, default: float) -> float | None:
    if found is not None:
        return found[0]
    return None if bad else default
