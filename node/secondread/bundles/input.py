"""``[input]`` of ``model.toml``: which series a model accepts, judged by headers alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from secondread.config.conditions import parse_conditions
from secondread.domain.condition import Condition
from secondread.domain.technical import SOURCES, InputForm

GantryTilt = Literal["refuse", "resample"]
Units = Literal["modality", "SUVbw"]
PLANES = ("axial", "sagittal", "coronal", "oblique")
_AS_FILES = frozenset({"CT", "MR"})
"""Modalities of which the node can write files for a model."""


@dataclass(frozen=True, slots=True)
class InputEnvelope:
    """What a model accepts; lengths in mm, counts in slices.

    Attributes:
        forbidden_image_types: values that no image may have anywhere in its Image Type.
        plane: how the slices may lie, as in ``domain.attributes``; empty is any way.
        gantry_tilt: what becomes of a volume whose slices lean against their stack.
        allow_derived: whether images that were made from other images, such as reformatted ones,
            are taken; screen shots, maps for orientation and projections never are.
        required: all of these must hold.
        preferred: of several series that can be taken, one for which the first of these holds goes
            before one for which it does not; then the second decides, and so on.
        forbidden: none of these may hold.
        attributes: what the model is told besides the image, by names of ``domain.technical``.
        form: whether the model gets DICOM files besides the array.
        units: of the voxels: what the Modality LUT gives, or uptake by body weight in g/ml (PET).
    """

    modality: tuple[str, ...]
    body_part: tuple[str, ...]
    min_slices: int
    max_slices: int
    min_spacing_mm: float
    max_spacing_mm: float
    min_extent_mm: float
    forbidden_image_types: tuple[str, ...]
    plane: tuple[str, ...] = ()
    gantry_tilt: GantryTilt = "refuse"
    allow_derived: bool = False
    required: tuple[Condition, ...] = ()
    preferred: tuple[Condition, ...] = ()
    forbidden: tuple[Condition, ...] = ()
    attributes: tuple[str, ...] = ()
    form: InputForm = "array"
    units: Units = "modality"


_KEYS = {field.name for field in fields(InputEnvelope)}


def read_input(row: Mapping[str, Any]) -> InputEnvelope:
    """Read the table.

    Raises:
        KeyError: a key is absent.
        TypeError, ValueError: a key is unknown, or its value is of the wrong kind.
    """
    if unknown := set(row) - _KEYS:
        raise ValueError(f"[input] has unknown keys: {', '.join(sorted(unknown))}")
    return InputEnvelope(
        modality=_words(row, "modality"),
        body_part=_words(row, "body_part"),
        min_slices=int(row["min_slices"]),
        max_slices=int(row["max_slices"]),
        min_spacing_mm=float(row["min_spacing_mm"]),
        max_spacing_mm=float(row["max_spacing_mm"]),
        min_extent_mm=float(row.get("min_extent_mm", 0.0)),
        forbidden_image_types=_words(row, "forbidden_image_types"),
        plane=_planes(row),
        gantry_tilt=_gantry_tilt(row),
        allow_derived=_switch(row, "allow_derived"),
        required=_conditions(row, "required"),
        preferred=_conditions(row, "preferred"),
        forbidden=_conditions(row, "forbidden"),
        attributes=_attributes(row),
        form=_form(row),
        units=_units(row),
    )


def _words(row: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = row["modality"] if key == "modality" else row.get(key, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"{key} is a list of texts")
    return tuple(value.upper() for value in values)


def _planes(row: Mapping[str, Any]) -> tuple[str, ...]:
    given = row.get("plane", [])
    values = [given] if isinstance(given, str) else given
    if not isinstance(values, list) or not set(map(str, values)) <= set(PLANES):
        raise ValueError(f"plane is one or several of {', '.join(PLANES)}")
    return tuple(values)


def _gantry_tilt(row: Mapping[str, Any]) -> GantryTilt:
    value: GantryTilt = row.get("gantry_tilt", "refuse")
    if value not in get_args(GantryTilt):
        raise ValueError("gantry_tilt is 'refuse' or 'resample'")
    return value


def _attributes(row: Mapping[str, Any]) -> tuple[str, ...]:
    names = row.get("attributes", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TypeError("attributes is a list of texts")
    if unknown := [name for name in names if name not in SOURCES]:
        raise ValueError(
            f"attributes asks for {', '.join(unknown)}, which no model is told; it may ask for "
            f"{', '.join(sorted(SOURCES))}"
        )
    return tuple(dict.fromkeys(names))


def _form(row: Mapping[str, Any]) -> InputForm:
    value: InputForm = row.get("form", "array")
    if value not in get_args(InputForm):
        raise ValueError("form is 'array' or 'dicom'")
    if value == "dicom" and not set(_words(row, "modality")) <= _AS_FILES:
        raise ValueError(f"form is 'dicom', which takes {' and '.join(sorted(_AS_FILES))} only")
    return value


def _units(row: Mapping[str, Any]) -> Units:
    value: Units = row.get("units", "modality")
    if value not in get_args(Units):
        raise ValueError("units is 'modality' or 'SUVbw'")
    if value == "SUVbw" and _words(row, "modality") != ("PT",):
        raise ValueError("units is 'SUVbw', which PT alone has")
    return value


def _switch(row: Mapping[str, Any], key: str) -> bool:
    value = row.get(key, False)
    if not isinstance(value, bool):
        raise TypeError(f"{key} is true or false")
    return value


def _conditions(row: Mapping[str, Any], key: str) -> tuple[Condition, ...]:
    try:
        return parse_conditions(row.get(key, []), attributes_only=True)
    except ValueError as error:
        raise ValueError(f"[[input.{key}]]: {str(error).rstrip('.')}") from None
