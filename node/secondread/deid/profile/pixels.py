"""Pixel data on its way out: the same pixels, and nothing else that lay beside or inside them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from secondread.errors import ExportRefusedError, PixelDataError

_MODALITY, _IMAGE_TYPE, _MANUFACTURER, _MODEL = 0x00080060, 0x00080008, 0x00080070, 0x00081090
_SAMPLES, _PHOTOMETRIC, _PLANAR, _FRAMES = 0x00280002, 0x00280004, 0x00280006, 0x00280008
_ROWS, _COLUMNS, _BITS, _BITS_STORED = 0x00280010, 0x00280011, 0x00280100, 0x00280101
_HIGH_BIT, _SIGNED = 0x00280102, 0x00280103
_OVERLAY_BIT_POSITION = 0x00000102
_HALF_CHROMA = "YBR_FULL_422"

Box = tuple[int, int, int, int]
"""First column, first row, columns, rows."""


@dataclass(frozen=True, slots=True)
class PixelShape:
    """The image pixel module (PS3.3 C.7.6.3) as far as it says where each pixel lies."""

    rows: int
    columns: int
    samples: int
    frames: int
    bits: int
    bits_stored: int
    is_signed: bool
    is_planar: bool
    photometric: str

    @property
    def size_bytes(self) -> int:
        """How long native pixel data of this shape are, without padding."""
        values = self.rows * self.columns * self.samples * self.frames
        if self.photometric == _HALF_CHROMA:
            values = values * 2 // 3
        return (values * self.bits + 7) // 8


@dataclass(frozen=True, slots=True)
class Region:
    """Boxes, and the objects they are for."""

    modality: str
    manufacturer: str
    model: str
    image_type: str
    rows: int
    columns: int
    boxes: tuple[Box, ...]


def shape_of(root: Mapping[int, bytes]) -> PixelShape:
    """The shape that the values of a data set give.

    Raises:
        PixelDataError: one of them is missing or no number.
    """

    def number(tag: int, usual: int | None = None) -> int:
        value = root.get(tag, b"")
        if len(value) == 2:
            return int.from_bytes(value, "little")
        if usual is None:
            raise PixelDataError("The object does not say of what size its pixels are.")
        return usual

    frames = root.get(_FRAMES, b"").strip(b" \0") or b"1"
    if not frames.isdigit():
        raise PixelDataError("The object does not say how many frames it has.")
    bits = number(_BITS)
    return PixelShape(
        rows=number(_ROWS),
        columns=number(_COLUMNS),
        samples=number(_SAMPLES, 1),
        frames=int(frames),
        bits=bits,
        bits_stored=number(_BITS_STORED, bits),
        is_signed=number(_SIGNED, 0) == 1,
        is_planar=number(_PLANAR, 0) == 1,
        photometric=_text(root, _PHOTOMETRIC),
    )


def native(value: bytes, shape: PixelShape) -> bytes:
    """Native pixel data without what follows the last pixel.

    Raises:
        PixelDataError: there are fewer bytes than pixels.
    """
    size = shape.size_bytes
    if len(value) < size:
        raise PixelDataError("The pixel data are shorter than rows, columns and frames ask for.")
    if len(value) == size:
        return value
    return value[:size] + b"\0" * (size % 2)


def without_overlay_bits(value: bytes, shape: PixelShape) -> bytes:
    """Pixels of 16 bits whose bits above the stored ones, where old overlays lie, carry no more.

    Signed pixels are sign-extended, others have zeros there: what a reader makes of them is the
    same (PS3.5 8.1.1).
    """
    spare = 16 - shape.bits_stored
    if shape.bits != 16 or spare <= 0:
        return value
    stored = np.frombuffer(value, dtype="<i2" if shape.is_signed else "<u2")
    return ((stored << spare) >> spare).astype(stored.dtype).tobytes()


def has_overlay_bits(tags: Sequence[int], root: Mapping[int, bytes]) -> bool:
    """Whether an overlay says that it lies in bits of the pixel data (PS3.5 8.1.2, retired)."""
    return any(
        tag >> 24 == 0x60 and tag & 0xFFFF == _OVERLAY_BIT_POSITION and root[tag].strip(b"\0")
        for tag in tags
        if tag in root
    )


@lru_cache(1)
def regions() -> tuple[Region, ...]:
    """The rules of ``regions.toml``."""
    text = resources.files(__package__).joinpath("regions.toml").read_text(encoding="utf-8")
    return tuple(
        Region(**{**rule, "boxes": tuple(tuple(box) for box in rule["boxes"])})
        for rule in tomllib.loads(text)["region"]
    )


def region_for(root: Mapping[int, bytes], known: Sequence[Region]) -> Region | None:
    """The rule that fits an object."""
    rows, columns = (int.from_bytes(root.get(tag, b""), "little") for tag in (_ROWS, _COLUMNS))
    for region in known:
        if (
            (rows, columns) == (region.rows, region.columns)
            and _text(root, _MODALITY) == region.modality
            and region.image_type in _text(root, _IMAGE_TYPE).split("\\")
            and re.fullmatch(region.manufacturer, _text(root, _MANUFACTURER))
            and re.fullmatch(region.model, _text(root, _MODEL))
        ):
            return region
    return None


def planes(content: npt.NDArray[np.uint8], shape: PixelShape) -> npt.NDArray[np.generic]:
    """A view of native pixel data as ``(frame, sample, row, column)``.

    Raises:
        ExportRefusedError: the pixels are of a form that cannot be seen so.
    """
    if shape.bits not in (8, 16) or shape.photometric == _HALF_CHROMA:
        raise ExportRefusedError(
            "The text in an object's pixels cannot be blanked, for the pixels are of "
            f"{shape.bits} bits, {shape.photometric}."
        )
    pixels = content.view(_dtype(shape))
    if shape.is_planar or shape.samples == 1:
        return pixels.reshape(shape.frames, shape.samples, shape.rows, shape.columns)
    view = pixels.reshape(shape.frames, shape.rows, shape.columns, shape.samples)
    return view.transpose(0, 3, 1, 2)


def blank(value: bytes, shape: PixelShape, boxes: Sequence[Box]) -> bytes:
    """Native pixel data with boxes black in all frames.

    Raises:
        ExportRefusedError: the pixels are of a form in which a box cannot be blanked.
    """
    content = np.frombuffer(native(value, shape)[: shape.size_bytes], np.uint8).copy()
    view: npt.NDArray[Any] = planes(content, shape)
    for column, row, columns, rows in boxes:
        box = view[:, :, row : row + rows, column : column + columns]
        box[...] = 0
        if shape.photometric == "MONOCHROME1":
            box[...] = (1 << (shape.bits_stored - shape.is_signed)) - 1
        elif shape.photometric.startswith("YBR"):
            box[:, 1:] = 1 << (shape.bits_stored - 1)
        elif shape.is_signed:
            box[...] = -(1 << (shape.bits_stored - 1))
    blanked = content.tobytes()
    return blanked + b"\0" * (len(blanked) % 2)


def _dtype(shape: PixelShape) -> np.dtype[np.generic]:
    return np.dtype(f"<{'i' if shape.is_signed else 'u'}{shape.bits // 8}")


def _text(root: Mapping[int, bytes], tag: int) -> str:
    return root.get(tag, b"").strip(b" \0").decode("latin-1")
