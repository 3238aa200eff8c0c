"""Which objects a planned job is about, fixed when it is planned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from secondread.assembly.series import SeriesHeaders, read_study
from secondread.dicom.parts import split
from secondread.domain.instance import Instance
from secondread.domain.job import PlannedJob
from secondread.domain.series import SeriesSummary
from secondread.errors import NoSuitableSeriesError


def find_sources(
    planned: PlannedJob,
    series: Sequence[SeriesSummary],
    instances: Sequence[Instance],
    spool: Path,
) -> tuple[str, ...]:
    """SOP Instance UIDs of the objects that a job needs, sorted.

    They are those of the chosen part of its series. A job that is refused is about all objects of
    its series, or of the study where it names none.

    Args:
        planned: the job.
        series: what was known of the study's series when the job was planned.
        instances: the objects of the study.
        spool: the folder that the paths of the instances are relative to.

    Raises:
        NoSuitableSeriesError: the part is not in the files any more.
    """
    uid = planned.series_instance_uid
    own = [one for one in instances if not uid or one.series_instance_uid == uid]
    summary = next((one for one in series if one.series_instance_uid == uid), None)
    if summary is not None and not summary.unreadable and len(summary.parts) < 2:
        return _uids(own)
    read = read_study(own, spool)
    readable = [instance for one in read for instance in one.instances]
    if planned.refusal:
        return _uids(readable or own)
    return _uids(_members(read[0], planned.part)) if read else ()


def _members(series: SeriesHeaders, part: str) -> list[Instance]:
    for group in split(series.headers):
        if group.name == part:
            return [series.instances[index] for index in {item.header for item in group.planes}]
    raise NoSuitableSeriesError(
        f"The part '{part}' of the chosen series is not in its files any more; look at the study "
        "again."
    )


def _uids(instances: Sequence[Instance]) -> tuple[str, ...]:
    return tuple(sorted({one.sop_instance_uid for one in instances}))
