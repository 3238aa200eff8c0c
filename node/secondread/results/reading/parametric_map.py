"""Parametric Maps read back, ours and other people's (PS3.3 A.75)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from secondread.domain.code import Code
from secondread.errors import ResultError
from secondread.results.reading.frames import Frame, read_frames, read_groups
from secondread.results.reading.grid import check_size, find_grid
from secondread.results.reading.pixels import Pixels, in_words, open_object, quietly
from secondread.results.reading.segments import read_code

Array = npt.NDArray[Any]

_PARAMETRIC_MAP = "1.2.840.10008.5.1.4.1.1.30"
_MAPPINGS = "RealWorldValueMappingSequence"
_QUANTITY = ("246205007", "SCT")
_QUANTITY_BEFORE = ("G-C1C6", "SRT")
"""The same before DICOM took SNOMED CT identifiers (PS3.16 annex O)."""


@dataclass(frozen=True, slots=True)
class ParametricMapContents:
    """A parametric map.

    Attributes:
        values: ``(slice, row, column)`` float32, or float64 where the object has it, in ``unit``;
            not a number where there is no frame or the stored number stands for no value.
        affine_lps: 4 x 4; ``affine_lps @ (slice, row, column, 1)`` is LPS mm.
        quantity: what is measured, None where the object does not say.
        unit: in UCUM, None where the object does not say.
        label: LUT Label, free text.
        frames: in the order of the object.
        places: the slice of each frame.
    """

    values: Array
    affine_lps: npt.NDArray[np.float64]
    quantity: Code | None
    unit: Code | None
    label: str
    frames: tuple[Frame, ...]
    places: tuple[int, ...]
    sop_instance_uid: str
    frame_of_reference_uid: str


@dataclass(frozen=True, slots=True)
class _Mapping:
    """What the stored numbers mean (PS3.3 C.7.6.16.2.11); ``table`` takes the line's place."""

    quantity: Code | None
    unit: Code | None
    label: str
    first: float
    last: float
    slope: float
    intercept: float
    table: tuple[float, ...]

    def apply(self, stored: Array, target: Array) -> None:
        if self.table:
            at = np.clip(stored - self.first, 0, len(self.table) - 1).astype(int)
            target[...] = np.asarray(self.table)[at]
        elif (self.slope, self.intercept) == (1.0, 0.0):
            target[...] = stored
        else:
            np.multiply(stored, self.slope, out=target)
            target += self.intercept
        if stored.min() < self.first or stored.max() > self.last:
            target[(stored < self.first) | (stored > self.last)] = np.nan


def read_parametric_map(path: Path) -> ParametricMapContents:
    """Read a parametric map of one quantity.

    Where a frame names several mappings of its numbers, the first is taken.

    Raises:
        ResultError: it is not one, its frames are not on one grid in the patient's space or of
            several quantities, or its pixels cannot be read.
    """
    found, pixels = open_object(path, [_PARAMETRIC_MAP], "parametric map")
    with in_words("The parametric map"), quietly():
        frames = read_frames(found)
        if len(frames) != pixels.layout.frames:
            raise ResultError(
                f"The parametric map says that it has {pixels.layout.frames} frames, and "
                f"describes {len(frames)}."
            )
        is_float = pixels.kind.kind == "f"
        mappings = [_read_mapping(group, is_float) for group in read_groups(found, _MAPPINGS)]
        first = mappings[0]
        if {(one.quantity, one.unit) for one in mappings} != {(first.quantity, first.unit)}:
            raise ResultError("The parametric map holds several quantities, and one can be read.")
        grid = find_grid(frames)
        if len(set(grid.places)) < len(grid.places):
            raise ResultError("Two frames of the parametric map lie at one place.")
        shape = (grid.slices, pixels.layout.rows, pixels.layout.columns)
        check_size(shape)
        return ParametricMapContents(
            values=_read_values(pixels, mappings, grid.places, shape),
            affine_lps=grid.affine_lps,
            quantity=first.quantity,
            unit=first.unit,
            label=first.label,
            frames=frames,
            places=grid.places,
            sop_instance_uid=str(found.get("SOPInstanceUID", "")),
            frame_of_reference_uid=str(found.get("FrameOfReferenceUID", "")),
        )


def _read_values(
    pixels: Pixels, mappings: list[_Mapping], places: tuple[int, ...], shape: tuple[int, int, int]
) -> Array:
    wide = pixels.kind.itemsize > np.dtype(np.float32).itemsize
    values = np.empty(shape, np.float64 if wide else np.float32)
    values[sorted(set(range(shape[0])) - set(places))] = np.nan
    stored = np.empty(shape[1:], pixels.kind)
    with pixels.reader() as reader:
        for index, (place, mapping) in enumerate(zip(places, mappings, strict=True)):
            reader.values(index, stored)
            mapping.apply(stored, values[place])
    return values


def _read_mapping(group: Dataset | None, is_float: bool) -> _Mapping:
    if group is None:
        # Without it a number is only a number (PS3.3 A.75.3.2 makes it mandatory).
        raise ResultError("The parametric map does not say what its numbers mean.")
    table = tuple(float(value) for value in _many(group.get("RealWorldValueLUTData")))
    return _Mapping(
        quantity=next(_quantities(group), None),
        unit=read_code(group, "MeasurementUnitsCodeSequence"),
        label=str(group.get("LUTLabel", "")),
        first=_end(group, "First", is_float, -np.inf),
        last=_end(group, "Last", is_float, np.inf),
        slope=float(group.get("RealWorldValueSlope", 1.0)) if not table else 1.0,
        intercept=float(group.get("RealWorldValueIntercept", 0.0)) if not table else 0.0,
        table=table,
    )


def _end(group: Dataset, which: str, is_float: bool, otherwise: float) -> float:
    """An end of the range of stored numbers that are mapped.

    That of integers is not believed for floats: some writers cut their own range to it.
    """
    keywords = [f"DoubleFloatRealWorldValue{which}ValueMapped"]
    if not is_float:
        keywords.append(f"RealWorldValue{which}ValueMapped")
    for keyword in keywords:
        if group.get(keyword) is not None:
            return float(group[keyword].value)
    return otherwise


def _quantities(group: Dataset) -> Iterator[Code]:
    for item in group.get("QuantityDefinitionSequence") or ():
        name = read_code(item, "ConceptNameCodeSequence")
        value = read_code(item, "ConceptCodeSequence")
        if name and value and (name.value, name.scheme) in {_QUANTITY, _QUANTITY_BEFORE}:
            yield value


def _many(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if hasattr(value, "__iter__") else [value]
