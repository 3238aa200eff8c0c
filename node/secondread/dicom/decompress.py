"""From the compressed or deflated pixels of one file to stored values."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag

from secondread.dicom.codecs import Cells, decode_frame
from secondread.dicom.encapsulated import Span, locate_frames, read_frame
from secondread.dicom.headers import PixelLayout
from secondread.dicom.stored_values import (
    Bits,
    StoredPlane,
    StoredVolume,
    put_values,
    stored_type,
    truncated,
    undecodable,
)

Array = npt.NDArray[Any]

DEFLATED = "1.2.840.10008.1.2.1.99"
_KEYWORDS = {"integer": "PixelData", "float": "FloatPixelData", "double": "DoubleFloatPixelData"}
_PIXELS_FROM = 0x7FE00008
_UNDEFINED_LENGTH = b"\xff\xff\xff\xff"
_NOTHING: list[BaseTag | int] = [Tag(0x00080005)]


class Decompressor:
    """Decodes frames in this process; knows where those of the last file lie."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._spans: list[tuple[Span, ...]] = []

    def frames(self, path: Path, layout: PixelLayout, frames: Sequence[int]) -> Iterator[Cells]:
        """The cells of frames, by 0-based number, and which of their bits are the value.

        Raises:
            PixelDataError: the outcome is ``truncated-pixels`` or ``undecodable-pixels``.
            MemoryError: they need more memory than there is.
        """
        try:
            if layout.transfer_syntax_uid == DEFLATED:
                yield from _inflated(path, layout, frames)
                return
            with path.open("rb") as file:
                if path != self._path:
                    if layout.items_offset:
                        file.seek(layout.items_offset)
                    else:
                        _seek_items(file)
                    self._spans = locate_frames(file, layout.frames)
                    self._path = path
                for frame in frames:
                    yield decode_frame(read_frame(file, self._spans[frame]), layout)
        except (
            OSError,
            EOFError,
            InvalidDicomError,
            ValueError,
            IndexError,
            struct.error,
        ) as error:
            raise undecodable(
                f"The pixels of an image cannot be read from the spool ({type(error).__name__})."
            ) from error

    def decode(self, planes: list[StoredPlane], kind: np.dtype[Any]) -> StoredVolume:
        """The stored values of planes of one size (the ``Decoder`` protocol)."""
        layout = planes[0].layout
        volume = StoredVolume.empty((len(planes), layout.rows, layout.columns), kind)
        for group in group_by_file(planes):
            first = planes[group[0]]
            numbers = [planes[at].plane.frame - 1 for at in group]
            try:
                for at, (cells, bits) in zip(
                    group, self.frames(first.path, first.layout, numbers), strict=True
                ):
                    low, high = put_values(cells, bits, volume.values[at])
                    volume.lows[at], volume.highs[at] = low, high
            except MemoryError as error:
                raise undecodable("An image needs more memory than there is.") from error
        return volume


def group_by_file(planes: Sequence[StoredPlane]) -> list[list[int]]:
    """The indices of the planes of each file, in the order of the planes."""
    groups: dict[Path, list[int]] = {}
    for at, item in enumerate(planes):
        groups.setdefault(item.path, []).append(at)
    return list(groups.values())


def _seek_items(file: BinaryIO) -> None:
    """Go to the first item of the Pixel Data, where the header did not say where that is."""
    with warnings.catch_warnings():
        # pydicom quotes the value that it warns about, and the value may be a person's.
        warnings.simplefilter("ignore")
        read_partial(
            file, lambda tag, _vr, _length: int(tag) >= _PIXELS_FROM, specific_tags=_NOTHING
        )
    # Encapsulated pixels are explicit VR little endian, always (PS3.5 A.4).
    if file.read(12)[8:] != _UNDEFINED_LENGTH:
        raise undecodable(
            "The pixels of an image are not compressed, though it says that they are."
        )


def _inflated(path: Path, layout: PixelLayout, frames: Sequence[int]) -> Iterator[Cells]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        element = dcmread(path).get_item(_KEYWORDS[layout.kind])
    data = None if element is None else element.value
    cell = stored_type(layout).newbyteorder("<")
    size = layout.rows * layout.columns * cell.itemsize
    if not isinstance(data, bytes) or len(data) < layout.frames * size:
        raise truncated()
    for frame in frames:
        cells = np.frombuffer(data, cell, layout.rows * layout.columns, frame * size)
        yield cells.reshape(layout.rows, layout.columns), Bits.of(layout)
