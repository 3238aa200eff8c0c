"""The pixels of a segmentation as the last element of its file, as they are or compressed.

Frames are encoded one after the other while they are written. Compressed ones are encapsulated, one
fragment each, behind a Basic Offset Table (PS3.5 A.4).
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from secondread.domain.form import Compression
from secondread.errors import ResultError
from secondread.results.segmentation.stacks import FrameStack

Frame = npt.NDArray[Any]

DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
"""Deflated Image Frame Compression, which pydicom does not know by name yet."""

_PIXEL_DATA = struct.Struct("<HH2s2xI")
_ITEM = struct.Struct("<HHI")
_BYTES_MAX = 0xFFFF_FFFE
_UNDEFINED_LENGTH = 0xFFFF_FFFF
_SMALLEST_SIDE = 32
_TOO_LARGE = (
    "The segmentation is larger than one DICOM object can be (4 GiB); ask for a compression or for "
    "one object per segment in the destination's form."
)
# The encoder of OpenJPEG calls back into Python and ends the process when two threads are in it.
_OPENJPEG = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Codec:
    """An encoder of frames.

    Attributes:
        bits: the Bits Allocated that it takes.
        smallest_side: rows and columns that a frame needs.
    """

    transfer_syntax_uid: str
    encode: Callable[[Frame], bytes | bytearray]
    bits: tuple[int, ...] = (8,)
    smallest_side: int = 1


def choose_transfer_syntax(stack: FrameStack, wanted: Compression) -> str:
    """The transfer syntax of a segmentation: what is wanted, or none where that cannot be.

    One bit per pixel is deflated or left as it is. PS3.5 8.2.2 and 8.2.4 allow RLE and JPEG 2000 as
    well, but few programs read them, and those do not agree on how the bits are packed. JPEG-LS
    knows no pixels of one bit. The encoders of JPEG-LS and JPEG 2000 fail on images of few pixels.
    """
    codec = _CODECS.get(wanted)
    if codec is None or stack.bits not in codec.bits or min(stack.size) < codec.smallest_side:
        return str(ExplicitVRLittleEndian)
    return codec.transfer_syntax_uid


def list_transfer_syntaxes(*bits: int) -> tuple[str, ...]:
    """Every transfer syntax that pixels of one of these depths may be written in."""
    codecs = (codec for codec in _CODECS.values() if set(codec.bits) & set(bits))
    return (str(ExplicitVRLittleEndian), *(codec.transfer_syntax_uid for codec in codecs))


def write_pixels(file: BinaryIO, stack: FrameStack, transfer_syntax_uid: str) -> None:
    """Write the Pixel Data element.

    Args:
        file: at the end of the data set so far; seekable where the frames are compressed.
        stack: the frames.
        transfer_syntax_uid: from ``choose_transfer_syntax``.

    Raises:
        ResultError: the pixels are longer than an element may be (PS3.5 7.1.1), or cannot be
            compressed.
    """
    codec = _BY_SYNTAX.get(transfer_syntax_uid)
    if codec is None:
        _write_native(file, stack)
    else:
        _write_encapsulated(file, stack, codec)


def _write_native(file: BinaryIO, stack: FrameStack) -> None:
    rows, columns = stack.size
    length = (len(stack.places) * rows * columns * stack.bits + 7) // 8
    even = length + length % 2
    if even > _BYTES_MAX:
        raise ResultError(_TOO_LARGE)
    file.write(_PIXEL_DATA.pack(0x7FE0, 0x0010, b"OB", even))
    frames = (stack.read(place) for place in stack.places)
    for part in _pack_bits(frames) if stack.bits == 1 else frames:
        file.write(np.ascontiguousarray(part).data)
    file.write(b"\0" * (even - length))


def _pack_bits(frames: Iterator[Frame]) -> Iterator[npt.NDArray[np.uint8]]:
    """One bit per pixel, frame after frame without gaps, least significant first (PS3.5 8.1.1)."""
    rest = np.zeros(0, np.bool_)
    for frame in frames:
        bits = frame.ravel()
        if rest.size:
            bits = np.concatenate([rest, bits])
        whole = bits.size // 8 * 8
        yield np.packbits(bits[:whole], bitorder="little")
        rest = bits[whole:].copy()
    if rest.size:
        yield np.packbits(rest, bitorder="little")


def _write_encapsulated(file: BinaryIO, stack: FrameStack, codec: _Codec) -> None:
    """The table of offsets is left empty at first and filled in when they are known."""
    count = len(stack.places)
    file.write(_PIXEL_DATA.pack(0x7FE0, 0x0010, b"OB", _UNDEFINED_LENGTH))
    file.write(_ITEM.pack(0xFFFE, 0xE000, 4 * count))
    table = file.tell()
    file.write(bytes(4 * count))
    offsets, offset = [], 0
    for place in stack.places:
        encoded = codec.encode(stack.read(place))
        padding = len(encoded) % 2
        offsets.append(offset)
        offset += _ITEM.size + len(encoded) + padding
        if offset > _BYTES_MAX:
            raise ResultError(_TOO_LARGE)
        file.write(_ITEM.pack(0xFFFE, 0xE000, len(encoded) + padding))
        file.write(encoded)
        file.write(b"\0" * padding)
    file.write(_ITEM.pack(0xFFFE, 0xE0DD, 0))
    end = file.tell()
    file.seek(table)
    file.write(struct.pack(f"<{count}I", *offsets))
    file.seek(end)


def _run_length(frame: Frame) -> bytes:
    from rle.utils import encode_pixel_data

    rows, columns = frame.shape
    encoded: bytes = encode_pixel_data(
        frame.tobytes(), rows=rows, columns=columns, samples_per_pixel=1, bits_allocated=8
    )
    return encoded


def _jpeg_ls(frame: Frame) -> bytearray:
    from jpeg_ls import encode_pixel_data

    rows, columns = frame.shape
    try:
        encoded: bytearray = encode_pixel_data(
            frame.tobytes(), rows=rows, columns=columns, samples_per_pixel=1, bits_stored=8
        )
    except RuntimeError:
        raise ResultError(
            "A frame of the segmentation cannot be compressed as JPEG-LS; ask for another "
            "compression in the destination's form."
        ) from None
    return encoded


def _jpeg_2000(frame: Frame) -> bytes:
    from openjpeg.utils import encode_pixel_data

    rows, columns = frame.shape
    with _OPENJPEG:
        encoded: bytes = encode_pixel_data(
            frame.tobytes(),
            rows=rows,
            columns=columns,
            samples_per_pixel=1,
            bits_stored=8,
            pixel_representation=0,
            photometric_interpretation="MONOCHROME2",
        )
    return encoded


def _deflate(frame: Frame) -> bytes:
    """A deflate stream without header (PS3.5 8.2.16); the bits of a frame end with a whole byte."""
    packed = np.packbits(frame, bitorder="little") if frame.dtype == np.bool_ else frame
    return zlib.compress(np.ascontiguousarray(packed).data, 1, -zlib.MAX_WBITS)


_CODECS: Mapping[Compression, _Codec] = MappingProxyType(
    {
        Compression.RLE: _Codec(str(RLELossless), _run_length),
        Compression.JPEG_LS: _Codec(str(JPEGLSLossless), _jpeg_ls, smallest_side=_SMALLEST_SIDE),
        Compression.JPEG_2000: _Codec(
            str(JPEG2000Lossless), _jpeg_2000, smallest_side=_SMALLEST_SIDE
        ),
        Compression.DEFLATED: _Codec(DEFLATED_FRAMES, _deflate, bits=(1, 8)),
    }
)
_BY_SYNTAX = MappingProxyType({codec.transfer_syntax_uid: codec for codec in _CODECS.values()})
