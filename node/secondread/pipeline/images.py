"""The volume of a job, in the units that its model reads."""

from __future__ import annotations

from collections.abc import Sequence

from secondread.assembly.volume import read_volume
from secondread.dicom.suv import in_suv
from secondread.domain.instance import Instance
from secondread.domain.job import Job
from secondread.domain.volume import Volume
from secondread.pipeline.workplace import Workplace


def read_images(place: Workplace, job: Job, instances: Sequence[Instance]) -> Volume:
    """Read what a job was planned for.

    Raises:
        GeometryError: the images are not one sound volume.
        PixelDataError: an object or its pixels cannot be read, or the model reads uptake values and
            they cannot be worked out (``no-suv-factor``).
    """
    volume = read_volume(instances, place.spool.root, job.part, place.decoder)
    manifest = place.manifests.get(job.model_id)
    if manifest is None or manifest.input.units != "SUVbw":
        return volume
    files = {one.sop_instance_uid: place.spool.absolute(one.path) for one in instances}
    return in_suv(volume, files)
