"""The measurement groups of a report that the node made, against what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secondread.bundles.manifest import Label
from secondread.results import coding
from secondread.results.analysis import Analysis
from secondread.results.context import ResultContext
from secondread.results.gate import template
from secondread.results.gate.content import Item
from secondread.results.gate.required import SEGMENTATIONS
from secondread.results.made import Made
from secondread.results.measurement.measurements import StructureMeasurements
from secondread.results.wording import plain

_ALGORITHM_NAME, _ALGORITHM_VERSION = "111001", "111003"
_VOLUME, _METHOD, _DERIVATION = "118565006", "370129005", "121401"
_CENTER = "111010"
_TOLERANCE = 1e-5
_OFF_VOXEL = 0.01


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a report should say.

    Attributes:
        analysis: what the model answered; None where nothing was analysed.
        made: what was made of it, the report itself among it.
        refusal: why nothing was analysed, or empty.
    """

    analysis: Analysis | None = None
    made: Made | None = None
    refusal: str = ""

    @property
    def found(self) -> tuple[StructureMeasurements, ...]:
        """Structures that the report must measure."""
        measured = self.made.measured if self.made else ()
        return tuple(one for one in measured if one.voxels)


def text_of(item: Item | None) -> str:
    """The characters of an item, '' where there is none."""
    return item.text if item is not None else ""


def find_measurement_faults(
    root: Item, context: ResultContext, expected: Expectation
) -> Iterator[str]:
    """Faults of the groups: one for each structure that was found, and it says what is so."""
    groups = template.list_groups(root)
    by_tracking: dict[str, Item] = {}
    version = plain(context.manifest.version, 64)
    for group in groups:
        uid = text_of(group.find(template.TRACKING_UID))
        if uid and uid in by_tracking:
            yield "Two measurement groups share a Tracking Unique Identifier."
        name = text_of(group.find(template.TRACKING_ID))
        if not uid or not name:
            yield "A measurement group has no tracking identifier."
        by_tracking[uid] = group
        if not text_of(group.find(_ALGORITHM_NAME)) or (
            text_of(group.find(_ALGORITHM_VERSION)) != version
        ):
            yield f"Measurement group '{name}' does not name its algorithm and version."
    absent = {context.tracking_uid(one.label) for one in _measured(expected) if not one.voxels}
    if absent & set(by_tracking):
        yield "The report measures a structure that was not found."
    yield from _find_segment_faults(groups, expected)
    numbers = _collect_numbers(groups)
    for one in expected.found:
        found = by_tracking.get(context.tracking_uid(one.label))
        if found is None:
            yield (
                "The report does not have one measurement group, with the tracking identifier of "
                "its segment, for each structure that was found."
            )
            continue
        yield from _find_group_faults(found, context, one.label)
        yield from _find_reference_faults(found, one.label, expected)
        yield from _find_quantity_faults(found, one)
        yield from _find_statistic_faults(numbers[_subject(found)], one)
    if expected.analysis is not None:
        measured = {context.tracking_uid(one.label): one.label for one in expected.found}
        yield from _find_point_faults(
            [(group, measured[uid]) for uid, group in by_tracking.items() if uid in measured],
            context.analysed.affine_lps,
            expected.analysis.labels,
        )


def _measured(expected: Expectation) -> tuple[StructureMeasurements, ...]:
    return expected.made.measured if expected.made else ()


def _find_segment_faults(groups: tuple[Item, ...], expected: Expectation) -> Iterator[str]:
    """Every segment that a group refers to exists."""
    known: Mapping[str, Mapping[int, Label]] = (
        {one.sop_instance_uid: one.segments for one in expected.made.segmentations}
        if expected.made
        else {}
    )
    for group in groups:
        for item in group.find_all(template.REFERENCED_SEGMENT):
            reference = item.reference
            if (
                reference is None
                or reference.sop_instance_uid not in known
                or reference.sop_class_uid not in SEGMENTATIONS
            ):
                yield "A measurement group does not refer to the segmentation."
                continue
            for number in reference.segments:
                if number not in known[reference.sop_instance_uid]:
                    yield f"A measurement group refers to segment {number}: there is none."


def _find_reference_faults(group: Item, label: Label, expected: Expectation) -> Iterator[str]:
    place = expected.made.find_segment(label) if expected.made else None
    references = [item.reference for item in group.find_all(template.REFERENCED_SEGMENT)]
    named = [(one.sop_instance_uid, one.segments) for one in references if one is not None]
    if place is None:
        if named:
            yield f"Measurement group '{label.name}' refers to a segment, and nothing shows it."
        return
    document, number = place
    if not named or named[0][0] != document.sop_instance_uid:
        yield "A measurement group does not refer to the segmentation."
    elif named != [(document.sop_instance_uid, (number,))]:
        yield f"Measurement group '{label.name}' has not the tracking identifier of its segment."


def _find_group_faults(group: Item, context: ResultContext, label: Label) -> Iterator[str]:
    whose = f"Measurement group '{label.name}'"
    if text_of(group.find(template.TRACKING_ID)) != context.tracking_id(label):
        yield f"{whose} has not the tracking identifier of its segment."
    finding = group.find(template.FINDING)
    code = finding.code if finding else None
    if code is None or code.value != label.type.value:
        yield f"{whose} has not the finding that its segment shows."
    elif not coding.is_known(code.value, code.scheme):
        yield f"{whose} has a finding that none of DICOM's context groups lists."
    yield from _find_site_faults(group, label)


def _find_site_faults(group: Item, label: Label) -> Iterator[str]:
    whose = f"Measurement group '{label.name}'"
    site = group.find(template.FINDING_SITE)
    is_place = label.category.value in coding.ANATOMY
    wanted = label.region or (label.type if is_place else None)
    if site is None or site.code is None:
        if wanted is not None:
            yield f"{whose} does not say where in the body it is."
        return
    if wanted is not None and site.code.value != wanted.value:
        yield f"{whose} has another site in the body than its segment."
    side = site.find(template.LATERALITY) or group.find(template.LATERALITY)
    named = side.code.value if side and side.code else ""
    own = coding.LATERALITY[label.laterality].value if label.laterality else ""
    in_region = {code.value for code in label.region_modifiers}
    if named != own and named not in in_region:
        yield f"{whose} is on the wrong side or does not say on which."
    part = site.find(template.TOPOGRAPHICAL_MODIFIER)
    told = part.code.value if part and part.code else ""
    declared = {code.value for code in label.type_modifiers} & coding.parts()
    if label.region:
        declared = in_region - {code.value for code in coding.LATERALITY.values()}
    if told not in (declared or {""}):
        yield f"{whose} is about another part of its site than its segment."


def _find_quantity_faults(group: Item, measured: StructureMeasurements) -> Iterator[str]:
    whose = f"Measurement group '{measured.label.name}'"
    own = [item for item in group.children if item.value_type == "NUM"]
    volumes = [
        item
        for item in own
        if item.concept == _VOLUME and item.unit is not None and item.unit.value == "mL"
    ]
    if not volumes or volumes[0].number is None:
        yield f"{whose} has no volume in mL."
    elif not is_near(volumes[0].number, measured.volume_ml):
        yield f"{whose} has a volume that is not the segment's."
    elif limits := measured.label.reference_ml:
        given = [child.number for child in volumes[0].children if child.number is not None]
        if not all(any(is_near(one, limit) for one in given) for limit in limits):
            yield f"{whose} gives its volume without the reference range."
    for item in own:
        if item.unit is not None and item.unit.scheme != "UCUM":
            yield f"{whose} has a number whose unit is not UCUM."
        if not _says_how(item):
            yield f"{whose} has a number without a method."


def _find_point_faults(
    groups: Sequence[tuple[Item, Label]],
    affine: npt.NDArray[np.float64],
    labels: npt.NDArray[np.uint8],
) -> Iterator[str]:
    """The point at which viewers write the numbers lies in the structure."""
    inverse = np.linalg.inv(affine)
    for item, label in ((one, label) for group, label in groups for one in group.find_all(_CENTER)):
        at = (inverse @ [*item.points[:3], 1.0])[:3]
        index = np.rint(at).astype(int)
        inside = ((index >= 0) & (index < labels.shape)).all()
        if (
            np.abs(at - index).max() > _OFF_VOXEL
            or not inside
            or labels[tuple(index)] != label.value
        ):
            yield f"Measurement group '{label.name}' points at a place outside of its structure."


def _says_how(item: Item) -> bool:
    """Whether a number says how it came about: by method, derivation or line, or as a count."""
    is_count = item.unit is not None and item.unit.value.startswith("{")
    return is_count or any(
        child.concept in {_DERIVATION, _METHOD} or child.value_type in {"SCOORD", "SCOORD3D"}
        for child in item.children
    )


def _collect_numbers(groups: Sequence[Item]) -> dict[tuple[object, ...], list[float]]:
    """All numbers by what and where they are about: a structure may have several groups."""
    found: dict[tuple[object, ...], list[float]] = {}
    for group in groups:
        numbers = [item.number for item in group.walk() if item.number is not None]
        found.setdefault(_subject(group), []).extend(numbers)
    return found


def _subject(group: Item) -> tuple[object, ...]:
    finding, site = group.find(template.FINDING), group.find(template.FINDING_SITE)
    modifiers = tuple(child.code for child in site.children) if site else ()
    return finding and finding.code, site and site.code, modifiers


def _find_statistic_faults(
    values: Sequence[float], measured: StructureMeasurements
) -> Iterator[str]:
    """Each number that the manifest asks for is in a group of the structure."""
    for name, value in measured.statistics.items():
        if not any(is_near(one, value) for one in values):
            yield (
                f"Measurement group '{measured.label.name}' does not give the "
                f"{name.replace('_', ' ')} that was measured."
            )


def is_near(one: float, other: float) -> bool:
    """Equal as far as six digits go, which is what a report gives."""
    return abs(one - other) <= max(_TOLERANCE * abs(other), 1e-9)
