"""The series writer of the demo, against pydicom, dciodvfy and dcentvfy."""

from __future__ import annotations

import subprocess

import numpy as np
import pydicom
import pytest

from deploy.demo.series import affine_from_axes, write_series

PLANES = ["axial", "sagittal", "coronal", "oblique"]


def _position(dataset: pydicom.Dataset, row: int, column: int) -> np.ndarray:
    """PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1, written out here on its own."""
    orientation = np.array(dataset.ImageOrientationPatient, float)
    row_spacing, column_spacing = map(float, dataset.PixelSpacing)
    return (
        np.array(dataset.ImagePositionPatient, float)
        + orientation[:3] * column_spacing * column
        + orientation[3:] * row_spacing * row
    )


@pytest.mark.parametrize("plane", PLANES)
def test_every_voxel_lies_where_the_affine_says(head_series, plane):
    made = head_series(plane)
    for index in (0, 7, len(made.paths) - 1):
        dataset = pydicom.dcmread(made.paths[index])
        assert np.array_equal(dataset.pixel_array, made.voxels[index])
        for row, column in ((0, 0), (5, 11), (31, 30)):
            expected = made.affine_lps @ (index, row, column, 1)
            assert np.allclose(_position(dataset, row, column), expected[:3], atol=1e-6)


@pytest.mark.parametrize("modality", ["MR", "CT"])
@pytest.mark.parametrize("plane", PLANES)
def test_validators_find_no_error(head_series, installed_program, plane, modality):
    made = head_series(plane, size=(3, 16, 16), modality=modality)
    single = subprocess.run(
        [installed_program("dciodvfy", "dicom3tools"), "-new", made.paths[1]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Error" not in single.stdout + single.stderr
    together = subprocess.run(
        [installed_program("dcentvfy", "dicom3tools"), *made.paths],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (together.stdout + together.stderr).strip() == ""


def test_ct_values_are_hounsfield_units(tmp_path):
    voxels = np.array([[[-1000, 0], [40, 1500]]], np.int16)
    affine = affine_from_axes((1, 0, 0), (0, 1, 0), (1, 1, 1))
    (path,) = write_series(voxels, affine, tmp_path, modality="CT")
    dataset = pydicom.dcmread(path)
    stored = dataset.pixel_array.astype(int)
    assert dataset.PixelRepresentation == 0
    assert np.array_equal(
        stored * int(dataset.RescaleSlope) + int(dataset.RescaleIntercept), voxels[0]
    )


def test_the_same_seed_gives_the_same_bytes(head_series):
    first, second = head_series(seed="one"), head_series(seed="one")
    other = head_series(seed="two", study="one")
    assert [p.read_bytes() for p in first.paths] == [p.read_bytes() for p in second.paths]
    ours, theirs = pydicom.dcmread(first.paths[0]), pydicom.dcmread(other.paths[0])
    assert ours.StudyInstanceUID == theirs.StudyInstanceUID
    assert ours.FrameOfReferenceUID == theirs.FrameOfReferenceUID
    assert ours.SeriesInstanceUID != theirs.SeriesInstanceUID
    assert ours.SOPInstanceUID != theirs.SOPInstanceUID


def test_negative_signal_is_stored_signed(tmp_path):
    voxels = np.array([[[-5, 0], [40, 3000]]], np.int16)
    affine = affine_from_axes((1, 0, 0), (0, 1, 0), (1, 1, 1))
    (path,) = write_series(voxels, affine, tmp_path)
    assert np.array_equal(pydicom.dcmread(path).pixel_array, voxels[0])


@pytest.mark.parametrize(
    ("voxels", "affine", "sentence"),
    [
        (np.zeros((2, 2), np.int16), np.eye(4), "slice, row, column"),
        (np.zeros((2, 2, 2), np.float32), np.eye(4), "integers"),
        (np.full((1, 1, 1), 70000), np.eye(4), "do not fit 16 bits"),
        (np.zeros((1, 1, 1), int), np.array([[1, 0.2, 0, 0], *np.eye(4)[1:]]), "no shear"),
    ],
)
def test_what_no_scanner_could_write_is_refused(tmp_path, voxels, affine, sentence):
    with pytest.raises(ValueError, match=sentence):
        write_series(voxels, affine, tmp_path)
