"""The image library of a report: which images it speaks of (PS3.16 TID 1600)."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    ImageContentItem,
    NumContentItem,
    RelationshipTypeValues,
    UIDRefContentItem,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import Collection, codes
from pydicom.sr.coding import Code

from secondread.results import coding

_CONTAINS = RelationshipTypeValues.CONTAINS
_DESCRIBES = RelationshipTypeValues.HAS_ACQ_CONTEXT
_MODALITY = codes.DCM.Modality
# TID 1601 names its images nothing; highdicom names them so, and reads none without a name.
_SOURCE = Code("260753009", "SCT", "Source")
_LENGTHS = (
    ("Rows", codes.DCM.PixelDataRows, coding.PIXELS),
    ("Columns", codes.DCM.PixelDataColumns, coding.PIXELS),
)


def list_images(sources: Sequence[Dataset]) -> ContainerContentItem:
    """One group for each series of images, with what its images share said once.

    highdicom's own library repeats every descriptor under every image: ten content items a slice,
    two seconds a head.
    """
    library = ContainerContentItem(codes.DCM.ImageLibrary, relationship_type=_CONTAINS)
    library.ContentSequence = ContentSequence()
    series: dict[str, list[Dataset]] = {}
    for header in sources:
        if "Rows" in header:
            series.setdefault(str(header.SeriesInstanceUID), []).append(header)
    for headers in series.values():
        library.ContentSequence.append(_list_group(headers))
    return library


def _list_group(headers: Sequence[Dataset]) -> ContainerContentItem:
    group = ContainerContentItem(codes.DCM.ImageLibraryGroup, relationship_type=_CONTAINS)
    group.ContentSequence = ContentSequence(_describe(headers))
    for header in headers:
        group.ContentSequence.append(
            ImageContentItem(
                name=_SOURCE,
                referenced_sop_class_uid=header.SOPClassUID,
                referenced_sop_instance_uid=header.SOPInstanceUID,
                relationship_type=_CONTAINS,
            )
        )
    return group


def _describe(headers: Sequence[Dataset]) -> list[ContentItem]:
    """Descriptors that hold for every image of the group (PS3.16 TID 1602 and 1604)."""
    items: list[ContentItem] = []
    first = headers[0]
    modality = _modality(str(first.get("Modality", "")))
    if modality is not None:
        items.append(CodeContentItem(_MODALITY, modality, _DESCRIBES))
    if frame_of_reference := _shared(headers, "FrameOfReferenceUID"):
        items.append(
            UIDRefContentItem(codes.DCM.FrameOfReferenceUID, frame_of_reference, _DESCRIBES)
        )
    for keyword, name, unit in _LENGTHS:
        value = _shared(headers, keyword)
        if value.isdigit():
            items.append(NumContentItem(name, int(value), unit, relationship_type=_DESCRIBES))
    return items


def _shared(headers: Sequence[Dataset], keyword: str) -> str:
    values = {str(header.get(keyword, "")) for header in headers}
    return values.pop() if len(values) == 1 else ""


def _modality(name: str) -> Code | None:
    """The code of a modality (PS3.16 CID 29)."""
    for code in Collection("CID29").concepts.values():
        if code.value == name:
            return code
    return None
