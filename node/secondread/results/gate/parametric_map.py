"""Parametric maps (PS3.3 A.75)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from secondread.bundles.output import DeclaredMap
from secondread.results.analysis import Analysis
from secondread.results.context import ResultContext
from secondread.results.gate.groups import Frames, read_frames
from secondread.results.gate.opened import Opened, read_planes
from secondread.results.gate.planes import (
    find_layout_faults,
    find_plane_faults,
    place_frames,
    read_source_planes,
)

_WHAT = "parametric map"
_ANY = ("", "")
_HALF = 0.5001


def find_map_faults(opened: Opened, context: ResultContext, analysis: Analysis) -> Iterator[str]:
    """Faults of a map that the node made, but for those of its origin."""
    header = opened.header
    if header.get("FrameOfReferenceUID") != context.reference.get("FrameOfReferenceUID"):
        yield f"The {_WHAT}'s Frame of Reference is not the source's."
    if header.get("ContentQualification", context.qualification) != context.qualification:
        yield f"The {_WHAT} has another Content Qualification than the configuration."
    yield from find_faults(opened)
    frames = read_frames(header)
    yield from find_plane_faults(frames, read_source_planes(context.sources), _ANY)
    slices = place_frames(frames, context.analysed)
    if slices is None or sorted(slices.tolist()) != list(range(len(context.analysed.voxels))):
        yield f"The {_WHAT}'s frames are not the volume's slices, each of them once."
        return
    mapping = _find_mapping(header)
    declared = [one for one in context.manifest.output.maps if _is_about(mapping, one)]
    if not declared:
        yield f"The {_WHAT} has another quantity or unit than the model declares."
        return
    if not any(
        _shows(opened, slices, mapping, analysis.maps[one.id])
        for one in declared
        if one.id in analysis.maps
    ):
        yield f"The {_WHAT}, read back with its mapping, has not the model's values."


def _find_mapping(header: Dataset) -> Dataset:
    """The real world value mapping of all frames, or of the first (PS3.3 C.7.6.16.2.11)."""
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    own = (header.get("PerFrameFunctionalGroupsSequence") or [Dataset()])[0]
    items = shared.get("RealWorldValueMappingSequence") or own.get("RealWorldValueMappingSequence")
    return items[0] if items else Dataset()


def _is_about(mapping: Dataset, declared: DeclaredMap) -> bool:
    units = (mapping.get("MeasurementUnitsCodeSequence") or [Dataset()])[0]
    if (units.get("CodeValue"), units.get("CodingSchemeDesignator")) != (
        declared.unit.value,
        declared.unit.scheme,
    ):
        return False
    quantities = [
        code.get("CodeValue")
        for item in mapping.get("QuantityDefinitionSequence") or ()
        for code in item.get("ConceptCodeSequence") or ()
    ]
    return not quantities or declared.name.value in quantities


def _shows(
    opened: Opened,
    slices: npt.NDArray[np.int64],
    mapping: Dataset,
    values: npt.NDArray[np.float32],
) -> bool:
    pixels = opened.pixels
    if pixels is None or (opened.header.Rows, opened.header.Columns) != values.shape[1:]:
        return False
    slope = float(mapping.RealWorldValueSlope)
    intercept = float(mapping.RealWorldValueIntercept)
    # Numbers of 32 bits are stored as they are; integers are rounded to the nearest.
    quantum = 0.0 if pixels.keyword != "PixelData" else abs(slope) * _HALF
    for place, plane in zip(slices, read_planes(opened, pixels, len(slices)), strict=True):
        real = plane.astype(np.float64) * slope + intercept
        limit = quantum + 1e-6 * np.abs(values[place])
        if not (np.abs(real - values[place]) <= limit).all():
            return False
    return True


def find_faults(opened: Opened) -> Iterator[str]:
    """Faults of anybody's map, as far as it can be judged by itself."""
    header = opened.header
    frames = read_frames(header)
    if frames.count != int(header.NumberOfFrames):
        yield "The number of frames is not that of the functional groups."
        return
    yield from _find_mapping_faults(header, frames)
    yield from find_layout_faults(frames)
    if opened.pixels is None:
        yield f"The {_WHAT} has no pixels."
    elif not opened.pixels.is_encapsulated:
        size = int(header.Rows) * int(header.Columns) * frames.count
        needed = size * int(header.BitsAllocated) // 8
        if opened.pixels.length != needed + needed % 2:
            yield f"The {_WHAT}'s pixel data has not the length of its frames."


def _find_mapping_faults(header: Dataset, frames: Frames) -> Iterator[str]:
    if any(not plane.mapping for plane in frames.planes):
        yield f"The {_WHAT} does not say what its values mean (Real World Value Mapping)."
        return
    mapping = _find_mapping(header)
    units = (mapping.get("MeasurementUnitsCodeSequence") or [Dataset()])[0]
    if units.get("CodingSchemeDesignator") != "UCUM":
        yield f"The {_WHAT}'s values have a unit that is not UCUM."
    has_line = "RealWorldValueSlope" in mapping and "RealWorldValueIntercept" in mapping
    if not has_line and "RealWorldValueLUTData" not in mapping:
        yield f"The {_WHAT}'s mapping has neither slope and intercept nor a table."
    elif has_line and float(mapping.RealWorldValueSlope) == 0.0:
        yield f"The {_WHAT}'s mapping makes every value the same."
