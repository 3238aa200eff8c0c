"""Which objects a planned job is about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from secondread.assembly.series import read_study
from secondread.assembly.sources import find_sources
from secondread.assembly.summary import summarize
from secondread.domain.instance import Instance
from secondread.domain.job import PlannedJob
from secondread.errors import NoSuitableSeriesError
from tests.recorded import record


@pytest.fixture
def echoes(head_series: Callable[..., Any], tmp_path: Path) -> Sequence[Instance]:
    """A series of two echoes at the same places, six slices each."""
    made = []
    for echo in (1, 2):
        for path in head_series(size=(6, 16, 16), seed=f"echo {echo}", study="echoes").paths:
            image = dcmread(path)
            image.SeriesInstanceUID, image.EchoNumbers = "2.25.7", echo
            image.save_as(path)
            made.append(record(path, tmp_path))
    return made


def planned(part: str = "", refusal: str = "", series: str = "2.25.7") -> PlannedJob:
    return PlannedJob("heads", "model", "1", series, "d", 0, refusal, (), part)


def sources(job: PlannedJob, instances: Sequence[Instance], spool: Path) -> tuple[str, ...]:
    series = tuple(summarize(one) for one in read_study(instances, spool))
    return find_sources(job, series, instances, spool)


def uids(instances: Sequence[Instance]) -> tuple[str, ...]:
    return tuple(sorted(one.sop_instance_uid for one in instances))


def test_a_part_has_its_own_objects(echoes: Sequence[Instance], tmp_path: Path) -> None:
    assert sources(planned("EchoNumbers 1"), echoes, tmp_path) == uids(echoes[:6])
    assert sources(planned("EchoNumbers 2"), echoes, tmp_path) == uids(echoes[6:])


def test_a_part_that_is_not_there_is_named(echoes: Sequence[Instance], tmp_path: Path) -> None:
    with pytest.raises(NoSuitableSeriesError, match="'EchoNumbers 3'"):
        sources(planned("EchoNumbers 3"), echoes, tmp_path)


def test_a_whole_series_has_all_its_objects(echoes: Sequence[Instance], tmp_path: Path) -> None:
    assert sources(planned(), echoes[:6], tmp_path) == uids(echoes[:6])


def test_a_refusal_is_about_all_that_can_be_read(
    echoes: Sequence[Instance], tmp_path: Path
) -> None:
    (tmp_path / echoes[0].path).write_bytes(b"no DICOM")
    assert sources(planned(refusal="No."), echoes, tmp_path) == uids(echoes[1:])
    assert sources(planned(refusal="No.", series=""), echoes, tmp_path) == uids(echoes[1:])


def test_a_refusal_of_what_cannot_be_read_is_about_all_the_same(
    echoes: Sequence[Instance], tmp_path: Path
) -> None:
    for one in echoes:
        (tmp_path / one.path).write_bytes(b"no DICOM")
    assert sources(planned(refusal="No."), echoes, tmp_path) == uids(echoes)
