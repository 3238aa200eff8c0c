"""The attributes that conditions may ask for, by DICOM keyword, and how each is compared."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Kind(StrEnum):
    """How the values of an attribute are compared."""

    TEXT = "text"
    """Strings; CS values are in capital letters."""
    NUMBER = "number"
    """Numbers: IS, DS, US, FD and ages, which are in years."""
    CODE = "code"
    """Coded concepts, written ``scheme:value``, such as ``SCT:69536005``."""
    UID = "uid"
    """Unique identifiers."""


_TEXT = (
    # the study
    "StudyDescription RequestedProcedureDescription PerformedProcedureStepDescription "
    "InstitutionName InstitutionalDepartmentName StationName Manufacturer ManufacturerModelName "
    "SoftwareVersions PatientSex "
    # the series
    "Modality SeriesDescription ProtocolName BodyPartExamined Laterality PatientPosition "
    "SequenceName PulseSequenceName ScanningSequence SequenceVariant ScanOptions "
    "MRAcquisitionType ContrastBolusAgent ContrastBolusRoute ConvolutionKernel FilterType "
    "AcquisitionContrast ViewPosition "
    # its images
    "ImageType BurnedInAnnotation RecognizableVisualFeatures LossyImageCompression "
    "PhotometricInterpretation DerivationDescription PatientIdentityRemoved Units "
    # worked out by the node
    "Plane Geometry"
)
_NUMBER = (
    "PatientAge SeriesNumber AcquisitionNumber EchoNumbers EchoTime RepetitionTime InversionTime "
    "FlipAngle MagneticFieldStrength EchoTrainLength DiffusionBValue KVP ExposureTime "
    "XRayTubeCurrent SliceThickness SpacingBetweenSlices GantryDetectorTilt "
    "TemporalPositionIdentifier NumberOfTemporalPositions TriggerTime Rows Columns BitsStored "
    "SamplesPerPixel "
    # worked out by the node
    "Objects Slices SliceSpacing SliceCoverage RowSpacing ColumnSpacing TiltAngle"
)
_CODE = "ProcedureCodeSequence RequestedProcedureCodeSequence AnatomicRegionSequence"
_UID = "SOPClassUID TransferSyntaxUID"

ATTRIBUTES: Mapping[str, Kind] = MappingProxyType(
    {
        **dict.fromkeys(_TEXT.split(), Kind.TEXT),
        **dict.fromkeys(_NUMBER.split(), Kind.NUMBER),
        **dict.fromkeys(_CODE.split(), Kind.CODE),
        **dict.fromkeys(_UID.split(), Kind.UID),
    }
)
"""Keyword → kind. None of them says by itself who the patient is; names, numbers and dates of the
patient are left out on purpose, so that no rule depends on them."""

WORKED_OUT: Mapping[str, str] = MappingProxyType(
    {
        "Plane": "'axial', 'sagittal', 'coronal' or 'oblique': how its slices lie (the nearest "
        "axis of the patient, within 20 degrees)",
        "Geometry": "'sound', or the name of what is wrong with the geometry",
        "Objects": "how many objects it has",
        "Slices": "how many slices its volume has",
        "SliceSpacing": "mm between neighbouring slices, along their normal",
        "SliceCoverage": "share of that distance that is imaged: Slice Thickness over it, 1 at "
        "most; 0.5 where every second slice is missing",
        "RowSpacing": "mm between neighbouring rows",
        "ColumnSpacing": "mm between neighbouring columns",
        "TiltAngle": "degrees by which its slices lean against their stack",
    }
)
"""Attributes that are no DICOM keywords; the node finds them in the geometry."""
