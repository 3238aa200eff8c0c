"""Planted studies: tokens in every attribute, and otherwise what a model can take, or nearly."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tests.planted.objects import COLUMNS, KINDS, ROWS, Kind, Planter
from tests.planted.scanner import MARK, UID_MARK

KIND = {kind.name: kind for kind in KINDS}
SLICES = 12
SPACING_MM = 8.0
TOKENS_OF_A_STUDY = 20_000
BRAIN, INNER = 500, 800

UNWANTED = {0x00283000, 0x00289145, 0x00409096, 0x52009229, 0x52009230}
"""A look-up table and functional groups: with them the node takes no image of one frame."""

Fixed = Mapping[int, tuple[str, bytes]]


@dataclass
class PlantedImage(Planter):
    """A planted object, some of whose attributes are as they have to be."""

    as_needed: Fixed = field(default_factory=dict)

    def _elements(self) -> Iterator[tuple[int, bytes]]:
        return (each for each in super()._elements() if each[0] not in UNWANTED)

    def _fixed(self) -> Iterator[tuple[int, tuple[str, bytes]]]:
        yield from super()._fixed()
        yield from self.as_needed.items()

    def _by_hand(self) -> Iterator[tuple[int, bytes]]:
        # A tag that stands twice is refused by intake, as it should be.
        yield from (each for each in super()._by_hand() if each[0] not in self.planted)


@dataclass(frozen=True)
class PlantedStudy:
    """One study.

    Attributes:
        number: decides its UIDs and its tokens.
        varied: whether every object has other tokens, so that they contradict each other.
        without: numbers of images that are missing.
        first: where its SOP Instance UIDs begin to count.
        needed: attributes that are as they have to be, besides those of a sound volume.
    """

    number: int
    kind: Kind = KIND["MR"]
    is_malformed: bool = False
    varied: bool = False
    slices: int = SLICES
    without: Sequence[int] = ()
    first: int = 0
    needed: Fixed = field(default_factory=dict)

    @property
    def uid(self) -> str:
        """Its Study Instance UID, a token."""
        return f"{UID_MARK}.{self.number}"

    def instance_uid(self, at: int) -> str:
        """The SOP Instance UID of one object, a token."""
        return f"{self.uid}.2.{self.first + at + 1}"

    def write(self, folder: Path) -> list[Path]:
        """Write its objects; the names of the files are tokens as well."""
        return [
            self._write(folder / f"{self.number}-{at}", at)
            for at in range(self.slices)
            if at not in self.without
        ]

    def _write(self, folder: Path, at: int) -> Path:
        folder.mkdir(parents=True)
        start = self.number * TOKENS_OF_A_STUDY + (1000 * at if self.varied else 0)
        needed = {**self._sound(at), **self.needed}
        return PlantedImage(self.kind, self.is_malformed, start, as_needed=needed).write(folder)

    def _sound(self, at: int) -> dict[int, tuple[str, bytes]]:
        spacing = f"{SPACING_MM:g}"
        return {
            0x00080008: ("CS", b"ORIGINAL\\PRIMARY\\M"),
            0x00080018: ("UI", self.instance_uid(at).encode()),
            0x00180015: ("CS", b"HEAD"),
            0x00180050: ("DS", spacing.encode()),
            0x0020000D: ("UI", self.uid.encode()),
            0x0020000E: ("UI", f"{self.uid}.1".encode()),
            0x00200011: ("IS", b"2"),
            0x00200013: ("IS", str(at + 1).encode()),
            0x00200032: ("DS", f"-60\\-60\\{at * SPACING_MM:g}".encode()),
            0x00200052: ("UI", f"{self.uid}.3".encode()),
            0x00281052: ("DS", b"0"),
            0x00281053: ("DS", b"1"),
            0x00280030: ("DS", f"{spacing}\\{spacing}".encode()),
            **({0x7FE00010: ("OW", head(at))} if self.kind.is_image else {}),
        }


def head(at: int) -> bytes:
    """The pixels of one slice of a made-up head, and a token behind them."""
    plane = np.zeros((ROWS, COLUMNS), "<u2")
    plane[3:13, 3:13] = BRAIN
    if 3 <= at < 8:
        plane[5:8, 8:11] = INNER
    return plane.tobytes() + (MARK + "999999").encode()


def data_set(path: Path) -> bytes:
    """The data set of a file, as it goes over the wire."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<I", content, 140)
    return content[144 + length :]


def with_other_content(study: PlantedStudy) -> PlantedStudy:
    """The same UIDs, and something else in the objects."""
    return replace(study, needed={**study.needed, 0x00104000: ("LT", f"{MARK}777777".encode())})
