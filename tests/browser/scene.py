"""A study whose picture and segmentation show at a glance whether they lie on one another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom

from deploy.demo.series import Header, affine_from_axes, write_series
from secondread.bundles.output import STATISTICS, Output
from secondread.domain.code import Code
from secondread.domain.form import Form
from secondread.domain.volume import SourceSlice, Volume
from secondread.results.analysis import Analysis
from secondread.results.write import write_results
from tests.result_cases import Case, make_case, make_job, make_label, make_manifest

SIZE = (9, 48, 64)
LETTER = ("11111", "10000", "11110", "10000", "10000", "10000")
"""An F: turned or mirrored, it is another letter."""
COLOURS = {1: (255, 0, 0), 2: (0, 255, 0), 3: (0, 0, 255)}
_STRUCTURES = (
    ("left_hippocampus", Code("5366008", "SCT", "Hippocampus"), "left"),
    ("brain_stem", Code("119238007", "SCT", "Brain Stem"), ""),
    ("third_ventricle", Code("49841001", "SCT", "Third ventricle"), ""),
)


@dataclass(frozen=True)
class Scene:
    """The files of a study with its results, and where everything should be.

    Attributes:
        labels: ``(slice, row, column)``.
        by_instance: the place of each source image in the volume, by its SOP Instance UID.
    """

    study_instance_uid: str
    sources: list[Path]
    results: list[Path]
    labels: npt.NDArray[np.uint8]
    affine_lps: npt.NDArray[np.float64]
    by_instance: dict[str, int]


def draw_labels() -> npt.NDArray[np.uint8]:
    """A red F that moves from slice to slice, a green bar in the first and a blue one in the last.

    Every slice is another one, and none is its own mirror image.
    """
    labels = np.zeros(SIZE, np.uint8)
    letter = np.kron(np.array([list(map(int, line)) for line in LETTER]), np.ones((4, 4)))
    rows, columns = letter.shape
    for place, plane in enumerate(labels):
        column = 6 + 3 * place
        plane[8 : 8 + rows, column : column + columns][letter > 0] = 1
    labels[0, 38:42, 5:20] = 2
    labels[-1, 38:42, 40:60] = 3
    labels[SIZE[0] // 2, 3:6, 45:60] = 2
    return labels


def write_scene(folder: Path, form: Form, seed: str) -> Scene:
    """Write a study into ``folder``; its image is bright where the labels are."""
    labels = draw_labels()
    affine = affine_from_axes((1, 0, 0), (0, 1, 0), (4.0, 1.5, 1.5), (-40.0, -30.0, 10.0))
    voxels = np.where(labels > 0, 700, 200).astype(np.int16)
    paths = write_series(voxels, affine, folder / "series", Header(seed=seed, patient_id=seed))
    headers = tuple(pydicom.dcmread(path, stop_before_pixels=True) for path in paths)
    structures = tuple(
        replace(make_label(value, *structure), color_rgb=COLOURS[value])
        for value, structure in enumerate(_STRUCTURES, start=1)
    )
    case: Case = make_case(folder / "unused")
    context = replace(
        case.context,
        job=replace(make_job(str(headers[0].SeriesInstanceUID)), input_digest=seed),
        manifest=make_manifest(labels=structures, output=Output(statistics=STATISTICS)),
        sources=headers,
        volume=Volume(
            voxels,
            affine,
            tuple(SourceSlice(str(h.SOPInstanceUID), str(h.SOPClassUID), 1) for h in headers),
        ),
        form=form,
    )
    objects = write_results(context, Analysis(labels), folder)
    return Scene(
        study_instance_uid=str(headers[0].StudyInstanceUID),
        sources=paths,
        results=[folder / item.path for item in objects],
        labels=labels,
        affine_lps=affine,
        by_instance={str(h.SOPInstanceUID): place for place, h in enumerate(headers)},
    )
