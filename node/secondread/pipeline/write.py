"""Fourth stage: answers and refusals become DICOM objects in the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import structlog
from pydicom import dcmread

from secondread import __version__
from secondread.dicom.rectify import restore, straight_grid
from secondread.domain.instance import Instance
from secondread.domain.job import Job
from secondread.domain.result import ResultObject
from secondread.domain.states import JobState
from secondread.domain.volume import Volume
from secondread.errors import ConfigurationError, ResultError
from secondread.inference.answer import load_labels
from secondread.pipeline.images import read_images
from secondread.pipeline.infer import LABELS_NAME
from secondread.pipeline.predecessor import find_pending, find_predecessor
from secondread.pipeline.work import NOT_ANALYSED, attempt, claim, postpone, queue_again
from secondread.pipeline.workplace import Workplace
from secondread.results.analysis import Analysis
from secondread.results.context import Predecessor, ResultContext
from secondread.results.write import write_refusal, write_results

log = structlog.stdlib.get_logger(__name__)

_ORDER_S = 2.0
"""How long the report of a version waits before it looks again for that of the one before."""
_SENT_NOWHERE = "The rule is in shadow: the results are kept, and sent nowhere."
_ALREADY_SENT = "Another rule has sent the same results to the same places."


class Write:
    """Claims an answer or a refusal and writes its objects."""

    def __init__(self, place: Workplace) -> None:
        self._place = place

    def step(self) -> bool:
        """Write the objects of one job; False where none is waiting."""
        job = claim(self._place, [JobState.INFERRED, JobState.REFUSED])
        if job is None:
            return False
        attempt(self._place, job, self._write)
        return True

    def _write(self, job: Job) -> None:
        place = self._place
        rule = place.rule(job.rule)
        if rule is None:
            raise ConfigurationError(
                f"Rule '{job.rule}' is not in the configuration any more, so nobody knows where "
                "the result should go; add it and retry."
            )
        with place.ledger.read() as view:
            pending = find_pending(tuple(view.jobs.before(job)))
        if pending is not None:
            # Its report is named in this one, so that it has to be there first.
            postpone(place, job, f"Version {pending.version} is still on its way.", _ORDER_S)
            return
        shadow = job.shadow or rule.shadow
        predecessor = find_predecessor(place, job, shadow=shadow)
        place.spool.new_result_folder(job.key)
        if job.state is JobState.INFERRED:
            path = place.spool.work / job.key / LABELS_NAME
            if not path.is_file():
                queue_again(place, job, "The model's answer is gone; it is computed again.")
                return
            instances = place.instances_of(job)
            volume = read_images(place, job, instances)
            labels = self._load_labels(job, path, volume)
            context = self._context(job, instances, volume, predecessor)
            objects = write_results(context, Analysis(labels), place.spool.root)
            outcome = "analysed"
        elif rule.report_not_analysed:
            context = self._context(job, place.instances_of(job), None, predecessor)
            objects = write_refusal(context, job.reason, place.spool.root)
            outcome = NOT_ANALYSED
        else:
            self._end_silently(job)
            return
        self._commit(job, objects, () if shadow else rule.destinations, outcome)

    def _load_labels(self, job: Job, path: Path, volume: Volume) -> npt.NDArray[np.uint8]:
        """The model's answer, on the grid of the source: it saw a tilted volume straightened."""
        values = tuple(label.value for label in self._place.manifests[job.model_id].labels)
        grid = straight_grid(volume)
        labels = load_labels(path, grid.shape if grid else volume.voxels.shape, values)
        restored: npt.NDArray[np.uint8] = restore(labels, grid)
        return restored

    def _context(
        self,
        job: Job,
        instances: Sequence[Instance],
        volume: Volume | None,
        predecessor: Predecessor | None,
    ) -> ResultContext:
        place = self._place
        manifest = place.manifests.get(job.model_id)
        if manifest is None:
            raise ResultError(f"Model '{job.model_id}' is not switched on any more.")
        paths = {one.sop_instance_uid: place.spool.absolute(one.path) for one in instances}
        if volume is not None:
            uids = list(dict.fromkeys(source.sop_instance_uid for source in volume.sources))
        else:
            uids = sorted(paths)
        headers = tuple(dcmread(paths[uid], stop_before_pixels=True) for uid in uids)
        return ResultContext(
            job=job,
            manifest=manifest,
            qualification=place.models[job.model_id].qualification,
            sources=headers,
            volume=volume,
            ae_title=place.ae_title,
            device_serial=place.device_serial,
            uid_root=place.uid_root,
            software_version=__version__,
            predecessor=predecessor,
        )

    def _commit(
        self,
        job: Job,
        objects: tuple[ResultObject, ...],
        destinations: tuple[str, ...],
        outcome: str,
    ) -> None:
        place = self._place
        kinds = " and ".join(item.kind.upper() for item in objects)
        text = f"{kinds} written and checked."
        with place.ledger.begin() as change:
            now = place.clock.now()
            for destination in destinations:
                change.outbox.add(job.id, destination, objects, now)
            change.jobs.move(job, JobState.WRITTEN, now, text, outcome=outcome)
            if not change.outbox.of_job(job.id):
                text = _ALREADY_SENT if destinations else _SENT_NOWHERE
                change.jobs.move(change.jobs.get(job.id), JobState.DELIVERED, now, text)
                change.studies.close_if_finished(job.study_id, now)
        log.info("results written", job=job.key, objects=kinds, sent=bool(destinations))

    def _end_silently(self, job: Job) -> None:
        place = self._place
        with place.ledger.begin() as change:
            now = place.clock.now()
            change.jobs.move(job, JobState.DELIVERED, now, "The rule wants no report of this.")
            change.studies.close_if_finished(job.study_id, now)
