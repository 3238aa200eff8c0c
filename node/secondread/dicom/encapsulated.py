"""Where the frames of encapsulated pixels lie in a file (PS3.5 A.4).

Found by walking over the items, whatever an offset table says, because tables are often wrong. A
table is asked only where several frames have several fragments each, and its word is checked.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import BinaryIO

from secondread.dicom.stored_values import truncated, undecodable

_ITEM, _END = 0xFFFEE000, 0xFFFEE0DD
_HEADER_BYTES = 8
_FRAGMENTS_MAX = 1 << 20
_END_OF_IMAGE = b"\xff\xd9"
# Fragments are padded to an even length (PS3.5 A.4), some writers pad to more.
_TAIL_BYTES = 10

Span = tuple[int, int]
"""Offset in the file, and bytes."""


def locate_frames(file: BinaryIO, frames: int) -> list[tuple[Span, ...]]:
    """The fragments of each frame.

    Args:
        file: stands behind the header of the Pixel Data element.
        frames: how many there are to be; more than these may follow and are left out.

    Raises:
        PixelDataError: the outcome is ``truncated-pixels`` or ``undecodable-pixels``.
    """
    table, fragments = _walk(file)
    if frames == 1:
        # Whatever has come belongs to the only frame; without any there is none.
        grouped = [tuple(fragments)] if fragments else []
    elif len(fragments) == frames:
        grouped = [(span,) for span in fragments]
    elif len(fragments) < frames:
        grouped = []
    else:
        grouped = _by_table(table, fragments, frames) or _by_end_of_image(file, fragments)
    if len(grouped) < frames:
        raise truncated()
    return grouped[:frames]


def read_frame(file: BinaryIO, spans: Sequence[Span]) -> bytes:
    """The codestream of one frame.

    Raises:
        PixelDataError: the file ends before it does.
    """
    parts = []
    for offset, length in spans:
        file.seek(offset)
        part = file.read(length)
        if len(part) < length:
            raise truncated()
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _walk(file: BinaryIO) -> tuple[bytes, list[Span]]:
    """The Basic Offset Table and the fragments."""
    table, fragments = b"", list[Span]()
    first = True
    while len(header := file.read(_HEADER_BYTES)) == _HEADER_BYTES:
        group, element, length = struct.unpack("<HHL", header)
        tag = group << 16 | element
        if tag == _END:
            return table, fragments
        if tag != _ITEM or len(fragments) > _FRAGMENTS_MAX:
            raise undecodable("The compressed pixels of an image do not lie in items.")
        if first:
            table = file.read(length)
            first = False
        else:
            at = file.tell()
            fragments.append((at, length))
            file.seek(at + length)
    # Without its end the last frame may be a piece of one.
    raise truncated()


def _by_table(table: bytes, fragments: list[Span], frames: int) -> list[tuple[Span, ...]]:
    """Frames as the table has them; none where it does not fit the fragments."""
    if len(table) != 4 * frames or not fragments:
        return []
    offsets = struct.unpack(f"<{frames}L", table)
    base = fragments[0][0] - _HEADER_BYTES
    places = {at - _HEADER_BYTES - base: number for number, (at, _) in enumerate(fragments)}
    starts = [places.get(offset, -1) for offset in offsets]
    if starts[0] != 0 or any(b <= a for a, b in pairwise(starts)):
        return []
    return [tuple(fragments[a:b]) for a, b in pairwise([*starts, len(fragments)])]


def _by_end_of_image(file: BinaryIO, fragments: list[Span]) -> list[tuple[Span, ...]]:
    """Frames that end where a codestream of the JPEG family ends."""
    grouped, open_spans = [], list[Span]()
    for offset, length in fragments:
        open_spans.append((offset, length))
        tail = min(length, _TAIL_BYTES)
        file.seek(offset + length - tail)
        if _END_OF_IMAGE in file.read(tail):
            grouped.append(tuple(open_spans))
            open_spans = []
    return grouped
