"""What differs among the planes of a series, as numbers that can be compared all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secondread.dicom.alignment import CORNER_TOLERANCE_MM, orientation_name
from secondread.dicom.copies import same_place
from secondread.dicom.headers import SliceHeader
from secondread.dicom.kinds import is_code, kinds
from secondread.dicom.stacked import StackedPlane, is_placed, positions_of
from secondread.dicom.traits import Trait

Codes = npt.NDArray[np.int64]
"""For every plane the number of its value; planes with one number belong together."""

STRONG = (
    *("ImageType", "ComplexImageComponent", "EchoNumbers", "TemporalPositionIdentifier"),
    *("DiffusionBValue", "NominalPercentageOfCardiacPhase", "ConvolutionKernel"),
)
"""Each of these says by itself that images differ in kind."""
WEAK = (
    *("EchoTime", "InversionTime", "FlipAngle", "TriggerTime", "FrameReferenceTime"),
    *("AcquisitionNumber", "AcquisitionTime", "DiffusionGradientOrientation"),
)
"""These may also differ from slice to slice, so they count only where no part is too small."""
STACK, GEOMETRY = "StackID", "geometry"
_ECHO_TIME_TOLERANCE = 0.01
_GEOMETRIES_MAX = 64


@dataclass(frozen=True, slots=True)
class Distinctions:
    """What is known of the planes of a series.

    Attributes:
        codes: by keyword, for those whose values differ.
        labels: by keyword, what each code is called.
        cells: the place of each plane in its geometry; two of one cell cannot be in one volume.
        geometry: which size, direction, pixel spacing and frame of reference it has.
        alone: planes of one geometry and one kind of image; others cannot be in one volume.
        looks: planes at one place that none of the attributes tells apart.
    """

    codes: Mapping[str, Codes]
    labels: Mapping[str, Sequence[str]]
    cells: Codes
    geometry: Codes
    alone: Codes
    looks: Codes

    @property
    def is_mixed(self) -> bool:
        """Whether the planes differ in geometry or in kind, so that they are no one volume."""
        return bool(self.alone.max())


def distinguish(
    planes: Sequence[StackedPlane], headers: Sequence[SliceHeader]
) -> Distinctions | None:
    """None where not all planes say where they lie, or in too many ways."""
    if len(planes) < 2 or not all(is_placed(item.plane) for item in planes):
        return None
    if any("MOSAIC" in header.image_type for header in headers):
        return None
    geometry = _geometries(planes, headers)
    if geometry is None:
        return None
    codes: dict[str, Codes] = {}
    labels: dict[str, Sequence[str]] = {}
    traits = [dict(item.plane.traits) for item in planes]
    for keyword in (*STRONG, *WEAK, STACK):
        values = [found.get(keyword) for found in traits]
        if len(set(values)) > 1:
            codes[keyword], labels[keyword] = _encode(keyword, values)
    if geometry.max():
        codes[GEOMETRY] = geometry
        labels[GEOMETRY] = _geometry_labels(planes, headers, geometry)
    cells = _cells(planes, geometry)
    found = kinds(planes)
    numbers = {kind: at for at, kind in enumerate(dict.fromkeys(found))}
    return Distinctions(
        codes=codes,
        labels=labels,
        cells=cells,
        geometry=geometry,
        alone=number_rows([geometry, np.array([numbers[kind] for kind in found])]),
        looks=number_rows([cells, *codes.values()]),
    )


def number_rows(codes: Sequence[Codes]) -> Codes:
    """Number the combinations of codes that occur, in their order."""
    return np.unique(np.stack(codes), axis=1, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _geometries(planes: Sequence[StackedPlane], headers: Sequence[SliceHeader]) -> Codes | None:
    """Planes that can lie in one volume have one number, by first appearance along the patient."""
    keys = [
        (
            headers[item.header].pixels.rows,
            headers[item.header].pixels.columns,
            headers[item.header].frame_of_reference_uid,
        )
        for item in planes
    ]
    numbers = np.array(
        [
            (*(item.plane.row_direction or ()), *(item.plane.column_direction or ()))
            + (item.plane.spacing_mm or ())
            for item in planes
        ]
    )
    result = np.full(len(planes), -1, np.int64)
    # Deterministic in the values, not in the order of arrival.
    values = numbers.tolist()
    order = sorted(range(len(planes)), key=lambda i: (keys[i], values[i]))
    sizes = np.array([key[:2] for key in keys], dtype=np.float64) - 1
    frames = np.unique([key[2] for key in keys], return_inverse=True)[1]
    code = 0
    for at in order:
        if result[at] >= 0:
            continue
        if code == _GEOMETRIES_MAX:
            return None
        reach = (sizes * numbers[:, 6:])[:, ::-1]
        row_off = np.linalg.norm(numbers[:, :3] - numbers[at, :3], axis=1) * reach[:, 0]
        column_off = np.linalg.norm(numbers[:, 3:6] - numbers[at, 3:6], axis=1) * reach[:, 1]
        spacing_off = (np.abs(numbers[:, 6:] - numbers[at, 6:]) * sizes).max(axis=1)
        alike = (sizes == sizes[at]).all(axis=1) & (frames == frames[at]) & (result < 0)
        # Twice the tolerance that `stack` allows around the mean.
        for off in (row_off, column_off, spacing_off):
            alike &= off <= 2 * CORNER_TOLERANCE_MM
        alike[at] = True
        result[alike] = code
        code += 1
    return result


def _cells(planes: Sequence[StackedPlane], geometry: Codes) -> Codes:
    positions = positions_of(planes)
    cells = np.zeros(len(planes), np.int64)
    start = 0
    for code in range(int(geometry.max()) + 1):
        members = np.flatnonzero(geometry == code)
        first = planes[members[0]].plane
        normal = np.cross(first.row_direction or (), first.column_direction or ())
        along = positions[members] @ normal
        order = np.argsort(along, kind="stable")
        steps = np.concatenate([[False], ~same_place(along[order])])
        cells[members[order]] = start + np.cumsum(steps)
        start = int(cells.max()) + 1
    return cells


def _encode(keyword: str, values: Sequence[Trait | None]) -> tuple[Codes, Sequence[str]]:
    """Number the values in their order; absent comes last."""
    distinct = sorted({value for value in values if value is not None}, key=_rank)
    numbers: dict[Trait | None, int] = {}
    labels: list[str] = []
    before: Trait | None = None
    for value in distinct:
        if not (labels and keyword == "EchoTime" and _near(before, value)):
            labels.append(_label(keyword, value, len(labels)))
            before = value
        numbers[value] = len(labels) - 1
    if None in values:
        numbers[None] = len(labels)
        labels.append(f"no {keyword}")
    codes = np.array([numbers[value] for value in values], dtype=np.int64)
    if keyword == "ImageType":
        labels = _distinct_image_types(labels)
    return codes, _without_texts(keyword, labels) if isinstance(distinct[-1], str) else labels


def _without_texts(keyword: str, labels: Sequence[str]) -> list[str]:
    """Names of parts go into the trail: what is not made of codes is numbered instead."""
    before = len(keyword) + 1
    return [
        label
        if label.startswith(("no ", "pass ")) or is_code(label[before:])
        else f"{keyword} of kind {at}"
        for at, label in enumerate(labels, start=1)
    ]


def _rank(value: Trait) -> tuple[bool, float, str]:
    return (True, 0.0, value) if isinstance(value, str) else (False, value, "")


def _near(one: Trait | None, other: Trait) -> bool:
    if isinstance(one, str) or isinstance(other, str) or one is None:
        return False
    return other - one <= _ECHO_TIME_TOLERANCE * abs(one)


def _label(keyword: str, value: Trait, at: int) -> str:
    if keyword == "AcquisitionTime":
        # A time of the day tells nobody anything; that it is the second one does.
        return f"pass {at + 1}"
    return f"{keyword} {value if isinstance(value, str) else format(value, '.10g')}"


def _distinct_image_types(labels: Sequence[str]) -> list[str]:
    """Of each Image Type what not all of them have, if that still tells them apart."""
    values = [label.removeprefix("ImageType ").split("\\") for label in labels]
    common = set(values[0]).intersection(*values[1:])
    short = ["\\".join(value for value in item if value not in common) for item in values]
    if "" in short or len(set(short)) < len(short):
        return list(labels)
    return [
        label if label.startswith("no ") else f"ImageType {text}"
        for label, text in zip(labels, short, strict=True)
    ]


def _geometry_labels(
    planes: Sequence[StackedPlane], headers: Sequence[SliceHeader], geometry: Codes
) -> list[str]:
    firsts = [planes[int(np.argmax(geometry == code))] for code in range(int(geometry.max()) + 1)]
    names = []
    for item in firsts:
        layout = headers[item.header].pixels
        normal = np.cross(item.plane.row_direction or (), item.plane.column_direction or ())
        names.append((f"{layout.rows} x {layout.columns}", orientation_name(normal)))
    varied = [len({name[at] for name in names}) > 1 for at in range(2)]
    words = [" ".join(name[at] for at in range(2) if varied[at]) or "geometry" for name in names]
    return [
        word if words.count(word) == 1 else f"{word} {words[: at + 1].count(word)}"
        for at, word in enumerate(words)
    ]
