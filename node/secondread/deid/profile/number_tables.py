"""Look-up tables, vector grids and spectra: whether they are what the attributes beside them say.

A table of numbers has room for a text, and no rule of PS3.15 looks inside. So one stays only if it
is as long as its descriptor says, uses no more bits, and holds no run of letters that a table of
its kind would not hold by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

Entries = npt.NDArray[np.int64]
"""The entries of a look-up table, one after the other."""

LUT_DATA, LUT_DESCRIPTOR = 0x00283006, 0x00283002
RED_DATA, GREEN_DATA, BLUE_DATA, ALPHA_DATA = range(0x00281201, 0x00281205)
_DESCRIPTOR_OFF, _SEGMENTED_DESCRIPTOR_OFF = 0x100, 0x120
_TABLES = {LUT_DATA: LUT_DESCRIPTOR} | {
    data: data - _DESCRIPTOR_OFF for data in range(RED_DATA, ALPHA_DATA + 1)
}
SEGMENTED = {data: data - _SEGMENTED_DESCRIPTOR_OFF for data in range(0x00281221, 0x00281225)}
_GRID, _GRID_DIMENSIONS = 0x00640009, 0x00640007
_SPECTRA = 0x56000020
_FRAMES, _ROWS, _COLUMNS = 0x00280008, 0x00280010, 0x00280011
_POINT_ROWS, _POINT_COLUMNS, _REPRESENTATION = 0x00289001, 0x00289002, 0x00289108

BESIDE = frozenset({*_TABLES.values(), *SEGMENTED.values(), _GRID_DIMENSIONS}) | {
    *(_FRAMES, _ROWS, _COLUMNS, _POINT_ROWS, _POINT_COLUMNS, _REPRESENTATION)
}
"""What has to be known of the data set or item that a table is in."""

_PHOTOMETRIC, _MODALITY_LUTS = 0x00280004, 0x00283000

_ALL_ENTRIES, _BYTE_BITS = 65536, 8
_BITS = range(8, 17)
_DISCRETE, _LINEAR = 0, 1
_VECTOR_MAX_MM = 10_000.0
_LETTERS = re.compile(rb"[A-Za-z0-9^=_ -]{8,}")
_WIDE_LETTERS = re.compile(rb"(?:[A-Za-z0-9^=_ -]\0){8,}")
_LETTERS_OF_FLOATS = re.compile(rb"[A-Za-z0-9^=_ -]{20}")
"""Three bytes of each float are as good as random, so that short runs come of themselves."""
_BEND_MAX_BYTES, _BEND_MAX_WORDS = 4, 64
_BENDS = 6
"""Of eight letters in a row."""


def is_number_table(tag: int, value: bytes, beside: Mapping[int, bytes]) -> bool:
    """Whether bulk data are the numbers that they should be.

    Args:
        tag: one of ``bulk`` in ``technical.toml``.
        value: in little endian.
        beside: the values of ``BESIDE`` in the same data set or item.
    """
    if tag in _TABLES:
        found = _descriptor(beside.get(_TABLES[tag], b""))
        entries = found and _plain(value, *found)
        return entries is not None and not _holds_text(entries)
    if tag in SEGMENTED:
        found = _descriptor(beside.get(SEGMENTED[tag], b""))
        return found is not None and _is_segmented(value, *found)
    count = _count_floats(tag, beside)
    if not count or len(value) != 4 * count or _LETTERS_OF_FLOATS.search(value):
        return False
    numbers = np.frombuffer(value, "<f4")
    largest = np.abs(numbers).max()
    return bool(np.isfinite(largest)) and (tag != _GRID or float(largest) <= _VECTOR_MAX_MM)


def lost_table(root: Mapping[int, bytes], cleaned: Mapping[int, bytes]) -> str:
    """Why an object whose look-up table had to go is worth nothing without it; '' where it is.

    Args:
        root: the values of its data set.
        cleaned: the elements that stay.
    """
    is_palette = root.get(_PHOTOMETRIC, b"").strip(b" \0") == b"PALETTE COLOR"
    colours = {*range(RED_DATA, ALPHA_DATA + 1), *SEGMENTED}
    wanted = (colours if is_palette else set()) | {_MODALITY_LUTS}
    if not any(tag in root and tag not in cleaned for tag in wanted):
        return ""
    return (
        "the look-up table of its pixels is not of the length and bits that it says, or holds "
        "letters among its numbers"
    )


def _descriptor(value: bytes) -> tuple[int, int] | None:
    """Entries and bits of each (PS3.3 C.11.1.1.1, C.7.6.3.1.5)."""
    if len(value) != 6:
        return None
    entries, _, bits = np.frombuffer(value, "<u2").tolist()
    return (entries or _ALL_ENTRIES, bits) if bits in _BITS else None


def _plain(value: bytes, count: int, bits: int) -> Entries | None:
    """The entries; None where there are more or fewer of them, or one has more bits."""
    padding = count % 2
    if bits == _BYTE_BITS and len(value) == count + padding and not any(value[count:]):
        return np.frombuffer(value, np.uint8, count).astype(np.int64)
    if len(value) != 2 * count:
        return None
    entries = np.frombuffer(value, "<u2").astype(np.int64)
    return entries if entries.max() < 1 << bits else None


def _is_segmented(value: bytes, count: int, bits: int) -> bool:
    """Whether discrete and linear segments give so many entries (PS3.3 C.7.9.2).

    Indirect segments, which repeat others, are known to nobody's palettes and are not looked into.
    """
    for type_ in ["<u2"] if bits > _BYTE_BITS else ["u1", "<u2"]:
        if len(value) % np.dtype(type_).itemsize:
            continue
        words = np.frombuffer(value, type_).astype(np.int64)
        segments = list(_segments(words))
        total = sum(length for length, _ in segments)
        if total == count and segments[-1][0]:
            parts = [part for _, part in segments]
            ends = np.array([part[-1] for part in parts])
            fits = all(part.max() < 1 << bits for part in parts)
            return fits and not any(_holds_text(part) for part in (*parts, ends))
    return False


def _segments(words: Entries) -> Iterator[tuple[int, Entries]]:
    """(entries that it gives, values that it names) of each segment; (0, …) where it is damaged."""
    at = 0
    while at < len(words):
        opcode, length = int(words[at]), int(words[at + 1]) if at + 1 < len(words) else 0
        size = length if opcode == _DISCRETE else 1
        named = words[at + 2 : at + 2 + size]
        if opcode not in (_DISCRETE, _LINEAR) or not length or len(named) < size:
            # What is left of an odd number of bytes is padding.
            if at == len(words) - 1 and not opcode:
                return
            yield 0, words[:1]
            return
        yield length, named
        at += 2 + size


def _holds_text(entries: Entries) -> bool:
    """Whether a run of letters stands in a table that does not come to it by climbing or falling.

    A ramp goes through all letters, but evenly; and entries that repeat count once.
    """
    kept = np.concatenate([entries[:1], entries[1:][np.diff(entries) != 0]])
    high, low = kept >> 8, kept & 0xFF
    for octets, other in ((low, high), (high, low)):
        if (other == other[0]).all() or (low == high).all():
            return _has_letters(octets.astype(np.uint8).tobytes(), octets, 1, _BEND_MAX_BYTES)
    content = kept.astype("<u2").tobytes()
    return _has_letters(content, kept, 2, _BEND_MAX_WORDS) or any(
        _leaps(byte[run.start() // 2 : run.end() // 2], _BEND_MAX_BYTES)
        for run in _WIDE_LETTERS.finditer(content)
        for byte in (high if run.start() % 2 else low,)
    )


def _has_letters(octets: bytes, entries: Entries, width_bytes: int, bend_max: int) -> bool:
    for run in _LETTERS.finditer(octets):
        first, last = run.start() // width_bytes, (run.end() - 1) // width_bytes
        if _leaps(entries[first : last + 1], bend_max):
            return True
    return False


def _leaps(entries: Entries, bend_max: int) -> bool:
    """Whether the step from entry to entry changes all the time; at a knee it does once."""
    bent = np.abs(np.diff(entries, 2)) > bend_max
    window = min(_BENDS, len(bent))
    if not window:
        return False
    most = np.convolve(bent, np.ones(window, np.int64)).max()
    return bool(most >= (window + 1) // 2)


def _count_floats(tag: int, beside: Mapping[int, bytes]) -> int:
    """How many numbers of 4 bytes there are; 0 where nobody can tell."""
    if tag == _GRID:
        dimensions = beside.get(_GRID_DIMENSIONS, b"")
        if len(dimensions) != 12:
            return 0
        x, y, z = np.frombuffer(dimensions, "<u4").tolist()
        return int(3 * x * y * z)
    if tag != _SPECTRA:
        return 0
    frames = beside.get(_FRAMES, b"1").strip(b" \0")
    complex_ = beside.get(_REPRESENTATION, b"").strip(b" \0") == b"COMPLEX"
    count = (int(frames) if frames.isdigit() else 0) * (2 if complex_ else 1)
    for part, size_bytes in ((_ROWS, 2), (_COLUMNS, 2), (_POINT_ROWS, 4), (_POINT_COLUMNS, 4)):
        number = beside.get(part, b"")
        count *= int.from_bytes(number, "little") if len(number) == size_bytes else 0
    return count
