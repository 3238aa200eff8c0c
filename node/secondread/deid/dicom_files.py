"""DICOM files for a model that takes no arrays, written from the allow-list and from nothing else.

They are CT or MR images of nobody: patient, study and dates are fixed words, UIDs are random and
new whenever the files are written, and a file's name is the number of its slice. All else is the
geometry and the pixels of the volume and the attributes that passed ``deid.attributes``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pydicom.valuerep import format_number_as_ds

from secondread.deid.stored_values import Line, find_line
from secondread.deid.terms import UNPAIRED_PARTS
from secondread.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from secondread.domain.technical import AttributeValue

SOP_CLASSES = {"CT": CTImageStorage, "MR": MRImageStorage}
"""Modalities of which files can be written."""
PATIENT_NAME, PATIENT_ID = "SecondRead^Model input", "SECONDREAD"
DATE, TIME = "20000101", "000000"
METHOD = "SecondRead: written anew from an allow-list"

_BOTH = "PatientSex PatientPosition BodyPartExamined Laterality Manufacturer SliceThickness"
_CT = "KVP ConvolutionKernel"
_MR = (
    "MagneticFieldStrength MRAcquisitionType ScanningSequence SequenceVariant ScanOptions EchoTime "
    "RepetitionTime InversionTime FlipAngle EchoTrainLength"
)
_KEYWORDS: Mapping[str, tuple[str, ...]] = {
    "CT": (*_BOTH.split(), *_CT.split()),
    "MR": (*_BOTH.split(), *_MR.split()),
}
# Type 1 and 2 attributes of the IODs (PS3.3 A.3, A.4) that nobody asked for: empty, or a term that
# says nothing.
_EMPTY = (
    "PatientBirthDate PatientSex AccessionNumber ReferringPhysicianName Manufacturer Laterality "
    "SliceThickness PatientPosition PositionReferenceIndicator AcquisitionNumber"
)
_LEAST: Mapping[str, Mapping[str, object]] = {
    "CT": {"KVP": None, "ImageType": ["DERIVED", "PRIMARY", "AXIAL"]},
    "MR": {
        "ImageType": ["DERIVED", "PRIMARY", "OTHER"],
        "ScanningSequence": "RM",
        "SequenceVariant": "NONE",
        **dict.fromkeys(("ScanOptions", "MRAcquisitionType", "EchoTime", "EchoTrainLength")),
        "RepetitionTime": None,
    },
}


@dataclass(frozen=True, slots=True)
class Images:
    """What is written.

    Attributes:
        modality: 'CT' or 'MR'.
        voxels: ``(slice, row, column)``, int16 or float32.
        affine_lps: 4 x 4, columns at right angles; its origin is that of the files.
        attributes: values that ``deid.attributes`` has made.
    """

    modality: str
    voxels: npt.NDArray[Any]
    affine_lps: npt.NDArray[np.float64]
    attributes: Mapping[str, AttributeValue]


def write_images(images: Images, folder: Path) -> None:
    """Write ``0001.dcm`` and so on, in the order of the slices, into a folder of their own.

    The folder appears whole or not at all, instead of one that is there; its files are on disk when
    this returns.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    written = []
    for number, content in enumerate(_files(images), start=1):
        path = partial / f"{number:04d}.dcm"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        written.append(path)
    # After the last one is written, the first sync takes most of the others along.
    for path in (*written, partial):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _files(images: Images) -> Iterator[bytes]:
    line = find_line(images.voxels)
    series = _series(images, line)
    step, origin = images.affine_lps[:3, 0], images.affine_lps[:3, 3]
    for index, plane in enumerate(images.voxels):
        series.SOPInstanceUID = generate_uid(prefix=None)
        series.InstanceNumber = index + 1
        series.ImagePositionPatient = _decimals(origin + index * step)
        stored = line.store(plane).tobytes()
        series.PixelData = stored
        series["PixelData"].VR = "OW"
        yield _encode(series)


def _series(images: Images, line: Line) -> Dataset:
    """All that the slices have in common."""
    slices, rows, columns = images.voxels.shape
    dataset = Dataset()
    dataset.SOPClassUID = SOP_CLASSES[images.modality]
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(dataset, keyword, generate_uid(prefix=None))
    for keyword in _EMPTY.split():
        setattr(dataset, keyword, None)
    for keyword, least in _LEAST[images.modality].items():
        setattr(dataset, keyword, least)
    dataset.Modality = images.modality
    dataset.PatientName, dataset.PatientID = PATIENT_NAME, PATIENT_ID
    dataset.PatientIdentityRemoved, dataset.DeidentificationMethod = "YES", METHOD
    dataset.LongitudinalTemporalInformationModified = "REMOVED"
    dataset.StudyDate, dataset.StudyTime = DATE, TIME
    dataset.StudyID, dataset.SeriesNumber = "1", 1
    _, down, across = images.affine_lps[:3, :3].T
    height, width = float(np.linalg.norm(down)), float(np.linalg.norm(across))
    dataset.ImageOrientationPatient = _decimals([*(across / width), *(down / height)])
    dataset.PixelSpacing = _decimals([height, width])
    dataset.ImagesInAcquisition = slices
    dataset.Rows, dataset.Columns = rows, columns
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = int(line.is_signed)
    if images.modality == "CT" or (line.slope, line.intercept) != (1.0, 0.0):
        # An MR image has a rescale in the sense of a standard extended class (PS3.4 B.4.1).
        dataset.RescaleSlope, dataset.RescaleIntercept = _decimals([line.slope, line.intercept])
        dataset.RescaleType = "HU" if images.modality == "CT" else "US"
    _put(dataset, images)
    return dataset


def _put(dataset: Dataset, images: Images) -> None:
    """The attributes that the model asked for, as far as the IOD has them."""
    for keyword in _KEYWORDS[images.modality]:
        if keyword in images.attributes:
            value = images.attributes[keyword]
            setattr(dataset, keyword, list(value) if isinstance(value, tuple) else value)
    if images.attributes.get("BodyPartExamined") in UNPAIRED_PARTS:
        # Type 2C (PS3.3 C.7.3.1): what is not one of a pair has no side.
        del dataset.Laterality
    if "IR" not in dataset.get("ScanningSequence", ()):
        # Type 2C (PS3.3 C.8.3.1): only an inversion recovery has one.
        dataset.pop("InversionTime", None)
    if "PatientAge" in images.attributes:
        dataset.PatientAge = f"{images.attributes['PatientAge']:03d}Y"
    if images.attributes.get("ContrastGiven"):
        dataset.ContrastBolusAgent = "given"


def _decimals(values: Any) -> list[str]:
    return [format_number_as_ds(float(value) + 0.0) for value in values]


def _encode(dataset: Dataset) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    content = BytesIO()
    file = FileDataset(
        content,
        dataset,
        preamble=bytes(128),
        file_meta=meta,
        is_implicit_VR=False,
        is_little_endian=True,
    )
    file.save_as(content, enforce_file_format=True)
    return content.getvalue()
