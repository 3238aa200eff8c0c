"""Which report of an earlier job a report names: the one that it replaces, or compares with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import structlog
from pydicom import dcmread
from pydicom.dataset import Dataset

from secondread.domain.job import Job
from secondread.domain.result import OutboxItem
from secondread.domain.states import DeliveryState, JobState
from secondread.pipeline.editions import Edition
from secondread.pipeline.workplace import Workplace
from secondread.results.context import Predecessor
from secondread.results.write import REPORT_NAME
from secondread.store import Transaction

log = structlog.stdlib.get_logger(__name__)

_ON_ITS_WAY = frozenset({JobState.QUEUED, JobState.PREPARED, JobState.INFERRED, JobState.REFUSED})
_HAS_RESULTS = frozenset({JobState.WRITTEN, JobState.DELIVERED, JobState.FAILED})
_NAMES = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_THERE = frozenset({DeliveryState.SENT, DeliveryState.SAFE})
# What a destination has goes before what it may get yet.
_ORDER = (
    DeliveryState.SAFE,
    DeliveryState.SENT,
    DeliveryState.READY,
    DeliveryState.DEAD,
    DeliveryState.RESERVED,
)


def find_pending(earlier: Sequence[Job]) -> Job | None:
    """The version, among those before a job, whose report may still come and has to come first."""
    return next((job for job in earlier if job.state in _ON_ITS_WAY), None)


def find_predecessor(
    place: Workplace, job: Job, edition: Edition, *, shadow: bool
) -> Predecessor | None:
    """The report of the newest earlier version that has one, or ``None``.

    A version may have come about by other images or by another version of the model.
    """
    with place.ledger.read() as view:
        for before in view.jobs.before(job):
            if before.state not in _HAS_RESULTS:
                continue
            path = find_report(place, view, before, edition, shadow=shadow)
            if path is not None:
                return _predecessor(before, dcmread(path, specific_tags=list(_NAMES)))
    return None


def find_report(
    place: Workplace, view: Transaction, before: Job, edition: Edition, *, shadow: bool
) -> Path | None:
    """The file of the report of an earlier job that those who get an edition have, or may get.

    A report that is sent names only what was sent, too; one in shadow may name either kind. Of
    several forms the one counts that was sent to them; before that, the one that goes to them under
    the same circumstances.
    """
    own = edition.folder(place.spool.results, before.key) / REPORT_NAME
    queued = [
        item
        for item in view.outbox.of_job(before.id)
        if Path(item.path).name == REPORT_NAME and item.state is not DeliveryState.REPLACED
    ]

    def rank(item: OutboxItem) -> tuple[bool, bool, bool, int, int]:
        return (
            item.destination not in edition.levels,
            item.state not in _THERE,
            place.spool.absolute(item.path) != own,
            _ORDER.index(item.state),
            item.id,
        )

    for item in sorted(queued, key=rank):
        path = place.spool.absolute(item.path)
        if path.is_file():
            return path
    if any(item.purged_at is not None for item in queued):
        log.info("no report of an earlier job: its time was over", job_id=before.id)
    folder = place.spool.results / before.key
    kept = [path for path in (own, *sorted(folder.rglob(REPORT_NAME))) if path.is_file()]
    # Another rule may have sent the same results, so that none of them is in this job's name.
    for path in kept:
        if _was_sent(view, path):
            return path
    return kept[0] if kept and shadow and is_kept(view, before) else None


def is_kept(view: Transaction, job: Job) -> bool:
    """Whether the results of a job in shadow passed the gate."""
    return job.state is JobState.DELIVERED and not view.outbox.of_job(job.id)


def _was_sent(view: Transaction, path: Path) -> bool:
    header = dcmread(path, specific_tags=["SOPInstanceUID"])
    return view.outbox.knows(str(header.SOPInstanceUID))


def _predecessor(before: Job, header: Dataset) -> Predecessor:
    return Predecessor(
        study_instance_uid=str(header.StudyInstanceUID),
        series_instance_uid=str(header.SeriesInstanceUID),
        sop_class_uid=str(header.SOPClassUID),
        sop_instance_uid=str(header.SOPInstanceUID),
        model_version=before.model_version,
    )
