"""Results of CT, MR and enhanced MR, in four planes, with few and many segments."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, EnhancedMRImageStorage, MRImageStorage

from secondread.domain.code import Code
from secondread.domain.form import Form, SegmentationKind
from secondread.domain.volume import SourceSlice, Volume
from secondread.results.analysis import Analysis
from secondread.results.context import ResultContext
from tests.result_cases import make_job, make_label, make_manifest
from tests.slices import decimal_strings, make_slice, store

SOURCES = ("ct", "mr", "enhanced mr")
PLANES = ("axial", "sagittal", "oblique", "tilted")
KINDS = (SegmentationKind.BINARY, SegmentationKind.LABELMAP, SegmentationKind.FRACTIONAL)
COUNTS = (0, 1, 10, 100)

SIZE = (12, 48, 44)
_SPACING_MM = (3.0, 0.9, 1.1)
_TILT_DEGREES = 17.0
_CELL = 4
_TYPES = (
    Code("5366008", "SCT", "Hippocampus"),
    Code("119406000", "SCT", "Thalamus"),
    Code("10200004", "SCT", "Liver"),
    Code("64033007", "SCT", "Kidney"),
    Code("119238007", "SCT", "Brain Stem"),
)
_PATIENT = {
    "PatientName": "Matrix^Case",
    "PatientID": "MATRIX-1",
    "PatientBirthDate": "19600229",
    "PatientSex": "F",
    "StudyDate": "20240301",
    "StudyTime": "101112",
    "StudyID": "M1",
    "AccessionNumber": "A77",
    "ReferringPhysicianName": "Known^Well",
    "Manufacturer": "Example Instruments",
}


@dataclass(frozen=True)
class MatrixCase:
    """A job, the model's answer and the files that it is about."""

    context: ResultContext
    analysis: Analysis
    paths: list[Path]


def make_matrix_case(
    folder: Path, source: str, plane: str, kind: SegmentationKind, count: int
) -> MatrixCase:
    """One cell of the matrix; an answer of ``count`` segments."""
    folder.mkdir(parents=True, exist_ok=True)
    row, column, step = _directions(plane)
    positions = np.array([-20.0, 31.0, 7.5]) + np.arange(SIZE[0])[:, None] * step
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1], affine[:3, 2] = column * _SPACING_MM[1], row * _SPACING_MM[2]
    affine[:3, 3] = positions[0]
    voxels = np.random.default_rng(4).integers(0, 900, SIZE).astype(np.int16)
    plain = _enhanced if source == "enhanced mr" else _classic
    datasets = plain(source, voxels, positions, (*row, *column))
    paths = [store(dataset, folder) for dataset in datasets]
    headers = tuple(pydicom.dcmread(path, stop_before_pixels=True) for path in paths)
    frames = range(1, SIZE[0] + 1) if len(headers) == 1 else [1] * SIZE[0]
    by_slice = headers * SIZE[0] if len(headers) == 1 else headers
    volume = Volume(
        voxels,
        affine,
        tuple(
            SourceSlice(str(header.SOPInstanceUID), str(header.SOPClassUID), frame)
            for header, frame in zip(by_slice, frames, strict=True)
        ),
    )
    context = ResultContext(
        job=replace(
            make_job(str(headers[0].SeriesInstanceUID)),
            input_digest=f"{source} {plane} {kind} {count}",
        ),
        manifest=make_manifest(labels=_labels(max(count, 1))),
        qualification="RESEARCH",
        sources=headers,
        volume=volume,
        ae_title="SECONDREAD",
        device_serial="SR-0001",
        uid_root="",
        software_version="0.1.0",
        form=Form(segmentation=kind, fallback=()),
    )
    return MatrixCase(context, _answer(count, kind), paths)


def _directions(plane: str) -> tuple[npt.NDArray[np.float64], ...]:
    """Row and column directions, and the step from slice to slice, LPS mm."""
    if plane == "sagittal":
        row, column = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, -1.0])
    elif plane == "oblique":
        row = np.array([0.96, 0.2, -0.195959179])
        column = np.array([-0.2, 0.97959184, 0.0199933])
    elif plane == "tilted":
        angle = np.deg2rad(_TILT_DEGREES)
        row, column = np.array([1.0, 0.0, 0.0]), np.array([0.0, np.cos(angle), np.sin(angle)])
        # The gantry leans, the table moves on: the slices do not lie along their normal.
        return row, column, np.array([0.0, 0.0, _SPACING_MM[0]])
    else:
        row, column = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
    normal = np.cross(row, column)
    return row, column, normal / np.linalg.norm(normal) * _SPACING_MM[0]


def _classic(
    source: str,
    voxels: npt.NDArray[np.int16],
    positions: npt.NDArray[np.float64],
    orientation: tuple,
) -> list[Dataset]:
    is_ct = source == "ct"
    return [
        make_slice(
            plane,
            position,
            number,
            SOPClassUID=CTImageStorage if is_ct else MRImageStorage,
            Modality="CT" if is_ct else "MR",
            ImageOrientationPatient=decimal_strings(orientation),
            PixelSpacing=decimal_strings(_SPACING_MM[1:]),
            SliceThickness="3",
            **({"RescaleSlope": "1", "RescaleIntercept": "-1024"} if is_ct else {}),
            **_PATIENT,
        )
        for number, (plane, position) in enumerate(zip(voxels, positions, strict=True), start=1)
    ]


def _enhanced(
    _source: str,
    voxels: npt.NDArray[np.int16],
    positions: npt.NDArray[np.float64],
    orientation: tuple,
) -> list[Dataset]:
    dataset = make_slice(voxels[0], (0, 0, 0), ImagePositionPatient=None, **_PATIENT)
    del dataset.ImageOrientationPatient, dataset.PixelSpacing
    dataset.SOPClassUID = EnhancedMRImageStorage
    dataset.NumberOfFrames = len(voxels)
    dataset.PixelData = voxels.tobytes()
    directions, measures = Dataset(), Dataset()
    directions.ImageOrientationPatient = decimal_strings(orientation)
    measures.PixelSpacing, measures.SliceThickness = decimal_strings(_SPACING_MM[1:]), "3"
    shared = Dataset()
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [directions], [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = []
    for at in positions:
        position, own = Dataset(), Dataset()
        position.ImagePositionPatient = decimal_strings(at)
        own.PlanePositionSequence = [position]
        dataset.PerFrameFunctionalGroupsSequence.append(own)
    return [dataset]


def _labels(count: int) -> tuple:
    sides = ("left", "right", "")
    return tuple(
        make_label(value, f"structure_{value}", _TYPES[value % len(_TYPES)], sides[value % 3])
        for value in range(1, count + 1)
    )


def _answer(count: int, kind: SegmentationKind) -> Analysis:
    """Each segment has a cell of its own in the plane, and a place of its own in the stack."""
    labels = np.zeros(SIZE, np.uint8)
    columns = SIZE[2] // _CELL
    for value in range(1, count + 1):
        row, column = divmod(value - 1, columns)
        first = value % (SIZE[0] - 3)
        box = labels[first : first + 2 + value % 3]
        box[
            :,
            row * _CELL : (row + 1) * _CELL - value % 2,
            column * _CELL : (column + 1) * _CELL - value % 3,
        ] = value
    if kind is not SegmentationKind.FRACTIONAL:
        return Analysis(labels)
    chances = np.random.default_rng(6).integers(130, 256, (max(count, 1), *SIZE)).astype(np.uint8)
    for value in range(1, max(count, 1) + 1):
        chances[value - 1][labels != value] = 0
    return Analysis(labels, probabilities=chances)
