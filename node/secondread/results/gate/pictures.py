"""What is shown as it is: secondary captures (PS3.3 A.8) and encapsulated PDFs (A.45.1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydicom.dataset import Dataset

from secondread.results.context import ResultContext
from secondread.results.gate.evidence import find_existence_faults, list_objects
from secondread.results.gate.opened import Opened, read_colours
from secondread.results.made import Made

_START, _END = b"%PDF-", b"%%EOF"
_END_WITHIN = 1024


def find_capture_faults(opened: Opened, context: ResultContext) -> Iterator[str]:
    """Faults of a picture that the node made, but for those of its origin."""
    header = opened.header
    yield from find_picture_faults(opened)
    if str(header.get("BurnedInAnnotation", "")) != "YES":
        yield "The secondary capture does not say that text is burned into it."
    kinds = list(header.get("ImageType") or ())
    if kinds[:2] != ["DERIVED", "SECONDARY"]:
        yield "The secondary capture does not say that it is derived."
    sources = [
        *(header.get("SourceImageSequence") or ()),
        *(
            image
            for item in header.get("SharedFunctionalGroupsSequence") or ()
            for derivation in item.get("DerivationImageSequence") or ()
            for image in derivation.get("SourceImageSequence") or ()
        ),
    ]
    yield from find_existence_faults(
        _name(sources), list_objects(context.sources), "secondary capture"
    )


def _name(items: Iterable[Dataset]) -> dict[str, str]:
    return {str(one.ReferencedSOPInstanceUID): str(one.ReferencedSOPClassUID) for one in items}


def find_picture_faults(opened: Opened) -> Iterator[str]:
    """Faults of anybody's secondary capture, as far as it can be judged by itself."""
    header, pixels = opened.header, opened.pixels
    if pixels is None:
        yield "The secondary capture lacks PixelData."
        return
    frames = int(header.get("NumberOfFrames") or 1)
    size = int(header.Rows) * int(header.Columns) * int(header.SamplesPerPixel)
    needed = size * frames * int(header.BitsAllocated) // 8
    if not pixels.is_encapsulated:
        if pixels.length != needed + needed % 2:
            yield "The secondary capture's pixel data has not the length of its frames."
        return
    shape = (int(header.Rows), int(header.Columns))
    seen = 0
    for plane in read_colours(opened, pixels):
        seen += 1
        if plane.shape[:2] != shape or plane.size != size:
            yield "The secondary capture does not decode to the size that it says."
            return
    if seen != frames:
        yield "The secondary capture has not the number of frames that it says."


def find_pdf_faults(opened: Opened, context: ResultContext, made: Made) -> Iterator[str]:
    """Faults of a PDF that the node made, but for those of its origin."""
    header = opened.header
    yield from find_document_faults(header)
    if str(header.get("BurnedInAnnotation", "")) != "YES":
        yield "The PDF does not say that it shows who the patient is."
    if not header.get("DocumentTitle"):
        yield "The PDF has no title."
    others = [one.header for one in made.documents]
    yield from find_existence_faults(
        _name(header.get("SourceInstanceSequence") or ()),
        list_objects([*context.sources, *others]),
        "PDF",
    )


def find_document_faults(header: Dataset) -> Iterator[str]:
    """Faults of anybody's encapsulated PDF, as far as it can be judged by itself."""
    if str(header.get("MIMETypeOfEncapsulatedDocument", "")) != "application/pdf":
        yield "The PDF has another MIME type than application/pdf."
    content = header.get("EncapsulatedDocument")
    if not isinstance(content, bytes) or not content.startswith(_START):
        yield "The document is no PDF: it does not begin with %PDF."
        return
    length = int(header.get("EncapsulatedDocumentLength") or len(content))
    if length not in {len(content), len(content) - 1}:
        yield "The PDF is not as long as it says."
    if _END not in content[-_END_WITHIN:]:
        yield "The PDF is cut short: its end is not there."
