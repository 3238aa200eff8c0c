"""Values of a data set as they stand in the file, read without trust.

Scanners write decimal strings that are not decimal, lists of the wrong length and text in unknown
character sets. Here such a value becomes None or an empty string, never an exception; whoever
needs the value decides what its absence means.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.sequence import Sequence as DicomSequence

# PS3.5 table 6.2-1, DS; float() alone would take 'nan', 'inf' and '1_0' as well.
_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_INTEGER = re.compile(r"[+-]?\d{1,12}")
_PADDING = " \0"


def text(dataset: Dataset, tag: int) -> str:
    """The value of a CS, UI, SH … element as ASCII, without padding; empty when absent."""
    value = _raw(dataset, tag)
    if isinstance(value, bytes):
        return value.decode("ascii", errors="replace").strip(_PADDING)
    return "" if value is None else str(value).strip(_PADDING)


def texts(dataset: Dataset, tag: int) -> tuple[str, ...]:
    """The values of a multi-valued element as ASCII; empty when absent."""
    whole = text(dataset, tag)
    return tuple(part.strip(_PADDING) for part in whole.split("\\")) if whole else ()


def readable_text(dataset: Dataset, tag: int, top: Dataset | None = None) -> str:
    """An LO element in the data set's own character set (PS3.5 6.1), printable characters only.

    ``top`` is the data set that names the character set, where ``dataset`` is an item of it.
    """
    value = _raw(dataset, tag)
    if not isinstance(value, bytes):
        return "" if value is None else str(value).strip(_PADDING)
    plain = value.decode("latin-1")
    if plain.isascii() and plain.isprintable():
        return plain.strip(_PADDING)
    names = list(texts(dataset if top is None else top, 0x00080005)) or [""]
    try:
        decoded = decode_bytes(value, convert_encodings(names), set())
    except (LookupError, ValueError):
        decoded = value.decode("latin-1")
    return "".join(sign if sign.isprintable() else " " for sign in decoded).strip(_PADDING)


def decimals(dataset: Dataset, tag: int, count: int) -> tuple[float, ...] | None:
    """Exactly ``count`` finite numbers of a DS or FD element, or None."""
    element: object = dataset.get_item(tag, keep_deferred=True)
    value = _raw(dataset, tag)
    if isinstance(element, RawDataElement) and element.VR == "FD" and isinstance(value, bytes):
        order = "<" if element.is_little_endian else ">"
        if len(value) != 8 * count:
            return None
        numbers: tuple[float, ...] = struct.unpack(f"{order}{count}d", value)
    else:
        parts = texts(dataset, tag) if isinstance(value, bytes) else _listed(value)
        if len(parts) != count or not all(_DECIMAL.fullmatch(part) for part in parts):
            return None
        numbers = tuple(float(part) for part in parts)
    return numbers if all(math.isfinite(number) for number in numbers) else None


def integer(dataset: Dataset, tag: int) -> int | None:
    """The first value of an IS element, or None."""
    parts = texts(dataset, tag)
    return int(parts[0]) if parts and _INTEGER.fullmatch(parts[0]) else None


def unsigned(dataset: Dataset, tag: int) -> int | None:
    """The value of a US element, or None."""
    element: object = dataset.get_item(tag, keep_deferred=True)
    value = _raw(dataset, tag)
    if isinstance(element, RawDataElement) and isinstance(value, bytes):
        order = "<" if element.is_little_endian else ">"
        return int(struct.unpack(f"{order}H", value[:2])[0]) if len(value) >= 2 else None
    return value if isinstance(value, int) else None


def items(dataset: Dataset, tag: int) -> Sequence[Dataset]:
    """The items of a sequence; empty when it is absent or is no sequence."""
    if tag not in dataset:
        return ()
    try:
        value = dataset[tag].value
    except (
        *(ValueError, TypeError, AttributeError, LookupError, NotImplementedError),
        *(EOFError, OSError, BytesLengthException, struct.error),
    ):
        return ()
    return value if isinstance(value, DicomSequence) else ()


def _raw(dataset: Dataset, tag: int) -> object:
    element = dataset.get_item(tag, keep_deferred=True)
    # A sequence in place of a value would, as text, be all that is in it.
    return None if element is None or element.VR == "SQ" else element.value


def _listed(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, (str, int, float)):
        return tuple(part.strip(_PADDING) for part in str(value).split("\\"))
    return tuple(str(part) for part in value) if isinstance(value, Sequence) else ()
