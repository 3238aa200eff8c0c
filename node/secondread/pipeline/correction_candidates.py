"""The jobs whose results somebody may have corrected, as far as ledger and files know them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from secondread.domain.result import OutboxItem
from secondread.domain.states import DeliveryState, JobState
from secondread.pipeline.correction_match import Candidate
from secondread.results.context import SEG
from secondread.store import Spool, Transaction

_HAS_RESULTS = frozenset({JobState.WRITTEN, JobState.DELIVERED, JobState.FAILED})
_NOT_SENT = frozenset({DeliveryState.RESERVED, DeliveryState.REPLACED})


def find_candidates(
    view: Transaction, spool: Spool, study_id: int | None, only: str = ""
) -> Iterator[Candidate]:
    """The jobs of a study whose segmentation was sent and is still here.

    Args:
        view: the ledger.
        spool: where the files of results lie.
        study_id: the study; None where there is none.
        only: SOP Instance UID of the one segmentation of ours that counts; '' is all of them.
    """
    for job in () if study_id is None else view.jobs.of_study(study_id):
        if job.state not in _HAS_RESULTS or job.shadow:
            continue
        items = [
            item
            for item in view.outbox.of_job(job.id)
            if item.kind == SEG
            and item.state not in _NOT_SENT
            and only in {"", item.sop_instance_uid}
        ]
        editions = _editions(spool, items)
        if editions:
            yield Candidate(
                job_id=job.id,
                model_id=job.model_id,
                lineage=f"{job.rule}/{job.model_id}/{job.series_instance_uid}/{job.part}",
                version=job.version,
                series_instance_uid=job.series_instance_uid,
                sources=tuple(view.jobs.sources(job.id)),
                result_uids=tuple(sorted({item.sop_instance_uid for item in items})),
                editions=editions,
            )


def _editions(spool: Spool, items: Sequence[OutboxItem]) -> tuple[tuple[str, ...], ...]:
    """The files that are there, by the form that they are in, which is their folder."""
    folders: dict[Path, set[str]] = {}
    for item in items:
        path = spool.absolute(item.path).absolute()
        if path.is_file():
            folders.setdefault(path.parent, set()).add(str(path))
    return tuple(tuple(sorted(folders[folder])) for folder in sorted(folders))
