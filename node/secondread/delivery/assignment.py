"""What a worklist is to be told of a claimed item, as its study stands in the ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from secondread.delivery.telling.worklist.workitem import Discontinuation, Output, Progress
from secondread.delivery.whereabouts import is_settled, is_there, locate
from secondread.domain.code import Code
from secondread.domain.destination import Destination
from secondread.domain.fetch import FetchState
from secondread.domain.job import Job
from secondread.domain.result import OutboxItem
from secondread.domain.states import JobState, StudyState
from secondread.domain.study import Study
from secondread.domain.worklist import WorklistTerms, WorkRow
from secondread.errors import NotFoundError
from secondread.store import Spool, Transaction

_PROGRESS: Mapping[StudyState, Progress] = MappingProxyType(
    {
        StudyState.RECEIVING: Progress(10, "images are arriving"),
        StudyState.ASSEMBLING: Progress(20, "images are complete"),
        StudyState.ANALYSING: Progress(50, "is being analysed"),
    }
)
_DELIVERING = Progress(90, "results are being delivered")


@dataclass(frozen=True, slots=True)
class Going:
    """The work goes on; ``progress`` is how far it is, None before the first image."""

    progress: Progress | None


@dataclass(frozen=True, slots=True)
class Finished:
    """The work is done; ``items`` are the results where they are, perhaps none."""

    items: tuple[OutboxItem, ...]


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The work will not be done: a reason of PS3.16 CID 9300, and a few words."""

    reason: Code
    words: str


Standing = Going | Finished | GivenUp


def study_of(view: Transaction, row: WorkRow) -> Study | None:
    """The study of an item; None before its first image."""
    try:
        return view.studies.find(row.study_instance_uid)
    except NotFoundError:
        return None


def standing_of(view: Transaction, terms: WorklistTerms, row: WorkRow, now: float) -> Standing:
    """How a claimed item stands.

    Its results are finished when each destination has proven that it has them, or will never say
    more than that it has taken them.
    """
    study = study_of(view, row)
    fetched = view.fetches.state_of_work(terms.source, row.study_instance_uid)
    if study is None:
        late = now > float(row.content.get("claimed_at", row.created_at)) + terms.wait_s
        if late or fetched is FetchState.FAILED:
            return GivenUp(Discontinuation.INCOMPLETE, "the images have not come")
        return Going(None)
    if study.state is StudyState.HELD:
        return _held(view, study)
    if study.state is not StudyState.DONE:
        return Going(_PROGRESS[study.state])
    if terms.source and fetched is FetchState.READY:
        # More images may come, and the study with them again.
        return Going(_PROGRESS[StudyState.RECEIVING])
    return _done(view, study)


def _held(view: Transaction, study: Study) -> GivenUp:
    if any(job.state is JobState.FAILED for job in view.jobs.of_study(study.id)):
        return GivenUp(Discontinuation.EQUIPMENT_FAILURE, "analysis or delivery failed")
    return GivenUp(Discontinuation.INCOMPLETE, "the study waits for a person")


def _done(view: Transaction, study: Study) -> Standing:
    jobs = _newest(view.jobs.of_study(study.id))
    if not jobs:
        return GivenUp(Discontinuation.NOT_SUPPORTED, "no rule of the node wants the study")
    items = [item for job in jobs for item in view.outbox.of_job(job.id)]
    if not all(map(is_settled, items)):
        return Going(_DELIVERING)
    return Finished(tuple(filter(is_there, items)))


def _newest(jobs: Sequence[Job]) -> Sequence[Job]:
    """Those whose results hold: the last version of each."""
    replaced = {job.predecessor_id for job in jobs}
    return [job for job in jobs if job.id not in replaced and job.state is not JobState.SUPERSEDED]


def outputs_of(
    spool: Spool, items: Sequence[OutboxItem], find: Callable[[str], Destination | None]
) -> tuple[Output, ...]:
    """Where results can be had; those in a folder, which nobody can ask, are left out.

    Raises:
        PeerRefusedError: a file is not here any more, so that its series is not known.
    """
    outputs = []
    for name in dict.fromkeys(item.destination for item in items):
        destination = find(name)
        if destination is None or not (destination.ae_title or destination.web):
            continue
        found = locate(spool, [item for item in items if item.destination == name])
        for (study, series), references in found.items():
            url = ""
            if destination.web is not None:
                url = f"{destination.web.url.rstrip('/')}/studies/{study}/series/{series}"
            title = destination.ae_title
            outputs.append(Output(study, series, tuple(references), title, url))
    return tuple(outputs)
