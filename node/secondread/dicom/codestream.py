"""What a compressed frame says about itself, before a codec is let loose on it.

A codec believes its codestream, and makes room for whatever size that names. So the size is
compared with the header first, and the precision decides how the decoded cells are to be read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from secondread.dicom.headers import PixelLayout
from secondread.dicom.stored_values import Bits, truncated, undecodable

_J2K_START = b"\xff\x4f\xff\x51"
# A JP2 file has boxes before its codestream; DICOM wants none (PS3.5 A.4.4), some keep them.
_J2K_SEARCHED_BYTES = 4096
_SOI = b"\xff\xd8"
# ISO/IEC 10918-1 table B.1, without DHT, JPG and DAC, and SOF55 of JPEG-LS (ISO/IEC 14495-1).
_FRAME_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_SCAN = 0xDA
_END_OF_IMAGE = b"\xff\xd9"
# One byte makes the length even (PS3.5 A.4), some writers pad to more.
_PADDING_BYTES_MAX = 16


@dataclass(frozen=True, slots=True)
class Codestream:
    """The header of one compressed frame.

    Attributes:
        precision: bits of a sample.
        signed: whether the samples are signed; None where the format cannot say.
    """

    rows: int
    columns: int
    samples: int
    precision: int
    signed: bool | None


def read_j2k(data: bytes) -> Codestream | None:
    """The SIZ marker segment of JPEG 2000 (ISO/IEC 15444-1 A.5.1); None where there is none."""
    at = data.find(_J2K_START, 0, _J2K_SEARCHED_BYTES)
    if at < 0 or len(data) < at + 45:
        return None
    right, lower, left, top = struct.unpack_from(">4L", data, at + 8)
    (samples,) = struct.unpack_from(">H", data, at + 40)
    depth = data[at + 42]
    return Codestream(lower - top, right - left, samples, (depth & 0x7F) + 1, depth > 0x7F)


def read_jpeg(data: bytes) -> Codestream | None:
    """The frame header of JPEG (ISO/IEC 10918-1 B.2.2) or JPEG-LS; None where there is none."""
    at = data.find(_SOI, 0, 16) + 2
    if at < 2:
        return None
    while at + 9 < len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        elif marker == _SCAN:
            return None
        elif marker in _FRAME_MARKERS:
            precision, rows, columns, samples = struct.unpack_from(">BHHB", data, at + 4)
            return Codestream(rows, columns, samples, precision, None)
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return None


def check_end(data: bytes) -> None:
    """Look for the End Of Image marker of JPEG and JPEG-LS.

    Without it GDCM aborts its process and CharLS reads on for ever.

    Raises:
        PixelDataError: the outcome is ``truncated-pixels``.
    """
    if _END_OF_IMAGE not in data[-_PADDING_BYTES_MAX:]:
        raise truncated()


def check_size(stream: Codestream | None, layout: PixelLayout) -> Codestream:
    """Compare a frame with the header of its object.

    Raises:
        PixelDataError: the outcome is ``undecodable-pixels``.
    """
    if stream is None:
        raise undecodable("The compressed pixels of an image are not in the format that it names.")
    if (stream.rows, stream.columns) != (layout.rows, layout.columns):
        raise undecodable(
            f"The compressed pixels of an image are {stream.rows} x {stream.columns}, where its "
            f"header says {layout.rows} x {layout.columns} (rows x columns)."
        )
    if stream.samples != 1:
        raise undecodable(
            f"The compressed pixels of an image have {stream.samples} samples, where its header "
            "says one."
        )
    if not 1 <= stream.precision <= layout.bits_allocated:
        raise undecodable(
            f"The compressed pixels of an image have {stream.precision} bits, where its header "
            f"has room for {layout.bits_allocated}."
        )
    return stream


def bits_of(stream: Codestream, layout: PixelLayout) -> Bits:
    """Which bits of a decoded cell are its value.

    A codestream holds whole cells, or the stored bits alone; then it may say that they are of
    another sign than the header says (PS3.5 8.2.4 lets the header decide). With fewer bits than
    are stored and no common sign, a value could be read in two ways.

    Raises:
        PixelDataError: the outcome is ``undecodable-pixels``.
    """
    if stream.precision > layout.high_bit:
        return Bits.of(layout)
    same_sign = stream.signed is layout.signed or (stream.signed is None and not layout.signed)
    if layout.high_bit != layout.bits_stored - 1 or not same_sign:
        raise undecodable(
            f"The compressed pixels of an image have {stream.precision} bits, where its header "
            f"says {layout.bits_stored} of {layout.bits_allocated}, so their values are not known."
        )
    return Bits(stream.precision, stream.precision - 1, layout.signed)
