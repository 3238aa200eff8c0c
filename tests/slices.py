"""Single slices with any header a scanner might write, made one by one for tests."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import format_number_as_ds

from secondread.domain.instance import Instance

STUDY_UID = "2.25.1001"
SERIES_UID = "2.25.1002"
FRAME_UID = "2.25.1003"


def decimal_strings(values: Any) -> list[str]:
    """Numbers as DICOM decimal strings of at most 16 characters."""
    return [format_number_as_ds(float(value)) for value in values]


def make_slice(pixels: Any, position: Any, number: int = 1, **attributes: Any) -> Dataset:
    """An axial MR slice; ``attributes`` replace or add elements, None removes one."""
    pixels = np.asarray(pixels)
    dataset = Dataset()
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = f"2.25.2000{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY_UID, SERIES_UID
    dataset.FrameOfReferenceUID = FRAME_UID
    dataset.Modality, dataset.ImageType = "MR", ["ORIGINAL", "PRIMARY", "M"]
    dataset.SeriesNumber, dataset.InstanceNumber = 1, number
    dataset.ImagePositionPatient = decimal_strings(position)
    dataset.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    dataset.PixelSpacing = ["1", "1"]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    bits = pixels.dtype.itemsize * 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    content = pixels.tobytes()
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = "OW"
    for name, value in attributes.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    return dataset


def put_raw(dataset: Dataset, tag: int, value: str) -> None:
    """Put text into an element that may not hold it; store such a data set with implicit VR."""
    dataset[tag] = DataElement(tag, "LO", value)


def store(dataset: Dataset, folder: Path, syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write a data set as a file named by its UID."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    path = folder / f"{dataset.SOPInstanceUID}.dcm"
    file = FileDataset(
        path,
        dataset,
        preamble=b"\0" * 128,
        file_meta=meta,
        is_implicit_VR=UID(syntax).is_implicit_VR,
        is_little_endian=UID(syntax).is_little_endian,
    )
    file.save_as(path, enforce_file_format=True)
    return path


def store_implicit(dataset: Dataset, folder: Path) -> Path:
    """Write a data set without VRs, as ``put_raw`` needs it."""
    return store(dataset, folder, ImplicitVRLittleEndian)


def instance_of(path: Path, dataset: Dataset, peer: str = "mr1") -> Instance:
    """The ledger's row of a stored data set; its path is the file's name."""
    content = path.read_bytes()
    return Instance(
        sop_instance_uid=str(dataset.SOPInstanceUID),
        sop_class_uid=str(dataset.SOPClassUID),
        study_instance_uid=str(dataset.get("StudyInstanceUID", "")),
        series_instance_uid=str(dataset.SeriesInstanceUID),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        path=path.name,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        peer=peer,
        received_at=0.0,
    )


def store_all(datasets: list[Dataset], folder: Path) -> list[Instance]:
    """Write data sets and return their rows, in the same order."""
    return [instance_of(store(dataset, folder), dataset) for dataset in datasets]


def make_series(count: int = 12, spacing_mm: float = 3.0, **attributes: Any) -> list[Dataset]:
    """Slices of 16 x 16 that lie evenly along the z axis."""
    return [
        make_slice(
            np.full((16, 16), number, np.int16), (0, 0, spacing_mm * number), number, **attributes
        )
        for number in range(1, count + 1)
    ]
