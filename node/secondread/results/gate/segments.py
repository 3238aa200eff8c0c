"""Segments: what each says of itself (PS3.3 C.8.20.2 and C.8.20.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code as PydicomCode

from secondread.bundles.manifest import Label
from secondread.results import coding
from secondread.results.context import ResultContext
from secondread.results.gate.elements import (
    Node,
    count_of,
    items_of,
    read_sequence,
    tag_of,
    text_of,
)
from secondread.results.gate.faults import guard
from secondread.results.gate.required import LABEL_MAP
from secondread.results.wording import plain

_ALGORITHM_TYPES = frozenset({"AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"})
_PRIVATE = "99"
_COLOUR_BYTES = 6
_NUMBER, _COLOUR = tag_of("SegmentNumber"), tag_of("RecommendedDisplayCIELabValue")
_MADE_BY, _MADE_BY_NAME = tag_of("SegmentAlgorithmType"), tag_of("SegmentAlgorithmName")
_ALGORITHM = tag_of("SegmentationAlgorithmIdentificationSequence")
_ALGORITHM_NAME, _VERSION = tag_of("AlgorithmName"), tag_of("AlgorithmVersion")
_FAMILY = tag_of("AlgorithmFamilyCodeSequence")
_TYPE = tag_of("SegmentedPropertyTypeCodeSequence")
_CATEGORY = tag_of("SegmentedPropertyCategoryCodeSequence")
_MODIFIERS = tag_of("SegmentedPropertyTypeModifierCodeSequence")
_REGION = tag_of("AnatomicRegionSequence")
_TRACKING_ID, _TRACKING_UID = tag_of("TrackingID"), tag_of("TrackingUID")
_VALUE, _SCHEME = tag_of("CodeValue"), tag_of("CodingSchemeDesignator")


def find_segment_faults(found: Dataset) -> Iterator[str]:
    """Faults of the segments of anybody's segmentation."""
    items = list(found.get("SegmentSequence") or ())
    numbers = [int(item.get("SegmentNumber") or 0) for item in items]
    if found.SOPClassUID == LABEL_MAP:
        if len(set(numbers)) != len(numbers):
            yield "Two segments have the same number."
    elif numbers != list(range(1, len(numbers) + 1)):
        yield f"The segments are not numbered 1 to {len(numbers)} without gaps."
    tracking = [str(item.TrackingUID) for item in items if item.get("TrackingUID")]
    if len(set(tracking)) != len(tracking):
        yield "Two segments share a Tracking UID."
    for item, number in zip(items, numbers, strict=True):
        yield from guard(f"description of segment {number}", _find_faults(item, number))


def _find_faults(item: Dataset, number: int) -> Iterator[str]:
    whose = f"Segment {number}"
    if not item.get("SegmentLabel"):
        yield f"{whose} has no label."
    kind = str(item.get("SegmentAlgorithmType", ""))
    if kind not in _ALGORITHM_TYPES:
        yield f"{whose} does not say whether an algorithm or a person made it."
    elif kind != "MANUAL" and not item.get("SegmentAlgorithmName"):
        yield f"{whose} was made by an algorithm and does not name it."
    if bool(item.get("TrackingID")) != bool(item.get("TrackingUID")):
        yield f"{whose} has only one of Tracking ID and Tracking UID."
    for word, name in (("Category", "category"), ("Type", "type")):
        codes = list(item.get(f"SegmentedProperty{word}CodeSequence") or [])
        if len(codes) != 1:
            yield f"{whose} does not have exactly one {name}."
            continue
        yield from find_code_faults(codes[0], f"{whose}'s {name}")
        if word == "Category" and number and not _is_category(codes[0]):
            yield f"{whose} has a category that is not in DICOM's CID 7150."


def find_code_faults(code: Dataset, what: str) -> Iterator[str]:
    """Faults of a code itself: incomplete, or in a scheme of DICOM and unknown there."""
    value = str(
        code.get("CodeValue") or code.get("LongCodeValue") or code.get("URNCodeValue") or ""
    )
    scheme = str(code.get("CodingSchemeDesignator", ""))
    if not value or not scheme or not code.get("CodeMeaning"):
        yield f"{what} is not a complete code: it needs a value, a scheme and a meaning."
    elif scheme in {"SCT", "DCM"} and not coding.is_known(value, scheme):
        yield f"{what} is {value} ({scheme}), which none of DICOM's context groups lists."
    elif scheme == "SRT":
        yield f"{what} is coded in SNOMED RT (SRT), which was retired; SNOMED CT (SCT) replaced it."


def _is_category(code: Dataset) -> bool:
    scheme, value = str(code.get("CodingSchemeDesignator", "")), str(code.get("CodeValue", ""))
    if scheme == "SRT":
        old = PydicomCode(value, scheme, "")
        return any(old == PydicomCode(one, "SCT", "") for one in coding.categories())
    return value in coding.categories() or scheme.startswith(_PRIVATE)


def find_description_faults(
    found: Dataset, context: ResultContext, segments: Mapping[int, Label]
) -> Iterator[str]:
    """Faults of segments that the node made: they say what the manifest declares."""
    # A label map may describe its background, too; the standard has number 0 for that.
    items = {count_of(item, _NUMBER): item for item in read_sequence(found, "SegmentSequence")}
    items.pop(0, None)
    numbers = list(items)
    if numbers != sorted(segments) or numbers != list(range(1, len(numbers) + 1)):
        yield f"The segments are not numbered 1 to {len(segments)} without gaps."
        return
    if len({text_of(item, _TRACKING_UID) for item in items.values()}) != len(numbers):
        yield "Two segments share a Tracking UID."
    for number, item in items.items():
        yield from _find_own_faults(item, context, segments[number])


def _find_own_faults(item: Node, context: ResultContext, label: Label) -> Iterator[str]:
    manifest, whose = context.manifest, f"Segment '{label.name}'"
    if text_of(item, _MADE_BY) != "AUTOMATIC" or not text_of(item, _MADE_BY_NAME):
        yield f"{whose} does not say that an algorithm made it."
    algorithm = _first(item, _ALGORITHM)
    if (
        text_of(algorithm, _VERSION) != plain(manifest.version, 64)
        or not items_of(algorithm, _FAMILY)
        or not text_of(algorithm, _ALGORITHM_NAME)
    ):
        yield f"{whose} lacks its algorithm's name or family, or names another version."
    kind, category = _first(item, _TYPE), text_of(_first(item, _CATEGORY), _VALUE)
    value, scheme = text_of(kind, _VALUE), text_of(kind, _SCHEME)
    if (value, category) != (label.type.value, label.category.value):
        yield f"{whose} has other codes than the model's manifest."
    if category not in coding.categories():
        yield f"{whose} has a category that is not in DICOM's CID 7150."
    if not coding.is_known(value, scheme):
        yield (
            f"{whose} has the type {value} ({scheme}), which none of DICOM's context groups lists."
        )
    yield from _find_place_faults(item, kind, label)
    if (text_of(item, _TRACKING_ID), text_of(item, _TRACKING_UID)) != (
        context.tracking_id(label),
        context.tracking_uid(label),
    ):
        yield f"{whose} has a wrong or no tracking identifier."
    if len(item.get(_COLOUR, b"")) != _COLOUR_BYTES:
        yield f"{whose} has no colour."


def _find_place_faults(item: Node, kind: Node, label: Label) -> Iterator[str]:
    whose = f"Segment '{label.name}'"
    modifiers = [text_of(code, _VALUE) for code in items_of(kind, _MODIFIERS)]
    sides = {code.value for code in coding.LATERALITY.values()}
    wanted = [coding.LATERALITY[label.laterality].value] if label.laterality else []
    if [value for value in modifiers if value in sides] != wanted:
        yield f"{whose} is on the wrong side or does not say on which."
    declared = {code.value for code in label.type_modifiers}
    if {value for value in modifiers if value not in sides} != declared - sides:
        yield f"{whose} has other type modifiers than the model's manifest."
    region = [text_of(code, _VALUE) for code in items_of(item, _REGION)]
    if label.region is not None and region != [label.region.value]:
        yield f"{whose} does not lie in the anatomic region of the model's manifest."


def _first(node: Node, tag: int) -> Node:
    items = items_of(node, tag)
    return items[0] if len(items) == 1 else {}
