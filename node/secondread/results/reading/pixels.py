"""Somebody's object, opened: its header, and its frames one by one from where they lie.

The pixels of a large segmentation are never all in memory as they are stored.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from secondread.dicom.codecs import CODECS, Cells, decode_frame
from secondread.dicom.contexts import UNCOMPRESSED_SYNTAXES
from secondread.dicom.decompress import DEFLATED
from secondread.dicom.encapsulated import Span, locate_frames, read_frame
from secondread.dicom.headers import PixelLayout
from secondread.dicom.stored_values import Bits, put_values, stored_type
from secondread.errors import NotAnalysedError, ResultError

Array = npt.NDArray[Any]

_KINDS = {0x7FE0_0010: "integer", 0x7FE0_0008: "float", 0x7FE0_0009: "double"}
_KEYWORDS = {"integer": "PixelData", "float": "FloatPixelData", "double": "DoubleFloatPixelData"}
_LONG_VRS = frozenset([b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN"])
_UNDEFINED_LENGTH = 0xFFFF_FFFF
_END_OF_ITEMS = b"\xfe\xff\xdd\xe0\0\0\0\0"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
_NATIVE = frozenset(item.uid for item in UNCOMPRESSED_SYNTAXES) - {_BIG_ENDIAN}
# Lossy processes of JPEG, JPEG-LS and JPEG 2000.
_LOSSY = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 81, 91, 203))
_BITS = {"integer": (1, 8, 16, 32), "float": (32,), "double": (64,)}


@dataclass(frozen=True, slots=True)
class Pixels:
    """The frames of an object, as far as its header tells.

    Attributes:
        layout: how they are stored; ``offset`` is where the first native one lies in what ``open``
            gives, ``items_offset`` where the items of encapsulated ones begin.
        is_native: whether they are not encapsulated.
    """

    layout: PixelLayout
    is_native: bool
    open: Callable[[], BinaryIO] = field(repr=False)

    @property
    def is_bits(self) -> bool:
        """Whether a pixel is one bit."""
        return self.layout.bits_allocated == 1

    @property
    def kind(self) -> np.dtype[Any]:
        """The type of what ``values`` gives."""
        return np.dtype(np.uint8) if self.is_bits else stored_type(self.layout)

    @contextmanager
    def reader(self) -> Iterator[FrameReader]:
        """Reads frames while it is open."""
        with in_words("The pixels"), self.open() as file:
            yield FrameReader(file, self)


class FrameReader:
    """Reads one frame after the other, in any order."""

    def __init__(self, file: BinaryIO, pixels: Pixels) -> None:
        layout = pixels.layout
        self._file = file
        self._layout = layout
        self._size = layout.rows * layout.columns
        self._spans: list[tuple[Span, ...]] = []
        self._last: tuple[bytes, Cells] = (b"", (np.empty(0), Bits.of(layout)))
        if not pixels.is_native:
            file.seek(layout.items_offset)
            self._spans = locate_frames(file, layout.frames)

    def bits(self, index: int) -> tuple[Array, int]:
        """A frame of one bit per pixel: packed, least significant first, and how many to skip."""
        if self._spans:
            return self._encapsulated_bits(index), 0
        start = index * self._size
        first, end = start // 8, -(-(start + self._size) // 8)
        data = self._read(self._layout.offset + first, end - first)
        return np.frombuffer(data, np.uint8), start % 8

    def mask(self, index: int) -> npt.NDArray[np.uint8]:
        """A frame of one bit per pixel as ``(row, column)`` of zeros and ones."""
        packed, skipped = self.bits(index)
        flat = np.unpackbits(packed, count=skipped + self._size, bitorder="little")[skipped:]
        return flat.reshape(self._layout.rows, self._layout.columns)

    def values(self, index: int, target: Array) -> float:
        """Put a frame into ``(row, column)`` of the type of its pixels; gives the largest value."""
        layout = self._layout
        if self._spans:
            cells, bits = self._decode(index)
            return put_values(cells, bits, target)[1]
        kind = stored_type(layout)
        length = self._size * kind.itemsize
        data = self._read(layout.offset + index * length, length)
        cells = np.frombuffer(data, kind.newbyteorder("<")).reshape(target.shape)
        return put_values(cells, Bits.of(layout), target)[1]

    def _read(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(length)
        if len(data) < length:
            raise ResultError("The object has fewer pixels than it says: it was cut short.")
        return data

    def _decode(self, index: int) -> Cells:
        data = read_frame(self._file, self._spans[index])
        # Neighbouring frames without a structure are the same bytes.
        if data != self._last[0]:
            self._last = data, decode_frame(data, self._layout)
        return self._last[1]

    def _encapsulated_bits(self, index: int) -> Array:
        layout = self._layout
        if layout.transfer_syntax_uid == _DEFLATED_FRAMES:
            data = read_frame(self._file, self._spans[index])
            length = -(-self._size // 8)
            packed = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, length)
            if len(packed) < length:
                raise ResultError("The object has fewer pixels than it says: it was cut short.")
            return np.frombuffer(packed, np.uint8)
        # A codec gives a cell for each bit.
        wide = replace(layout, bits_allocated=8)
        cells, _ = decode_frame(read_frame(self._file, self._spans[index]), wide)
        return np.packbits(cells.ravel() != 0, bitorder="little")


def open_object(path: Path, classes: Collection[str], what: str) -> tuple[Dataset, Pixels]:
    """Read a header and find the pixels behind it.

    Args:
        path: the file.
        classes: the SOP Class UIDs that the object may have.
        what: these are, for people.

    Raises:
        ResultError: it is not a DICOM file of these classes, has no pixels, or they cannot be read.
    """
    with in_words("The file"), quietly(), path.open("rb") as file:
        found = pydicom.dcmread(file, stop_before_pixels=True)
        check_class(found, classes, what)
        if _syntax_of(found) == DEFLATED:
            return found, _in_memory(pydicom.dcmread(path))
        start = file.tell()
        kind, head_bytes, length = _read_head(file.read(12), found)
        place = start + head_bytes
        is_native = length != _UNDEFINED_LENGTH
        layout = _layout_of(found, kind, is_native)
    layout = replace(layout, offset=place if is_native else 0, items_offset=place)
    return found, Pixels(layout, is_native, lambda: path.open("rb", buffering=0))


def find_pixels(found: Dataset) -> Pixels:
    """The pixels of an object that was read with them.

    Raises:
        ResultError: it has none, or they cannot be read.
    """
    with in_words("The object"):
        return _in_memory(found)


def check_class(found: Dataset, classes: Collection[str], what: str) -> None:
    """Raise ``ResultError`` unless an object is of one of these SOP classes."""
    uid = str(found.get("SOPClassUID", ""))
    if uid in classes:
        return
    # A UID that is not known is not repeated: what it holds may be anything.
    name = f" but of the class {UID_dictionary[uid][0]}" if uid in UID_dictionary else ""
    raise ResultError(f"The object is no {what}{name}.")


@contextmanager
def quietly() -> Iterator[None]:
    """Without warnings: pydicom quotes the value that it warns about, which may be a person's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def in_words(what: str) -> Iterator[None]:
    """Let a ``ResultError`` pass, and make one of what damaged or foreign bytes lead to."""
    try:
        yield
    except InvalidDicomError:
        raise ResultError(f"{what} is not a DICOM file.") from None
    except OSError as error:
        raise ResultError(f"{what} cannot be read: {error.strerror or 'it is damaged'}.") from None
    except AttributeError as error:
        missing = error.name or "an attribute"
        raise ResultError(f"{what} cannot be read: {missing} is absent.") from None
    except NotAnalysedError as error:
        raise ResultError(f"{what} cannot be read: {error}") from None
    except MemoryError:
        raise ResultError(f"{what} needs more memory than there is.") from None
    except (
        *(KeyError, IndexError, TypeError, ValueError, NotImplementedError),
        *(EOFError, struct.error, zlib.error),
    ) as error:
        raise ResultError(
            f"{what} cannot be read: it is damaged ({type(error).__name__})."
        ) from None


def _in_memory(found: Dataset) -> Pixels:
    kind = next((name for name, word in _KEYWORDS.items() if word in found), "")
    value = found.get_item(_KEYWORDS[kind]).value if kind else None
    if not kind or not isinstance(value, bytes):
        raise ResultError("The object holds no pixels.")
    is_native = _syntax_of(found) not in CODECS
    whole = value if is_native else value + _END_OF_ITEMS
    return Pixels(_layout_of(found, kind, is_native), is_native, lambda: io.BytesIO(whole))


def _syntax_of(found: Dataset) -> str:
    return str(found.file_meta.TransferSyntaxUID)


def _read_head(head: bytes, found: Dataset) -> tuple[str, int, int]:
    """What pixels follow, the length of the head of their element, and of its value."""
    if len(head) < 12:
        raise ResultError("The object holds no pixels: it has none or was cut short.")
    group, element, length = struct.unpack_from("<HHL", head)
    kind = _KINDS.get(group << 16 | element)
    if kind is None:
        raise ResultError("The object holds no pixels.")
    if head[4:6] in _LONG_VRS and not found.original_encoding[0]:
        return kind, 12, struct.unpack_from("<L", head, 8)[0]
    return kind, 8, length


def _layout_of(found: Dataset, kind: str, is_native: bool) -> PixelLayout:
    stored, high = found.get("BitsStored"), found.get("HighBit")
    stored = int(found.BitsAllocated if stored is None else stored)
    layout = PixelLayout(
        transfer_syntax_uid=_syntax_of(found),
        frames=int(found.get("NumberOfFrames") or 0),
        rows=int(found.Rows),
        columns=int(found.Columns),
        samples=int(found.SamplesPerPixel),
        photometric=str(found.PhotometricInterpretation),
        bits_allocated=int(found.BitsAllocated),
        bits_stored=stored,
        high_bit=stored - 1 if high is None else int(high),
        signed=bool(found.get("PixelRepresentation") or 0),
        kind=kind,
        offset=0,
        length_bytes=0,
        modality_table=False,
    )
    _check_layout(layout, found, is_native)
    return layout


def _check_layout(layout: PixelLayout, found: Dataset, is_native: bool) -> None:
    syntax = layout.transfer_syntax_uid
    if layout.frames < 1 or layout.rows < 1 or layout.columns < 1:
        raise ResultError("The object has no frames.")
    if layout.samples != 1 or layout.bits_allocated not in _BITS[layout.kind]:
        raise ResultError(
            f"The object stores {layout.samples} samples of {layout.bits_allocated} bits for each "
            "pixel, which no segmentation or parametric map does."
        )
    if syntax not in (_NATIVE if is_native else CODECS):
        raise ResultError("The object's pixels are in a transfer syntax that is not read here.")
    if syntax in _LOSSY and found.get("SegmentationType", "") in {"BINARY", "LABELMAP"}:
        raise ResultError("The object's pixels are compressed with loss, which moves its outlines.")
