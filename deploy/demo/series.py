"""An array and its affine, written as the series that a scanner would have sent.

The demo makes its head with it and the tests make their acquisitions with it, so it uses nothing
of the node: what the node reads back is checked against what was written here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import format_number_as_ds

IMPLEMENTATION_CLASS_UID = UID("2.25.302190384720912834590127345601928374650")
RESCALE_INTERCEPT_HU = -1024
ORTHOGONAL_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Header:
    """What the files say besides pixels and geometry.

    ``seed`` decides every UID: the same seed gives the same series. ``study`` decides the Study
    Instance UID and the Frame of Reference UID, so that several series can share a study; empty
    means the seed. Dates and times are in DICOM's form.
    """

    patient_name: str = "Example^Head"
    patient_id: str = "EXAMPLE-1"
    patient_birth_date: str = "19700101"
    patient_sex: str = "O"
    study_description: str = "MR head"
    series_description: str = "t1 mprage"
    modality: str = "MR"
    seed: str = "secondread example"
    study: str = ""
    series_number: int = 2
    study_date: str = "20240102"
    study_time: str = "101500"
    accession_number: str = "A0001"
    body_part: str = "HEAD"
    manufacturer: str = "Example Instruments"


def write_series(
    voxels: npt.NDArray[np.integer],
    affine_lps: npt.NDArray[np.float64],
    folder: Path,
    header: Header | None = None,
    **fields: str,
) -> list[Path]:
    """Write one classic single-frame file per slice and return the paths in slice order.

    Args:
        voxels: integers, ``(slice, row, column)``; HU for CT, signal for MR.
        affine_lps: 4 x 4, voxel (slice, row, column) to the LPS position of its centre in mm;
            the axes must be orthogonal, as those of a scanner are.
        folder: made if it is not there.
        header: what the files say besides.
        **fields: replace single fields of the header, as in
            ``write_series(voxels, affine, folder, patient_id="P7", modality="CT")``.

    Raises:
        ValueError: the array or the affine cannot be a series.
    """
    said = replace(header or Header(), **fields)  # type: ignore[arg-type]
    _check(voxels, affine_lps, said)
    folder.mkdir(parents=True, exist_ok=True)
    stored, bits, signed = _encode(voxels, said.modality)
    paths = []
    for index in range(voxels.shape[0]):
        instance = _common(said, index)
        instance.update(_geometry(affine_lps, index, voxels.shape))
        instance.update(_pixels(stored[index], bits, signed))
        instance.update(_acquisition(said.modality))
        path = folder / f"{said.modality}{index + 1:04d}.dcm"
        instance.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def affine_from_axes(
    row_direction: Sequence[float],
    column_direction: Sequence[float],
    spacing_mm: tuple[float, float, float],
    origin_lps: Sequence[float] = (0.0, 0.0, 0.0),
) -> npt.NDArray[np.float64]:
    """The affine of an acquisition from its Image Orientation (Patient) and spacing.

    ``row_direction`` points along increasing columns, ``column_direction`` along increasing rows
    (PS3.3 C.7.6.2.1.1); slices increase along their cross product. ``spacing_mm`` is that of
    (slice, row, column), ``origin_lps`` the centre of voxel (0, 0, 0).
    """
    along_columns = np.asarray(row_direction, float) / np.linalg.norm(row_direction)
    along_rows = np.asarray(column_direction, float) / np.linalg.norm(column_direction)
    affine = np.eye(4)
    affine[:3, 0] = np.cross(along_columns, along_rows) * spacing_mm[0]
    affine[:3, 1] = along_rows * spacing_mm[1]
    affine[:3, 2] = along_columns * spacing_mm[2]
    affine[:3, 3] = origin_lps
    return affine


def _check(voxels: npt.NDArray[np.integer], affine: npt.NDArray[np.float64], said: Header) -> None:
    if voxels.ndim != 3 or not np.issubdtype(voxels.dtype, np.integer):
        raise ValueError("The voxels must be integers with the axes (slice, row, column).")
    if said.modality not in ("MR", "CT"):
        raise ValueError(f"A series of modality '{said.modality}' cannot be written: MR or CT.")
    if affine.shape != (4, 4):
        raise ValueError("The affine must be 4 x 4.")
    unit = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.abs(unit.T @ unit - np.eye(3)).max() > ORTHOGONAL_TOLERANCE:
        raise ValueError("The axes of the affine must be orthogonal; a scanner writes no shear.")


def _encode(
    voxels: npt.NDArray[np.integer], modality: str
) -> tuple[npt.NDArray[np.integer], int, bool]:
    """The stored values with their Bits Stored and whether they are signed."""
    shifted = voxels.astype(np.int64) - (RESCALE_INTERCEPT_HU if modality == "CT" else 0)
    low, high = int(shifted.min(initial=0)), int(shifted.max(initial=0))
    if low < -(2**15) or high >= (2**15 if low < 0 else 2**16):
        raise ValueError(f"Values from {low} to {high} do not fit 16 bits.")
    signed = low < 0
    bits = 12 if not signed and high < 4096 else 16
    return shifted.astype("<i2" if signed else "<u2"), bits, signed


def _common(said: Header, index: int) -> Dataset:
    """Patient, study, series, equipment, frame of reference and SOP common modules."""
    study = said.study or said.seed
    instance = Dataset()
    instance.SOPClassUID = MRImageStorage if said.modality == "MR" else CTImageStorage
    instance.SOPInstanceUID = _uid(said.seed, "instance", str(index))
    instance.StudyInstanceUID = _uid(study, "study")
    instance.SeriesInstanceUID = _uid(said.seed, "series")
    instance.FrameOfReferenceUID = _uid(study, "frame of reference")
    instance.PositionReferenceIndicator = ""
    instance.PatientName = said.patient_name
    instance.PatientID = said.patient_id
    instance.PatientBirthDate = said.patient_birth_date
    instance.PatientSex = said.patient_sex
    instance.StudyDate = instance.SeriesDate = instance.AcquisitionDate = said.study_date
    instance.StudyTime = instance.SeriesTime = instance.AcquisitionTime = said.study_time
    instance.ContentDate, instance.ContentTime = said.study_date, said.study_time
    instance.ReferringPhysicianName = ""
    instance.AccessionNumber = said.accession_number
    instance.StudyID = "1"
    instance.StudyDescription = said.study_description
    instance.SeriesDescription = instance.ProtocolName = said.series_description
    instance.SeriesNumber = said.series_number
    instance.AcquisitionNumber = 1
    instance.InstanceNumber = index + 1
    instance.Modality = said.modality
    instance.BodyPartExamined = said.body_part
    instance.PatientPosition = "HFS"
    instance.Manufacturer = said.manufacturer
    instance.ManufacturerModelName = "Written from an array"
    instance.file_meta = FileMetaDataset()
    instance.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    instance.file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    return instance


def _geometry(affine: npt.NDArray[np.float64], index: int, shape: tuple[int, ...]) -> Dataset:
    """Image plane module (PS3.3 C.7.6.2) of one slice."""
    slice_mm, row_mm, column_mm = np.linalg.norm(affine[:3, :3], axis=0)
    plane = Dataset()
    plane.ImagePositionPatient = _decimals(affine[:3, 3] + index * affine[:3, 0])
    plane.ImageOrientationPatient = _decimals(
        np.concatenate([affine[:3, 2] / column_mm, affine[:3, 1] / row_mm])
    )
    plane.PixelSpacing = _decimals(np.array([row_mm, column_mm]))
    plane.SliceThickness = plane.SpacingBetweenSlices = _decimals(np.array([slice_mm]))[0]
    plane.Rows, plane.Columns = shape[1], shape[2]
    return plane


def _pixels(plane: npt.NDArray[np.integer], bits: int, signed: bool) -> Dataset:
    """Image pixel module (PS3.3 C.7.6.3) of one slice."""
    pixels = Dataset()
    pixels.SamplesPerPixel = 1
    pixels.PhotometricInterpretation = "MONOCHROME2"
    pixels.BitsAllocated, pixels.BitsStored, pixels.HighBit = 16, bits, bits - 1
    pixels.PixelRepresentation = int(signed)
    pixels.add_new("PixelData", "OW", plane.tobytes())
    return pixels


def _acquisition(modality: str) -> Dataset:
    """What MR (PS3.3 C.8.3.1) or CT (PS3.3 C.8.2.1) images say about their making."""
    made = Dataset()
    if modality == "CT":
        made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        made.RescaleIntercept, made.RescaleSlope, made.RescaleType = RESCALE_INTERCEPT_HU, 1, "HU"
        made.KVP = 120
        return made
    made.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    made.ScanningSequence, made.SequenceVariant, made.ScanOptions = ["GR", "IR"], ["SP", "MP"], ""
    made.MRAcquisitionType = "3D"
    made.RepetitionTime, made.EchoTime, made.InversionTime = 2300, 3, 900
    made.EchoTrainLength, made.FlipAngle, made.MagneticFieldStrength = 1, 9, 3
    made.ImagedNucleus = "1H"
    return made


def _decimals(numbers: npt.NDArray[np.float64]) -> list[str]:
    """Decimal strings of at most 16 characters (PS3.5 6.2, DS)."""
    return [format_number_as_ds(float(number) + 0.0) for number in numbers]


def _uid(*parts: str) -> UID:
    """A UID under 2.25 (PS3.5 B.2) that depends on the parts alone."""
    digest = hashlib.sha256("\n".join(parts).encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:16], 'big')}")
