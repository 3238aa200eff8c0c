"""From stored pixels to modality values.

The values are the output of the Modality LUT (PS3.3 C.11.1), so HU for CT. MONOCHROME1 changes how
a viewer shows them (PS3.3 C.7.6.3.1.2), not what they are, and so nothing is inverted here. A
Pixel Padding Value is a value like any other. Colour is refused, even where red, green and blue
are alike: that they are grey is a guess. So is a Modality LUT Sequence: its entries are seldom in
the modality's unit, and what they are in is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom._uid_dict import UID_dictionary

from secondread.dicom.codecs import CODECS
from secondread.dicom.contexts import UNCOMPRESSED_SYNTAXES
from secondread.dicom.decompress import DEFLATED, Decompressor
from secondread.dicom.headers import PixelLayout
from secondread.dicom.native import read_native
from secondread.dicom.rescale import Rescale, side_by_side
from secondread.dicom.stored_values import Decoder, StoredPlane, StoredVolume, stored_type
from secondread.errors import PixelDataError

__all__ = ["VOXELS_MAX", "Decoder", "StoredPlane", "fault_of", "read_voxels", "why_undecodable"]

Array = npt.NDArray[Any]

VOXELS_MAX = 2**30
_NATIVE = frozenset(item.uid for item in UNCOMPRESSED_SYNTAXES)
_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
# PS3.3 C.7.6.3.1.2, the retired ones too.
_COLOURS = ("RGB", "YBR", "ARGB", "CMYK", "HSV", "XYB")
_SOUND = ("", "")


def why_undecodable(layout: PixelLayout) -> str:
    """A sentence why pixels of this layout cannot be read here; empty when they can."""
    return fault_of(layout)[1]


def read_voxels(planes: Sequence[StoredPlane], decoder: Decoder | None = None) -> Array:
    """Read, decode and rescale planes of one size.

    Args:
        planes: in the order of the volume.
        decoder: decodes what is compressed; without it this process does.

    Returns:
        ``(slice, row, column)``, C order, in modality units: int16 where that is exact, else
        float32.

    Raises:
        PixelDataError: the outcome is ``too-large``, ``no-pixels``, ``palette``, ``colour``,
            ``photometric``, ``mixed-photometric``, ``mixed-sizes``, ``modality-table``, ``bits``,
            ``unknown-compression``, ``truncated-pixels``, ``undecodable-pixels``, ``bad-rescale``
            or ``not-finite``, or one of the decoder's own.
    """
    first = planes[0].layout
    if len(planes) * first.rows * first.columns > VOXELS_MAX:
        raise PixelDataError(
            f"It has {len(planes)} slices of {first.rows} x {first.columns}: more voxels than "
            "the node reads at once.",
            outcome="too-large",
        )
    _check_layouts(planes)
    kind = np.result_type(*{stored_type(item.layout) for item in planes})
    packed = [at for at, item in enumerate(planes) if not item.layout.offset]
    if len(packed) == len(planes):
        stored = (decoder or Decompressor()).decode(list(planes), kind)
        return Rescale(planes, stored).finish()
    stored = StoredVolume.empty((len(planes), first.rows, first.columns), kind)
    if packed:
        decoded = (decoder or Decompressor()).decode([planes[at] for at in packed], kind)
        stored.values[packed] = decoded.values
        stored.lows[packed], stored.highs[packed] = decoded.lows, decoded.highs
    native = [at for at, item in enumerate(planes) if item.layout.offset]
    rescale = Rescale(planes, stored)
    side_by_side(
        lambda start, end: read_native(planes, native[start:end], stored, rescale.apply_early),
        len(native),
        stored.values.nbytes,
    )
    return rescale.finish()


def _check_layouts(planes: Sequence[StoredPlane]) -> None:
    # Of hundreds of slices most differ in nothing but where their pixels lie.
    kinds = {_kind(item.layout): item.layout for item in planes}
    for layout in kinds.values():
        outcome, reason = fault_of(layout)
        if reason:
            raise PixelDataError(reason, outcome=outcome)
    if len({layout.photometric for layout in kinds.values()}) > 1:
        raise PixelDataError(
            "Some of its images are MONOCHROME1 and others MONOCHROME2, so it is not known whether "
            "their values mean the same.",
            outcome="mixed-photometric",
        )
    if len({(layout.rows, layout.columns) for layout in kinds.values()}) > 1:
        raise PixelDataError("Its images have different sizes.", outcome="mixed-sizes")


def _kind(layout: PixelLayout) -> tuple[object, ...]:
    return (
        *(layout.transfer_syntax_uid, layout.rows, layout.columns, layout.samples),
        *(layout.photometric, layout.bits_allocated, layout.bits_stored, layout.high_bit),
        *(layout.signed, layout.kind, layout.modality_table, layout.offset > 0),
    )


def fault_of(layout: PixelLayout) -> tuple[str, str]:
    """The outcome and the sentence of a layout that cannot be read; two empty strings if it can."""
    fault = _no_grey_values(layout) or _no_cells(layout)
    if fault:
        return fault
    syntax = layout.transfer_syntax_uid
    if syntax in _NATIVE:
        if layout.offset or syntax == DEFLATED:
            return _SOUND
        reason = "Its pixels are compressed, though its transfer syntax says that they are not."
        return "undecodable-pixels", reason
    # A damaged UID is not repeated: what it holds may be anything.
    name = UID_dictionary[syntax][0] if syntax in UID_dictionary else "nothing that is known"
    if syntax not in CODECS:
        return "unknown-compression", f"It is compressed as {name}, which cannot be decoded here."
    if layout.offset:
        # PS3.5 A.4: compressed pixels have an undefined length. What these are is a guess.
        reason = f"Its pixels are not compressed, though it says that they are ({name})."
        return "undecodable-pixels", reason
    if layout.kind != "integer":
        return "unknown-compression", "Its pixels are compressed floating-point numbers."
    return _SOUND


def _no_grey_values(layout: PixelLayout) -> tuple[str, str] | None:
    photometric = layout.photometric
    if not layout.kind:
        return "no-pixels", "It holds no pixels."
    if photometric == "PALETTE COLOR":
        return "palette", "Its pixels are not grey values but PALETTE COLOR, numbers of colours."
    if photometric.startswith(_COLOURS):
        return "colour", f"Its pixels are not grey values but {photometric}."
    if photometric not in _MONOCHROME:
        known = "absent" if not photometric else "one that is not known"
        return (
            "photometric",
            f"Its pixels are not grey values: its Photometric Interpretation is {known}.",
        )
    if layout.samples != 1:
        reason = f"Its pixels have {layout.samples} samples, which grey values do not."
        return "photometric", reason
    if layout.modality_table:
        reason = "Its values pass through a look-up table, which is not supported."
        return "modality-table", reason
    return None


def _no_cells(layout: PixelLayout) -> tuple[str, str] | None:
    if layout.kind != "integer":
        return None
    sound = 1 <= layout.bits_stored <= layout.bits_allocated
    if layout.bits_allocated not in {8, 16, 32} or not sound:
        return "bits", (
            f"It stores {layout.bits_stored} of {layout.bits_allocated} bits for each pixel, "
            "which cannot be read."
        )
    if not layout.bits_stored - 1 <= layout.high_bit < layout.bits_allocated:
        return "bits", f"Its High Bit is {layout.high_bit} with {layout.bits_stored} bits stored."
    return None
