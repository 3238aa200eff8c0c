"""What each segment of a segmentation shows, in codes (PS3.3 C.8.20.4)."""

from __future__ import annotations

from highdicom.color import CIELabColor
from highdicom.seg import SegmentDescription
from highdicom.sr.coding import CodedConcept

from secondread.bundles.manifest import Label
from secondread.results import coding
from secondread.results.context import ResultContext
from secondread.results.equipment import name_algorithm
from secondread.results.wording import plain

_LONG_STRING = 64


def describe_segment(context: ResultContext, number: int, label: Label) -> SegmentDescription:
    """Describe one segment: what it is, on which side, where, who drew it and in which colour.

    The side is the first modifier of its type (PS3.16 CID 244), those of the manifest follow. The
    anatomic region is written where the manifest names one, as for a lesion.
    """
    description = SegmentDescription(
        segment_number=number,
        segment_label=plain(label.meaning, _LONG_STRING),
        segmented_property_category=coding.concept(label.category),
        segmented_property_type=coding.concept(label.type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=name_algorithm(context),
        tracking_uid=context.tracking_uid(label),
        tracking_id=context.tracking_id(label),
        display_color=CIELabColor.from_rgb(*label.color_rgb),
        anatomic_regions=[coding.concept(label.region)] if label.region else None,
    )
    modifiers = [coding.concept(code) for code in label.type_modifiers]
    if label.laterality:
        modifiers.insert(0, CodedConcept.from_code(coding.LATERALITY[label.laterality]))
    if modifiers:
        kind = description.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = modifiers
    if label.region and label.region_modifiers:
        region = description.AnatomicRegionSequence[0]
        region.AnatomicRegionModifierSequence = [
            coding.concept(code) for code in label.region_modifiers
        ]
    return description
