"""Whose object it is: what pseudonym and date shift derive from, and words that may not stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from secondread.deid.profile.source import Source
from secondread.deid.profile.text import names_in

_PATIENT_NAME, _PATIENT_ID, _ISSUER, _BIRTH_DATE = 0x00100010, 0x00100020, 0x00100021, 0x00100030
_STUDY_UID = 0x0020000D
# Accession Number, Institution Name, Station Name, Department, Other Patient IDs
_NAMING = frozenset({0x00080050, 0x00080080, 0x00081010, 0x00081040, 0x00101000, _PATIENT_ID})


@dataclass(frozen=True, slots=True)
class Person:
    """The patient of an object.

    Attributes:
        identity: what a key makes pseudonym and shift from: issuer and Patient ID; without an ID
            the name and birth date; without these the study, so that two unknown people stay two.
        names: words of the names in the object, in small letters.
    """

    identity: bytes
    names: frozenset[str] = field(compare=False)


def person_of(source: Source, values: Mapping[int, bytes]) -> Person:
    """The person of an object, from the values of its data set by tag."""

    def text(tag: int) -> bytes:
        return values.get(tag, b"").strip(b" \0")

    if text(_PATIENT_ID):
        identity = b"id\0" + text(_ISSUER) + b"\0" + text(_PATIENT_ID)
    elif text(_PATIENT_NAME):
        identity = b"name\0" + text(_PATIENT_NAME) + b"\0" + text(_BIRTH_DATE)
    else:
        identity = b"study\0" + text(_STUDY_UID)
    names: set[str] = set()
    for element in source.elements:
        if element.vr == b"PN" or element.tag in _NAMING:
            names |= names_in(source.value(element))
    return Person(identity, frozenset(names))
