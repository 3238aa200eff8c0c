"""Second stage: the series becomes a de-identified volume on disk."""

from __future__ import annotations

import structlog

from secondread.assembly.volume import read_volume
from secondread.deid.boundary import prepare
from secondread.dicom.rectify import rectify
from secondread.domain.job import Job
from secondread.domain.states import JobState
from secondread.pipeline.work import attempt, claim
from secondread.pipeline.workplace import Workplace

log = structlog.stdlib.get_logger(__name__)


class Prepare:
    """Claims a queued job and writes what its model will see."""

    def __init__(self, place: Workplace) -> None:
        self._place = place

    def step(self) -> bool:
        """Prepare one job; False where none is waiting."""
        job = claim(self._place, [JobState.QUEUED])
        if job is None:
            return False
        attempt(self._place, job, self._prepare)
        return True

    def _prepare(self, job: Job) -> None:
        place = self._place
        instances = place.instances_of(job)
        # A model sees an orthogonal grid; whether it takes what leans was asked of its manifest.
        rectified = rectify(read_volume(instances, place.spool.root, job.part, place.decoder))
        volume = rectified.volume
        prepare(volume, place.spool.work / job.key)
        shape = " x ".join(map(str, volume.voxels.shape))
        log.info("volume ready", job=job.key, shape=shape)
        reason = f"Volume of {shape} ready{', its leaning slices put straight' * rectified.moved}."
        with place.ledger.begin() as change:
            change.jobs.move(job, JobState.PREPARED, place.clock.now(), reason)
