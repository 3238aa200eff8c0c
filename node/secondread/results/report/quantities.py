"""The numbers of a measurement group (PS3.16 TID 300 and TID 1419)."""

from __future__ import annotations

import math

import numpy as np

from secondread.bundles.output import STATISTICS, DeclaredNumber
from secondread.domain.code import Code
from secondread.results.measurement.measurements import Diameter, Point, StructureMeasurements
from secondread.results.report import concepts
from secondread.results.report.content import (
    CONTAINS,
    HAS_PROPERTIES,
    INFERRED_FROM,
    ContentWriter,
    Item,
    derive,
    modify,
)
from secondread.results.report.draft import Draft

_SIZES = {
    "volume": (concepts.VOLUME, concepts.MILLILITRE),
    "surface": (concepts.SURFACE_AREA, concepts.SQUARE_CENTIMETRE),
    "voxels": (concepts.VOXEL_COUNT, concepts.VOXELS),
    "longest_diameter": (concepts.LONG_AXIS, concepts.MILLIMETRE),
    "perpendicular_diameter": (concepts.SHORT_AXIS, concepts.MILLIMETRE),
}
_OF_THE_SLICE = frozenset({"longest_diameter", "perpendicular_diameter"})
MIDDLE_PX = 0.5
"""From a pixel's corner, where images count from, to its middle, where volumes do."""


def list_statistics(draft: Draft, one: StructureMeasurements) -> list[Item]:
    """What was measured of a whole structure, in the order of ``bundles.output.STATISTICS``.

    The diameters are left to ``list_diameters`` where it is known in which slice they lie.
    """
    known = one.statistics or {
        "volume": one.volume_ml,
        "mean": one.signal_mean,
        "deviation": one.signal_deviation,
    }
    skipped = _OF_THE_SLICE if one.diameter is not None else frozenset[str]()
    return [
        _write_statistic(draft, one, name, known[name])
        for name in STATISTICS
        if name in known and name not in skipped
    ]


def _write_statistic(draft: Draft, one: StructureMeasurements, name: str, value: float) -> Item:
    writer = draft.writer
    if name in _SIZES:
        what, unit = _SIZES[name]
        details = []
        if name == "volume":
            details.append(modify(writer, concepts.MEASUREMENT_METHOD, concepts.VOXEL_SUM))
            details += _bound(writer, value, one.label.reference_ml or (None, None), unit)
        elif name == "surface":
            details.append(modify(writer, concepts.MEASUREMENT_METHOD, concepts.VOXEL_FACES))
        return writer.number(CONTAINS, what, value, unit, details)
    what, unit = _find_signal(draft)
    how = derive(writer, concepts.DERIVATIONS[name])
    return writer.number(CONTAINS, what, value, unit, [how])


def _find_signal(draft: Draft) -> tuple[Code, Code]:
    """What the voxels are, and their unit."""
    header = draft.context.reference
    if draft.context.manifest.input.units == "SUVbw":
        return concepts.UPTAKE
    unit = concepts.NUCLEAR_UNITS.get(str(header.get("Units", "")), concepts.ARBITRARY)
    return concepts.SIGNAL.get(str(header.get("Modality", "")), (concepts.VOXEL_VALUE, unit))


def list_diameters(draft: Draft, one: StructureMeasurements, diameter: Diameter) -> list[Item]:
    """The diameters, each inferred from the line that it was measured along (TID 320)."""
    source = draft.refer_to_source(diameter.source)
    items = []
    for name, length_mm, ends in (
        ("longest_diameter", diameter.longest_mm, diameter.longest),
        ("perpendicular_diameter", diameter.perpendicular_mm, diameter.perpendicular),
    ):
        if name in one.statistics:
            what, unit = _SIZES[name]
            points = [_find_pixel(draft, end) for end in ends]
            line = draft.writer.line_in_image(INFERRED_FROM, concepts.PATH, points, source)
            items.append(draft.writer.number(CONTAINS, what, length_mm, unit, [line]))
    return items


def write_declared_number(writer: ContentWriter, declared: DeclaredNumber, value: float) -> Item:
    """A number of the model's own, with its reference range."""
    method = modify(writer, concepts.MEASUREMENT_METHOD, concepts.MODEL_OUTPUT)
    bounds = _bound(writer, value, (declared.low, declared.high), declared.unit)
    return writer.number(CONTAINS, declared.name, value, declared.unit, [method, *bounds])


def write_certainty(writer: ContentWriter, probability: float, relation: bytes) -> Item:
    """A probability between 0 and 1 as Certainty of Finding in per cent."""
    percent = min(max(probability, 0.0), 1.0) * 100.0
    return writer.number(relation, concepts.CERTAINTY, percent, concepts.PERCENT)


def _bound(
    writer: ContentWriter, value: float, bounds: tuple[float | None, float | None], unit: Code
) -> list[Item]:
    """Normality and reference range, as far as there is one (PS3.16 TID 310 and TID 312)."""
    low, high = bounds
    if low is None and high is None:
        return []
    normality = concepts.NORMAL
    if low is not None and value < low:
        normality = concepts.ABNORMALLY_LOW
    elif high is not None and value > high:
        normality = concepts.ABNORMALLY_HIGH
    items = [writer.code(HAS_PROPERTIES, concepts.NORMALITY, normality)]
    for name, bound in ((concepts.LOWER_LIMIT, low), (concepts.UPPER_LIMIT, high)):
        if bound is not None and math.isfinite(bound):
            items.append(writer.number(HAS_PROPERTIES, name, bound, unit))
    return items


def _find_pixel(draft: Draft, point: Point) -> tuple[float, float]:
    """Column and row of a point of a slice, from the corner of its image."""
    voxel = np.linalg.solve(draft.context.analysed.affine_lps, [*point, 1.0])
    return float(voxel[2]) + MIDDLE_PX, float(voxel[1]) + MIDDLE_PX
