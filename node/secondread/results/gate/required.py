"""Which attributes an object must have: type 1 with a value, type 2 present (PS3.5 7.4).

The table has, for each SOP class that the node writes, the attributes at the top of the data set
that its information object definition always asks for (PS3.3 A.8, A.24, A.33, A.35, A.45, A.51,
A.75, A.90). What depends on a condition is with the check that knows the condition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
GRAYSCALE_STATE = "1.2.840.10008.5.1.4.1.1.11.1"
COLOUR_STATE = "1.2.840.10008.5.1.4.1.1.11.2"
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
COLOUR_CAPTURES = "1.2.840.10008.5.1.4.1.1.7.4"
PDF = "1.2.840.10008.5.1.4.1.1.104.1"
PARAMETRIC_MAP = "1.2.840.10008.5.1.4.1.1.30"
STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"

REPORTS = frozenset({BASIC_TEXT_SR, ENHANCED_SR, COMPREHENSIVE_SR, COMPREHENSIVE_3D_SR})
SEGMENTATIONS = frozenset({SEGMENTATION, LABEL_MAP})

_COMMON_1 = "SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID Modality"
_COMMON_2 = (
    "PatientName PatientID PatientBirthDate PatientSex "
    "StudyDate StudyTime AccessionNumber ReferringPhysicianName StudyID"
)
_ENHANCED_EQUIPMENT = "Manufacturer ManufacturerModelName DeviceSerialNumber SoftwareVersions"
_PIXELS = "SamplesPerPixel PhotometricInterpretation Rows Columns BitsAllocated"
_INTEGER_PIXELS = f"{_PIXELS} BitsStored HighBit PixelRepresentation"
_FRAMES = (
    "InstanceNumber ContentDate ContentTime NumberOfFrames SharedFunctionalGroupsSequence "
    "DimensionOrganizationSequence"
)
_SEGMENTATION_1 = (
    f"SeriesNumber ImageType ContentLabel SegmentationType SegmentSequence LossyImageCompression "
    f"{_ENHANCED_EQUIPMENT} {_INTEGER_PIXELS} {_FRAMES}"
)
_CONTENT_2 = "ContentDescription ContentCreatorName"
_CONTENT_TREE = "ValueType ConceptNameCodeSequence ContentSequence"
_REPORT_1 = (
    f"SeriesNumber InstanceNumber ContentDate ContentTime CompletionFlag VerificationFlag "
    f"{_CONTENT_TREE}"
)
_REPORT_2 = "Manufacturer ReferencedPerformedProcedureStepSequence PerformedProcedureCodeSequence"
_KEY_OBJECTS_1 = (
    f"SeriesNumber InstanceNumber ContentDate ContentTime {_CONTENT_TREE} "
    "CurrentRequestedProcedureEvidenceSequence ContentTemplateSequence"
)
_STATE_1 = (
    "InstanceNumber ContentLabel PresentationCreationDate PresentationCreationTime "
    "DisplayedAreaSelectionSequence"
)
_STATE_2 = f"SeriesNumber Manufacturer {_CONTENT_2}"
_PDF_1 = (
    "SeriesNumber InstanceNumber ConversionType BurnedInAnnotation MIMETypeOfEncapsulatedDocument "
    "EncapsulatedDocument"
)
_PDF_2 = (
    "Manufacturer ContentDate ContentTime AcquisitionDateTime DocumentTitle ConceptNameCodeSequence"
)
_MAP_1 = (
    f"SeriesNumber FrameOfReferenceUID ImageType ContentLabel BurnedInAnnotation "
    f"RecognizableVisualFeatures LossyImageCompression PresentationLUTShape "
    f"{_ENHANCED_EQUIPMENT} {_PIXELS} {_FRAMES}"
)
_STRUCTURES_1 = (
    "StructureSetLabel StructureSetROISequence ROIContourSequence RTROIObservationsSequence"
)
_STRUCTURES_2 = "SeriesNumber OperatorsName Manufacturer StructureSetDate StructureSetTime"


@dataclass(frozen=True, slots=True)
class Module:
    """What a kind of object is called, its Modality, and what it must have."""

    name: str
    modality: str
    type_1: tuple[str, ...]
    type_2: tuple[str, ...]


def _module(name: str, modality: str, type_1: str, type_2: str = "") -> Module:
    return Module(
        name,
        modality,
        tuple(f"{_COMMON_1} {type_1}".split()),
        tuple(f"{_COMMON_2} {type_2}".split()),
    )


_REPORT = _module("report", "SR", _REPORT_1, _REPORT_2)
_CAPTURE_PIXELS = f"ConversionType {_INTEGER_PIXELS}"
MODULES = {
    SEGMENTATION: _module("segmentation", "SEG", _SEGMENTATION_1, _CONTENT_2),
    LABEL_MAP: _module("segmentation", "SEG", _SEGMENTATION_1, _CONTENT_2),
    BASIC_TEXT_SR: _REPORT,
    ENHANCED_SR: _REPORT,
    COMPREHENSIVE_SR: _REPORT,
    COMPREHENSIVE_3D_SR: _module("report", "SR", f"{_REPORT_1} {_ENHANCED_EQUIPMENT}", _REPORT_2),
    KEY_OBJECTS: _module(
        "key object selection",
        "KO",
        _KEY_OBJECTS_1,
        "Manufacturer ReferencedPerformedProcedureStepSequence",
    ),
    GRAYSCALE_STATE: _module(
        "presentation state", "PR", f"{_STATE_1} ReferencedSeriesSequence", _STATE_2
    ),
    COLOUR_STATE: _module("presentation state", "PR", f"{_STATE_1} ICCProfile", _STATE_2),
    CAPTURE: _module("secondary capture", "", _CAPTURE_PIXELS, "SeriesNumber InstanceNumber"),
    COLOUR_CAPTURES: _module(
        "secondary capture",
        "",
        f"{_CAPTURE_PIXELS} BurnedInAnnotation NumberOfFrames",
        "SeriesNumber InstanceNumber",
    ),
    PDF: _module("PDF", "", _PDF_1, _PDF_2),
    PARAMETRIC_MAP: _module(
        "parametric map", "", _MAP_1, f"{_CONTENT_2} AcquisitionContextSequence"
    ),
    STRUCTURE_SET: _module("structure set", "RTSTRUCT", _STRUCTURES_1, _STRUCTURES_2),
}
"""By SOP Class UID. An empty Modality may be any."""

SIGNED = (
    *_ENHANCED_EQUIPMENT.split(),
    *"SeriesNumber SeriesDescription SeriesDate SeriesTime InstanceCreationDate".split(),
    *"InstanceCreationTime InstanceCreatorUID DeviceUID ContributingEquipmentSequence".split(),
)
"""What the node asks of its own objects besides, whatever their kind."""


def find_missing(header: Dataset, module: Module) -> Iterator[str]:
    """Faults of attributes that are absent, or empty where they may not be."""
    # The raw element: to ask the parsed one would parse thousands of functional groups.
    absent = [word for word in module.type_1 if is_empty(header, word)]
    if absent:
        yield f"The {module.name} lacks {', '.join(absent)}."
    absent = [word for word in module.type_2 if word not in header]
    if absent:
        yield (
            f"The {module.name} lacks {', '.join(absent)}, which may be empty but must be there."
        )
    modality = str(header.get("Modality", ""))
    if module.modality and modality and modality != module.modality:
        yield f"The {module.name} has another Modality than {module.modality}."


def is_empty(header: Dataset, keyword: str) -> bool:
    """Whether an attribute is absent or has no value."""
    if keyword not in header:
        return True
    value = header.get_item(keyword).value
    return value is None or (hasattr(value, "__len__") and len(value) == 0)
