"""What a segmentation says about its segments (PS3.3 C.8.20.4)."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from secondread.domain.code import Code
from secondread.errors import ResultError

_BACKGROUND = ("125040", "DCM")
_SIDES = {"7771000": "left", "24028007": "right"}


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment; what the object does not say is empty or None.

    Attributes:
        number: Segment Number, in a label map the value of its voxels.
        label: Segment Label, free text.
        algorithm_type: ``AUTOMATIC``, ``SEMIAUTOMATIC`` or ``MANUAL``.
        color_cielab: Recommended Display CIELab Value, three numbers of 0 to 65535.
    """

    number: int
    label: str
    category: Code | None
    type: Code | None
    type_modifiers: tuple[Code, ...]
    region: Code | None
    region_modifiers: tuple[Code, ...]
    tracking_id: str
    tracking_uid: str
    algorithm_type: str
    algorithm_name: str
    algorithm_version: str
    color_cielab: tuple[int, ...]

    @property
    def laterality(self) -> str:
        """``left``, ``right`` or empty (PS3.16 CID 244)."""
        for modifier in (*self.type_modifiers, *self.region_modifiers):
            if modifier.value in _SIDES:
                return _SIDES[modifier.value]
        return ""

    @property
    def is_background(self) -> bool:
        """Whether it is the voxels without a structure, which label maps may describe too."""
        return self.type is not None and (self.type.value, self.type.scheme) == _BACKGROUND


def read_segments(found: Dataset) -> tuple[Segment, ...]:
    """Read the Segment Sequence, the background left out.

    Raises:
        ResultError: there is none, or two segments have one number.
    """
    segments = [_read(item) for item in found.get("SegmentSequence") or ()]
    if not segments:
        raise ResultError("The segmentation describes no segments.")
    if len({one.number for one in segments}) < len(segments):
        raise ResultError("Two segments of the segmentation have one number.")
    return tuple(one for one in segments if not one.is_background)


def read_code(item: Dataset, keyword: str) -> Code | None:
    """The first code of a sequence, short, long or as a URN (PS3.3 8.8)."""
    codes = _codes(item, keyword)
    return codes[0] if codes else None


def _codes(item: Dataset, keyword: str) -> tuple[Code, ...]:
    return tuple(
        Code(
            str(code.get("CodeValue") or code.get("LongCodeValue") or code.get("URNCodeValue", "")),
            str(code.get("CodingSchemeDesignator", "")),
            str(code.get("CodeMeaning", "")),
        )
        for code in item.get(keyword) or ()
    )


def _read(item: Dataset) -> Segment:
    kind = (item.get("SegmentedPropertyTypeCodeSequence") or [Dataset()])[0]
    region = (item.get("AnatomicRegionSequence") or [Dataset()])[0]
    algorithm = (item.get("SegmentationAlgorithmIdentificationSequence") or [Dataset()])[0]
    return Segment(
        number=int(item.SegmentNumber),
        label=str(item.get("SegmentLabel", "")),
        category=read_code(item, "SegmentedPropertyCategoryCodeSequence"),
        type=read_code(item, "SegmentedPropertyTypeCodeSequence"),
        type_modifiers=_codes(kind, "SegmentedPropertyTypeModifierCodeSequence"),
        region=read_code(item, "AnatomicRegionSequence"),
        region_modifiers=_codes(region, "AnatomicRegionModifierSequence"),
        tracking_id=str(item.get("TrackingID", "")),
        tracking_uid=str(item.get("TrackingUID", "")),
        algorithm_type=str(item.get("SegmentAlgorithmType", "")),
        algorithm_name=str(
            item.get("SegmentAlgorithmName") or algorithm.get("AlgorithmName") or ""
        ),
        algorithm_version=str(algorithm.get("AlgorithmVersion", "")),
        color_cielab=tuple(int(v) for v in item.get("RecommendedDisplayCIELabValue") or ()),
    )
