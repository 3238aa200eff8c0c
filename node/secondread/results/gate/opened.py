"""A file as it lies on disk: the data set up to the pixels, and where the pixels are.

Pixels of hundreds of megabytes are never read into memory at once.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.errors import InvalidDicomError
from pydicom.filebase import ReadableBuffer
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from secondread.errors import ResultError
from secondread.results.gate.faults import UNREADABLE, describe

_PIXEL_TAGS = {
    b"\xe0\x7f\x10\x00": "PixelData",
    b"\xe0\x7f\x08\x00": "FloatPixelData",
    b"\xe0\x7f\x09\x00": "DoubleFloatPixelData",
}
_LONG = frozenset({b"OB", b"OW", b"OF", b"OD", b"UN"})
_UNDEFINED = 0xFFFF_FFFF
_TYPES = {
    ("PixelData", 8): "u1",
    ("PixelData", 16): "<u2",
    ("FloatPixelData", 32): "<f4",
    ("DoubleFloatPixelData", 64): "<f8",
}
_JPEG_LS = frozenset({JPEGLSLossless, JPEGLSNearLossless})
DEFLATED_FRAMES = UID("1.2.840.10008.1.2.8.1")
"""Deflated Image Frame Compression (PS3.5 A.4.12)."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """The pixel data of a file.

    Attributes:
        keyword: ``PixelData`` or one of the two of floats.
        at: where the value starts in the file.
        length: of the value, bytes; of encapsulated frames all that follows.
        is_encapsulated: whether the frames are fragments (PS3.5 A.4).
    """

    path: Path
    keyword: str
    at: int
    length: int
    is_encapsulated: bool

    def map_bytes(self) -> npt.NDArray[np.uint8]:
        """The value as a map of the file."""
        if not self.length:
            return np.zeros(0, np.uint8)
        return np.memmap(self.path, np.uint8, "r", self.at, (self.length,))


@dataclass(frozen=True, slots=True)
class Opened:
    """A DICOM file that has been opened; ``header`` is everything before the pixels."""

    header: Dataset
    pixels: Pixels | None

    @property
    def transfer_syntax(self) -> UID:
        """Transfer Syntax UID, Implicit VR Little Endian where the file says nothing."""
        meta = getattr(self.header, "file_meta", Dataset())
        return UID(str(meta.get("TransferSyntaxUID") or ImplicitVRLittleEndian))


def open_object(path: Path) -> Opened:
    """Open a DICOM file.

    Raises:
        ResultError: it is not one, or cannot be read to its pixels.
        OSError: the file cannot be read at all.
    """
    with path.open("rb") as file:
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True)
            # The library reads what is deflated as a whole, so that there is nothing to find.
            syntax = getattr(header.file_meta, "TransferSyntaxUID", "")
            pixels = None if syntax == DeflatedExplicitVRLittleEndian else _find(path, file, header)
        except InvalidDicomError:
            raise ResultError(
                "It is not a DICOM file: 'DICM' is not where PS3.10 has it."
            ) from None
        except OSError as error:
            if error.errno is not None:  # the disk, not the data set
                raise
            raise ResultError(f"It is not a sound DICOM file: {describe(error)}.") from None
        except UNREADABLE as error:
            raise ResultError(f"It is not a sound DICOM file: {describe(error)}.") from None
    return Opened(header, pixels)


def _find(path: Path, file: ReadableBuffer, header: Dataset) -> Pixels | None:
    start = file.read(12)
    keyword = _PIXEL_TAGS.get(start[:4])
    if keyword is None:
        if start:
            raise ResultError("The file goes on where its data set ends.")
        return None
    implicit = header.original_encoding[0]
    if implicit:
        length, at = int.from_bytes(start[4:8], "little"), file.tell() - 4
    elif start[4:6] in _LONG:
        length, at = int.from_bytes(start[8:12], "little"), file.tell()
    else:
        raise ResultError("The pixel data has a value representation that pixels cannot have.")
    left = os.fstat(file.fileno()).st_size - at  # type: ignore[attr-defined]
    if length == _UNDEFINED:
        return Pixels(path, keyword, at, left, is_encapsulated=True)
    if length > left:
        raise ResultError("The file ends within its pixels.")
    return Pixels(path, keyword, at, length, is_encapsulated=False)


def read_fragments(pixels: Pixels, frames: int) -> Iterator[bytes]:
    """The encoded frames one after the other.

    Raises:
        ValueError: the fragments cannot be told apart, or are cut short.
    """
    with pixels.path.open("rb") as file:
        file.seek(pixels.at)
        yield from generate_frames(file, number_of_frames=frames)


def read_planes(
    opened: Opened, pixels: Pixels, frames: int, part: tuple[int, int] | None = None
) -> Iterator[npt.NDArray[np.generic]]:
    """Frames of one sample per pixel, decoded one after the other, ``(row, column)``.

    Args:
        opened: the object.
        pixels: of the object.
        frames: how many there are.
        part: of native frames the first and the end of those to read; all where None.

    Raises:
        ResultError: their encoding is not known here.
        ValueError: a frame is not what the header says.
    """
    header = opened.header
    shape = (int(header.Rows), int(header.Columns))
    kind = np.dtype(_TYPES[pixels.keyword, int(header.BitsAllocated)])
    size = shape[0] * shape[1] * kind.itemsize
    if not pixels.is_encapsulated:
        data = pixels.map_bytes()
        for index in range(*(part or (0, frames))):
            yield data[index * size : (index + 1) * size].view(kind).reshape(shape)
    elif opened.transfer_syntax == DEFLATED_FRAMES:
        for fragment in read_fragments(pixels, frames):
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(fragment, size)
            yield np.frombuffer(content, kind, shape[0] * shape[1]).reshape(shape)
    elif opened.transfer_syntax in _JPEG_LS:
        # What the library does around each frame takes longer than the decoding itself.
        for fragment in read_fragments(pixels, frames):
            yield _decode_jpeg_ls(fragment, shape, kind)
    else:
        yield from read_colours(opened, pixels)


def _decode_jpeg_ls(
    fragment: bytes, shape: tuple[int, int], kind: np.dtype[np.generic]
) -> npt.NDArray[np.generic]:
    from jpeg_ls import decode_pixel_data

    content, says = decode_pixel_data(fragment)
    size = (says["height"], says["width"], says["components"])
    if size != (*shape, 1) or (says["bits_per_sample"] > 8) != (kind.itemsize > 1):
        raise ValueError("the codestream is not of the size that the header says")
    return np.frombuffer(content, kind).reshape(shape)


def read_masks(opened: Opened, pixels: Pixels, frames: int) -> Iterator[npt.NDArray[np.bool_]]:
    """Frames of one bit per pixel whose frames are encoded one by one (PS3.5 8.2.16).

    Raises:
        ResultError: their encoding is not known here.
        ValueError: a frame is not what the header says.
    """
    if opened.transfer_syntax != DEFLATED_FRAMES:
        raise ResultError("its bits are encoded in a way that cannot be decoded here.")
    rows, columns = int(opened.header.Rows), int(opened.header.Columns)
    length = (rows * columns + 7) // 8
    for fragment in read_fragments(pixels, frames):
        packed = zlib.decompressobj(-zlib.MAX_WBITS).decompress(fragment, length)
        bits = np.unpackbits(np.frombuffer(packed, np.uint8, length), bitorder="little")
        yield bits[: rows * columns].view(np.bool_).reshape(rows, columns)


def read_colours(opened: Opened, pixels: Pixels) -> Iterator[npt.NDArray[np.generic]]:
    """Encapsulated frames decoded one after the other, ``(row, column[, sample])``.

    Raises:
        ResultError: their encoding is not known here.
    """
    syntax = opened.transfer_syntax
    try:
        # The library's own decoder of RLE is five times slower than this one.
        plugin = "pylibjpeg" if syntax == RLELossless else ""
        for plane, _ in get_decoder(syntax).iter_array(
            pydicom.dcmread(pixels.path), raw=True, decoding_plugin=plugin
        ):
            yield plane
    except (NotImplementedError, RuntimeError) as error:
        raise ResultError(
            f"The pixels are encoded as {syntax.name}, which cannot be decoded here."
        ) from error
