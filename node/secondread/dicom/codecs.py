"""The codecs, one for each compressed transfer syntax, called directly.

Each takes one frame whose size was checked and gives its cells. They are other people's C: they may
crash, hang or take all memory, so the pipeline calls them in processes that can be ended
(``assembly.decoding``). GDCM fills up what is missing of a JPEG image and only says so on standard
error, where the decoding process listens.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from secondread.dicom.codestream import (
    Codestream,
    bits_of,
    check_end,
    check_size,
    read_j2k,
    read_jpeg,
)
from secondread.dicom.headers import PixelLayout
from secondread.dicom.stored_values import Bits, stored_type, undecodable

Array = npt.NDArray[Any]
Cells = tuple[Array, Bits]

RLE = "1.2.840.10008.1.2.5"
_DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
_JPEG = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70))
_JPEG_LS = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (80, 81))
# The last three are High-Throughput JPEG 2000.
_JPEG_2000 = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203))


def decode_frame(data: bytes, layout: PixelLayout) -> Cells:
    """Decode one frame of a compressed transfer syntax.

    Returns:
        The cells, ``(row, column)``, and which of their bits are the value.

    Raises:
        PixelDataError: the outcome is ``undecodable-pixels``.
        MemoryError: the frame needs more memory than there is.
    """
    codec = CODECS[layout.transfer_syntax_uid]
    try:
        cells, bits = codec(data, layout)
    except (MemoryError, TypeError, AttributeError):
        # A fault of ours, or no fault of the frame.
        raise
    except (RuntimeError, ValueError, OSError, zlib.error) as error:
        raise undecodable(
            "The compressed pixels of an image are damaged or not what its header says "
            f"({type(error).__name__})."
        ) from error
    return cells.reshape(layout.rows, layout.columns), bits


def _rle(data: bytes, layout: PixelLayout) -> Cells:
    from rle.rle import decode_frame as decode_rle

    size = layout.rows * layout.columns
    return _native(decode_rle(data, size, layout.bits_allocated, "<"), layout), Bits.of(layout)


def _deflate(data: bytes, layout: PixelLayout) -> Cells:
    """Each frame is one deflate stream of native pixels (PS3.5 A.4.13)."""
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    size = layout.rows * layout.columns * layout.bits_allocated // 8
    # One more than there should be, and perhaps a byte that makes the number even.
    inflated = machine.decompress(data, size + 2)
    return _native(inflated[: size if len(inflated) <= size + 1 else None], layout), Bits.of(layout)


def _jpeg(data: bytes, layout: PixelLayout) -> Cells:
    stream = check_size(read_jpeg(data), layout)
    check_end(data)
    return _gdcm(data, stream, layout), bits_of(stream, layout)


def _jpeg_ls(data: bytes, layout: PixelLayout) -> Cells:
    from jpeg_ls import decode_from_buffer

    stream = check_size(read_jpeg(data), layout)
    check_end(data)
    try:
        cells = decode_from_buffer(data)
    except RuntimeError:
        # Some encoders put a zero between the last coded byte and the EOI marker.
        whole = data.rstrip(b"\0")
        if not whole.endswith(b"\0\xff\xd9"):
            raise
        cells = decode_from_buffer(whole[:-3] + b"\xff\xd9")
    return _sized(cells, stream), bits_of(stream, layout)


def _jpeg_2000(data: bytes, layout: PixelLayout) -> Cells:
    from openjpeg.utils import decode_pixel_data

    stream = check_size(read_j2k(data), layout)
    return _sized(bytes(decode_pixel_data(data, version=2)), stream), bits_of(stream, layout)


def _native(data: bytes | bytearray, layout: PixelLayout) -> Array:
    return np.frombuffer(data, stored_type(layout).newbyteorder("<"))


def _cell_bytes(stream: Codestream) -> int:
    return 1 if stream.precision <= 8 else 2 if stream.precision <= 16 else 4


def _sized(data: bytes | bytearray, stream: Codestream) -> Array:
    """Samples in the smallest cells that hold their precision."""
    return np.frombuffer(data, f"<{'i' if stream.signed else 'u'}{_cell_bytes(stream)}")


def _gdcm(data: bytes, stream: Codestream, layout: PixelLayout) -> Array:
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(data)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((layout.columns, layout.rows, 1))
    image.SetPhotometricInterpretation(
        gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)
    )
    kind = gdcm.TransferSyntax.GetTSType(layout.transfer_syntax_uid)
    image.SetTransferSyntax(gdcm.TransferSyntax(kind))
    bits = stream.precision
    image.SetPixelFormat(
        gdcm.PixelFormat(1, 8 * _cell_bytes(stream), bits, bits - 1, int(bool(stream.signed)))
    )
    image.SetDataElement(element)
    # The binding makes text of the bytes; this turns it back exactly.
    return _sized(image.GetBuffer().encode("utf-8", "surrogateescape"), stream)


CODECS: Mapping[str, Callable[[bytes, PixelLayout], Cells]] = MappingProxyType(
    {
        RLE: _rle,
        _DEFLATED_FRAMES: _deflate,
        **dict.fromkeys(_JPEG, _jpeg),
        **dict.fromkeys(_JPEG_LS, _jpeg_ls),
        **dict.fromkeys(_JPEG_2000, _jpeg_2000),
    }
)
"""Transfer syntax UID → codec. What is not here cannot be decoded: video, JPEG XL, JPEG 2000 Part 2
and the retired processes of JPEG."""
