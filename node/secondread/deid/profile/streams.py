"""Compressed frames: comments and application data inside a codestream are overwritten with zeros.

JPEG, JPEG-LS and JPEG 2000 let a writer put text between the pixels. Nothing changes its length, so
offsets stay right and the pixels are the same to the bit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from secondread.errors import ExportRefusedError, PixelDataError

_JPEG = frozenset(
    {
        JPEGBaseline8Bit,
        JPEGExtended12Bit,
        JPEGLossless,
        JPEGLosslessSV1,
        JPEGLSLossless,
        JPEGLSNearLossless,
    }
)
# The retired processes of PS3.5 annex A.4.1 up to 4.66 are of the same family.
_JPEG_RETIRED = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.(5[2-9]|6[0-6])")
_JPEG2000 = frozenset({JPEG2000, JPEG2000Lossless, HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL})
_STREAM_STARTS = (b"\xff\xd8", b"\xff\x4f")
_COMMENT, _APPLICATION = 0xFE, range(0xE0, 0xF0)
_SCAN, _END, _START = 0xDA, 0xD9, 0xD8
_J2K_TILE_PART, _J2K_DATA, _J2K_COMMENT, _J2K_END = 0x90, 0x93, 0x64, 0xD9
# Segments that decoders read their colours from: JFIF without a thumbnail, Adobe, HP's of JPEG-LS.
_NEEDED = ((0xE0, b"JFIF\0", 14), (0xEE, b"Adobe", 12), (0xE8, b"mrfx", 5))
# In entropy-coded data a marker is FF and 80 or more, besides RST0 to RST7 (ITU-T T.81, T.87).
_MARKER = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")


def clean_fragments(fragments: Sequence[bytes], transfer_syntax: str, frames: int) -> list[bytes]:
    """The fragments of encapsulated pixel data, each as long as it was, the offset table first.

    Raises:
        ExportRefusedError: the stream is of a kind that may carry what nobody here can see.
        PixelDataError: the stream is damaged.
    """
    table, *content = fragments
    if transfer_syntax == RLELossless:
        return [table, *content]
    if transfer_syntax in _JPEG or _JPEG_RETIRED.fullmatch(transfer_syntax):
        clean = _clean_jpeg
    elif transfer_syntax in _JPEG2000:
        clean = _clean_jpeg2000
    else:
        raise ExportRefusedError(
            "An object's pixels are in a transfer syntax whose streams may carry hidden text "
            f"({transfer_syntax}); convert it first."
        )
    cleaned: list[bytes] = []
    for group in _frames(table, content, frames):
        stream = bytearray(b"".join(group))
        try:
            clean(stream)
        except IndexError:
            raise PixelDataError("A compressed frame is damaged.") from None
        at = 0
        for fragment in group:
            cleaned.append(bytes(stream[at : at + len(fragment)]))
            at += len(fragment)
    return [table, *cleaned]


def _frames(table: bytes, content: list[bytes], frames: int) -> list[list[bytes]]:
    """The fragments of each frame (PS3.5 A.4)."""
    if frames == 1:
        return [content]
    if len(content) == frames:
        return [[fragment] for fragment in content]
    starts = {int.from_bytes(table[at : at + 4], "little") for at in range(0, len(table), 4)}
    groups: list[list[bytes]] = []
    place = 0
    for fragment in content:
        # Without an offset table, a frame begins where a codestream does.
        if place in starts or (not starts and fragment[:2] in _STREAM_STARTS):
            groups.append([])
        if not groups:
            break
        groups[-1].append(fragment)
        place += 8 + len(fragment)
    if len(groups) != frames:
        raise PixelDataError("Nobody can tell which fragments belong to which frame.")
    return groups


def _clean_jpeg(stream: bytearray) -> None:
    """ITU-T T.81 annex B: markers with segments, and entropy-coded data after each SOS."""
    if stream[:2] != b"\xff\xd8":
        raise PixelDataError("A compressed frame does not begin as JPEG does.")
    at = 2
    while True:
        while stream[at] == 0xFF and stream[at + 1] == 0xFF:
            at += 1
        if stream[at] != 0xFF:
            raise PixelDataError("A compressed frame is damaged.")
        marker = stream[at + 1]
        if marker == _END:
            _zero(stream, at + 2, len(stream))
            return
        length = int.from_bytes(stream[at + 2 : at + 4], "big")
        if marker == _COMMENT or (marker in _APPLICATION and not _is_needed(stream, at, length)):
            _zero(stream, at + 4, at + 2 + length)
        at += 2 + length
        if marker == _SCAN:
            found = _MARKER.search(stream, at)
            if found is None:
                raise PixelDataError("A compressed frame has no end.")
            at = found.start()


def _is_needed(stream: bytearray, at: int, length: int) -> bool:
    marker, body = stream[at + 1], stream[at + 4 : at + 2 + length]
    return any(
        marker == wanted and body.startswith(name) and len(body) == size
        for wanted, name, size in _NEEDED
    )


def _clean_jpeg2000(stream: bytearray) -> None:
    """ITU-T T.800 annex A: the main header, then tile-parts, each of a known length."""
    if stream[:2] != b"\xff\x4f":
        raise ExportRefusedError("A compressed frame is not a bare JPEG 2000 codestream.")
    at = 2
    tile_end = 0
    while True:
        if stream[at] != 0xFF:
            raise PixelDataError("A compressed frame is damaged.")
        marker = stream[at + 1]
        if marker == _J2K_END:
            _zero(stream, at + 2, len(stream))
            return
        if marker == _J2K_DATA:
            at = tile_end or stream.rindex(b"\xff\xd9")
            continue
        length = int.from_bytes(stream[at + 2 : at + 4], "big")
        if marker == _J2K_TILE_PART:
            size = int.from_bytes(stream[at + 6 : at + 10], "big")
            tile_end = at + size if size else 0
        elif marker == _J2K_COMMENT:
            _zero(stream, at + 6, at + 2 + length)
        at += 2 + length


def _zero(stream: bytearray, start: int, end: int) -> None:
    end = min(end, len(stream))
    if start < end:
        stream[start:end] = bytes(end - start)
