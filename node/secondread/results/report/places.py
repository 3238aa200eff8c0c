"""Places that a model points at, as shapes in patient coordinates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secondread.bundles.output import DeclaredPlace
from secondread.domain.answer import AnsweredPlace
from secondread.errors import ResultError
from secondread.results.report import concepts
from secondread.results.report.content import CONTAINS, Item
from secondread.results.report.draft import Draft
from secondread.results.report.quantities import MIDDLE_PX

POINT, POLYLINE, POLYGON = "POINT", "POLYLINE", "POLYGON"
_GRAPHICS = {"point": POINT, "polyline": POLYLINE, "polygon": POLYGON}
_LEAST_POINTS = {POINT: 1, POLYLINE: 2, POLYGON: 3}
_PLANE_TOLERANCE_MM = 0.01


@dataclass(frozen=True, slots=True)
class Place:
    """A place of the answer, and which one of its kind it is, from 1."""

    declared: DeclaredPlace
    answered: AnsweredPlace
    number: int


def list_places(draft: Draft) -> Iterator[Place]:
    """Every place that the model answered, in its order.

    Raises:
        ResultError: the model answered what its manifest does not declare.
    """
    declared = {one.id: one for one in draft.context.manifest.output.places}
    counted: Counter[str] = Counter()
    for answered in draft.analysis.answer.places:
        if answered.id not in declared:
            raise ResultError(
                f"The model answered the place '{answered.id}', which its manifest does not "
                "declare."
            )
        counted[answered.id] += 1
        yield Place(declared[answered.id], answered, counted[answered.id])


def write_shapes(draft: Draft, place: Place) -> tuple[list[Item], bool]:
    """A place as shapes, and whether it is a region of one image.

    Every place lies in space (SCOORD3D), a polygon as long as it is flat (PS3.3 C.18.9.1.2); if it
    is not, it is a line that ends where it began. A polygon within a slice is a region of the
    slice's image besides (SCOORD), since more viewers draw in images than in space.

    Raises:
        ResultError: it has too few points, or the source has no Frame of Reference UID.
    """
    kind = _GRAPHICS[place.declared.kind]
    at = np.array(place.answered.points, np.float64).reshape(-1, 3)
    if len(at) < _LEAST_POINTS[kind] or not np.isfinite(at).all():
        raise ResultError(
            f"The model's place '{place.answered.id}' has {len(at)} points, which are too few for "
            f"a {place.declared.kind}, or one of them is nowhere."
        )
    if kind == POINT:
        at = at[:1]
    region: list[Item] = []
    if kind == POLYGON:
        if not np.array_equal(at[0], at[-1]):
            at = np.vstack([at, at[:1]])
        index = round(float(at[0, 0]))
        if 0 <= index < len(draft.context.analysed.sources) and (at[:, 0] == index).all():
            region = [_write_region(draft, at, index)]
    return [*region, _write_in_space(draft, kind, at)], bool(region)


def _write_region(draft: Draft, at: npt.NDArray[np.float64], index: int) -> Item:
    """A closed line in the image of a slice."""
    corners = [(float(column) + MIDDLE_PX, float(row) + MIDDLE_PX) for _, row, column in at]
    source = draft.refer_to_source(index)
    return draft.writer.line_in_image(CONTAINS, concepts.IMAGE_REGION, corners, source)


def _write_in_space(draft: Draft, kind: str, at: npt.NDArray[np.float64]) -> Item:
    frame_of_reference_uid = draft.context.reference.get("FrameOfReferenceUID")
    if not frame_of_reference_uid:
        raise ResultError(
            "The source has no Frame of Reference UID, so no place in space can be told."
        )
    affine = draft.context.analysed.affine_lps
    points = at @ affine[:3, :3].T + affine[:3, 3]
    if kind == POLYGON and not _is_flat(points):
        kind = POLYLINE
    shape = [(float(x), float(y), float(z)) for x, y, z in points]
    return draft.writer.shape_in_space(
        CONTAINS, concepts.IMAGE_REGION, kind, shape, str(frame_of_reference_uid)
    )


def _is_flat(points: npt.NDArray[np.float64]) -> bool:
    """Whether all points lie in one plane."""
    centred = points - points.mean(axis=0)
    normal = np.linalg.svd(centred, full_matrices=True)[2][2]
    return bool(np.abs(centred @ normal).max() <= _PLANE_TOLERANCE_MM)
