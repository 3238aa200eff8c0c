"""Descriptions: what stays are words that are on a list and in nobody's name."""

from __future__ import annotations

import re
from collections.abc import Collection
from itertools import pairwise

from secondread.deid.profile.table import words

_PIECE = re.compile(r"[A-Za-z]+\d?[A-Za-z]*|\d+[A-Za-z]+|\d+")
_NAME = re.compile(rb"[A-Za-z]{2,}")
_DIGITS_MAX = 3
_UNITS = frozenset({"mm", "cm", "kv", "kvp", "mas", "ms"})
# ISO 2022 sets of two bytes between their escape sequences (PS3.5 6.1.2.5), and the pairs of
# GB18030 and GBK: their second byte may look like a letter.
_ESCAPED = re.compile(rb"\x1b\$\)?[@A-Z].*?(?=\x1b|$)", re.DOTALL)
_PAIR = re.compile(rb"[\x80-\xff][\x00-\xff]?|\x1b[(\-)][A-Z]?")


def names_in(value: bytes) -> set[str]:
    """The words of a name or an identifier, in small letters."""
    return {found.decode("ascii").lower() for found in _NAME.findall(_plain(value))}


def clean(value: bytes, names: Collection[str]) -> bytes:
    """The known words of a text, each as it was written, with one space between them.

    A number stays only before a unit of a scan, such as ``mm``: any other may be an age, a date or
    an identifier. A word that occurs in ``names`` (small letters) does not stay even if it is on
    the list.
    """
    pieces = _PIECE.findall(_plain(value).decode("ascii", "replace"))
    kept = [
        piece
        for piece, following in pairwise((*pieces, ""))
        if piece.lower() not in names and (_is_known(piece.lower()) or _is_size(piece, following))
    ]
    return " ".join(kept).encode("ascii")


def _is_known(word: str) -> bool:
    return word in words() or word in _UNITS


def _is_size(piece: str, following: str) -> bool:
    return piece.isdigit() and len(piece) <= _DIGITS_MAX and following.lower() in _UNITS


def _plain(value: bytes) -> bytes:
    return _PAIR.sub(b" ", _ESCAPED.sub(b" ", value))
