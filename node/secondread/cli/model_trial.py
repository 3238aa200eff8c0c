"""One run of a model on images that nobody has sent: read, stripped of names, run, looked at."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from secondread.errors import ModelError, NotAnalysedError, NotFoundError, UsageError

if TYPE_CHECKING:
    from secondread.bundles.manifest import Manifest
    from secondread.cli.rule_study import Subject
    from secondread.deid.attributes import Permitted
    from secondread.deid.boundary import PreparedVolume
    from secondread.domain.engine import Engine, Finished, Outcome, Task
    from secondread.domain.job import PlannedJob

_LABELS_NAME = "labels.npy"
_GRACE_S = 120.0
"""Besides the model's own deadline: its worker has to begin, and to load it."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it; ``refusal`` or ``fault`` is why there are no volumes.

    Attributes:
        volumes_ml: mL of each structure, by its name.
        checks: name, value, low, high and whether it passed, of each plausibility check.
        numbers: what else it measured, by its name.
        findings: name, value and probability (None where it gives none) of each.
        places: name, points and probability of each; a point is ``(slice, row, column)`` of the
            volume that the model saw, counted from 0.
        seconds: that the model took.
    """

    model: str
    version: str
    refusal: str = ""
    fault: str = ""
    volumes_ml: tuple[tuple[str, float], ...] = ()
    numbers: tuple[tuple[str, float], ...] = ()
    findings: tuple[tuple[str, str, float | None], ...] = ()
    places: tuple[tuple[str, tuple[tuple[float, float, float], ...], float | None], ...] = ()
    checks: tuple[tuple[str, float, float, float, bool], ...] = ()
    seconds: float = 0.0


def prepare_study(study: Path, manifest: Manifest, work: Path) -> str:
    """Choose the series and write its volume as the pipeline does; returns a refusal or ''.

    Raises:
        NotFoundError: there are no images.
        UsageError: there are several studies.
    """
    from secondread.assembly.selection import plan
    from secondread.assembly.sources import find_sources
    from secondread.assembly.volume import read_volume
    from secondread.cli.rule_study import read_folder
    from secondread.deid.boundary import prepare
    from secondread.dicom.rectify import rectify
    from secondread.dicom.suv import in_suv
    from secondread.domain.network import Rule

    if not study.is_dir():
        raise NotFoundError(f"There is no folder '{study}'.")
    read = read_folder(study, "")
    if len(read) != 1:
        raise UsageError(f"'{study}' holds {len(read)} studies; give the folder of one.")
    ((subject, instances),) = read
    rule = Rule(name="test", model=manifest.id, destinations=())
    planned = plan(subject.study, subject.series, [rule], {manifest.id: manifest})
    if not planned.jobs:
        return planned.reason
    job = planned.jobs[0]
    if job.refusal:
        return job.refusal
    uids = set(find_sources(job, subject.series, instances, study))
    chosen = [one for one in instances if one.sop_instance_uid in uids]
    try:
        volume = read_volume(chosen, study, job.part)
        if manifest.input.units == "SUVbw":
            volume = in_suv(volume, {one.sop_instance_uid: study / one.path for one in chosen})
        permitted, files_of = _permitted(manifest, subject, job)
        prepare(rectify(volume).volume, work, permitted, files_of)
    except NotAnalysedError as error:
        return str(error)
    return ""


def _permitted(manifest: Manifest, subject: Subject, job: PlannedJob) -> tuple[Permitted, str]:
    """What the model is told besides, and the modality of the files that it gets; '' for none."""
    from secondread.assembly.conditions import attributes_of
    from secondread.deid.attributes import permit

    uid = job.series_instance_uid
    series = next(one for one in subject.series if one.series_instance_uid == uid)
    part = next((one for one in series.parts if one.name == job.part), None)
    said = attributes_of(series, part or (series.parts[0] if series.parts else None))
    files_of = ""
    if manifest.input.form == "dicom":
        files_of = str(permit(["Modality"], said).values.get("Modality", "unknown"))
    return permit(manifest.input.attributes, said), files_of


def run_once(manifest: Manifest, work: Path, device: str) -> Trial:
    """Run the model on what was prepared, contained as in the node."""
    from secondread.deid.boundary import load_prepared
    from secondread.domain.engine import Finished
    from secondread.inference.engines.local import LocalEngine

    prepared = load_prepared(work)
    engine = LocalEngine(1, device)
    try:
        engine.submit(_task(manifest, prepared, work))
        outcome = _outcome(engine, manifest.deadline_s + _GRACE_S)
    finally:
        engine.close()
    if not isinstance(outcome, Finished):
        return Trial(manifest.id, manifest.version, fault=outcome.reason)
    if outcome.refusal:
        return Trial(
            *(manifest.id, manifest.version, outcome.refusal),
            checks=outcome.checks,
            seconds=outcome.seconds,
        )
    try:
        return _measured(manifest, prepared, outcome)
    except ModelError as error:
        return Trial(manifest.id, manifest.version, fault=str(error))


def _outcome(engine: Engine, patience_s: float) -> Outcome:
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        for outcome in engine.collect(1.0):
            return outcome
    raise ModelError(f"The model did not answer within {patience_s:g} s.")


def _task(manifest: Manifest, prepared: PreparedVolume, work: Path) -> Task:
    from secondread.domain.engine import Task

    return Task(
        job_key="test",
        attempt=1,
        model_id=manifest.id,
        model_folder=str(manifest.folder),
        model_digest=manifest.digest,
        volume_path=str(prepared.path),
        labels_path=str(work / _LABELS_NAME),
        affine_lps=prepared.affine_lps,
        labels=tuple(label.value for label in manifest.labels),
        deadline_s=manifest.deadline_s,
        attributes=prepared.attributes,
        images_folder=str(prepared.images_folder or ""),
        declared=manifest.declared,
        upstream=manifest.builds_on,
    )


def _measured(manifest: Manifest, prepared: PreparedVolume, outcome: Finished) -> Trial:
    """The volumes of the structures, by counting voxels, and what else it said.

    Raises:
        ModelError: the answer is not what the manifest declares.
    """
    import numpy as np

    from secondread.inference.answer import ANSWER_NAME, load_answer, load_labels

    folder = prepared.path.parent
    labels = load_labels(
        folder / _LABELS_NAME, prepared.shape, [label.value for label in manifest.labels]
    )
    answer = load_answer(folder / ANSWER_NAME, manifest.output, prepared.shape)
    voxel_ml = abs(np.linalg.det(np.asarray(prepared.affine_lps)[:3, :3])) / 1000.0
    counts = np.bincount(labels.ravel(), minlength=len(manifest.labels) + 1)
    return Trial(
        model=manifest.id,
        version=manifest.version,
        volumes_ml=tuple(
            (label.name, float(counts[label.value] * voxel_ml)) for label in manifest.labels
        ),
        numbers=tuple((number.id, float(number.value)) for number in answer.numbers),
        findings=tuple((one.id, one.value, one.probability) for one in answer.findings),
        places=tuple((one.id, one.points, one.probability) for one in answer.places),
        checks=outcome.checks,
        seconds=outcome.seconds,
    )
