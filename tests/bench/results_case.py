"""A body with a hundred structures in five hundred slices, as the bench of results reads it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom

from secondread.bundles.manifest import Label
from secondread.domain.form import Form
from secondread.domain.volume import SourceSlice, Volume
from secondread.results.analysis import Analysis
from secondread.results.context import ResultContext
from secondread.results.document import Document
from secondread.results.measurement.measurements import StructureMeasurements, measure
from secondread.results.segmentation.documents import SegmentationDocument, make_segmentations
from tests.result_cases import HIPPOCAMPUS, make_job, make_label, make_manifest
from tests.slices import make_slice, store

SHAPE = (500, 512, 512)
STRUCTURES = 100
_STEP_MM = 1.0
_PIXEL_MM = 0.9765625


@dataclass(frozen=True)
class BodyCase:
    """Where the files of the case lie."""

    folder: Path

    @property
    def sources(self) -> Path:
        """The CT slices."""
        return self.folder / "sources"

    @property
    def labels(self) -> Path:
        """The answer as a node keeps it."""
        return self.folder / "labels.npy"

    @property
    def masks(self) -> Path:
        """The same for dcmqi, uncompressed."""
        return self.folder / "labels.nrrd"

    @property
    def metadata(self) -> Path:
        """What dcmqi writes about each segment."""
        return self.folder / "segments.json"

    @property
    def frames(self) -> int:
        """Frames of a BINARY segmentation without empty ones."""
        return int((self.folder / "frames.txt").read_text())


@dataclass(frozen=True)
class OpenBody:
    """A case in memory, ready to be written."""

    context: ResultContext
    labels: npt.NDArray[np.uint8]

    def write(self, path: Path) -> SegmentationDocument:
        """Make the segmentation and write it, synced, as a node does before its gate."""
        (document,) = make_segmentations(self.context, Analysis(self.labels))
        write_synced(document, path)
        return document

    def measure(self) -> tuple[StructureMeasurements, ...]:
        """The numbers of every structure."""
        return measure(self.context.analysed, self.labels, self.context.manifest.labels)


def write_synced(document: Document, path: Path) -> None:
    """Write a document as a node does before its gate."""
    with path.open("wb") as file:
        document.write(file)
        file.flush()
        os.fsync(file.fileno())


def make_body(
    shape: tuple[int, int, int] = SHAPE, structures: int = STRUCTURES
) -> npt.NDArray[np.uint8]:
    """Uneven lumps of 51 to 95 slices, some of which cover others, as organs and bones lie.

    There are about 7,100 pairs of a structure and a slice in the whole body.
    """
    rng = np.random.default_rng(0)
    labels = np.zeros(shape, np.uint8)
    slices, rows, columns = shape
    side = min(50, rows // 4, columns // 4)
    for value in range(1, structures + 1):
        depth = min(int(rng.integers(25, 48)), (slices - 1) // 2)
        height, width = rng.integers(side // 3, side - 4, 2)
        first = int(rng.integers(0, slices - 2 * depth))
        top = int(rng.integers(0, rows - 2 * side))
        left = int(rng.integers(0, columns - 2 * side))
        z, y, x = np.ogrid[-depth : depth + 1, -side:side, -side:side]
        bumps = 0.1 * np.sin(x / 7 + value) * np.cos(y / 9) + 0.05 * np.sin(z / 5)
        lump = (z / depth) ** 2 + (y / height) ** 2 + (x / width) ** 2 < 1 + bumps
        box = labels[first : first + 2 * depth + 1, top : top + 2 * side, left : left + 2 * side]
        box[lump] = value
    return labels


def write_body(labels: npt.NDArray[np.uint8], folder: Path) -> BodyCase:
    """Write the slices and the answer, for us and for dcmqi."""
    # Not for the process whose memory is measured.
    import SimpleITK

    case = BodyCase(folder)
    case.sources.mkdir()
    rng = np.random.default_rng(1)
    pixels = rng.integers(-1000, 1000, labels.shape[1:]).astype(np.int16)
    for number in range(len(labels)):
        dataset = make_slice(
            np.roll(pixels, number, axis=1),
            (-250, -250, number * _STEP_MM),
            number + 1,
            SOPClassUID=pydicom.uid.CTImageStorage,
            Modality="CT",
            PixelSpacing=[str(_PIXEL_MM)] * 2,
            SliceThickness=str(_STEP_MM),
            PatientName="Bench^Body",
            PatientID="BENCH-1",
            StudyDate="20240102",
            SeriesDate="20240102",
        )
        store(dataset, case.sources)
    np.save(case.labels, labels)
    image = SimpleITK.GetImageFromArray(labels)
    image.SetSpacing((_PIXEL_MM, _PIXEL_MM, _STEP_MM))
    image.SetOrigin((-250, -250, 0))
    SimpleITK.WriteImage(image, case.masks, useCompression=False)
    found = _labels_of(labels)
    case.metadata.write_text(json.dumps(_describe_for_dcmqi(found)))
    frames = sum(len(np.unique(plane[plane > 0])) for plane in labels)
    (folder / "frames.txt").write_text(str(frames))
    return case


def open_body(case: BodyCase, form: Form) -> OpenBody:
    """Read the headers of the sources and the answer; the volume's voxels are not needed."""
    headers = [
        pydicom.dcmread(path, stop_before_pixels=True)
        for path in sorted(case.sources.iterdir(), key=lambda path: path.name)
    ]
    headers.sort(key=lambda header: float(header.ImagePositionPatient[2]))
    labels: npt.NDArray[np.uint8] = np.load(case.labels)
    affine = np.diag([_STEP_MM, _PIXEL_MM, _PIXEL_MM, 1.0])[[2, 1, 0, 3]]
    affine[:3, 3] = (-250, -250, 0)
    sources = tuple(
        SourceSlice(str(one.SOPInstanceUID), str(one.SOPClassUID), 1) for one in headers
    )
    context = ResultContext(
        job=make_job(str(headers[0].SeriesInstanceUID)),
        manifest=make_manifest(labels=_labels_of(labels)),
        qualification="RESEARCH",
        sources=tuple(headers),
        volume=Volume(np.broadcast_to(np.int16(0), labels.shape), affine, sources),
        ae_title="SECONDREAD",
        device_serial="SR-0001",
        uid_root="",
        software_version="0.1.0",
        form=form,
    )
    return OpenBody(context, labels)


def read_masks(path: Path, slices: int) -> npt.NDArray[np.uint8]:
    """A BINARY segmentation as ``(slice, row, column)``, each slice at its own millimetre."""
    found = pydicom.dcmread(path)
    size = found.Rows * found.Columns
    packed = np.frombuffer(found.PixelData, np.uint8)
    labels = np.zeros((slices, found.Rows, found.Columns), np.uint8)
    for number, group in enumerate(found.PerFrameFunctionalGroupsSequence):
        bits = np.unpackbits(
            packed[number * size // 8 : (number + 1) * size // 8], bitorder="little"
        )
        at = round(float(group.PlanePositionSequence[0].ImagePositionPatient[2]) / _STEP_MM)
        segment = int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        labels[at].reshape(-1)[bits.view(np.bool_)] = segment
    return labels


def _labels_of(labels: npt.NDArray[np.uint8]) -> tuple[Label, ...]:
    highest = int(labels.max())
    return tuple(
        make_label(value, f"structure_{value}", HIPPOCAMPUS) for value in range(1, highest + 1)
    )


def _describe_for_dcmqi(labels: tuple[Label, ...]) -> dict[str, object]:
    segments = [
        {
            "labelID": label.value,
            "SegmentDescription": label.meaning,
            "SegmentLabel": label.meaning,
            "SegmentAlgorithmType": "AUTOMATIC",
            "SegmentAlgorithmName": "toy_head",
            "SegmentedPropertyCategoryCodeSequence": _code(
                label.category.value, label.category.scheme, label.category.meaning
            ),
            "SegmentedPropertyTypeCodeSequence": _code(
                label.type.value, label.type.scheme, label.type.meaning
            ),
            "recommendedDisplayRGBValue": list(label.color_rgb),
        }
        for label in labels
    ]
    return {
        "ContentCreatorName": "SecondRead^Bench",
        "SeriesDescription": "Bench",
        "SeriesNumber": "300",
        "InstanceNumber": "1",
        "BodyPartExamined": "",
        "segmentAttributes": [segments],
    }


def _code(value: str, scheme: str, meaning: str) -> dict[str, str]:
    return {"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}
