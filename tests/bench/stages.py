"""How long each stage takes on the demo's head, one after the other in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TypeVar

import numpy as np
import pydicom

from secondread import __version__
from secondread.assembly.series import read_study
from secondread.assembly.volume import read_volume
from secondread.bundles.manifest import Manifest, read_manifest
from secondread.config.first_party import first_party_folder
from secondread.deid.boundary import prepare
from secondread.domain.engine import Task
from secondread.domain.instance import Instance
from secondread.domain.job import Job
from secondread.domain.states import JobState
from secondread.domain.volume import Volume
from secondread.inference.engines.local import LocalEngine
from secondread.results.analysis import Analysis
from secondread.results.context import ResultContext
from secondread.results.reading.segmentation import read_segmentation
from secondread.results.write import write_results
from tests.recorded import record

MODEL = "brain_mr"
MODEL_TIMEOUT_S = 300.0
Answer = TypeVar("Answer")


def measure_stages(paths: Sequence[Path], folder: Path) -> Iterator[tuple[str, str]]:
    """(stage, seconds), in the order of the node's own stages."""
    instances = [record(path, Path("/")) for path in paths]
    _, seconds = _timed(lambda: read_study(instances, Path("/")))
    yield f"read the headers of {len(paths)} slices", f"{seconds:.2f} s"
    yield from _measure_volume(instances)
    volume = read_volume(instances, Path("/"))
    prepared, seconds = _timed(lambda: prepare(volume, folder / "work"))
    yield "write what the model gets", f"{seconds:.2f} s"

    manifest = read_manifest(first_party_folder(MODEL))
    task = Task(
        job_key="bench",
        attempt=1,
        model_id=manifest.id,
        model_folder=str(manifest.folder),
        model_digest=manifest.digest,
        volume_path=str(prepared.path),
        labels_path=str(folder / "work" / "labels.npy"),
        affine_lps=prepared.affine_lps,
        labels=tuple(label.value for label in manifest.labels),
        deadline_s=MODEL_TIMEOUT_S,
    )
    engine = LocalEngine(1, "cpu")
    try:
        for name in ("start the worker and run the model", "run the model again, warm"):
            _, seconds = _timed(lambda: _run(engine, task))
            yield name, f"{seconds:.2f} s"
    finally:
        engine.close()

    context = _context(manifest, volume, paths)
    labels = _slabs(volume, len(manifest.labels))
    objects, seconds = _timed(lambda: write_results(context, Analysis(labels), folder))
    yield f"write and check SEG and SR, {len(manifest.labels)} structures", f"{seconds:.2f} s"
    segmentation = folder / objects[0].path
    _, seconds = _timed(lambda: read_segmentation(segmentation))
    frames = int(pydicom.dcmread(segmentation, stop_before_pixels=True).NumberOfFrames)
    yield f"read the SEG back, {frames} frames", f"{seconds:.2f} s"


def _measure_volume(instances: Sequence[Instance]) -> Iterator[tuple[str, str]]:
    """The volume from rows that an older node wrote, and from what intake records now."""
    older = [replace(instance, data_offset=0) for instance in instances]
    for name, rows in (("every header parsed", older), ("as intake recorded it", instances)):
        readings = [_timed(lambda rows=rows: read_volume(rows, Path("/"))) for _ in range(5)]
        shape = "x".join(map(str, readings[0][0].voxels.shape))
        seconds = median(seconds for _, seconds in readings)
        yield f"read the volume {shape}, {name}", f"{seconds:.3f} s"


def _timed(work: Callable[[], Answer]) -> tuple[Answer, float]:
    started = time.monotonic()
    answer = work()
    return answer, time.monotonic() - started


def _run(engine: LocalEngine, task: Task) -> None:
    engine.submit(task)
    if not engine.collect(MODEL_TIMEOUT_S):
        raise RuntimeError("The model did not answer.")


def _context(manifest: Manifest, volume: Volume, paths: Sequence[Path]) -> ResultContext:
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    by_uid = {str(header.SOPInstanceUID): header for header in headers}
    job = Job(
        id=1,
        key="bench",
        study_id=1,
        state=JobState.INFERRED,
        rule="bench",
        model_id=manifest.id,
        model_version=manifest.version,
        series_instance_uid=str(headers[0].SeriesInstanceUID),
        input_digest="0" * 64,
        priority=0,
        attempts=1,
        losses=0,
        created_at=1_700_000_000.0,
        outcome="",
        reason="",
    )
    return ResultContext(
        job=job,
        manifest=manifest,
        qualification="RESEARCH",
        sources=tuple(by_uid[source.sop_instance_uid] for source in volume.sources),
        volume=volume,
        ae_title="SECONDREAD",
        device_serial="bench",
        uid_root="",
        software_version=__version__,
    )


def _slabs(volume: Volume, count: int) -> np.ndarray:
    """Every structure as a slab of rows, in every slice: the most frames that there can be."""
    rows = volume.voxels.shape[1]
    values = np.minimum(np.arange(rows) * (count + 1) // rows, count).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(values[None, :, None], volume.voxels.shape))
