"""Looks for tokens in bytes, whatever they are written in.

A token is a mark and a number; UIDs and dates have marks of their own form. The scanner looks for
the marks in Latin-1 and UTF-8, UTF-16, base64 at its three alignments and hexadecimal, and again in
everything that gzip, zlib or deflate unpack, to three layers.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

MARK = "QZXJKV"
UID_MARK = "1.2.826.0.1.3680043.10.9999"
YEAR = 1861
"""Dates are planted in this year: nobody's data have such, and dates move by more than a year."""

_AROUND = 10
_LAYERS = 3
_UNPACKED_MAX = 1 << 20
_PACKED = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]")
_GZIP_OR_ZLIB = 47
_DEFLATE = -15
_TASTE_BYTES, _TASTE_MAX = 48, 64


def spellings(text: str) -> Iterator[bytes]:
    plain = text.encode("ascii")
    yield plain
    yield text.encode("utf-16-le")
    yield text.encode("utf-16-be")
    yield plain.hex().encode()
    yield plain.hex().upper().encode()
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + plain)
        start = -(-before * 8 // 6)
        end = (before + len(plain)) * 8 // 6
        yield coded[start:end]


_DATE = rb"(?<![0-9.])%d-?(?:0[1-9]|1[0-2])-?(?:[0-2][0-9]|3[01])(?![0-9.]{3})" % YEAR


class Scanner:
    """Finds marks, and any other texts that are given.

    Args:
        others: texts to look for besides, such as names in another script, already encoded.
        dates: whether a planted date counts.
        layers: how often what is packed is unpacked.
    """

    def __init__(
        self, others: Iterable[bytes] = (), dates: bool = True, layers: int = _LAYERS
    ) -> None:
        self._layers = layers
        marks = {*spellings(MARK), *spellings(UID_MARK)}
        patterns = [re.escape(each) for each in (*marks, *others)]
        self._pattern = re.compile(b"|".join([*patterns, *([_DATE] if dates else [])]))

    def scan(self, content: bytes, layer: int = 0) -> list[bytes]:
        """Each place where something is found, with what stands around it."""
        found = [
            content[max(match.start() - _AROUND, 0) : match.end() + _AROUND]
            for match in self._pattern.finditer(content)
        ]
        if layer < self._layers:
            for inner in _unpacked(content, layer):
                found += self.scan(inner, layer + 1)
        return found

    def scan_folder(self, folder: Path) -> dict[str, list[bytes]]:
        """What is found by the path of each file in a folder, its name included."""
        found = {}
        for path in sorted(folder.rglob("*")):
            here = self.scan(str(path.relative_to(folder)).encode())
            if path.is_file():
                here += self.scan(path.read_bytes())
            if here:
                found[str(path)] = here
        return found


def _unpacked(content: bytes, layer: int) -> Iterator[bytes]:
    for match in _PACKED.finditer(content):
        yield from _unpack(content[match.start() :], _GZIP_OR_ZLIB)
    if layer == 0:
        for at in _deflate_starts(content):
            taste = content[at : at + _TASTE_BYTES]
            try:
                zlib.decompressobj(_DEFLATE).decompress(taste, _TASTE_MAX)
            except zlib.error:
                continue
            yield from _unpack(content[at:], _DEFLATE)


def _deflate_starts(content: bytes) -> list[int]:
    """Where a raw deflate stream may begin (RFC 1951 3.2.3): it has no mark of its own.

    A stored block needs no unpacking to be found; a block with its own codes says how many it has.
    """
    first = np.frombuffer(content, np.uint8)
    second = np.append(first[1:], np.uint8(255))
    fixed = (first & 6) == 2
    own = ((first & 6) == 4) & ((first >> 3) <= 29) & ((second & 31) <= 29)
    return [int(at) for at in np.flatnonzero(fixed | own)]


def _unpack(content: bytes, window: int) -> Iterator[bytes]:
    machine = zlib.decompressobj(window)
    try:
        unpacked = machine.decompress(content, _UNPACKED_MAX)
    except zlib.error:
        return
    if len(unpacked) >= len(MARK):
        yield unpacked
