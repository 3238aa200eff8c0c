"""Frames: where each of them lies, and from which image it derives (PS3.3 C.7.6.16.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from secondread.dicom.gaps import position_tolerance_mm
from secondread.domain.volume import Volume
from secondread.results.gate.evidence import uid_of, value_of
from secondread.results.gate.groups import Frames, Plane

_POSITION_TOLERANCE_MM = 1e-3
_DIRECTION_TOLERANCE = 1e-6
_JITTER = 3.0
_SOURCE_PURPOSE = ("121322", "DCM")
_CLASS, _PER_FRAME = Tag("SOPClassUID"), Tag("PerFrameFunctionalGroupsSequence")
_POSITION, _ORIENTATION = Tag("ImagePositionPatient"), Tag("ImageOrientationPatient")
_SPACING = Tag("PixelSpacing")

Placed = dict[tuple[str, int], int]
"""Slice of the volume by source object and frame."""


@dataclass(frozen=True, slots=True)
class SourcePlane:
    """Where a source image lies, as its own header says it."""

    sop_class_uid: str
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]


def read_source_planes(sources: Sequence[Dataset]) -> Mapping[tuple[str, int], SourcePlane]:
    """The planes of source objects by SOP Instance UID and frame, 0 for a single-frame object.

    Objects that lie nowhere in space are left out.
    """
    found = {}
    for header in sources:
        frames = value_of(header, _PER_FRAME)
        if frames is None:
            places = [(0, header, header, header)]
        else:
            shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
            places = [
                (
                    number,
                    _macro(own, shared, "PlanePositionSequence"),
                    _macro(own, shared, "PlaneOrientationSequence"),
                    _macro(own, shared, "PixelMeasuresSequence"),
                )
                for number, own in enumerate(frames, start=1)
            ]
        for number, position, orientation, measures in places:
            plane = SourcePlane(
                str(value_of(header, _CLASS) or ""),
                _floats(position, _POSITION),
                _floats(orientation, _ORIENTATION),
                _floats(measures, _SPACING),
            )
            if len(plane.position) == 3 and len(plane.orientation) == 6:
                found[uid_of(header), number] = plane
    return found


def _macro(own: Dataset, shared: Dataset, keyword: str) -> Dataset:
    items = own.get(keyword) or shared.get(keyword)
    return items[0] if items else Dataset()


def _floats(item: Dataset, tag: BaseTag) -> tuple[float, ...]:
    return tuple(float(value) for value in value_of(item, tag) or ())


def find_plane_faults(
    frames: Frames, sources: Mapping[tuple[str, int], SourcePlane], derivation: tuple[str, str]
) -> Iterator[str]:
    """Faults of frames that do not lie on the very image that their derivation names.

    Args:
        frames: of the object.
        sources: all images that they may derive from.
        derivation: the code that says what was done (PS3.16 CID 7203); an empty value is any.
    """
    for plane in frames.planes:
        if not plane.sources or not plane.derivations:
            yield "A frame does not say from which source image it derives."
            continue
        if (derivation[0] and derivation not in plane.derivations) or any(
            source.purpose != _SOURCE_PURPOSE for source in plane.sources
        ):
            yield "A frame's derivation has the wrong code or purpose."
        if not plane.is_in_patient:
            yield "A frame does not say where it lies."
            continue
        for source in plane.sources:
            image = sources.get((source.sop_instance_uid, source.frame))
            if image is None:
                yield "A frame derives from an image that is not a source."
            elif image.sop_class_uid != source.sop_class_uid:
                yield "A frame names a source image with another SOP class than the image has."
            elif not _is_same(plane, image):
                yield "A frame does not lie on its source slice."


def _is_same(plane: Plane, image: SourcePlane) -> bool:
    pairs = (
        (plane.position, image.position, _POSITION_TOLERANCE_MM),
        (plane.orientation, image.orientation, _DIRECTION_TOLERANCE),
        (plane.spacing, image.spacing, _POSITION_TOLERANCE_MM),
    )
    return all(
        len(ours) == len(theirs)
        and all(abs(one - other) <= limit for one, other in zip(ours, theirs, strict=True))
        for ours, theirs, limit in pairs
    )


def place_frames(frames: Frames, volume: Volume) -> npt.NDArray[np.int64] | None:
    """The slice of the volume that each frame lies on, found from its position alone.

    None where a frame lies beside the volume's grid, or is turned or stretched against it: then a
    viewer would draw it elsewhere.
    """
    affine = volume.affine_lps
    step_mm = float(np.linalg.norm(affine[:3, 0]))
    tolerance_mm = _JITTER * position_tolerance_mm(step_mm)
    inverse = np.linalg.inv(affine)
    depth, rows, columns = volume.voxels.shape
    positions = np.array([plane.position for plane in frames.planes])
    orientations = np.array([plane.orientation for plane in frames.planes])
    spacings = np.array([plane.spacing for plane in frames.planes])
    slices: npt.NDArray[np.float64] = np.rint(positions @ inverse[0, :3] + inverse[0, 3])
    if not ((slices >= 0) & (slices < depth)).all():
        return None
    down, across = orientations[:, 3:] * spacings[:, :1], orientations[:, :3] * spacings[:, 1:]
    corners = (
        positions - affine[:3, 3] - np.outer(slices, affine[:3, 0]),
        (down - affine[:3, 1]) * rows,
        (across - affine[:3, 2]) * columns,
    )
    if not (np.abs(corners) <= tolerance_mm).all():
        return None
    found: npt.NDArray[np.int64] = slices.astype(np.int64)
    return found[frames.places]


def find_layout_faults(frames: Frames) -> Iterator[str]:
    """Faults of the frames of anybody's object among themselves."""
    spatial = [plane for plane in frames.planes if plane.is_in_patient]
    if not spatial:
        return
    if len(spatial) < len(frames.planes):
        yield "Some frames say where they lie and some do not."
    first = spatial[0]
    for plane in spatial:
        row, column = np.array(plane.orientation[:3]), np.array(plane.orientation[3:])
        lengths = np.linalg.norm(row), np.linalg.norm(column)
        if max(abs(length - 1.0) for length in lengths) > 1e-3 or abs(row @ column) > 1e-3:
            yield "A frame's Image Orientation (Patient) is not two directions at right angles."
            return
        if min(plane.spacing) <= 0:
            yield "A frame's Pixel Spacing is not greater than zero."
            return
    if any(
        not np.allclose(plane.orientation, first.orientation, atol=1e-4)
        or not np.allclose(plane.spacing, first.spacing, atol=1e-4)
        for plane in spatial
    ):
        yield "The frames are not parallel or differ in spacing, so that they are no volume."
        return
    yield from _find_grid_faults(spatial)


def _find_grid_faults(planes: Sequence[Plane]) -> Iterator[str]:
    first = planes[0]
    normal = np.cross(first.orientation[:3], first.orientation[3:])
    positions = np.unique(np.array([plane.position for plane in planes]), axis=0)
    depths = np.sort(positions @ normal)
    gaps = np.diff(depths)
    gaps = gaps[gaps > 1e-3]
    if not gaps.size:
        return
    steps = gaps / gaps.min()
    if np.abs(steps - np.rint(steps)).max() > 0.1:
        yield "The frames do not lie at even distances."
