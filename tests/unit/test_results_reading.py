from __future__ import annotations

from copy import deepcopy

import numpy as np
import pydicom
import pytest

from secondread.errors import ResultError
from secondread.results.analysis import Analysis
from secondread.results.reading.segmentation import read_segmentation
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
    contents = read_segmentation(path)
    assert (contents.mask(1) == contents.mask(2)).all()
    with pytest.raises(ResultError, match="overlap"):
        contents.label_map()


def test_frames_off_the_grid_are_not_bent_to_fit(written, tmp_path):
    path = rearranged(written, [0, 1, 2], tmp_path / "bent.dcm")
    found = pydicom.dcmread(path)
    position = found.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0]
    position.ImagePositionPatient[0] = float(position.ImagePositionPatient[0]) + 0.8
    found.save_as(path)
    with pytest.raises(ResultError, match="grid"):
        read_segmentation(path)


def test_slices_that_no_frame_shows_count_by_the_distance_that_the_object_tells(written, tmp_path):
    found = read_segmentation(written)
    places = [found.places.index(place) for place in (0, 2, 5)]
    part = read_segmentation(rearranged(written, places, tmp_path / "part.dcm"))
    assert part.places == (0, 2, 5)
    assert np.allclose(part.affine_lps, found.affine_lps)


def test_a_distance_that_does_not_fit_the_frames_is_not_believed(written, tmp_path):
    found = pydicom.dcmread(written)
    shared = found.SharedFunctionalGroupsSequence[0]
    shared.PixelMeasuresSequence[0].SpacingBetweenSlices = 1.7
    found.save_as(tmp_path / "wrong.dcm")
    wrong, right = read_segmentation(tmp_path / "wrong.dcm"), read_segmentation(written)
    assert np.allclose(wrong.affine_lps, right.affine_lps)
    assert (wrong.labels == right.labels).all()


FAULTS = {
    "another kind of object": (
        lambda found: setattr(found, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"),
        "no segmentation of voxels but of the class CT Image Storage",
    ),
    "no kind of object": (lambda found: delattr(found, "SOPClassUID"), "no segmentation"),
    "no type": (lambda found: delattr(found, "SegmentationType"), "BINARY, LABELMAP or"),
    "another type": (
        lambda found: setattr(found, "SegmentationType", "FRACTIONAL"),
        "FRACTIONAL and stores 1 bits",
    ),
    "no frames": (lambda found: setattr(found, "NumberOfFrames", 0), "has no frames"),
    "another number of frames": (
        lambda found: setattr(found, "NumberOfFrames", 2),
        "says that it has 2 frames",
    ),
    "no functional groups": (
        lambda found: delattr(found, "PerFrameFunctionalGroupsSequence"),
        "no functional groups",
    ),
    "no shared groups": (
        lambda found: delattr(found, "SharedFunctionalGroupsSequence"),
        "a functional group is absent",
    ),
    "no position": (
        lambda found: delattr(first_group(found).PlanePositionSequence[0], "ImagePositionPatient"),
        "ImagePositionPatient is absent",
    ),
    "no place": (
        lambda found: delattr(first_group(found), "PlanePositionSequence"),
        "no place in the patient",
    ),
    "no segment": (
        lambda found: delattr(first_group(found), "SegmentIdentificationSequence"),
        "a functional group is absent",
    ),
    "a segment that nothing describes": (
        lambda found: (
            delattr(found.SegmentSequence[0], "SegmentLabel")
            or setattr(found.SegmentSequence[0], "SegmentNumber", 77)
        ),
        "not described: [1]",
    ),
    "two segments of one number": (
        lambda found: setattr(found.SegmentSequence[0], "SegmentNumber", 2),
        "have one number",
    ),
    "no segments": (lambda found: delattr(found, "SegmentSequence"), "describes no segments"),
    "two frames in one": (
        lambda found: setattr(
            first_group(found),
            "PlanePositionSequence",
            found.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence,
        ),
        "lie at one place",
    ),
    "no pixels": (lambda found: delattr(found, "PixelData"), "holds no pixels"),
    "too few pixels": (
        lambda found: setattr(found, "PixelData", found.PixelData[:100]),
        "fewer pixels",
    ),
    "directions that are none": (
        lambda found: setattr(
            found.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0],
            "ImageOrientationPatient",
            [1, 0, 0, 1, 0, 0],
        ),
        "no directions",
    ),
    "slices as far apart as the stars": (
        lambda found: setattr(
            first_group(found).PlanePositionSequence[0], "ImagePositionPatient", [0, 1e9, 0]
        ),
        "more voxels|one regular grid",
    ),
}


def first_group(found):
    return found.PerFrameFunctionalGroupsSequence[0]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_said_in_a_sentence(fault, written, tmp_path):
    change, sentence = FAULTS[fault]
    found = pydicom.dcmread(written)
    change(found)
    found.save_as(tmp_path / "wrong.dcm")
    with pytest.raises(ResultError, match=r"^[A-Z].*\.$") as caught:
        read_segmentation(tmp_path / "wrong.dcm").label_map()
    assert any(part in str(caught.value) for part in sentence.split("|"))


def test_a_file_cut_short_or_damaged_anywhere_ends_in_a_sentence_or_in_nothing(written, tmp_path):
    whole = written.read_bytes()
    rng = np.random.default_rng(11)
    path = tmp_path / "damaged.dcm"
    cuts = [whole[:end] for end in rng.integers(0, len(whole), 60)]
    for _ in range(140):
        damaged = bytearray(whole)
        for at in rng.integers(132, len(whole), 3):
            damaged[at] = rng.integers(0, 256)
        cuts.append(bytes(damaged))
    refused = 0
    for data in cuts:
        path.write_bytes(data)
        try:
            read_segmentation(path).label_map()
        except ResultError as error:
            assert str(error).endswith(".")
            refused += 1
    assert refused >= 60
