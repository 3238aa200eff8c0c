"""From stored pixels to modality values.

The values are the output of the Modality LUT (PS3.3 C.11.1), so HU for CT. MONOCHROME1 changes how
a viewer shows them (PS3.3 C.7.6.3.1.2), not what they are, and so nothing is inverted here.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import UID

from secondread.dicom.contexts import UNCOMPRESSED_SYNTAXES
from secondread.dicom.headers import PixelLayout
from secondread.dicom.planes import Plane
from secondread.errors import PixelDataError

Array = npt.NDArray[Any]

VOXELS_MAX = 2**30
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_IN_PLACE = frozenset(item.uid for item in UNCOMPRESSED_SYNTAXES)
_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
_INT16 = np.iinfo(np.int16)


@dataclass(frozen=True, slots=True)
class StoredPlane:
    """A plane and the file that holds its pixels."""

    path: Path
    layout: PixelLayout
    plane: Plane


def why_undecodable(layout: PixelLayout) -> str:
    """A sentence why pixels of this layout cannot be read here; empty when they can."""
    if not layout.kind:
        return "It holds no pixels."
    if layout.samples != 1 and layout.photometric in _MONOCHROME:
        return f"Its pixels have {layout.samples} samples, which grey values do not."
    if layout.photometric not in _MONOCHROME:
        return f"Its pixels are not grey values but {layout.photometric or 'of an unknown kind'}."
    if layout.modality_table:
        return "Its values pass through a look-up table, which is not supported."
    if layout.kind == "integer":
        sound = 1 <= layout.bits_stored <= layout.bits_allocated
        if layout.bits_allocated not in {8, 16, 32} or not sound:
            return (
                f"It stores {layout.bits_stored} of {layout.bits_allocated} bits for each pixel, "
                "which cannot be read."
            )
        if not layout.bits_stored - 1 <= layout.high_bit < layout.bits_allocated:
            return f"Its High Bit is {layout.high_bit} with {layout.bits_stored} bits stored."
    if layout.transfer_syntax_uid in _IN_PLACE:
        return ""
    uid = UID(layout.transfer_syntax_uid)
    try:
        decoder = get_decoder(uid)
    except NotImplementedError:
        return f"It is compressed as {uid.name}, which cannot be decoded here."
    if not decoder.is_available:
        return f"No decoder for {uid.name} is installed."
    return ""


def read_voxels(planes: Sequence[StoredPlane]) -> Array:
    """Read, decode and rescale planes of one size.

    Returns:
        ``(slice, row, column)``, C order, in modality units: int16 where that is exact, else
        float32.

    Raises:
        PixelDataError: the outcome is ``unsupported-pixels``, ``too-large``, ``truncated-pixels``,
            ``undecodable-pixels``, ``bad-rescale`` or ``not-finite``.
    """
    first = planes[0].layout
    if len(planes) * first.rows * first.columns > VOXELS_MAX:
        raise PixelDataError(
            f"It has {len(planes)} slices of {first.rows} x {first.columns}: more voxels than "
            "the node reads at once.",
            outcome="too-large",
        )
    for layout in {item.layout for item in planes}:
        if reason := why_undecodable(layout):
            raise PixelDataError(reason, outcome="unsupported-pixels")
    stored = _read_stored(planes)
    return _rescale(stored, planes)


def _read_stored(planes: Sequence[StoredPlane]) -> Array:
    """Stored values, ``(slice, row, column)``, in one type that holds all of them."""
    types = {_stored_type(item.layout) for item in planes}
    first = planes[0].layout
    result = np.empty((len(planes), first.rows, first.columns), np.result_type(*types))
    places: dict[Path, list[int]] = {}
    for at, item in enumerate(planes):
        places.setdefault(item.path, []).append(at)
    for path, indices in places.items():
        layout = planes[indices[0]].layout
        frames = [planes[index].plane.frame - 1 for index in indices]
        if layout.offset:
            _read_in_place(path, layout, frames, result, indices)
        else:
            _decode(path, layout, frames, result, indices)
    return result


def _stored_type(layout: PixelLayout) -> np.dtype[Any]:
    if layout.kind != "integer":
        return np.dtype(np.float32 if layout.kind == "float" else np.float64)
    return np.dtype(f"{'i' if layout.signed else 'u'}{layout.bits_allocated // 8}")


def _read_in_place(
    path: Path, layout: PixelLayout, frames: Sequence[int], result: Array, indices: Sequence[int]
) -> None:
    """Read native pixels from where they lie in the file (PS3.5 8.1.1)."""
    kind = _stored_type(layout)
    if layout.transfer_syntax_uid == _BIG_ENDIAN:
        kind = kind.newbyteorder(">")
    frame_bytes = layout.rows * layout.columns * kind.itemsize
    if layout.length_bytes < layout.frames * frame_bytes:
        raise _truncated()
    # Big endian OW swaps the bytes of 8-bit pixels in pairs (PS3.5 7.3), so a frame may start
    # inside a pair: read everything and turn the pairs round.
    swapped = kind.itemsize == 1 and layout.transfer_syntax_uid == _BIG_ENDIAN
    try:
        with path.open("rb") as file:
            for frame, index in zip(frames, indices, strict=True):
                target = result[index]
                if swapped:
                    file.seek(layout.offset)
                    pairs = np.frombuffer(file.read(layout.length_bytes & ~1), np.uint16)
                    flat = pairs.byteswap().view(kind)[frame * frame_bytes :][:frame_bytes]
                    if flat.nbytes < frame_bytes:
                        raise _truncated()
                    pixels = flat.reshape(target.shape)
                else:
                    # Of the same type, the bytes go straight from the file to their place.
                    pixels = target if kind == target.dtype else np.empty(target.shape, kind)
                    file.seek(layout.offset + frame * frame_bytes)
                    if file.readinto(pixels.view(np.uint8).data) < frame_bytes:
                        raise _truncated()
                _put_stored_bits(pixels, layout, target)
    except (OSError, ValueError) as error:
        raise PixelDataError(
            f"The pixels of an image cannot be read from the spool ({type(error).__name__}).",
            outcome="undecodable-pixels",
        ) from error


def _decode(
    path: Path, layout: PixelLayout, frames: Sequence[int], result: Array, indices: Sequence[int]
) -> None:
    uid = UID(layout.transfer_syntax_uid)
    try:
        with warnings.catch_warnings():
            # Decoders warn about slips that they mend themselves, such as a missing offset table.
            warnings.simplefilter("ignore")
            dataset = dcmread(path)
            decoded = iter_pixels(dataset, raw=True, indices=list(frames))
            for pixels, index in zip(decoded, indices, strict=True):
                _put_stored_bits(pixels, layout, result[index])
    # The codecs are other people's C and raise whatever they like on a damaged stream.
    except Exception as error:
        raise PixelDataError(
            f"The {uid.name} pixels of an image cannot be decoded: its data is damaged or not "
            f"what the header says ({type(error).__name__}).",
            outcome="undecodable-pixels",
        ) from error


def _put_stored_bits(pixels: Array, layout: PixelLayout, target: Array) -> None:
    """Keep the stored bits only: above and below them may be overlays (PS3.5 8.1.1).

    ``target`` may be ``pixels``.
    """
    if layout.kind != "integer" or layout.bits_stored == layout.bits_allocated:
        if pixels is not target:
            target[...] = pixels
        return
    above = layout.bits_allocated - 1 - layout.high_bit
    below = layout.high_bit + 1 - layout.bits_stored
    native = pixels.astype(_stored_type(layout), copy=False)
    if native.dtype == target.dtype:
        np.left_shift(native, above, out=target)
        np.right_shift(target, above + below, out=target)
    else:
        target[...] = np.right_shift(np.left_shift(native, above), above + below)


def _truncated() -> PixelDataError:
    return PixelDataError(
        "An image has fewer pixels than its header says: it was cut short.",
        outcome="truncated-pixels",
    )


def _rescale(stored: Array, planes: Sequence[StoredPlane]) -> Array:
    slopes, intercepts = [], []
    for item in planes:
        slope, intercept = item.plane.slope, item.plane.intercept
        if slope is None or intercept is None or slope == 0:
            raise PixelDataError(
                "Rescale Slope or Rescale Intercept is zero or not a number, so the values of its "
                "pixels are not known.",
                outcome="bad-rescale",
            )
        slopes.append(slope)
        intercepts.append(intercept)
    slope_of, intercept_of = np.array(slopes), np.array(intercepts)
    exact = _exact_in_int16(stored, slope_of, intercept_of)
    if exact and np.all(slope_of == 1) and np.all(intercept_of == 0):
        return stored.astype(np.int16, copy=False)
    if exact:
        return _rescale_exactly(stored, map(int, slopes), map(int, intercepts))
    result = np.empty(stored.shape, np.float32)
    for at, pixels in enumerate(stored):
        result[at] = pixels.astype(np.float64) * slopes[at] + intercepts[at]
    if not np.isfinite(result).all():
        raise PixelDataError("Some of its pixels are not numbers.", outcome="not-finite")
    return result


def _rescale_exactly(stored: Array, slopes: Iterable[int], intercepts: Iterable[int]) -> Array:
    """Rescale values whose results fit int16; ``stored`` is used up.

    What fits 16 bits is right when it is computed modulo 2**16, in place and without a wider type.
    """
    words = stored.view(np.uint16) if stored.itemsize == 2 else stored.astype(np.uint16)
    for pixels, slope, intercept in zip(words, slopes, intercepts, strict=True):
        if slope != 1:
            np.multiply(pixels, np.uint16(slope % 2**16), out=pixels)
        np.add(pixels, np.uint16(intercept % 2**16), out=pixels)
    return words.view(np.int16)


def _exact_in_int16(
    stored: Array, slopes: npt.NDArray[np.float64], intercepts: npt.NDArray[np.float64]
) -> bool:
    if stored.dtype.kind == "f" or np.any(slopes % 1) or np.any(intercepts % 1):
        return False
    low = stored.min(axis=(1, 2)).astype(np.float64) * slopes + intercepts
    high = stored.max(axis=(1, 2)).astype(np.float64) * slopes + intercepts
    ends = np.concatenate([low, high])
    return bool(ends.min() >= _INT16.min and ends.max() <= _INT16.max)
