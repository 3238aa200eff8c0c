"""The series of a study, as their headers tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from secondread.dicom.headers import SliceHeader, read_slice
from secondread.domain.instance import Instance
from secondread.errors import CannotUnderstandError

_NOT_IMAGES = frozenset({"SR", "SEG", "KO", "PR", "REG", "RTSTRUCT", "RTPLAN", "DOC", "RWV", "AU"})


@dataclass(frozen=True, slots=True)
class SeriesHeaders:
    """One series.

    Attributes:
        instances: its objects that can be read, in the order of ``headers``.
        headers: one for each of ``instances``, by instance number and then by UID.
        unreadable: objects whose header cannot be read from the spool.
    """

    series_instance_uid: str
    instances: tuple[Instance, ...]
    headers: tuple[SliceHeader, ...]
    unreadable: tuple[Instance, ...]

    @property
    def modality(self) -> str:
        """Modality of the series; empty when no object can be read."""
        return self.headers[0].modality if self.headers else ""

    @property
    def number(self) -> int | None:
        """Series Number."""
        return self.headers[0].series_number if self.headers else None

    @property
    def description(self) -> str:
        """Series Description: free text that may name a person, so never for a log."""
        return self.headers[0].series_description if self.headers else ""

    @property
    def slices(self) -> int:
        """Number of frames that hold pixels."""
        return sum(len(header.planes) for header in self.headers if header.pixels.kind)

    @property
    def holds_images(self) -> bool:
        """Whether it is a series of source images, not of somebody's results or documents."""
        return self.modality not in _NOT_IMAGES and self.slices > 0


def read_study(instances: Sequence[Instance], spool: Path) -> tuple[SeriesHeaders, ...]:
    """Read the header of every object and group them by series, by series number and UID.

    An object that cannot be read stays in its series as unreadable; it never takes the study with
    it. ``spool`` is the folder that the paths of the instances are relative to.
    """
    read: dict[str, list[tuple[SliceHeader, Instance]]] = {}
    unreadable: dict[str, list[Instance]] = {}
    for instance in instances:
        try:
            header = read_slice(spool / instance.path)
        except CannotUnderstandError:
            unreadable.setdefault(instance.series_instance_uid, []).append(instance)
        else:
            read.setdefault(instance.series_instance_uid, []).append((header, instance))
    series = [_series(uid, read.get(uid, []), unreadable.get(uid, [])) for uid in read | unreadable]
    return tuple(sorted(series, key=_series_order))


def _series(
    uid: str, read: Sequence[tuple[SliceHeader, Instance]], unreadable: Sequence[Instance]
) -> SeriesHeaders:
    ordered = sorted(read, key=_instance_order)
    return SeriesHeaders(
        series_instance_uid=uid,
        instances=tuple(instance for _, instance in ordered),
        headers=tuple(header for header, _ in ordered),
        unreadable=tuple(sorted(unreadable, key=lambda instance: instance.sop_instance_uid)),
    )


def _instance_order(pair: tuple[SliceHeader, Instance]) -> tuple[bool, int, str]:
    number = pair[0].instance_number
    return number is None, number or 0, pair[1].sop_instance_uid


def _series_order(series: SeriesHeaders) -> tuple[bool, int, str]:
    return series.number is None, series.number or 0, series.series_instance_uid
