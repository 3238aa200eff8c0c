"""Coded entries (PS3.3 8.8): a code that the standard publishes stays, any other does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from secondread.deid.profile.elements import encode

CODE_VALUE, SCHEME, SCHEME_VERSION, MEANING = 0x00080100, 0x00080102, 0x00080103, 0x00080104
LONG_CODE_VALUE, URN_CODE_VALUE = 0x00080119, 0x00080120
MACRO = frozenset(
    {CODE_VALUE, SCHEME, SCHEME_VERSION, MEANING, LONG_CODE_VALUE, URN_CODE_VALUE}
    | {0x00080101, 0x00080105, 0x00080106, 0x00080107, 0x0008010B, 0x0008010D, 0x0008010F}
    | {0x00080117, 0x00080118, 0x00080121, 0x00080122}
)
"""Basic and enhanced coded entry (PS3.3 tables 8.8-1a and 8.8-1b)."""
MARKS = frozenset({CODE_VALUE, MEANING, LONG_CODE_VALUE, URN_CODE_VALUE})
_VALUE_MAX, _MEANING_MAX = 16, 64
_WITHHELD = ("REMOVED", "99SECONDREAD", "Removed")


def encode_code(value: str, scheme: str, meaning: str) -> bytes:
    """The three attributes of a coded entry."""
    return (
        encode(CODE_VALUE, b"SH", value.encode("ascii"))
        + encode(SCHEME, b"SH", scheme.encode("ascii"))
        + encode(MEANING, b"LO", meaning.encode("ascii"))
    )


def clean_code(parts: Mapping[int, bytes]) -> tuple[bytes, bool]:
    """A coded entry of which only what the standard publishes is left, and whether it was known.

    Its meaning becomes the standard's, for a meaning is a text like any other.
    """
    value = _text(parts.get(CODE_VALUE, b""))
    scheme = _text(parts.get(SCHEME, b""))
    if value and scheme == "SRT":
        value, scheme = _from_srt().get(value, value), "SCT"
    meaning = _meanings().get((scheme, value)) if value else None
    if meaning is None:
        return encode_code(*_WITHHELD), False
    return encode_code(value, scheme, meaning), True


def _text(value: bytes) -> str:
    return value.strip(b" \0").decode("ascii", "replace")


@lru_cache(1)
def _meanings() -> Mapping[tuple[str, str], str]:
    shortest: dict[tuple[str, str], str] = {}
    for code, meaning in _published():
        shortest[code] = min(shortest.get(code, meaning), meaning, key=len)
    return shortest


def _published() -> Iterator[tuple[tuple[str, str], str]]:
    """Every code of the context groups of PS3.16, as pydicom has them; half a second to load."""
    from pydicom.sr._concepts_dict import concepts

    catalogue: Any = concepts
    for scheme, by_keyword in catalogue.items():
        for codes in by_keyword.values():
            for value, (meaning, _) in codes.items():
                if (
                    meaning.isascii()
                    and value.isascii()
                    and len(meaning) <= _MEANING_MAX
                    and len(value) <= _VALUE_MAX
                ):
                    yield (scheme, value), meaning


@lru_cache(1)
def _from_srt() -> Mapping[str, str]:
    """SNOMED CT identifiers by their older SNOMED RT ones (PS3.16 annex O)."""
    from pydicom.sr._snomed_dict import mapping

    return mapping["SRT"]
