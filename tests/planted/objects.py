"""Writes the planted objects: CT, MR, secondary capture, report and document, in five scripts."""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary

from tests.planted.scanner import MARK, UID_MARK, YEAR

_LONG = set("OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_TEXTS = set("AE LO LT PN SH ST UC UR UT".split())
_FORMED = set("AS CS DA DS DT IS TM UI".split())
_NUMBERS = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "AT": 4, "UV": 8, "SV": 8}
_BULK = set("OB OD OF OL OV OW UN".split())
ROWS = COLUMNS = 16
_PIXELS = 0x7FE00010


@dataclass(frozen=True)
class Kind:
    """One kind of object: its script, and somebody's name in it."""

    name: str
    sop_class: str
    modality: str
    character_set: str
    codec: str
    surname: str
    is_image: bool = True


KINDS = (
    Kind("CT", "1.2.840.10008.5.1.4.1.1.2", "CT", "ISO_IR 100", "latin-1", "Müßiggänger"),
    Kind("MR", "1.2.840.10008.5.1.4.1.1.4", "MR", "ISO_IR 192", "utf-8", "Θεοδωρακης"),
    Kind("SC", "1.2.840.10008.5.1.4.1.1.7", "OT", "GB18030", "gb18030", "欧阳震华"),
    Kind(
        "SR",
        "1.2.840.10008.5.1.4.1.1.88.33",
        "SR",
        "\\ISO 2022 IR 87",
        "iso2022_jp",
        "山田太郎",
        False,
    ),
    Kind(
        "PDF",
        "1.2.840.10008.5.1.4.1.1.104.1",
        "DOC",
        "ISO_IR 144",
        "iso8859_5",
        "Люксембург",
        False,
    ),
)


@dataclass
class Planter:
    """Makes one object and remembers what it planted.

    Attributes:
        is_malformed: dates, numbers, UIDs and codes hold tokens too, in no valid form.
    """

    kind: Kind
    is_malformed: bool = False
    tokens: int = 0
    planted: set[int] = field(default_factory=set)

    def token(self) -> str:
        """The next token, 12 characters, valid in any text."""
        self.tokens += 1
        return f"{MARK}{self.tokens:06d}"

    def write(self, folder: Path) -> Path:
        """Write the object; its name is a token as well."""
        data = b"".join(content for _, content in sorted(self._elements()))
        preamble = (self.token() + "/" + self.token()).encode().ljust(128, b"\0")
        path = folder / f"{self.kind.name}_{self.token()}.dcm"
        path.write_bytes(preamble + b"DICM" + self._meta() + data)
        return path

    def _meta(self) -> bytes:
        meta = (
            element(0x00020001, "OB", b"\0\1")
            + element(0x00020002, "UI", self.kind.sop_class.encode())
            + element(0x00020003, "UI", self._uid())
            + element(0x00020010, "UI", b"1.2.840.10008.1.2.1")
            + element(0x00020012, "UI", self._uid())
            + element(0x00020013, "SH", self.token().encode())
        )
        for tag in (0x00020016, 0x00020017, 0x00020018):
            meta += element(tag, "AE", self.token().encode())
        meta += element(0x00020100, "UI", self._uid())
        meta += element(0x00020102, "OB", self.token().encode())
        return element(0x00020000, "UL", struct.pack("<I", len(meta))) + meta

    def _elements(self) -> Iterator[tuple[int, bytes]]:
        fixed = dict(self._fixed())
        yield from ((tag, element(tag, vr, value)) for tag, (vr, value) in fixed.items())
        for tag, (vrs, multiplicity, *_) in DicomDictionary.items():
            vr = vrs.split(" or ")[-1]
            if tag in fixed or tag >> 16 in (0, 2, 0x7FE0) or vr == "NONE":
                continue
            content = self._sequence(tag) if vr == "SQ" else self._one(tag, vr, multiplicity)
            if content:
                self.planted.add(tag)
                yield tag, content
        yield from self._by_hand()

    def _one(self, tag: int, vr: str, multiplicity: str) -> bytes:
        if vr in _TEXTS:
            return element(tag, vr, self._text(vr))
        if vr in _BULK:
            return element(tag, vr, self._packed())
        if vr in _FORMED:
            return element(tag, vr, self._formed(vr))
        if vr in _NUMBERS and multiplicity.endswith("n"):
            token = self.token().encode().ljust(16, b"7")
            return element(tag, vr, token)
        return b""

    def _text(self, vr: str) -> bytes:
        token = self.token()
        if vr in ("AE", "UR"):
            return token.encode()
        if vr == "SH":
            return (token + "ab").encode()
        if vr == "PN":
            name = f"{self.kind.surname}^{token}"
            return name.encode(self.kind.codec, "replace")
        return f"{self.kind.surname} {token}".encode(self.kind.codec)

    def _packed(self) -> bytes:
        token = (self.token() + " hidden").encode()
        turn = self.tokens % 6
        if turn == 0:
            return gzip.compress(token * 3, mtime=0)
        if turn == 1:
            return zlib.compress(token * 3)
        if turn == 2:
            return zlib.compress(token * 3, wbits=-15)
        if turn == 3:
            return base64.b64encode(b"x" * (self.tokens % 3) + token)
        if turn == 4:
            return token.decode().encode("utf-16-le")
        return token.hex().encode()

    def _formed(self, vr: str) -> bytes:
        if self.is_malformed:
            return self.token().encode()
        if vr == "UI":
            return self._uid()
        if vr in ("DA", "DT"):
            return self._date() + (b"101112.5" if vr == "DT" else b"")
        if vr == "CS":
            return self.token().encode()
        return b""

    def _uid(self) -> bytes:
        self.tokens += 1
        return f"{UID_MARK}.{self.tokens}".encode()

    def _date(self) -> bytes:
        self.tokens += 1
        day = dt.date(YEAR, 1, 1) + dt.timedelta(days=self.tokens % 365)
        return day.strftime("%Y%m%d").encode()

    def _sequence(self, tag: int, depth: int = 1) -> bytes:
        """An item of tokens; some have attributes of every sort and some go five deep."""
        if depth == 1 and (tag >> 2) % 5:
            name = element(0x00100010, "PN", self._text("PN"))
            text = element(0x00181400, "LO", self._text("LO"))
            return sequence(tag, [name + text], (tag >> 5) % 2 == 1)
        item = [
            element(0x00080018, "UI", self._uid()),
            element(0x00080020, "DA", self._date()),
            element(0x00080100, "SH", self.token().encode()),
            element(0x00080102, "SH", b"SCT"),
            element(0x00080104, "LO", self._text("LO")),
            element(0x00090010, "LO", self.token().encode()),
            element(0x00091001, "UT", self.token().encode()),
            element(0x00100010, "PN", self._text("PN")),
            element(0x00181400, "LO", self._text("LO")),
            element(0x00200010, "SH", self.token().encode()),
            element(0x0040A123, "PN", self._text("PN")),
            element(0x0040A160, "UT", self._text("UT")),
        ]
        if depth < 5 and (tag >> 4) % 3 == 0:
            item.append(self._sequence(0x0040A730 if depth % 2 else 0x00081199, depth + 1))
        item.append(element(0x7FE00010, "OB", self._packed()))
        is_open = (tag >> 5) % 2 == 1
        return sequence(tag, [b"".join(item)], is_open)

    def _by_hand(self) -> Iterator[tuple[int, bytes]]:
        """Private blocks, overlays, curves, the padding, and what a dictionary does not know."""
        for group in (0x0009, 0x0019, 0x0029, 0x7FE1):
            yield group << 16 | 0x10, element(group << 16 | 0x10, "LO", self.token().encode())
            for number, vr in enumerate(("LO", "UN", "OB", "PN", "UT", "DS"), start=0x1001):
                tag = group << 16 | number
                yield tag, element(tag, vr, self.token().encode())
            tag = group << 16 | 0x1010
            yield tag, sequence(tag, [element(0x00100010, "PN", self._text("PN"))], True)
        for pattern, (vrs, *_) in RepeatersDictionary.items():
            for group in ("00", "02", "1E"):
                tag = int(pattern.replace("xx", group).replace("x", "0"), 16)
                vr = vrs.split(" or ")[-1]
                if vr not in ("SQ", "NONE") and (tag >> 24) in (0x20, 0x50, 0x60):
                    yield tag, element(tag, vr, self.token().encode().ljust(16, b"0"))
        yield 0x00110101, element(0x00110101, "LO", self.token().encode())
        yield 0x00187777, element(0x00187777, "LO", self.token().encode())
        yield 0xFFFCFFFC, element(0xFFFCFFFC, "OB", self.token().encode())

    def _fixed(self) -> Iterator[tuple[int, tuple[str, bytes]]]:
        """What an object needs so that it can be taken for one."""
        kind = self.kind
        yield 0x00080005, ("CS", kind.character_set.encode())
        yield 0x00080016, ("UI", kind.sop_class.encode())
        yield 0x00080018, ("UI", self._uid())
        yield 0x00080060, ("CS", kind.modality.encode())
        yield 0x00180015, ("CS", b"CHEST")
        yield 0x00280301, ("CS", b"NO")
        yield 0x00280302, ("CS", b"NO")
        yield 0x0020000D, ("UI", f"{UID_MARK}.1".encode())
        yield 0x0020000E, ("UI", self._uid())
        yield 0x00280006, ("US", struct.pack("<H", 0))
        if kind.is_image:
            for tag, value in (
                (0x00280002, 1),
                (0x00280010, ROWS),
                (0x00280011, COLUMNS),
                (0x00280100, 16),
                (0x00280101, 12),
                (0x00280102, 11),
                (0x00280103, 0),
            ):
                yield tag, ("US", struct.pack("<H", value))
            yield 0x00280004, ("CS", b"MONOCHROME2")
            yield 0x00280008, ("IS", b"1")
            yield _PIXELS, ("OW", pixels() + self.token().encode())
        yield 0x00420012, ("LO", b"application/pdf")
        yield 0x00200032, ("DS", b"-125\\-125\\40.5")
        yield 0x00200037, ("DS", b"1\\0\\0\\0\\1\\0")
        yield 0x00280030, ("DS", b"0.5\\0.5")


def pixels() -> bytes:
    """The pixels of every planted image: a ramp of 12 bits."""
    return b"".join(struct.pack("<H", i * 16 % 4096) for i in range(ROWS * COLUMNS))


def element(tag: int, vr: str, value: bytes) -> bytes:
    """An element in Explicit VR Little Endian."""
    if len(value) % 2:
        value += b"\0" if vr in ("UI", "OB", "UN") else b" "
    start = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    if vr in _LONG:
        return start + struct.pack("<HI", 0, len(value)) + value
    return start + struct.pack("<H", len(value)) + value


def sequence(tag: int, items: list[bytes], is_open: bool) -> bytes:
    """A sequence of defined or undefined length."""
    start = struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, b"SQ", 0)
    if is_open:
        body = b"".join(
            struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
            + item
            + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
            for item in items
        )
        end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
        return start + struct.pack("<I", 0xFFFFFFFF) + body + end
    body = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
    return start + struct.pack("<I", len(body)) + body
