"""The rules of TID 1500 and what it includes, for anybody's measurement report (PS3.16 annex A)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset

from secondread.results import coding
from secondread.results.gate.content import Item, read_content
from secondread.results.gate.evidence import Evidence, list_evidence
from secondread.results.gate.required import COMPREHENSIVE_3D_SR

TITLES = frozenset({"126000", "126001", "126002", "126003"})
"""PS3.16 CID 7021."""
LANGUAGE = "121049"
OBSERVER_TYPE, DEVICE = "121005", "121007"
DEVICE_UID, PERSON_NAME = "121012", "121008"
PROCEDURE_REPORTED = "121058"
IMAGE_LIBRARY = "111028"
IMAGING_MEASUREMENTS, DERIVED_MEASUREMENTS = "126010", "126011"
QUALITATIVE_EVALUATIONS = "C0034375"
MEASUREMENT_GROUP = "125007"
TRACKING_ID, TRACKING_UID = "112039", "112040"
FINDING, FINDING_SITE, LATERALITY = "121071", "363698007", "272741003"
TOPOGRAPHICAL_MODIFIER = "106233006"
REFERENCED_SEGMENT, SEGMENTATION_FRAME = "121191", "121214"
_OLD_FINDING_SITES = frozenset({FINDING_SITE, "G-C0E3"})
_OLD_EVALUATIONS = frozenset({QUALITATIVE_EVALUATIONS, "C0034375"})
_RELATIONS = frozenset(
    {
        "CONTAINS",
        "HAS PROPERTIES",
        "HAS OBS CONTEXT",
        "HAS ACQ CONTEXT",
        "INFERRED FROM",
        "SELECTED FROM",
        "HAS CONCEPT MOD",
    }
)
_POINT_SIZES = {"SCOORD": 2, "SCOORD3D": 3}
_GRAPHICS = {
    "SCOORD": frozenset({"POINT", "MULTIPOINT", "POLYLINE", "CIRCLE", "ELLIPSE"}),
    "SCOORD3D": frozenset({"POINT", "MULTIPOINT", "POLYLINE", "POLYGON", "ELLIPSE", "ELLIPSOID"}),
}


def find_report_faults(header: Dataset) -> Iterator[str]:
    """Faults of anybody's report, as far as it can be judged by itself."""
    yield from find_document_faults(header)
    root = read_content(header)
    template = (header.get("ContentTemplateSequence") or [Dataset()])[0]
    if template.get("TemplateIdentifier") == "1500":
        yield from find_root_faults(root)
        for group in list_groups(root):
            yield from find_group_faults(group)
    yield from find_item_faults(root, header, list_evidence(header))


def find_document_faults(header: Dataset) -> Iterator[str]:
    """Faults of what stands above the content (PS3.3 C.17.2)."""
    completion, verification = header.get("CompletionFlag"), header.get("VerificationFlag")
    if completion not in {"PARTIAL", "COMPLETE"}:
        yield "The report does not say whether it is complete."
    if verification not in {"UNVERIFIED", "VERIFIED"}:
        yield "The report does not say whether a person has verified it."
    if verification == "VERIFIED" and not header.get("VerifyingObserverSequence"):
        yield "The report is verified, but does not say by whom."
    if header.get("ValueType") != "CONTAINER":
        yield "The root of the content is no container."
    template = (header.get("ContentTemplateSequence") or [Dataset()])[0]
    if template.get("TemplateIdentifier") != "1500":
        yield "The report does not name TID 1500 as its root template."


def find_root_faults(root: Item) -> Iterator[str]:
    """Faults of the rows of TID 1500 itself, and of the observation context (TID 1001)."""
    if root.concept not in TITLES:
        yield "The report's title is not in DICOM's CID 7021."
    if root.find(LANGUAGE) is None:
        yield "The report does not say in which language it is."
    kind = root.find(OBSERVER_TYPE)
    if kind is not None and kind.code is not None and kind.code.value == DEVICE:
        if root.find(DEVICE_UID) is None:
            yield "The report was made by a device and does not give its UID."
    elif root.find(PERSON_NAME) is None:
        yield "The report does not say who or what observed."
    if root.find(PROCEDURE_REPORTED) is None:
        yield "The report does not say which procedure it reports."
    parts = (IMAGING_MEASUREMENTS, DERIVED_MEASUREMENTS, QUALITATIVE_EVALUATIONS)
    if not any(root.find(part) for part in parts):
        yield "The report has neither measurements nor qualitative evaluations."


def list_groups(root: Item) -> tuple[Item, ...]:
    """Measurement groups, in their order."""
    return tuple(
        group
        for measurements in root.find_all(IMAGING_MEASUREMENTS)
        for group in measurements.find_all(MEASUREMENT_GROUP)
    )


def find_group_faults(group: Item) -> Iterator[str]:
    """Faults of one measurement group (TID 1410, 1411, 1501)."""
    tracking = group.find(TRACKING_ID)
    whose = f"Measurement group '{tracking.text}'" if tracking else "A measurement group"
    if tracking is None or not tracking.text:
        yield f"{whose} has no tracking identifier."
    unique = group.find(TRACKING_UID)
    if unique is None or not unique.text:
        yield f"{whose} has no unique tracking identifier."
    if not any(child.value_type in {"NUM", "CODE"} for child in group.children):
        yield f"{whose} says nothing."
    for child in group.children:
        if child.concept in {REFERENCED_SEGMENT, SEGMENTATION_FRAME}:
            reference = child.reference
            if reference is None or not reference.sop_instance_uid:
                yield f"{whose} refers to a segment without naming its object."
            elif child.concept == REFERENCED_SEGMENT and not reference.segments:
                yield f"{whose} refers to a segmentation without naming a segment."


def find_item_faults(root: Item, header: Dataset, evidence: Evidence) -> Iterator[str]:
    """Faults that any item of any report can have (PS3.3 C.17.3 and C.18)."""
    told: set[str] = set()
    for item in root.walk():
        for fault in _find_faults(item, item is root, header):
            if fault not in told:
                told.add(fault)
                yield fault
        reference = item.reference
        if reference is None:
            continue
        listed = evidence.get(reference.sop_instance_uid)
        fault = ""
        if listed is None:
            fault = "The report's evidence does not list every object that it refers to."
        elif listed[0] != reference.sop_class_uid:
            fault = "The report's evidence lists an object with another class than its content."
        if fault and fault not in told:
            told.add(fault)
            yield fault


def _find_faults(item: Item, is_root: bool, header: Dataset) -> Iterator[str]:
    if not is_root and item.relation not in _RELATIONS:
        yield f"An item has no relationship that the standard knows ('{item.value_type}')."
    if item.name is not None:
        if not (item.name.value and item.name.scheme and item.name.meaning):
            yield "The name of an item is not a complete code."
        elif item.name.scheme in {"DCM", "SCT"} and not _is_known(item):
            yield (
                f"An item is called {item.name.value} ({item.name.scheme}), which none of DICOM's "
                "context groups lists."
            )
    elif item.value_type in {"CODE", "NUM", "TEXT", "UIDREF", "PNAME"}:
        yield f"An item of the type {item.value_type} has no name."
    yield from _find_value_faults(item, header)


def _is_known(item: Item) -> bool:
    name = item.name
    # Names of rows in templates are in the dictionary of annex D, which holds all of DCM.
    return name is None or name.scheme != "DCM" or coding.is_known(name.value, name.scheme)


def _find_value_faults(item: Item, header: Dataset) -> Iterator[str]:
    meaning = item.name.meaning if item.name else item.value_type
    kind = item.value_type
    if kind == "CODE" and (item.code is None or not (item.code.value and item.code.scheme)):
        yield f"'{meaning}' should be a code and has none."
    elif kind == "TEXT" and not item.text:
        yield f"'{meaning}' should be a text and is empty."
    elif kind == "UIDREF" and not _is_uid(item.text):
        yield f"'{meaning}' should be a UID and is none."
    elif kind in {"IMAGE", "COMPOSITE", "WAVEFORM"} and (
        item.reference is None or not item.reference.sop_instance_uid
    ):
        yield f"'{meaning}' should refer to an object and does not."
    elif kind == "NUM":
        yield from _find_number_faults(item, meaning)
    elif kind in _POINT_SIZES:
        yield from _find_coordinate_faults(item, header)


def _find_number_faults(item: Item, meaning: str) -> Iterator[str]:
    if item.number is None:
        if not item.is_qualified:
            yield f"'{meaning}' has no number, and does not say why."
        return
    if not np.isfinite(item.number):
        yield f"'{meaning}' is not a finite number."
    if item.unit is None or not item.unit.value:
        yield f"'{meaning}' has a number without a unit."
    elif item.unit.scheme != "UCUM":
        yield f"'{meaning}' has a number whose unit is not UCUM."


def _find_coordinate_faults(item: Item, header: Dataset) -> Iterator[str]:
    size = _POINT_SIZES[item.value_type]
    if item.graphic not in _GRAPHICS[item.value_type]:
        yield "Coordinates are of a graphic type that the standard does not know."
    if not item.points or len(item.points) % size or not np.isfinite(item.points).all():
        yield "Coordinates are not whole points."
    elif item.graphic == "POINT" and len(item.points) != size:
        yield "A point has not the coordinates of one point."
    elif item.graphic == "POLYGON" and item.points[:size] != item.points[-size:]:
        yield "A polygon does not end where it begins."
    if item.value_type == "SCOORD3D":
        if header.get("SOPClassUID") != COMPREHENSIVE_3D_SR:
            yield "Coordinates in space are only for Comprehensive 3D SR, and this is none."
        if not _is_uid(item.frame_of_reference_uid):
            yield "Coordinates in space do not say in which Frame of Reference."
    elif not any(child.relation == "SELECTED FROM" for child in item.children):
        yield "Coordinates in an image do not say in which image."


def _is_uid(text: str) -> bool:
    return 0 < len(text) <= 64 and set(text) <= set("0123456789.")
