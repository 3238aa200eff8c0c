"""The CT and MR objects that the intake bench sends: real-looking, and new for every run."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage

_UID_DIGITS = 37
_SAMPLES = 8


@dataclass(frozen=True)
class Sample:
    """One object as it is sent; ``data`` is its data set in Explicit VR Little Endian."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    meta: bytes
    data: bytes


@dataclass(frozen=True)
class _Mould:
    """An encoded object whose UIDs, all of one length, are filled in later."""

    sop_class_uid: str
    meta: bytes
    header: bytes
    pixels: tuple[bytes, ...]


def _uid(number: int) -> str:
    """A UID under 2.25 of always the same length (below 2**128)."""
    return f"2.25.1{number:0{_UID_DIGITS}d}"


_INSTANCE, _SERIES, _STUDY = map(_uid, (10**36 + 1, 10**36 + 2, 10**36 + 3))


class Maker:
    """Makes objects of one kind; each study it makes has UIDs that were never used."""

    def __init__(self, kind: str) -> None:
        self._mould = _MOULDS[kind]()

    def study(self, count: int) -> Iterator[Sample]:
        """The objects of a new study of one series."""
        base = secrets.randbelow(10**35) * 10
        study, series = _uid(base + 1), _uid(base + 2)
        for number in range(count):
            instance = _uid(base + 10 + number)
            names = {_INSTANCE: instance, _SERIES: series, _STUDY: study}
            header = _renamed(self._mould.header, names)
            pixels = self._mould.pixels[number % len(self._mould.pixels)]
            # No two objects have the same pixels.
            turn = 2 * number % len(pixels)
            data = b"".join((header, pixels[turn:], pixels[:turn]))
            yield Sample(
                self._mould.sop_class_uid,
                instance,
                study,
                _renamed(self._mould.meta, names),
                data,
            )


def write_samples(samples: list[Sample], folder: Path) -> None:
    """Write them as files."""
    folder.mkdir(parents=True)
    for number, sample in enumerate(samples):
        with (folder / f"{number:04d}.dcm").open("wb") as file:
            file.write(sample.meta)
            file.write(sample.data)


def _renamed(encoded: bytes, names: dict[str, str]) -> bytes:
    for old, new in names.items():
        encoded = encoded.replace(old.encode(), new.encode())
    return encoded


def _mould(dataset: Dataset, frames: list[np.ndarray]) -> _Mould:
    dataset.Rows, dataset.Columns = frames[0].shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _STUDY, _SERIES
    dataset.SOPInstanceUID = _INSTANCE
    dataset.add_new("PixelData", "OW", frames[0].tobytes())
    meta = dataset.file_meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = _INSTANCE
    content = BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    encoded = content.getvalue()
    # Preamble, prefix, then the group length, which counts from its own end (PS3.10 7.1).
    start = 144 + int.from_bytes(encoded[140:144], "little")
    return _Mould(
        str(dataset.SOPClassUID),
        encoded[:start],
        encoded[start : -frames[0].nbytes],
        tuple(frame.tobytes() for frame in frames),
    )


def _frames(shape: tuple[int, int], air: float, tissue: float, noise: float) -> list[np.ndarray]:
    """A round phantom with noise, several times."""
    random = np.random.default_rng(3)
    rows, columns = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    body = np.where(rows**2 + columns**2 < 0.7, tissue * (1 + 0.2 * np.cos(6 * rows)), air)
    return [(body + random.normal(0, noise, shape)).astype("<i2") for _ in range(_SAMPLES)]


def _patient(modality: str) -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName, dataset.PatientID = "Bench^Phantom", "BENCH-0001"
    dataset.PatientBirthDate, dataset.PatientSex = "19500101", "O"
    dataset.PatientAge, dataset.PatientWeight = "070Y", "75"
    dataset.StudyID, dataset.AccessionNumber = "1", "BENCH1"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = "20240102"
    dataset.ContentDate, dataset.ContentTime = "20240102", "101010.123456"
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = "101000.000000"
    dataset.ReferringPhysicianName, dataset.Modality = "", modality
    dataset.Manufacturer, dataset.ManufacturerModelName = "Phantom Works", "Round One"
    dataset.InstitutionName, dataset.StationName = "Bench Hospital", "BENCH1"
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = "0001", ["1.0", "2.0"]
    dataset.StudyDescription, dataset.SeriesDescription = "Bench", "Axial"
    dataset.ProtocolName, dataset.BodyPartExamined = "Routine", "HEAD"
    dataset.PatientPosition, dataset.SeriesNumber = "HFS", 2
    dataset.AcquisitionNumber, dataset.InstanceNumber = 1, 1
    dataset.FrameOfReferenceUID = _SERIES + ".1"
    dataset.PositionReferenceIndicator = ""
    dataset.ImagePositionPatient = ["-125.5", "-125.5", "40"]
    dataset.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    dataset.SliceLocation, dataset.SliceThickness = "40", "1.25"
    dataset.WindowCenter, dataset.WindowWidth = "40", "400"
    return dataset


def _ct() -> _Mould:
    """A CT slice of 512 by 512, a little over 525,000 bytes."""
    dataset = _patient("CT")
    dataset.SOPClassUID = CTImageStorage
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PixelSpacing = ["0.488281", "0.488281"]
    dataset.KVP, dataset.XRayTubeCurrent, dataset.ExposureTime = "120", "200", "500"
    dataset.ConvolutionKernel, dataset.GantryDetectorTilt = "STANDARD", "0"
    dataset.TableHeight, dataset.RotationDirection = "150", "CW"
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "-1024", "1", "HU"
    return _mould(dataset, _frames((512, 512), 0.0, 1040.0, 20.0))


def _mr() -> _Mould:
    """A small MR slice of 128 by 128 with about a hundred elements, some of them sequences."""
    dataset = _patient("MR")
    dataset.SOPClassUID = MRImageStorage
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"]
    dataset.PixelSpacing = ["1.9", "1.9"]
    dataset.ScanningSequence, dataset.SequenceVariant = ["GR", "IR"], ["SP", "MP"]
    dataset.ScanOptions, dataset.MRAcquisitionType = "IR", "3D"
    dataset.SequenceName, dataset.AngioFlag = "*tfl3d1_16ns", "N"
    dataset.RepetitionTime, dataset.EchoTime, dataset.InversionTime = "2300", "2.98", "900"
    dataset.NumberOfAverages, dataset.ImagingFrequency = "1", "123.259"
    dataset.ImagedNucleus, dataset.EchoNumbers = "1H", 1
    dataset.MagneticFieldStrength, dataset.SpacingBetweenSlices = "3", "1.25"
    dataset.NumberOfPhaseEncodingSteps, dataset.EchoTrainLength = 239, 1
    dataset.PercentSampling, dataset.PercentPhaseFieldOfView = "100", "93.75"
    dataset.PixelBandwidth, dataset.TransmitCoilName = "240", "Body"
    dataset.AcquisitionMatrix = [0, 256, 240, 0]
    dataset.InPlanePhaseEncodingDirection, dataset.FlipAngle = "ROW", "9"
    dataset.VariableFlipAngleFlag, dataset.SAR, dataset.dBdt = "N", "0.05", "0"
    dataset.SmallestImagePixelValue, dataset.LargestImagePixelValue = 0, 900
    dataset.PerformedProcedureStepStartDate = "20240102"
    dataset.PerformedProcedureStepStartTime = "100000.000000"
    dataset.PerformedProcedureStepID = "MR20240102100000"
    dataset.PerformedProcedureStepDescription = "Head routine"
    dataset.PatientComments, dataset.ImageComments = "", "Bench object"
    dataset.OperatorsName, dataset.PerformingPhysicianName = "Bench^Operator", ""
    dataset.InstitutionAddress, dataset.InstitutionalDepartmentName = "Loopback 1", "Radiology"
    for element in range(0x10, 0x2A):  # what a vendor adds of its own
        dataset.add_new((0x0051, 0x1000 + element), "LO", f"PRIVATE VALUE {element}")
    dataset.add_new((0x0051, 0x0010), "LO", "PHANTOM MR HEADER")
    dataset.ReferencedImageSequence = Sequence(_references(3))
    dataset.ReferencedPerformedProcedureStepSequence = Sequence(_references(1))
    dataset.ProcedureCodeSequence = Sequence([_code("RPID2", "MR Head")])
    step = Dataset()
    step.ScheduledProcedureStepDescription, step.ScheduledProcedureStepID = "Head", "1"
    step.ScheduledProtocolCodeSequence = Sequence([_code("P1", "Head routine")])
    dataset.RequestAttributesSequence = Sequence([step])
    return _mould(dataset, _frames((128, 128), 5.0, 600.0, 15.0))


def _references(count: int) -> list[Dataset]:
    found = []
    for number in range(count):
        reference = Dataset()
        reference.ReferencedSOPClassUID = MRImageStorage
        reference.ReferencedSOPInstanceUID = _uid(10**35 + number)
        found.append(reference)
    return found


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "99BENCH", meaning
    return code


_MOULDS = {"CT": _ct, "MR": _mr}
