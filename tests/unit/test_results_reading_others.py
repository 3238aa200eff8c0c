"""Segmentations of others, voxel by voxel as other people's readers see them."""

from __future__ import annotations

import subprocess
import warnings
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK

from secondread.domain.form import SegmentationKind
from secondread.errors import ResultError
from secondread.results.reading.segmentation import read_segmentation
from secondread.results.reading.transcript import read_report
from tests.reading_cases import affine_of, check_same

# Path, kind, and the numbers of its segments.
OBJECTS = {
    "dcmqi/segmentations/liver.dcm": (SegmentationKind.BINARY, [1]),
    "dcmqi/segmentations/partial_overlaps.dcm": (SegmentationKind.BINARY, [1, 2, 3, 4, 5]),
    "dcmqi/segmentations/sparse-labelmap-noppv.dcm": (SegmentationKind.LABELMAP, [1]),
    "dcmqi/segmentations/sparse-labelmap-ppv5.dcm": (SegmentationKind.LABELMAP, [1]),
    "dcmqi/sr-example/seg.dcm": (SegmentationKind.BINARY, [1]),
    "fnndsc_rsna/SEG/3DSlicer/tumor_User1_Manual_Trial1.dcm": (SegmentationKind.BINARY, [1, 2]),
    "highdicom/seg_image_ct_binary.dcm": (SegmentationKind.BINARY, [1]),
    "highdicom/seg_image_ct_binary_fractional.dcm": (SegmentationKind.FRACTIONAL, [1]),
    "highdicom/seg_image_ct_binary_overlap.dcm": (SegmentationKind.BINARY, [1, 2]),
    "highdicom/seg_image_ct_binary_single_frame.dcm": (SegmentationKind.BINARY, [1]),
    "highdicom/seg_image_ct_true_fractional.dcm": (SegmentationKind.FRACTIONAL, [1]),
}
REPORTS = {
    "dcmjs/sample-sr.dcm": 1,
    "dcmqi/sr-example/sr.dcm": 1,
    "highdicom/sr_document.dcm": 1,
    "highdicom/sr_document_with_multiple_groups.dcm": 4,
}


@pytest.fixture
def other(shared_data):
    def find(name):
        return shared_data("seg_sr_objects") / name

    return find


@pytest.mark.parametrize("name", OBJECTS)
def test_kind_and_segments_are_those_that_the_object_describes(name, other):
    contents = read_segmentation(other(name))
    kind, numbers = OBJECTS[name]
    assert contents.kind is kind
    assert [segment.number for segment in contents.segments] == numbers
    described = {
        int(item.SegmentNumber): item for item in pydicom.dcmread(other(name)).SegmentSequence
    }
    for segment in contents.segments:
        item = described[segment.number]
        assert segment.label == item.SegmentLabel
        assert segment.type.value == item.SegmentedPropertyTypeCodeSequence[0].CodeValue
        assert segment.category.value == item.SegmentedPropertyCategoryCodeSequence[0].CodeValue
        assert segment.algorithm_type == item.SegmentAlgorithmType


@pytest.mark.parametrize("name", OBJECTS)
def test_every_voxel_is_where_highdicom_sees_it(name, other):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        volume = highdicom.seg.segread(other(name)).get_volume(
            segment_numbers=OBJECTS[name][1], combine_segments=False, allow_missing_positions=True
        )
    contents = read_segmentation(other(name))
    for channel, segment in enumerate(contents.segments):
        ours = contents.probability(segment.number)
        check_same(ours, contents.affine_lps, volume.array[..., channel], volume.affine)


@pytest.mark.parametrize("name", OBJECTS)
def test_every_voxel_is_where_dcmqi_sees_it(name, other, tmp_path, installed_program):
    contents = read_segmentation(other(name))
    program = installed_program("segimage2itkimage", "dcmqi")
    command = [program, "--inputDICOM", other(name), "--outputDirectory", tmp_path]
    command += ["--outputType", "nrrd", "--prefix", "s"]
    done = subprocess.run(command, capture_output=True, text=True)
    found = {}
    for path in tmp_path.glob("s-*.nrrd"):
        image = SimpleITK.ReadImage(str(path))
        values = SimpleITK.GetArrayFromImage(image)
        if contents.kind is SegmentationKind.FRACTIONAL:
            # It takes the stored fractions for labels.
            check_same(contents.fractions(1), contents.affine_lps, values, affine_of(image))
            return
        for number in np.unique(values[values > 0]).tolist():
            found[number] = values == number, affine_of(image)
    if not found:
        pytest.skip(f"dcmqi reads nothing of it: {done.stderr.strip().splitlines()[-1:]}")
    for segment in contents.segments:
        mask = contents.mask(segment.number)
        check_same(mask, contents.affine_lps, *found[segment.number])


@pytest.mark.parametrize("name", OBJECTS)
def test_a_label_map_is_given_where_segments_do_not_overlap_and_refused_where_they_do(name, other):
    contents = read_segmentation(other(name))
    masks = {one.number: contents.mask(one.number) for one in contents.segments}
    overlaps = sum(mask.astype(int) for mask in masks.values()).max() > 1
    if contents.kind is SegmentationKind.FRACTIONAL:
        with pytest.raises(ResultError, match="probabilities"):
            contents.label_map()
    elif overlaps:
        with pytest.raises(ResultError, match="overlap"):
            contents.label_map()
    else:
        labels = contents.label_map().labels
        for number, mask in masks.items():
            assert ((labels == number) == mask).all()
        assert (labels > 0).sum() == sum(mask.sum() for mask in masks.values())


def test_what_is_no_segmentation_of_voxels_in_the_patient_is_refused_in_a_sentence(other):
    root = other("")
    for path in sorted(root.rglob("*.dcm")):
        if str(path.relative_to(root)) in OBJECTS:
            continue
        with pytest.raises(ResultError, match=r"^[A-Z].*\.$"):
            read_segmentation(path)


def test_segmentations_of_slides_and_projections_say_why(other):
    for name in ("seg_image_sm_dots.dcm", "seg_image_cr_binary.dcm"):
        with pytest.raises(ResultError, match="no place in the patient"):
            read_segmentation(other(f"highdicom/{name}"))


@pytest.mark.parametrize("name", REPORTS)
def test_reports_of_others_are_read(name, other):
    transcript = read_report(other(name))
    assert transcript.template == "1500"
    assert len(transcript.groups) == REPORTS[name]


def test_a_file_that_is_not_there_or_not_dicom_is_told(tmp_path):
    with pytest.raises(ResultError, match="No such file"):
        read_segmentation(tmp_path / "absent.dcm")
    (tmp_path / "text.dcm").write_text("Not an object.")
    with pytest.raises(ResultError, match="not a DICOM file"):
        read_segmentation(tmp_path / "text.dcm")
    with pytest.raises(ResultError, match="cannot be read"):
        read_segmentation(Path(tmp_path))
