"""Order statistics of many structures at once: exact, in memory that does not grow with them.

The values of a structure are never gathered or sorted: for one that fills a large volume that would
take as much memory as the volume. They are counted instead, first by their highest bits, then,
within each bin that holds a value that is looked for, by the next ones, until all bits are known (a
radix selection). Twelve-bit data, such as CT, needs one pass, float32 three.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SHARES = {
    "minimum": 0.0,
    "p05": 0.05,
    "p10": 0.10,
    "p25": 0.25,
    "median": 0.50,
    "p75": 0.75,
    "p90": 0.90,
    "p95": 0.95,
    "maximum": 1.0,
}
"""Those of ``bundles.output.STATISTICS`` that depend on the order of the values alone."""

_DIGIT_BITS = 12
_BLOCK_VOXELS = 1 << 20
_DENSE = 0.5
"""Share of a block from which on picking out the structures costs more than it saves."""
_SINGLE, _DOUBLE = 4, 8

_Places = npt.NDArray[np.intp]
_Keys = npt.NDArray[np.uint64]


def find_percentiles(
    voxels: npt.NDArray[np.generic],
    labels: npt.NDArray[np.uint8],
    counts: Mapping[int, int],
    shares: Sequence[float],
) -> dict[int, tuple[float, ...]]:
    """Percentiles of the voxels of each structure, between two values in proportion.

    These are numpy's, and those of method 7 of Hyndman and Fan (1996).

    Args:
        voxels: ``(slice, row, column)``, integers or floats without NaN.
        labels: uint8 of the same shape.
        counts: voxels of each structure that is asked for, by its value; none is 0.
        shares: 0 is the smallest value, 1 the largest.

    Returns:
        By the structure's value, one number for each of ``shares``.
    """
    ranks: list[tuple[int, int]] = []
    for value, count in counts.items():
        for share in shares:
            at = (count - 1) * share
            ranks += [(value, math.floor(at)), (value, math.ceil(at))]
    if not ranks:
        return {}
    found = iter(_select(voxels, labels, np.array(ranks, np.int64)).tolist())
    percentiles = {}
    for value, count in counts.items():
        row = []
        for share in shares:
            below, above = next(found), next(found)
            row.append(below + (above - below) * ((count - 1) * share % 1.0))
        percentiles[value] = tuple(row)
    return percentiles


@dataclass(frozen=True, slots=True)
class _Scale:
    """Numbers as unsigned integers in the same order.

    An integer is its distance from the lowest of all. The bits of a float are in order once the
    sign bit is flipped, and of a negative one all bits.

    Attributes:
        bits: how many of the integers' bits are in use.
        lowest: what is 0, of integers.
        float_bytes: 0 for integers.
    """

    bits: int
    lowest: int
    float_bytes: int

    @staticmethod
    def of(voxels: npt.NDArray[np.generic]) -> _Scale:
        if voxels.dtype.kind == "f":
            size = _SINGLE if voxels.dtype.itemsize <= _SINGLE else _DOUBLE
            return _Scale(8 * size, 0, size)
        lowest, highest = int(voxels.min()), int(voxels.max())
        return _Scale(max((highest - lowest).bit_length(), 1), lowest, 0)

    def encode(self, values: npt.NDArray[np.generic]) -> _Keys:
        if not self.float_bytes:
            return (values.astype(np.int64) - self.lowest).view(np.uint64)
        size = self.float_bytes
        raw = np.ascontiguousarray(values, f"f{size}").view(f"u{size}").astype(np.uint64)
        sign, ones = self._marks()
        return np.where(raw & sign, raw ^ ones, raw | sign)

    def decode(self, keys: _Keys) -> npt.NDArray[np.float64]:
        if not self.float_bytes:
            return keys.astype(np.float64) + self.lowest
        size = self.float_bytes
        sign, ones = self._marks()
        raw = np.where(keys & sign, keys ^ sign, keys ^ ones)
        return raw.astype(f"u{size}").view(f"f{size}").astype(np.float64)

    def _marks(self) -> tuple[np.uint64, np.uint64]:
        return np.uint64(1 << (self.bits - 1)), np.uint64((1 << self.bits) - 1)


@dataclass(frozen=True, slots=True)
class _Digit:
    """Some bits of a key."""

    shift: int
    width: int

    def of(self, keys: _Keys) -> _Places:
        part = (keys >> np.uint64(self.shift)) & np.uint64((1 << self.width) - 1)
        return part.astype(np.intp)


def _list_digits(bits: int) -> list[_Digit]:
    """As few of about the same width as there can be, the highest first."""
    parts = math.ceil(bits / _DIGIT_BITS)
    edges = [bits * part // parts for part in range(parts, -1, -1)]
    return [_Digit(low, high - low) for high, low in itertools.pairwise(edges)]


def _select(
    voxels: npt.NDArray[np.generic], labels: npt.NDArray[np.uint8], ranks: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """The values at ``ranks``, rows of a structure's value and a place among its sorted voxels."""
    scale = _Scale.of(voxels)
    slots: _Places = ranks[:, 0].astype(np.intp)
    left = ranks[:, 1].copy()
    keys = np.zeros(len(ranks), np.uint64)
    size = int(labels.max()) + 1
    steps: list[tuple[_Digit, _Places]] = []
    for digit in _list_digits(scale.bits):
        counts = _count(list_blocks(voxels, labels), scale, steps, digit, size)
        up_to = counts.cumsum(axis=1)[slots]
        chosen = (up_to <= left[:, np.newaxis]).sum(axis=1)
        below = np.take_along_axis(up_to, np.maximum(chosen - 1, 0)[:, np.newaxis], axis=1)[:, 0]
        left -= np.where(chosen > 0, below, 0)
        keys = (keys << np.uint64(digit.width)) | chosen.astype(np.uint64)
        bins, slots = np.unique((slots << digit.width) | chosen, return_inverse=True)
        table = np.full(size << digit.width, -1, np.intp)
        table[bins] = np.arange(len(bins))
        steps.append((digit, table))
        size = len(bins)
    return scale.decode(keys)


def _count(
    blocks: Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.generic]]],
    scale: _Scale,
    steps: Sequence[tuple[_Digit, _Places]],
    digit: _Digit,
    size: int,
) -> npt.NDArray[np.int64]:
    """How many voxels of each slot have which digit: ``(slot, digit)``.

    A slot is a structure and the higher digits that are still looked for; ``steps`` lead to it.
    """
    counts = np.zeros(size << digit.width, np.int64)
    for names, values in blocks:
        slots: _Places = names.astype(np.intp)
        keys = scale.encode(values)
        for known, table in steps:
            slots = table[(slots << known.width) | known.of(keys)]
            wanted = slots >= 0
            slots, keys = slots[wanted], keys[wanted]
        counts += np.bincount((slots << digit.width) | digit.of(keys), minlength=counts.size)
    return counts.reshape(size, -1)


def list_blocks(
    voxels: npt.NDArray[np.generic], labels: npt.NDArray[np.uint8]
) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.generic]]]:
    """Labels and values of a few slices at a time; where most are background, without those."""
    depth = max(1, _BLOCK_VOXELS // max(labels[0].size, 1))
    for start in range(0, len(labels), depth):
        names = labels[start : start + depth]
        present = np.count_nonzero(names)
        if not present:
            continue
        values = voxels[start : start + depth].ravel()
        names = names.ravel()
        if present <= names.size * _DENSE:
            inside = np.flatnonzero(names != 0)
            names, values = names[inside], values[inside]
        yield names, values
