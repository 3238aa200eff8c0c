"""The image library of a report: which images it speaks of (PS3.16 TID 1600)."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.sr.codedict import Collection

from secondread.domain.code import Code
from secondread.results.report import concepts
from secondread.results.report.content import (
    CONTAINS,
    HAS_ACQ_CONTEXT,
    ContentWriter,
    Item,
    Reference,
)

_LENGTHS = (("Rows", concepts.ROWS), ("Columns", concepts.COLUMNS))


def list_images(writer: ContentWriter, sources: Sequence[Dataset]) -> list[Item]:
    """One group for each series of images, with what its images share said once.

    Returns:
        The library, or nothing where no source is an image.
    """
    series: dict[str, list[Dataset]] = {}
    for header in sources:
        if "Rows" in header:
            series.setdefault(str(header.SeriesInstanceUID), []).append(header)
    groups = [_list_group(writer, headers) for headers in series.values()]
    return [writer.container(concepts.IMAGE_LIBRARY, groups)] if groups else []


def _list_group(writer: ContentWriter, headers: Sequence[Dataset]) -> Item:
    # TID 1601 names its images nothing; highdicom, which reads reports, reads none without a name.
    images = [
        writer.image(
            CONTAINS,
            concepts.SOURCE,
            Reference(str(header.SOPClassUID), str(header.SOPInstanceUID)),
        )
        for header in headers
    ]
    return writer.container(concepts.IMAGE_LIBRARY_GROUP, [*_describe(writer, headers), *images])


def _describe(writer: ContentWriter, headers: Sequence[Dataset]) -> list[Item]:
    """Descriptors that hold for every image of the group (PS3.16 TID 1602 and 1604)."""
    items: list[Item] = []
    modality = _modality(str(headers[0].get("Modality", "")))
    if modality is not None:
        items.append(writer.code(HAS_ACQ_CONTEXT, concepts.MODALITY, modality))
    if frame_of_reference := _shared(headers, "FrameOfReferenceUID"):
        items.append(writer.uid(HAS_ACQ_CONTEXT, concepts.FRAME_OF_REFERENCE, frame_of_reference))
    for keyword, name in _LENGTHS:
        value = _shared(headers, keyword)
        if value.isdigit():
            items.append(writer.number(HAS_ACQ_CONTEXT, name, int(value), concepts.PIXELS))
    return items


def _shared(headers: Sequence[Dataset], keyword: str) -> str:
    values = {str(header.get(keyword, "")) for header in headers}
    return values.pop() if len(values) == 1 else ""


def _modality(name: str) -> Code | None:
    """The code of a modality (PS3.16 CID 29)."""
    for code in Collection("CID29").concepts.values():
        if code.value == name:
            return Code(code.value, code.scheme_designator, code.meaning)
    return None
