"""Fourth stage: answers and refusals become DICOM objects in the outbox."""

from __future__ import annotations

import structlog
from pydicom import dcmread

from secondread import __version__
from secondread.assembly.volume import read_volume
from secondread.domain.job import Job
from secondread.domain.result import ResultObject
from secondread.domain.states import JobState
from secondread.domain.volume import Volume
from secondread.errors import ConfigurationError, ResultError
from secondread.inference.answer import load_labels
from secondread.pipeline.infer import LABELS_NAME
from secondread.pipeline.work import NOT_ANALYSED, attempt, claim, queue_again
from secondread.pipeline.workplace import Workplace
from secondread.results.context import ResultContext
from secondread.results.write import write_refusal, write_results

log = structlog.stdlib.get_logger(__name__)


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
        place.spool.new_result_folder(job.key)
        if job.state is JobState.INFERRED:
            path = place.spool.work / job.key / LABELS_NAME
            if not path.is_file():
                queue_again(place, job, "The model's answer is gone; it is computed again.")
                return
            volume = read_volume(place.instances_of(job), place.spool.root)
            labels = load_labels(
                path,
                volume.voxels.shape,
                tuple(label.value for label in place.manifests[job.model_id].labels),
            )
            objects = write_results(self._context(job, volume), labels, place.spool.root)
            outcome = "analysed"
        elif rule.report_not_analysed:
            objects = write_refusal(self._context(job, None), job.reason, place.spool.root)
            outcome = NOT_ANALYSED
        else:
            self._end_silently(job)
            return
        self._commit(job, objects, rule.destinations, outcome)

    def _context(self, job: Job, volume: Volume | None) -> ResultContext:
        place = self._place
        manifest = place.manifests.get(job.model_id)
        if manifest is None:
            raise ResultError(f"Model '{job.model_id}' is not switched on any more.")
        paths = {i.sop_instance_uid: place.spool.absolute(i.path) for i in place.instances_of(job)}
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
        with place.ledger.begin() as change:
            now = place.clock.now()
            for destination in destinations:
                change.outbox.add(job.id, destination, objects, now)
            change.jobs.move(
                job, JobState.WRITTEN, now, f"{kinds} written and checked.", outcome=outcome
            )
        log.info("results written", job=job.key, objects=kinds)

    def _end_silently(self, job: Job) -> None:
        place = self._place
        with place.ledger.begin() as change:
            now = place.clock.now()
            change.jobs.move(job, JobState.DELIVERED, now, "The rule wants no report of this.")
            change.studies.close_if_finished(job.study_id, now)
