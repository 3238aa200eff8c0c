"""Jobs with everything a result is made from, small enough to make in every test."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom

from deploy.demo.series import affine_from_axes, write_series
from secondread.bundles.manifest import InputEnvelope, Label, Manifest
from secondread.domain.code import Code
from secondread.domain.job import Job
from secondread.domain.states import JobState
from secondread.domain.volume import SourceSlice, Volume
from secondread.results.context import ResultContext

STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")
CREATED_AT = 1_700_000_000.25
PLANES = {
    "axial": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    "sagittal": ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0)),
    "coronal": ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
    "oblique": ((0.96, 0.2, -0.195959179), (-0.2, 0.97959184, 0.0199933)),
}


@dataclass(frozen=True)
class Case:
    """A job, the model's answer and the files it is about."""

    context: ResultContext
    labels: npt.NDArray[np.uint8]
    paths: list[Path]


def make_label(value: int, name: str, code: Code, laterality: str = "") -> Label:
    """A label whose colour follows from its value."""
    colour = ((value * 67) % 256, (value * 131 + 90) % 256, (value * 29 + 160) % 256)
    meaning = name.replace("_", " ").capitalize()
    return Label(value, name, meaning, STRUCTURE, code, laterality, colour, 0.9)


HIPPOCAMPUS = Code("5366008", "SCT", "Hippocampus")
LABELS = (
    make_label(1, "left_hippocampus", HIPPOCAMPUS, "left"),
    make_label(2, "right_hippocampus", HIPPOCAMPUS, "right"),
    make_label(3, "brain_stem", Code("119238007", "SCT", "Brain Stem")),
    make_label(4, "third_ventricle", Code("49841001", "SCT", "Third ventricle")),
    make_label(5, "left_thalamus", Code("119406000", "SCT", "Thalamus"), "left"),
)


def make_manifest(**changes: Any) -> Manifest:
    """A model with five structures."""
    envelope = InputEnvelope(("MR",), (), 2, 512, 0.3, 10.0, 10.0, ())
    manifest = Manifest(
        id="toy_head",
        version="1.2.0",
        title="Toy structures of the head",
        task="segmentation",
        manufacturer="SecondRead",
        intended_use="Tests",
        research_only=True,
        input=envelope,
        runtime="classical",
        deadline_s=10.0,
        memory_mib=100,
        labels=LABELS,
        files={},
        folder=Path(),
        digest="ab" * 32,
        raw={},
    )
    return replace(manifest, **changes)


def make_job(series_instance_uid: str) -> Job:
    """A job that was analysed."""
    return Job(
        id=1,
        key="k0001",
        study_id=1,
        state=JobState.INFERRED,
        rule="heads",
        model_id="toy_head",
        model_version="1.2.0",
        series_instance_uid=series_instance_uid,
        input_digest="cd" * 32,
        priority=0,
        attempts=1,
        losses=0,
        created_at=CREATED_AT,
        outcome="",
        reason="",
    )


def make_case(
    folder: Path,
    plane: str = "axial",
    size: tuple[int, int, int] = (9, 16, 20),
    **fields: str,
) -> Case:
    """A series in ``folder`` and an answer with empty slices, small and ragged structures."""
    affine = affine_from_axes(*PLANES[plane], (3.0, 1.25, 1.5), (-40.0, 31.5, 17.25))
    rng = np.random.default_rng(3)
    voxels = rng.integers(0, 900, size).astype(np.int16)
    paths = write_series(voxels, affine, folder, **fields)
    headers = tuple(pydicom.dcmread(path, stop_before_pixels=True) for path in paths)
    sources = tuple(SourceSlice(str(h.SOPInstanceUID), str(h.SOPClassUID), 1) for h in headers)
    context = ResultContext(
        job=make_job(str(headers[0].SeriesInstanceUID)),
        manifest=make_manifest(),
        qualification="RESEARCH",
        sources=headers,
        volume=Volume(voxels, affine, sources),
        ae_title="SECONDREAD",
        device_serial="SR-0001",
        uid_root="",
        software_version="0.1.0",
    )
    return Case(context, make_labels(size), paths)


def make_labels(size: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Structures 1, 2, 3 and 5; 4 is empty, and so are the first, the last and one slice within."""
    rng = np.random.default_rng(5)
    labels = np.zeros(size, np.uint8)
    slices, rows, columns = size
    labels[1 : slices - 2, 1 : rows // 2, 2 : columns // 2] = 1
    labels[2 : slices - 1, 2 : rows - 3, columns // 2 : columns - 1] = 2
    labels[2:4, rows // 2 :, 1:5] = 3
    labels[(rng.random(size) < 0.3) & (labels > 0)] = 5
    labels[slices // 2] = 0
    labels[0] = labels[-1] = 0
    return labels


def in_patient_space(
    labels: npt.NDArray[np.uint8], affine_lps: npt.NDArray[np.float64]
) -> set[tuple[int, int, int, int]]:
    """(value, x, y, z) of every voxel of every structure, LPS, in fiftieths of a millimetre."""
    at = np.argwhere(labels > 0)
    points = np.rint((at @ affine_lps[:3, :3].T + affine_lps[:3, 3]) * 50).astype(int)
    values = labels[tuple(at.T)].astype(int)
    return {(int(v), *map(int, p)) for v, p in zip(values, points, strict=True)}
