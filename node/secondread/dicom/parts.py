"""Which planes of a series belong together: one volume, or several in one series.

Scanners put several echoes, phases, repetitions or components into one series, each of them a
volume at the same places. A series is split only where its planes would collide otherwise: where
two lie at one place, or where sizes, directions, pixel spacings, frames of reference or the kinds
of images differ. And only by attributes that make an end of every collision and leave parts that
may be volumes; else it stays whole, and ``geometry.stack`` names what is wrong. So a number that
counts slices, or an echo time that differs in its last digit, never takes a sound volume apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from secondread.dicom.alignment import MINIMUM_SLICES
from secondread.dicom.distinctions import (
    GEOMETRY,
    STACK,
    STRONG,
    WEAK,
    Codes,
    Distinctions,
    distinguish,
    number_rows,
)
from secondread.dicom.geometry import stack
from secondread.dicom.headers import SliceHeader
from secondread.dicom.stacked import StackedPlane, all_planes
from secondread.dicom.traits import Trait
from secondread.errors import GeometryError

# In the order in which they are tried, and in which a name lists them.
_ORDER = (*STRONG, *WEAK, STACK, GEOMETRY)
_COMBINED_MAX = 3
_COMMON_PLACES = 0.5
_SEPARATOR = ", "


@dataclass(frozen=True, slots=True)
class PlaneGroup:
    """Planes that belong together.

    Attributes:
        name: '' where the series is one part; else what tells it apart, such as ``EchoNumbers 2``.
        planes: of it, in the order of the headers.
    """

    name: str
    planes: tuple[StackedPlane, ...]


def split(headers: Sequence[SliceHeader]) -> tuple[PlaneGroup, ...]:
    """Split the planes of a series into its volumes; one group named '' where it is one.

    The same series gives the same groups, whatever the order of its headers, and every plane is in
    one of them. Groups come in the order of their values.
    """
    planes = all_planes(headers)
    whole = (PlaneGroup("", tuple(planes)),)
    columns = distinguish(planes, headers)
    if columns is None or not _collides(columns, planes, headers):
        return whole
    for keywords in _candidates(columns):
        parts = _partition(columns, keywords)
        if _resolves(columns, parts, keywords):
            return _groups(planes, columns, parts, keywords)
    ranked = _ranked(planes, columns)
    if ranked is not None:
        keywords, columns = ranked
        return _groups(planes, columns, _partition(columns, keywords), keywords)
    if columns.is_mixed:
        # What is left of the collisions is the trouble of one part, not of the others.
        for keywords in _candidates(columns):
            parts = _partition(columns, keywords)
            if _resolves(columns, parts, keywords, wholly=False):
                return _groups(planes, columns, parts, keywords)
    return whole


def find(groups: Sequence[PlaneGroup], name: str) -> PlaneGroup | None:
    """The group with this name, given what ``split`` made of the series or of that part's objects.

    Fewer objects may need fewer words to tell them apart; then the group is meant that says
    nothing but what ``name`` says, where it is the only one.
    """
    exact = [group for group in groups if group.name == name]
    words = set(name.split(_SEPARATOR))
    fewer = [
        group for group in groups if not group.name or set(group.name.split(_SEPARATOR)) < words
    ]
    found = exact or (fewer if name else [])
    return found[0] if len(found) == 1 else None


def _collides(
    columns: Distinctions, planes: Sequence[StackedPlane], headers: Sequence[SliceHeader]
) -> bool:
    if columns.is_mixed:
        return True
    if len(np.unique(columns.cells)) < len(planes):
        return True
    # Frames that name several stacks (PS3.3 C.7.6.16.2.2.4) are several, unless they are sound.
    if STACK not in columns.codes:
        return False
    try:
        stack(headers, planes)
    except GeometryError:
        return True
    return False


def _candidates(columns: Distinctions) -> Iterator[tuple[str, ...]]:
    varied = [keyword for keyword in _ORDER if keyword in columns.codes]
    for count in range(1, _COMBINED_MAX + 1):
        for keywords in combinations(varied, count):
            # A direction alone would give the images without diffusion weighting no name.
            if keywords != ("DiffusionGradientOrientation",) or "DiffusionBValue" not in varied:
                yield keywords


def _partition(columns: Distinctions, keywords: Sequence[str]) -> Codes:
    return number_rows([columns.codes[keyword] for keyword in keywords])


def _resolves(
    columns: Distinctions, parts: Codes, keywords: Sequence[str], *, wholly: bool = True
) -> bool:
    """Whether these are parts: alike in themselves, not too small, and not chips of one volume.

    ``wholly`` asks besides that no part has a collision that another attribute could end.
    """
    count = int(parts.max()) + 1
    if count < 2:
        return False
    if keywords != (STACK,) and len(_firsts(parts, columns.alone)) > count:
        return False
    places = _firsts(parts, columns.cells)
    # Planes that no attribute tells apart stay together: copies, or an error that has a name.
    if wholly and len(places) < len(_firsts(parts, columns.looks)):
        return False
    enough = np.bincount(parts[places], minlength=count) >= MINIMUM_SLICES
    all_of_them = bool(set(keywords) & {*WEAK, GEOMETRY})
    if not (enough.all() if all_of_them else 2 * int(enough.sum()) >= count):
        return False
    return keywords == (STACK,) or _overlap(columns, parts)


def _firsts(parts: Codes, codes: Codes) -> npt.NDArray[np.intp]:
    """The first plane of each pair of a part and a code that occurs."""
    return np.unique(parts * (1 + codes.max()) + codes, return_index=True)[1]


def _overlap(columns: Distinctions, parts: Codes) -> bool:
    """Whether each part has half of its places, or of its partner's, in common with a partner.

    Repetitions of a volume do. A value that changes along the volume would make chips of it that
    one image sent twice sets apart. Parts of another kind or geometry need no partner.
    """
    for group in range(int(columns.alone.max()) + 1):
        members = columns.alone == group
        names, rows = np.unique(parts[members], return_inverse=True)
        if len(names) < 2:
            continue
        cells, places = np.unique(columns.cells[members], return_inverse=True)
        occupied = np.zeros((len(names), len(cells)))
        occupied[rows, places] = 1
        common = occupied @ occupied.T
        sizes = np.diag(common).copy()
        np.fill_diagonal(common, 0)
        if np.any((common / np.minimum.outer(sizes, sizes)).max(axis=1) < _COMMON_PLACES):
            return False
    return True


def _ranked(
    planes: Sequence[StackedPlane], columns: Distinctions
) -> tuple[tuple[str, ...], Distinctions] | None:
    """Repetitions told by their order at each place: times that differ from slice to slice.

    Heart phases by their trigger delays, and passes by their times where each pass was over before
    the next began. Every place must have been visited equally often.
    """
    strong = [keyword for keyword in STRONG if keyword in columns.codes]
    for keyword, noun in (("TriggerTime", "phase"), ("AcquisitionTime", "pass")):
        if keyword not in columns.codes:
            continue
        values = np.array([_number(dict(item.plane.traits).get(keyword)) for item in planes])
        for within in ((), *((name,) for name in strong)):
            groups = _partition(columns, within) if within else np.zeros(len(planes), np.int64)
            codes = _order_in_cells(groups, columns, values, noun == "pass")
            if codes is None:
                continue
            labels = [f"{noun} {at + 1}" for at in range(int(codes.max()) + 1)]
            replaced = replace(
                columns,
                codes={**columns.codes, keyword: codes},
                labels={**columns.labels, keyword: labels},
            )
            keywords = (*within, keyword)
            if _resolves(replaced, _partition(replaced, keywords), keywords):
                return keywords, replaced
    return None


def _number(value: Trait | None) -> float:
    return value if isinstance(value, float) else float("nan")


def _order_in_cells(
    groups: Codes, columns: Distinctions, values: npt.NDArray[np.float64], separate: bool
) -> Codes | None:
    """The rank of each plane's value among those at its place; None where that means nothing."""
    if np.isnan(values).any() or columns.geometry.max():
        return None
    codes = np.zeros(len(values), np.int64)
    for group in range(int(groups.max()) + 1):
        members = np.flatnonzero(groups == group)
        order = members[np.lexsort((values[members], columns.cells[members]))]
        _, counts = np.unique(columns.cells[order], return_counts=True)
        if np.any(counts != counts[0]) or len(counts) < MINIMUM_SLICES:
            return None
        table = values[order].reshape(len(counts), counts[0])
        if np.any(np.diff(table, axis=1) <= 0):
            return None
        if separate and np.any(table[:, :-1].max(axis=0) >= table[:, 1:].min(axis=0)):
            return None
        codes[order] = np.tile(np.arange(counts[0]), len(counts))
    return codes if codes.max() else None


def _groups(
    planes: Sequence[StackedPlane], columns: Distinctions, parts: Codes, keywords: Sequence[str]
) -> tuple[PlaneGroup, ...]:
    groups = []
    for part in range(int(parts.max()) + 1):
        members = np.flatnonzero(parts == part)
        first = members[0]
        name = _SEPARATOR.join(
            columns.labels[keyword][int(columns.codes[keyword][first])] for keyword in keywords
        )
        groups.append(PlaneGroup(name, tuple(planes[int(index)] for index in members)))
    return tuple(groups)
