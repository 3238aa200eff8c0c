"""Second stage: the series becomes a de-identified volume on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from secondread.assembly.conditions import attributes_of
from secondread.assembly.series import read_study
from secondread.assembly.summary import summarize
from secondread.bundles.manifest import Manifest
from secondread.deid.attributes import Permitted, permit
from secondread.deid.boundary import prepare
from secondread.dicom.rectify import rectify
from secondread.domain.instance import Instance
from secondread.domain.job import Job
from secondread.domain.series import Values, digest
from secondread.domain.states import JobState
from secondread.pipeline.images import read_images
from secondread.pipeline.model_pause import check_pause
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
        if manifest := place.manifests.get(job.model_id):
            check_pause(place, manifest)
        instances = place.instances_of(job)
        # A model sees an orthogonal grid; whether it takes what leans was asked of its manifest.
        rectified = rectify(read_images(place, job, instances))
        volume = rectified.volume
        permitted, files_of = self._permitted(job, instances)
        prepare(volume, place.spool.work / job.key, permitted, files_of)
        shape = " x ".join(map(str, volume.voxels.shape))
        log.info("volume ready", job=job.key, shape=shape)
        reason = f"Volume of {shape} ready{', its leaning slices put straight' * rectified.moved}."
        left_out = list(permitted.left_out)
        if left_out:
            reason += f" The model is not told {', '.join(left_out)}: no value that may go."
        detail = {"told": sorted(permitted.values), "left_out": left_out}
        with place.ledger.begin() as change:
            change.jobs.move(job, JobState.PREPARED, place.clock.now(), reason, detail=detail)

    def _permitted(self, job: Job, instances: Sequence[Instance]) -> tuple[Permitted, str]:
        """What the model is told, and the modality of the files that it gets; '' for none."""
        manifest: Manifest | None = self._place.manifests.get(job.model_id)
        if manifest is None or not (manifest.input.attributes or manifest.input.form == "dicom"):
            return Permitted(), ""
        found = self._said(job, instances)
        files_of = ""
        if manifest.input.form == "dicom":
            files_of = str(permit(["Modality"], found).values.get("Modality", "unknown"))
        return permit(manifest.input.attributes, found), files_of

    def _said(self, job: Job, instances: Sequence[Instance]) -> Mapping[str, Values]:
        """What the headers of these objects say.

        The ledger knows it, unless the series has changed since the job was planned.
        """
        with self._place.ledger.read() as view:
            series = view.series.of_study(job.study_id).get(job.series_instance_uid)
        if series is not None:
            content = digest((one.sop_instance_uid, one.sha256) for one in instances)
            same = next((part for part in series.parts if part.digest == content), None)
            if same is not None:
                return attributes_of(series, same)
        read = summarize(read_study(instances, self._place.spool.root)[0])
        named = (part for part in read.parts if part.name == job.part or len(read.parts) == 1)
        return attributes_of(read, next(named, None))
