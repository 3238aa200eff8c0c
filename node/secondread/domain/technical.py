"""The technical attributes that a model may ask for; whatever is not here never goes to a model."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

AttributeValue = bool | int | float | str | tuple[str, ...]
"""What a model gets of one attribute: a number, yes or no, a term of a list, or several."""

InputForm = Literal["array", "dicom"]
"""How a model wants its images: as an array, or as DICOM files besides."""

_BY_THEIR_OWN_NAME = (
    "PatientAge PatientSex PatientPosition Modality BodyPartExamined Laterality Manufacturer "
    "KVP ConvolutionKernel SliceThickness "
    "MagneticFieldStrength MRAcquisitionType ScanningSequence SequenceVariant ScanOptions "
    "AcquisitionContrast EchoTime RepetitionTime InversionTime FlipAngle EchoTrainLength "
    "DiffusionBValue"
)

SOURCES: Mapping[str, str] = MappingProxyType(
    {
        **{name: name for name in _BY_THEIR_OWN_NAME.split()},
        "ContrastGiven": "ContrastBolusAgent",
    }
)
"""Name in a manifest → the attribute of ``domain.attributes`` that it is worked out from. What a
value may be is in ``deid.attributes``, and a test compares the two."""
