"""The coded concepts that several kinds of results share, and which codes DICOM knows.

Those of the reports alone are in ``concepts``.
"""

from __future__ import annotations

from functools import cache

from highdicom.sr.coding import CodedConcept
from pydicom.sr.codedict import Collection, codes
from pydicom.sr.coding import Code as PydicomCode

from secondread.domain.code import Code

LEFT = PydicomCode("7771000", "SCT", "Left")
RIGHT = PydicomCode("24028007", "SCT", "Right")
LATERALITY = {"left": LEFT, "right": RIGHT}
"""PS3.16 CID 244."""

MODALITY_PROCEDURE = {
    "MR": codes.cid100.MRIUnspecifiedBodyRegion,
    "CT": codes.cid100.CTUnspecifiedBodyRegion,
    "PT": codes.cid100.PETUnspecifiedBodyRegion,
    "NM": codes.cid100.NMUnspecifiedBodyRegion,
}
"""The imaging procedure where the study does not name its own (PS3.16 CID 100)."""
IMAGING_PROCEDURE = codes.cid100.ImagingProcedure

SOURCE_PURPOSE = ("121322", "DCM")
"""Source image for image processing operation (PS3.16 CID 7202)."""
SEGMENTATION_DERIVATION = ("113076", "DCM")
"""Segmentation (PS3.16 CID 7203)."""

ARTIFICIAL_INTELLIGENCE = PydicomCode("123110", "DCM", "Artificial Intelligence")
ACQUISITION_EQUIPMENT = PydicomCode("109101", "DCM", "Acquisition Equipment")
PROCESSING_ALGORITHM = PydicomCode("1630001", "99IHE", "Processing Algorithm")
"""Purpose of reference of an algorithm in Contributing Equipment (IHE AI Results)."""

ANATOMY = frozenset({"123037004", "91723000", "85756007", "113343008"})
"""Categories of segments that are a place in the body, and so are their own finding site."""


def concept(code: Code) -> CodedConcept:
    """A code of a manifest in the form that highdicom takes."""
    return CodedConcept(code.value, code.scheme, code.meaning)


@cache
def _values(scheme: str) -> frozenset[str]:
    try:
        return frozenset(code.value for code in Collection(scheme).concepts.values())
    except (KeyError, AttributeError):
        return frozenset()


def is_known(value: str, scheme: str) -> bool:
    """Whether DICOM's own context groups use this code (PS3.16 annexes B and D)."""
    return value in _values(scheme)


@cache
def categories() -> frozenset[str]:
    """SNOMED CT codes of segmentation property categories (PS3.16 CID 7150)."""
    group = codes.cid7150
    return frozenset(getattr(group, name).value for name in group.dir()) | ANATOMY


@cache
def parts() -> frozenset[str]:
    """SNOMED CT codes that say which part of a place is meant (PS3.16 CID 2), without sides."""
    group = codes.cid2
    sides = {code.value for code in LATERALITY.values()}
    return frozenset(getattr(group, name).value for name in group.dir()) - sides
