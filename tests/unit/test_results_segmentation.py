from __future__ import annotations

from dataclasses import replace

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from secondread.domain.volume import SourceSlice
from secondread.errors import ResultError
from secondread.results import coding
from secondread.results.analysis import Analysis
from secondread.results.reading.segmentation import read_frames, read_segmentation
from secondread.results.write import write_results
from tests.result_cases import PLANES, in_patient_space, make_case


def written(case, folder):
    """The segmentation of a case as a data set, with its path."""
    objects = write_results(case.context, Analysis(case.labels), folder)
    path = folder / objects[0].path
    return pydicom.dcmread(path), path


def numbered(case):
    """The answer with segment numbers instead of label values."""
    present = [value for value in range(1, 6) if (case.labels == value).any()]
    table = np.zeros(256, np.uint8)
    table[present] = range(1, len(present) + 1)
    return table[case.labels]


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("size", [(9, 16, 20), (7, 11, 13)], ids=["whole bytes", "ragged bytes"])
def test_decoded_in_patient_space_it_is_the_answer(tmp_path, plane, size):
    case = make_case(tmp_path / "series", plane, size)
    _, path = written(case, tmp_path)
    found = read_segmentation(path)
    assert in_patient_space(found.labels, found.affine_lps) == in_patient_space(
        numbered(case), case.context.volume.affine_lps
    )


@pytest.mark.parametrize("plane", PLANES)
def test_highdicom_decodes_the_same(tmp_path, plane):
    case = make_case(tmp_path / "series", plane)
    _, path = written(case, tmp_path)
    segmentation = highdicom.seg.segread(path)
    volume = segmentation.get_volume(combine_segments=True)
    # highdicom's affine is slice, row, column to LPS as well.
    assert in_patient_space(volume.array.astype(np.uint8), volume.affine) == in_patient_space(
        numbered(case), case.context.volume.affine_lps
    )


def test_segments_are_numbered_without_gaps_and_empty_ones_are_left_out(tmp_path):
    case = make_case(tmp_path / "series")
    found, _ = written(case, tmp_path)
    assert [item.SegmentNumber for item in found.SegmentSequence] == [1, 2, 3, 4]
    assert [item.SegmentLabel for item in found.SegmentSequence] == [
        "Left hippocampus",
        "Right hippocampus",
        "Brain stem",
        "Left thalamus",
    ]


def test_empty_frames_are_left_out_and_frames_name_their_slice(tmp_path):
    case = make_case(tmp_path / "series")
    found, _ = written(case, tmp_path)
    frames = read_frames(found)
    expected = sum(int((case.labels == value).any(axis=(1, 2)).sum()) for value in range(1, 6))
    assert len(frames) == expected == found.NumberOfFrames
    headers = {str(header.SOPInstanceUID): header for header in case.context.sources}
    for frame in frames:
        (source,) = frame.sources
        header = headers[source.sop_instance_uid]
        assert [str(number) for number in frame.position] == [
            str(float(number)) for number in header.ImagePositionPatient
        ]
        assert source.purpose == coding.SOURCE_PURPOSE
        assert frame.derivations == (coding.SEGMENTATION_DERIVATION,)


def test_the_distance_between_slices_is_the_sources(tmp_path):
    found, _ = written(make_case(tmp_path / "series"), tmp_path)
    measures = found.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert (float(measures.SpacingBetweenSlices), float(measures.SliceThickness)) == (3.0, 3.0)


def test_sides_colours_and_tracking(tmp_path):
    case = make_case(tmp_path / "series")
    found, _ = written(case, tmp_path)
    left, right, middle, _ = found.SegmentSequence
    kinds = [item.SegmentedPropertyTypeCodeSequence[0] for item in (left, right, middle)]
    sides = [kind.get("SegmentedPropertyTypeModifierCodeSequence") for kind in kinds]
    assert [side[0].CodeMeaning if side else None for side in sides] == ["Left", "Right", None]
    assert left.RecommendedDisplayCIELabValue != right.RecommendedDisplayCIELabValue
    assert left.TrackingID == "toy_head left_hippocampus"
    assert left.TrackingUID != right.TrackingUID


def test_it_says_research_who_made_it_and_with_what(tmp_path):
    case = make_case(tmp_path / "series")
    found, _ = written(case, tmp_path)
    assert found.ContentQualification == "RESEARCH"
    assert found.SeriesDescription == "Toy structures of the head 1.2.0: segmentation [RESEARCH]"
    assert found.SeriesNumber == 2801
    algorithm = found.ContributingEquipmentSequence[-1]
    purpose = algorithm.PurposeOfReferenceCodeSequence[0]
    assert (purpose.CodeMeaning, purpose.CodingSchemeDesignator) == (
        "Processing Algorithm",
        "99IHE",
    )
    assert (algorithm.ManufacturerModelName, algorithm.SoftwareVersions) == ("toy_head", "1.2.0")
    assert algorithm.DeviceUID == case.context.model_uid
    assert (found.ContentDate, found.ContentTime) == (
        case.context.created.strftime("%Y%m%d"),
        case.context.created.strftime("%H%M%S"),
    )


def test_another_training_is_another_device_and_another_object(tmp_path):
    case = make_case(tmp_path / "series")
    manifest = replace(case.context.manifest, digest="ef" * 32)
    other = replace(case.context, manifest=manifest)
    assert other.model_uid != case.context.model_uid
    assert other.uid("instance", "seg") != case.context.uid("instance", "seg")


def test_the_same_job_gives_the_same_bytes(tmp_path):
    case = make_case(tmp_path / "series")
    first = write_results(case.context, Analysis(case.labels), tmp_path / "a")
    second = write_results(case.context, Analysis(case.labels), tmp_path / "b")
    assert first == second
    for item in first:
        assert (tmp_path / "a" / item.path).read_bytes() == (
            tmp_path / "b" / item.path
        ).read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").rglob("*.*")) == ["seg.dcm", "sr.dcm"]


def test_an_own_uid_root_is_used_for_everything_made_here(tmp_path):
    case = make_case(tmp_path / "series")
    context = replace(case.context, uid_root="1.2.826.0.1.3680043.10.9999")
    found, _ = written(replace(case, context=context), tmp_path)
    made = (
        found.SOPInstanceUID,
        found.SeriesInstanceUID,
        found.DeviceUID,
        found.DimensionOrganizationSequence[0].DimensionOrganizationUID,
        found.SegmentSequence[0].TrackingUID,
    )
    assert all(uid.startswith("1.2.826.0.1.3680043.10.9999.") for uid in made)
    assert len(set(made)) == len(made)


def test_a_lossy_source_makes_a_lossy_result(tmp_path):
    case = make_case(tmp_path / "series")
    for header in case.context.sources:
        header.LossyImageCompression = "01"
        header.LossyImageCompressionRatio = "8.5"
        header.LossyImageCompressionMethod = "ISO_10918_1"
    found, _ = written(case, tmp_path)
    assert found.LossyImageCompression == "01"
    assert float(found.LossyImageCompressionRatio) == 8.5


def test_times_are_in_the_studys_own_zone(tmp_path):
    case = make_case(tmp_path / "series")
    for header in case.context.sources:
        header.TimezoneOffsetFromUTC = "-0530"
    found, _ = written(case, tmp_path)
    assert found.TimezoneOffsetFromUTC == "-0530"
    assert (found.ContentDate, found.ContentTime) == ("20231114", "164320")


def test_overlong_decimal_strings_of_a_scanner_are_rounded_not_refused(tmp_path):
    case = make_case(tmp_path / "series")
    tag = pydicom.tag.Tag("ImagePositionPatient")
    for header in case.context.sources:
        text = "\\".join(f"{float(value):.19f}" for value in header.ImagePositionPatient)
        element = pydicom.dataelem.RawDataElement(
            tag, "DS", len(text), text.encode(), 0, False, True
        )
        header[tag] = element
    found, _ = written(case, tmp_path)
    assert found.NumberOfFrames > 0


@pytest.mark.parametrize("labels", ["shape", "value", "type"])
def test_an_answer_that_does_not_fit_is_refused(tmp_path, labels):
    case = make_case(tmp_path / "series")
    wrong = {
        "shape": case.labels[:, :, 1:],
        "value": np.where(case.labels == 5, 6, case.labels).astype(np.uint8),
        "type": case.labels.astype(np.int32),
    }[labels]
    with pytest.raises(ResultError):
        write_results(case.context, Analysis(wrong), tmp_path)
    assert not list(tmp_path.rglob("seg.dcm"))


def test_frames_of_an_enhanced_source_name_the_frame(tmp_path):
    case = make_case(tmp_path / "series")
    enhanced = merge_into_one_object(case.context.sources)
    uid, sop_class = str(enhanced.SOPInstanceUID), str(enhanced.SOPClassUID)
    count = len(case.context.sources)
    volume = replace(
        case.context.volume,
        sources=tuple(SourceSlice(uid, sop_class, frame) for frame in range(1, count + 1)),
    )
    context = replace(case.context, sources=(enhanced,), volume=volume)
    found, path = written(replace(case, context=context), tmp_path)
    assert {source.frame for frame in read_frames(found) for source in frame.sources} == {
        index + 1 for index in range(count) if case.labels[index].any()
    }
    decoded = read_segmentation(path)
    assert in_patient_space(decoded.labels, decoded.affine_lps) == in_patient_space(
        numbered(case), volume.affine_lps
    )


def merge_into_one_object(headers):
    """The headers of single frames as the header of one enhanced object."""
    enhanced = Dataset()
    enhanced.update(headers[0])
    enhanced.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    enhanced.NumberOfFrames = len(headers)
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = headers[0].ImageOrientationPatient
    measures.PixelSpacing = headers[0].PixelSpacing
    measures.SliceThickness = headers[0].SliceThickness
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    enhanced.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for header in headers:
        group, position = Dataset(), Dataset()
        position.ImagePositionPatient = header.ImagePositionPatient
        group.PlanePositionSequence = [position]
        groups.append(group)
    enhanced.PerFrameFunctionalGroupsSequence = groups
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        del enhanced[keyword]
    return enhanced
