from __future__ import annotations

from copy import deepcopy

import numpy as np
import pydicom
import pytest

from secondread.errors import ResultError
from secondread.results.analysis import Analysis
from secondread.results.reading import read_segmentation
from secondread.results.write import write_results
from tests.result_cases import in_patient_space, make_case


@pytest.fixture
def written(tmp_path):
    case = make_case(tmp_path / "series", "coronal", (9, 16, 24))
    return tmp_path / write_results(case.context, Analysis(case.labels), tmp_path)[0].path


def rearranged(path, order, target):
    """The same segmentation with these frames in this order."""
    found = pydicom.dcmread(path)
    size = found.Rows * found.Columns // 8
    groups = list(found.PerFrameFunctionalGroupsSequence)
    found.PerFrameFunctionalGroupsSequence = [deepcopy(groups[index]) for index in order]
    found.PixelData = b"".join(
        found.PixelData[index * size : (index + 1) * size] for index in order
    )
    found.NumberOfFrames = len(order)
    found.save_as(target)
    return target


def test_frames_may_come_in_any_order(written, tmp_path):
    count = pydicom.dcmread(written).NumberOfFrames
    order = np.random.default_rng(1).permutation(count).tolist()
    first = read_segmentation(written)
    second = read_segmentation(rearranged(written, order, tmp_path / "other.dcm"))
    assert (first.labels == second.labels).all()
    assert np.allclose(first.affine_lps, second.affine_lps)


def test_a_part_of_the_frames_keeps_its_place(written, tmp_path):
    count = pydicom.dcmread(written).NumberOfFrames
    whole, part = read_segmentation(written), [0, 3, count - 1]
    found = read_segmentation(rearranged(written, part, tmp_path / "part.dcm"))
    voxels = in_patient_space(found.labels, found.affine_lps)
    assert voxels
    assert voxels < in_patient_space(whole.labels, whole.affine_lps)


def test_one_frame_alone_can_be_read(written, tmp_path):
    found = read_segmentation(rearranged(written, [2], tmp_path / "one.dcm"))
    assert found.labels.shape == (1, 16, 24)
    assert np.linalg.norm(found.affine_lps[:3, 0]) == pytest.approx(3.0)


def test_overlapping_segments_cannot_be_one_map(written, tmp_path):
    path = rearranged(written, [0, 0], tmp_path / "overlap.dcm")
    found = pydicom.dcmread(path)
    identification = found.PerFrameFunctionalGroupsSequence[1].SegmentIdentificationSequence[0]
    identification.ReferencedSegmentNumber = 2
    found.save_as(path)
    with pytest.raises(ResultError, match="overlap"):
        read_segmentation(path)


def test_frames_off_the_grid_are_not_bent_to_fit(written, tmp_path):
    path = rearranged(written, [0, 1, 2], tmp_path / "bent.dcm")
    found = pydicom.dcmread(path)
    position = found.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0]
    position.ImagePositionPatient[0] = float(position.ImagePositionPatient[0]) + 0.8
    found.save_as(path)
    with pytest.raises(ResultError, match="grid"):
        read_segmentation(path)


def test_what_is_not_a_binary_segmentation_is_refused(written, tmp_path):
    found = pydicom.dcmread(written)
    found.SegmentationType = "FRACTIONAL"
    found.save_as(tmp_path / "fractional.dcm")
    with pytest.raises(ResultError, match="binary"):
        read_segmentation(tmp_path / "fractional.dcm")
