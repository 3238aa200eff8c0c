"""An object's file as it came: its elements found, its values where they are."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydicom._uid_dict import UID_dictionary

from secondread.deid.profile.elements import Element, Scanner
from secondread.dicom.inflate import Inflater
from secondread.dicom.walk import DEFLATED, EXPLICIT_BIG, IMPLICIT_LITTLE
from secondread.errors import CannotUnderstandError, ExportRefusedError

EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
_PREAMBLE_BYTES, _PREFIX = 128, b"DICM"
_TRANSFER_SYNTAX = 0x00020010
_MAPPED_BYTES_MIN = 1 << 24
_INFLATED_BYTES_MAX = 1 << 31


@dataclass(frozen=True, slots=True)
class Source:
    """One object.

    Attributes:
        buffer: the bytes that the elements point into.
        elements: those of the data set itself.
        transfer_syntax: its UID.
    """

    buffer: bytes
    scanner: Scanner
    elements: list[Element]
    transfer_syntax: str

    def value(self, element: Element) -> bytes:
        """The value of an element."""
        return self.buffer[element.start : element.end]


def read_source(path: Path, usual_vr: Callable[[int], bytes]) -> Source:
    """Find the elements of a file.

    Raises:
        CannotUnderstandError: it is not a sound DICOM file.
        ExportRefusedError: its transfer syntax is one that is not exported.
    """
    return parse(_read(path), usual_vr)


def parse(content: bytes, usual_vr: Callable[[int], bytes]) -> Source:
    """Find the elements in the content of a file; see ``read_source``."""
    if content[_PREAMBLE_BYTES : _PREAMBLE_BYTES + len(_PREFIX)] != _PREFIX:
        raise CannotUnderstandError("The file does not begin as a DICOM file does (PS3.10 7.1).")
    scanner = Scanner(content, usual_vr)
    at = _PREAMBLE_BYTES + len(_PREFIX)
    transfer_syntax = ""
    while content[at : at + 2] == b"\x02\0":
        element, at = scanner.first(at, len(content))
        if element.tag == _TRANSFER_SYNTAX:
            transfer_syntax = content[element.start : element.end].strip(b" \0").decode("latin-1")
    if UID_dictionary.get(transfer_syntax, ("", ""))[1] != "Transfer Syntax":
        # It is written into the new file meta information, and may be anything.
        raise ExportRefusedError(
            "An object is in a transfer syntax that the standard does not know."
        )
    if transfer_syntax == EXPLICIT_BIG:
        raise ExportRefusedError(
            "An object is in the retired transfer syntax Explicit VR Big Endian, which is not "
            "exported; convert it first."
        )
    if transfer_syntax == DEFLATED:
        content, at = _inflate(content[at:]), 0
        scanner, transfer_syntax = Scanner(content, usual_vr), EXPLICIT_LITTLE
    is_implicit = transfer_syntax == IMPLICIT_LITTLE
    elements, _ = scanner.elements(at, len(content), is_implicit)
    return Source(content, scanner, elements, transfer_syntax)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        if path.stat().st_size < _MAPPED_BYTES_MIN:
            return file.read()
        # A slice of a map is bytes too; the type has no common name.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return mapped  # type: ignore[return-value]


def _inflate(content: bytes) -> bytes:
    inflater = Inflater(_INFLATED_BYTES_MAX)
    inflated = b"".join(inflater.inflate(memoryview(content)))
    if not inflater.is_complete:
        raise CannotUnderstandError("The deflated data set is cut short.")
    return inflated
