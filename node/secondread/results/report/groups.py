"""The measurement groups of a report (PS3.16 TID 1410, 1411 and 1501).

Of each structure that was found there is one group about all of it: TID 1411 where a segment shows
it, TID 1501 where nothing does. The slice in which it is longest has a group of its own, TID 1410,
where a frame of the segmentation shows it. What the model says about the image as a whole, and
every place that it points at, are groups besides.
"""

from __future__ import annotations

from collections.abc import Sequence

from secondread.bundles.manifest import Label
from secondread.domain.code import Code
from secondread.domain.volume import Volume
from secondread.results import coding
from secondread.results.measurement.measurements import Diameter, Point, StructureMeasurements
from secondread.results.report import concepts
from secondread.results.report.comparison import list_changes
from secondread.results.report.content import (
    CONTAINS,
    HAS_CONCEPT_MOD,
    HAS_OBS_CONTEXT,
    Item,
    Reference,
    modify,
)
from secondread.results.report.draft import Draft
from secondread.results.report.findings import list_findings, list_numbers
from secondread.results.report.places import POINT, Place, list_places, write_shapes
from secondread.results.report.quantities import list_diameters, list_statistics, write_certainty
from secondread.results.wording import plain

PLANAR, VOLUMETRIC, WITHOUT_REGION = "1410", "1411", "1501"
"""Templates of the groups."""

_LONG_STRING = 64
_SIDES = frozenset(code.value for code in concepts.SIDES.values())


def list_groups(draft: Draft) -> list[Item]:
    """All groups: the structures in the order of the manifest, the whole image, the places.

    Raises:
        ResultError: the model answered what its manifest does not declare, or what cannot be told.
    """
    groups = []
    for one in draft.made.measured:
        groups += _list_structure(draft, one)
    if numbers := list_numbers(draft):
        uid = draft.context.uid("tracking", "", "image")
        content = [*numbers, *_point_at(draft, _find_middle(draft.context.analysed))]
        groups.append(_group(draft, WITHOUT_REGION, ("image", uid), [], content))
    groups += [_write_place(draft, place) for place in list_places(draft)]
    return groups


def _list_structure(draft: Draft, one: StructureMeasurements) -> list[Item]:
    label = one.label
    own = [*list_numbers(draft, label.name), *list_findings(draft, label.name)]
    if not one.voxels:
        return [_describe_absent(draft, label, own)] if own else []
    statistics = list_statistics(draft, one)
    changes = list_changes(draft.writer, draft.comparison.changes.get(label.value))
    segment = draft.refer_to_segment(label)
    diameters: list[Item] = []
    planar: list[Item] = []
    if one.diameter is not None:
        frame = segment and draft.refer_to_frame(segment, one.diameter.source)
        if frame:
            planar = [_describe_slice(draft, one, one.diameter, frame)]
        else:
            diameters = list_diameters(draft, one, one.diameter)
    content = [*statistics, *diameters, *changes, *own, *_point_at(draft, one.centre)]
    return [_describe(draft, label, content, segment), *planar]


def _describe(
    draft: Draft, label: Label, content: Sequence[Item], segment: Reference | None = None
) -> Item:
    """The group about a whole structure; without a segment it has no region."""
    region: list[Item] = []
    if segment is not None:
        writer = draft.writer
        series = str(draft.context.reference.SeriesInstanceUID)
        region = [
            writer.image(CONTAINS, concepts.REFERENCED_SEGMENT, segment),
            writer.uid(CONTAINS, concepts.SOURCE_SERIES, series),
        ]
    template = VOLUMETRIC if segment is not None else WITHOUT_REGION
    return _group(
        draft,
        template,
        (label.name, draft.context.tracking_uid(label)),
        [*_name_finding(draft, label.type), *region, *_name_site(draft, label)],
        content,
    )


def _point_at(draft: Draft, point: Point | None) -> list[Item]:
    """A point to write the group's numbers at; none where there is no frame of reference.

    OHIF 3.12 shows what it finds a place for, and fails on a report with a group that has none.
    """
    frame_of_reference_uid = str(draft.context.reference.get("FrameOfReferenceUID") or "")
    if point is None or not frame_of_reference_uid:
        return []
    writer = draft.writer
    return [
        writer.shape_in_space(CONTAINS, concepts.CENTER, POINT, [point], frame_of_reference_uid)
    ]


def _find_middle(volume: Volume) -> Point:
    """The middle of a volume, LPS mm."""
    middle = [(length - 1) / 2 for length in volume.voxels.shape]
    x, y, z = (volume.affine_lps @ (*middle, 1.0))[:3]
    return float(x), float(y), float(z)


def _describe_absent(draft: Draft, label: Label, content: Sequence[Item]) -> Item:
    """What the model says about a structure that it did not find; nobody could track that."""
    uid = draft.context.uid("tracking", label.name, "absent")
    about = [*_name_finding(draft, label.type), *_name_site(draft, label)]
    return _group(draft, WITHOUT_REGION, (f"{label.name} absent", uid), about, content)


def _describe_slice(
    draft: Draft, one: StructureMeasurements, diameter: Diameter, frame: Reference
) -> Item:
    """The group about the slice in which a structure is longest."""
    writer, label = draft.writer, one.label
    source = draft.refer_to_source(diameter.source)
    region = [
        writer.image(CONTAINS, concepts.REFERENCED_SEGMENTATION_FRAME, frame),
        writer.image(CONTAINS, concepts.SOURCE_IMAGE, source),
    ]
    return _group(
        draft,
        PLANAR,
        (f"{label.name} slice", draft.context.uid("tracking", label.name, "slice")),
        [*_name_finding(draft, label.type), *region, *_name_site(draft, label)],
        list_diameters(draft, one, diameter),
    )


def _write_place(draft: Draft, place: Place) -> Item:
    """The group about a place: planar for a region of an image, else TID 1501 (row 10e)."""
    shapes, is_region = write_shapes(draft, place)
    declared, probability = place.declared, place.answered.probability
    labels = {label.name: label for label in draft.context.manifest.labels}
    site = _name_site(draft, labels[declared.label]) if declared.label else []
    certainty = []
    if probability is not None:
        certainty.append(write_certainty(draft.writer, probability, CONTAINS))
    uid = draft.context.uid("tracking", "", "place", declared.id, str(place.number))
    finding = _name_finding(draft, declared.name)
    tracking = (f"{declared.id} {place.number}", uid)
    if is_region:
        return _group(draft, PLANAR, tracking, [*finding, *shapes, *site], certainty)
    return _group(draft, WITHOUT_REGION, tracking, [*finding, *site], [*certainty, *shapes])


def _group(
    draft: Draft,
    template: str,
    tracking: tuple[str, str],
    about: Sequence[Item],
    content: Sequence[Item],
) -> Item:
    """A group: how it is found again, what it is about, by which algorithm, and what it says.

    Args:
        draft: the report.
        template: its TID.
        tracking: what stands behind the model's name in its identifier, and its UID.
        about: finding, region and site.
        content: numbers and findings.
    """
    writer, manifest = draft.writer, draft.context.manifest
    name, uid = tracking
    identifier = plain(f"{manifest.id} {name}", _LONG_STRING)
    items = [
        writer.text(HAS_OBS_CONTEXT, concepts.TRACKING_ID, identifier),
        writer.uid(HAS_OBS_CONTEXT, concepts.TRACKING_UID, uid),
        *about,
        *_name_algorithm(draft),
        *content,
    ]
    return writer.container(concepts.MEASUREMENT_GROUP, items, template=template)


def _name_algorithm(draft: Draft) -> list[Item]:
    """Name and version (PS3.16 TID 4019)."""
    manifest, writer = draft.context.manifest, draft.writer
    return [
        writer.text(HAS_CONCEPT_MOD, name, plain(text, _LONG_STRING))
        for name, text in (
            (concepts.ALGORITHM_NAME, manifest.id),
            (concepts.ALGORITHM_VERSION, manifest.version),
        )
    ]


def _name_finding(draft: Draft, what: Code) -> list[Item]:
    return [draft.writer.code(CONTAINS, concepts.FINDING, what)]


def _name_site(draft: Draft, label: Label) -> list[Item]:
    """Where in the body it is: the region of the manifest; a place without one is its own site."""
    writer, modifiers = draft.writer, []
    is_place = label.category.value in coding.ANATOMY
    site = label.region or (label.type if is_place else None)
    if site is None:
        return []
    if label.laterality:
        modifiers.append(modify(writer, concepts.LATERALITY, concepts.SIDES[label.laterality]))
    if label.region:
        others = [code for code in label.region_modifiers if code.value not in _SIDES]
    else:
        # Anterior is a part of the place; other modifiers of a type may be a state.
        others = [code for code in label.type_modifiers if code.value in coding.parts()]
    # TID 1419 row 4 takes one.
    modifiers += [modify(writer, concepts.TOPOGRAPHICAL_MODIFIER, code) for code in others[:1]]
    return [writer.code(HAS_CONCEPT_MOD, concepts.FINDING_SITE, site, modifiers)]
