"""Whether a value can name anybody, and what stands in its place if it can."""

from __future__ import annotations

import re
from functools import lru_cache

from pydicom._dicom_dict import DicomDictionary

from secondread.deid.profile import table
from secondread.deid.profile.codes import encode_code
from secondread.deid.profile.elements import encode, encode_sequence

_SIZES = {b"US": 2, b"SS": 2, b"UL": 4, b"SL": 4, b"UV": 8, b"SV": 8, b"FL": 4, b"FD": 8, b"AT": 4}
_DECIMAL = re.compile(rb"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")
_INTEGER = re.compile(rb"[+-]?\d+")
_NUMBER_CHARACTERS_MAX = {b"DS": 16, b"IS": 12}
_LETTERS = re.compile(rb"[A-Za-z0-9^=_ -]{8}")
"""Eight in a row hardly ever occur in binary numbers, and always in a text."""
_AGE = re.compile(rb"(\d{3})([DWMY])")
_AGE_MAX_YEARS = 90
_DUMMIES = {
    b"AE": b"REMOVED",
    b"AS": b"000D",
    b"CS": b"UNKNOWN",
    b"DA": b"19000101",
    b"DS": b"0",
    b"DT": b"19000101000000",
    b"IS": b"0",
    b"LO": b"REMOVED",
    b"LT": b"REMOVED",
    b"PN": b"REMOVED",
    b"SH": b"REMOVED",
    b"ST": b"REMOVED",
    b"TM": b"000000",
    b"UC": b"REMOVED",
    b"UR": b"urn:removed",
    b"UT": b"REMOVED",
    b"OB": b"\0\0",
}


def is_harmless(tag: int, vr: bytes, value: bytes, values_max: int) -> bool:
    """Whether a value is nothing but numbers, known code strings or a known technical text."""
    size = _SIZES.get(vr)
    if size:
        return _is_binary(vr, value, size, values_max)
    parts = [part.strip(b" \0") for part in value.split(b"\\")]
    if values_max and len(parts) > values_max:
        return False
    if vr in _NUMBER_CHARACTERS_MAX:
        pattern = _DECIMAL if vr == b"DS" else _INTEGER
        longest = _NUMBER_CHARACTERS_MAX[vr]
        return all(not part or (len(part) <= longest and pattern.fullmatch(part)) for part in parts)
    if vr == b"CS":
        return all(not part or part in table.terms() for part in parts)
    pattern_of_text = table.technical_texts().get(tag)
    return pattern_of_text is not None and all(
        not part or pattern_of_text.fullmatch(part) for part in parts
    )


def _is_binary(vr: bytes, value: bytes, size: int, values_max: int) -> bool:
    if len(value) % size or (values_max and len(value) > values_max * size):
        return False
    if vr == b"AT":
        return all(_is_attribute(value[at : at + 4]) for at in range(0, len(value), 4))
    return not _LETTERS.search(value)


def _is_attribute(value: bytes) -> bool:
    group, number = (int.from_bytes(value[at : at + 2], "little") for at in (0, 2))
    return group << 16 | number in DicomDictionary


def known_terms(vr: bytes, value: bytes) -> bytes | None:
    """The values of a code string that mean something technical, the others as ``OTHER``.

    Image Type and Scan Options hold vendors' own words between the standard's; what stands where
    matters (PS3.3 C.7.6.1.1.2), so a place is kept.
    """
    if vr != b"CS":
        return None
    parts = [part.strip(b" \0") for part in value.split(b"\\")]
    kept = [part if not part or part in table.terms() else b"OTHER" for part in parts]
    return b"\\".join(kept) if len(parts) > 1 and any(part != b"OTHER" for part in kept) else None


def limit_age(value: bytes) -> bytes | None:
    """An age (VR AS) of at most 90 years, or None when it is not one."""
    found = _AGE.fullmatch(value.strip(b" \0"))
    if found is None:
        return None
    too_old = found[2] == b"Y" and int(found[1]) > _AGE_MAX_YEARS
    return b"%03dY" % _AGE_MAX_YEARS if too_old else found[0]


def dummy(vr: bytes) -> bytes | None:
    """A value that is valid for its VR and says nothing; None where there is none."""
    if vr in _SIZES:
        return bytes(_SIZES[vr])
    return _DUMMIES.get(vr)


@lru_cache(1)
def srgb_profile() -> bytes:
    """The colour space sRGB, in place of a device's own profile, which has room for texts."""
    from PIL.ImageCms import ImageCmsProfile, createProfile

    profile = ImageCmsProfile(createProfile("sRGB")).tobytes()
    # ICC.1 7.2.8: the date of its making, which would differ from export to export.
    return profile[:24] + bytes(12) + profile[36:]


def removed_content(tag: int) -> bytes:
    """A Content Sequence of one item that says that there was something."""
    item = (
        encode(0x0040A010, b"CS", b"CONTAINS")
        + encode(0x0040A040, b"CS", b"TEXT")
        + encode_sequence(0x0040A043, [encode_code("121071", "DCM", "Finding")])
        + encode(0x0040A160, b"UT", b"Removed")
    )
    return encode_sequence(tag, [item])


def removed_annotation(tag: int) -> bytes:
    """A Graphic Annotation Sequence of one point in the corner (PS3.3 C.10.5)."""
    point = (
        encode(0x00700005, b"CS", b"PIXEL")
        + encode(0x00700020, b"US", (2).to_bytes(2, "little"))
        + encode(0x00700021, b"US", (1).to_bytes(2, "little"))
        + encode(0x00700022, b"FL", bytes.fromhex("0000803f0000803f"))
        + encode(0x00700023, b"CS", b"POINT")
        + encode(0x00700024, b"CS", b"N")
    )
    item = encode(0x00700002, b"CS", b"UNKNOWN") + encode_sequence(0x00700009, [point])
    return encode_sequence(tag, [item])
