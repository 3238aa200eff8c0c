"""What must become of each file of the odd data sets: the form of the table.

The rows stand in ``odd_cases_*.py``. What they expect was found with other programs than the node:
dcmdump and DCMTK's decoders, pydicom, GDCM through SimpleITK. ``docs/cases.md`` is made of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from pydicom import dcmread

STORED = "stored"
NOT_DICOM = "not DICOM"
"""It has no preamble or names no object, so no peer can announce it."""
NO_CONTEXT = "no context"
"""Its SOP class or transfer syntax is not among the node's presentation contexts (PS3.4 B.5)."""
MISMATCH, NOT_UNDERSTOOD = "0xA900", "0xC000"
"""Statuses of PS3.4 B.2.3."""

GDCM = "as GDCM"
"""The values of its pixels are those that SimpleITK reads, bit for bit."""
PLAIN = "as stored"
"""They are the native stored values, cut to the stored bits and rescaled, as pydicom has them."""
NOTHING = ""
"""It is no image that could be read."""


@dataclass(frozen=True)
class Sound:
    """One exact volume.

    Attributes:
        shape: (slices, rows, columns).
        step_mm: distance from slice to slice along the step, which leans where there is a tilt.
        tilt_degrees: between the step and the normal.
    """

    shape: tuple[int, int, int]
    step_mm: float
    tilt_degrees: float = 0.0

    def __str__(self) -> str:
        slices, rows, columns = self.shape
        size = f"volume {slices} × {rows} × {columns}, {self.step_mm:g} mm"
        return f"{size}, tilted by {self.tilt_degrees:g}°" if self.tilt_degrees else size


@dataclass(frozen=True)
class Refused:
    """No volume, for this reason.

    Attributes:
        outcome: the stable name of the reason.
        words: what the sentence must say besides.
    """

    outcome: str
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"`{self.outcome}`" + (f": “{'”, “'.join(self.words)}”" if self.words else "")


Volume = Sound | Refused


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One file, one series, or several files that are each the same case.

    Attributes:
        files: patterns of paths below the folder of the set.
        what: what it is, in words.
        series: only those of the files whose Series Number this is, where patterns cannot tell.
        count: how many files there are.
        each: every file is sent into a spool of its own; else all are sent together.
        intake: what becomes of each file when a peer announces it by its data set.
        by_meta: what becomes of it when it is announced by its file meta information, where that
            is something else.
        values: how its pixels read; ``GDCM``, ``PLAIN``, the outcome of a refusal, or
            ``NOTHING``; by pattern where its files differ.
        volume: what becomes of the series, or of each of its parts by name.
        never: why no model is ever given it, whatever its geometry is; the name of the reason.
        framed: the same where the series gets the Frame of Reference UID that it lacks.
    """

    files: tuple[str, ...]
    what: str
    series: int | None = None
    count: int = 1
    each: bool = False
    intake: str = STORED
    by_meta: str = ""
    values: str | dict[str, str] = GDCM
    volume: Volume | dict[str, Volume] | None = None
    never: str = ""
    framed: Volume | None = None

    @property
    def name(self) -> str:
        """Its first pattern, short, and its series."""
        first = self.files[0].removeprefix("odd_dicom/")
        return first if self.series is None else f"{first} series {self.series}"

    def paths(self, folder: Path) -> list[Path]:
        """Its files, sorted."""
        return [
            path
            for path in files_of(folder)
            if any(fnmatchcase(str(path.relative_to(folder)), name) for name in self.files)
            and (self.series is None or _series_number(path) == self.series)
        ]

    def values_of(self, relative: str) -> str:
        """How the pixels of one of its files read."""
        if isinstance(self.values, str):
            return self.values
        return next(how for name, how in self.values.items() if fnmatchcase(relative, name))


@cache
def _series_number(path: Path) -> int | None:
    with quietly():
        found = dcmread(path, specific_tags=["SeriesNumber"], force=True).get("SeriesNumber")
        return None if found is None else int(found)


@contextmanager
def quietly() -> Iterator[None]:
    """Read files that pydicom has good reason to warn about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def files_of(folder: Path) -> list[Path]:
    """Every file of a set, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def as_markdown(tables: Sequence[tuple[str, str, Sequence[Case]]]) -> str:
    """Tables of cases; each is (heading, sentence, rows)."""
    lines: list[str] = []
    for heading, sentence, cases in tables:
        lines += ["", f"## {heading}", "", sentence, ""]
        lines += ["| files | what it is | intake | pixels | volume |", "|---|---|---|---|---|"]
        lines += [_row(case) for case in cases]
    return "\n".join(lines) + "\n"


def _row(case: Case) -> str:
    intake = case.intake
    if case.by_meta:
        intake += f"; {case.by_meta} when announced by its file meta information"
    if isinstance(case.volume, dict):
        volume = "; ".join(f"{name}: {volume}" for name, volume in case.volume.items())
    else:
        volume = str(case.volume or "")
    if case.framed:
        volume += f"; with a Frame of Reference UID: {case.framed}"
    hows = [case.values] if isinstance(case.values, str) else list(case.values.values())
    if case.never:
        volume += f"; never given to a model: `{case.never}`"
    values = ", ".join(how if how in {GDCM, PLAIN, NOTHING} else f"`{how}`" for how in hows)
    names = ", ".join(f"`{pattern.removeprefix('odd_dicom/')}`" for pattern in case.files)
    count = "" if case.series is None else f" series {case.series}"
    count += f" ({case.count})" if case.count > 1 else ""
    return f"| {names}{count} | {case.what} | {intake} | {values} | {volume} |"
