"""Files for a model that takes no arrays: nobody's, valid, and of the same voxels."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest

from conformance.validators import ToolAbsentError, run_dciodvfy
from secondread.deid.attributes import permit
from secondread.deid.boundary import prepare
from secondread.deid.dicom_files import DATE, PATIENT_ID, PATIENT_NAME
from secondread.deid.stored_values import find_line
from secondread.domain.technical import SOURCES
from secondread.domain.volume import Volume

_RANDOM = np.random.default_rng(5)
_SHAPE = (5, 24, 20)
VOXELS = {
    "hounsfield units": _RANDOM.integers(-1024, 3072, _SHAPE).astype(np.int16),
    "one value": np.full(_SHAPE, -7, np.int16),
    "zeros that are floats": np.zeros(_SHAPE, np.float32),
    "more than int16 holds": _RANDOM.integers(0, 65536, _SHAPE).astype(np.float32),
    "large numbers": _RANDOM.integers(100_000, 150_000, _SHAPE).astype(np.float32),
    "a scanner's own scale": (_RANDOM.integers(0, 4096, _SHAPE) * 2.0849817).astype(np.float32),
    "a small scale": (_RANDOM.integers(-3000, 4096, _SHAPE) * 0.0123456789).astype(np.float32),
}
SAID = {
    "PatientAge": (93.2,),
    "PatientSex": ("F",),
    "PatientPosition": ("HFS",),
    "BodyPartExamined": ("HEAD",),
    "Manufacturer": ("SIEMENS",),
    "KVP": (120.0,),
    "ConvolutionKernel": ("H31s",),
    "SliceThickness": (1.25,),
    "ContrastBolusAgent": ("something",),
    "MagneticFieldStrength": (3.0,),
    "MRAcquisitionType": ("3D",),
    "ScanningSequence": ("GR", "IR"),
    "SequenceVariant": ("SP", "MP"),
    "ScanOptions": ("FS",),
    "EchoTime": (2.46,),
    "RepetitionTime": (1900.0,),
    "InversionTime": (900.0,),
    "FlipAngle": (9.0,),
    "EchoTrainLength": (1.0,),
}


def oblique(kind=np.int16, voxels=None):
    across, down = np.array([0.96, 0.2, -0.195959179]), np.array([-0.2, 0.97959184, 0.0199933])
    across /= np.linalg.norm(across)
    down -= across * (across @ down)
    down /= np.linalg.norm(down)
    affine = np.eye(4)
    affine[:3, 0] = 2.5 * np.cross(across, down)
    affine[:3, 1], affine[:3, 2], affine[:3, 3] = 0.7 * down, 0.48828125 * across, [-120, 7, 1300]
    values = np.zeros(_SHAPE, kind) if voxels is None else voxels
    return Volume(values, affine, ())


def read(folder):
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("name", VOXELS)
def test_the_same_voxels_at_the_same_places_for_other_readers(tmp_path, name, modality):
    sitk = pytest.importorskip("SimpleITK")
    prepared = prepare(oblique(voxels=VOXELS[name]), tmp_path / "k", None, modality)
    reader = sitk.ImageSeriesReader()
    folder = str(prepared.images_folder)
    (series,) = reader.GetGDCMSeriesIDs(folder)
    names = reader.GetGDCMSeriesFileNames(folder, series)
    # By position they lie in the order of their names.
    assert list(names) == sorted(names)
    reader.SetFileNames(names)
    image = reader.Execute()
    found = sitk.GetArrayFromImage(image).astype(np.float32)
    np.testing.assert_array_equal(found, VOXELS[name].astype(np.float32))
    for index in ((0, 0, 0), (4, 23, 19)):
        expected = (np.array(prepared.affine_lps) @ [*index, 1])[:3]
        place = image.TransformIndexToPhysicalPoint(index[::-1])
        np.testing.assert_allclose(place, expected, atol=1e-6)


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_values_that_are_on_no_scale_are_rounded_to_16_bits(tmp_path, modality):
    voxels = _RANDOM.normal(3.0, 1.0, _SHAPE).astype(np.float32)
    prepared = prepare(oblique(voxels=voxels), tmp_path / "k", None, modality)
    images = read(prepared.images_folder)
    found = np.stack([i.pixel_array * i.RescaleSlope + i.RescaleIntercept for i in images])
    step = float(np.ptp(voxels)) / 65535
    assert np.abs(found - voxels).max() <= 0.5001 * step


def test_a_scale_that_fits_one_slice_alone_is_not_taken():
    voxels = np.zeros((40, 8, 8), np.float32)
    voxels[:] = np.arange(64, dtype=np.float32).reshape(8, 8) * 0.25
    voxels[1, 3, 3] = 0.3
    line = find_line(voxels)
    assert np.abs(line.store(voxels) * line.slope + line.intercept - voxels).max() < 2e-4


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("asked", [(), tuple(SOURCES)], ids=["nothing asked", "all asked"])
def test_the_iod_is_valid(tmp_path, modality, asked):
    permitted = permit(asked, {**SAID, "Modality": (modality,)})
    prepared = prepare(oblique(), tmp_path / "k", permitted, modality)
    try:
        findings = run_dciodvfy(prepared.images_folder / "0003.dcm")
    except ToolAbsentError as absent:
        pytest.skip(str(absent))
    # Which side it is, is unknown where nobody asked for the body part; so empty is what it is.
    known = "Laterality(0020,0060)> - is only permitted to be empty when actually unknown"
    assert [one.message for one in findings if asked or known not in one.message] == []


def test_what_nobody_asked_for_is_nobodys(tmp_path):
    image = read(prepare(oblique(), tmp_path / "k", None, "CT").images_folder)[0]
    assert (str(image.PatientName), image.PatientID) == (PATIENT_NAME, PATIENT_ID)
    assert (image.PatientIdentityRemoved, image.StudyDate) == ("YES", DATE)
    empty = "PatientBirthDate PatientSex AccessionNumber Manufacturer SliceThickness KVP"
    assert [image[keyword].value or "" for keyword in empty.split()] == [""] * 6
    assert "PatientAge" not in image


def test_what_was_asked_for_is_there(tmp_path):
    permitted = permit(SOURCES, SAID)
    image = read(prepare(oblique(), tmp_path / "k", permitted, "MR").images_folder)[0]
    assert (image.PatientAge, image.PatientSex, image.Manufacturer) == ("090Y", "F", "Siemens")
    assert (image.EchoTime, image.InversionTime, list(image.ScanningSequence)) == (
        2.46,
        900,
        ["GR", "IR"],
    )
    assert image.ContrastBolusAgent == "given"
    assert "KVP" not in image


def test_uids_are_new_each_time_and_hold_together(tmp_path):
    first, again = (
        read(prepare(oblique(), tmp_path / "k", None, "CT").images_folder) for _ in range(2)
    )
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        (one,) = {image[keyword].value for image in first}
        (other,) = {image[keyword].value for image in again}
        assert one != other
        assert one.startswith("2.25.")
    uids = {image.SOPInstanceUID for image in (*first, *again)}
    assert len(uids) == 2 * _SHAPE[0]
    assert all(i.file_meta.MediaStorageSOPInstanceUID == i.SOPInstanceUID for i in first)
    assert [image.InstanceNumber for image in first] == [1, 2, 3, 4, 5]
