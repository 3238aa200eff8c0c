"""What an encapsulated document is replaced by: one of the same kind that says so."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

_MIME_TYPE = 0x00420012
_NOTICE = b"This document was removed by de-identification."


def document_for(root: Mapping[int, bytes]) -> bytes:
    """A document of the object's MIME type; a PDF of one page unless that is another one."""
    mime_type = root.get(_MIME_TYPE, b"").strip(b" \0").decode("latin-1")
    if mime_type == "text/XML":
        return b'<?xml version="1.0" encoding="UTF-8"?>\n<removed>' + _NOTICE + b"</removed>\n"
    return _pdf()


@lru_cache(1)
def _pdf() -> bytes:
    drawing = b"BT /F1 14 Tf 72 720 Td (" + _NOTICE + b") Tj ET"
    bodies = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawing), drawing),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    document = b"%PDF-1.4\n"
    places = []
    for number, body in enumerate(bodies, start=1):
        places.append(len(document))
        document += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return document + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n"
        b"%%%%EOF\n" % (len(bodies) + 1, table, len(bodies) + 1, len(document))
    )
