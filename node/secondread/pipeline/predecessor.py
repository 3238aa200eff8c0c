"""Which report the report of a new version replaces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydicom import dcmread

from secondread.domain.job import Job
from secondread.domain.states import JobState
from secondread.pipeline.workplace import Workplace
from secondread.results.context import Predecessor
from secondread.results.write import REPORT_NAME
from secondread.store import Transaction

_ON_ITS_WAY = frozenset({JobState.QUEUED, JobState.PREPARED, JobState.INFERRED, JobState.REFUSED})
_HAS_RESULTS = frozenset({JobState.WRITTEN, JobState.DELIVERED, JobState.FAILED})
_NAMES = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


def find_pending(earlier: Sequence[Job]) -> Job | None:
    """The version, among those before a job, whose report may still come and has to come first."""
    return next((job for job in earlier if job.state in _ON_ITS_WAY), None)


def find_predecessor(place: Workplace, job: Job, *, shadow: bool) -> Predecessor | None:
    """The report of the newest earlier version that has one, or ``None``.

    A report that is sent names only what was sent, too; one in shadow may name either kind.
    """
    with place.ledger.read() as view:
        for before in view.jobs.before(job):
            path = place.spool.results / before.key / REPORT_NAME
            if before.state not in _HAS_RESULTS or not path.is_file():
                continue
            report = _read(path)
            if view.outbox.knows(report.sop_instance_uid) or (shadow and _is_kept(view, before)):
                return report
    return None


def _is_kept(view: Transaction, job: Job) -> bool:
    """Whether the results of a job in shadow passed the gate."""
    return job.state is JobState.DELIVERED and not view.outbox.of_job(job.id)


def _read(path: Path) -> Predecessor:
    header = dcmread(path, specific_tags=list(_NAMES))
    return Predecessor(
        study_instance_uid=str(header.StudyInstanceUID),
        series_instance_uid=str(header.SeriesInstanceUID),
        sop_class_uid=str(header.SOPClassUID),
        sop_instance_uid=str(header.SOPInstanceUID),
    )
