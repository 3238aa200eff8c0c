"""What a segmentation says of its segments, and of sources of every sort."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pydicom
import pytest

from conformance.validators import (
    ToolAbsentError,
    run_dcentvfy,
    run_dciodvfy,
    run_segimage2itkimage,
    without_quirks,
)
from secondread.domain.code import Code
from secondread.domain.form import Compression, SegmentationKind
from secondread.domain.volume import SourceSlice
from tests.result_cases import LABELS, PLANES, make_case
from tests.segmentation_cases import KINDS, expected, make, read, written

LESION = replace(
    LABELS[0],
    name="lesion",
    meaning="Lesion",
    category=Code("49755003", "SCT", "Morphologically Abnormal Structure"),
    type=Code("52988006", "SCT", "Lesion"),
    type_modifiers=(Code("255503000", "SCT", "Entire"),),
    region=Code("12738006", "SCT", "Brain"),
    region_modifiers=(Code("261183002", "SCT", "Upper"),),
)


def left_by(check, *arguments):
    """What a validator finds besides its known quirks; a skip where it is not installed."""
    try:
        return without_quirks(check(*arguments))
    except ToolAbsentError as absent:
        pytest.skip(str(absent))


def with_lesion(folder):
    """A case whose first structure is a lesion on the left of the brain."""
    case = make_case(folder)
    manifest = replace(case.context.manifest, labels=(LESION, *LABELS[1:]))
    return replace(case, context=replace(case.context, manifest=manifest))


def codes_of(sequence):
    return [(item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning) for item in sequence]


@pytest.mark.parametrize("kind", KINDS)
def test_a_lesion_has_modifiers_a_side_and_a_region(tmp_path, kind):
    (document,) = make(with_lesion(tmp_path / "series"), kind)
    path = written(document, tmp_path)
    segments = {int(item.SegmentNumber): item for item in pydicom.dcmread(path).SegmentSequence}
    kind_code = segments[1].SegmentedPropertyTypeCodeSequence[0]
    region = segments[1].AnatomicRegionSequence[0]
    assert codes_of([kind_code]) == [("52988006", "SCT", "Lesion")]
    assert codes_of(kind_code.SegmentedPropertyTypeModifierCodeSequence) == [
        ("7771000", "SCT", "Left"),
        ("255503000", "SCT", "Entire"),
    ]
    assert codes_of([region]) == [("12738006", "SCT", "Brain")]
    assert codes_of(region.AnatomicRegionModifierSequence) == [("261183002", "SCT", "Upper")]
    assert "AnatomicRegionSequence" not in segments[3]
    assert left_by(run_dciodvfy, path) == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_segment_names_its_algorithm_its_colour_and_its_track(tmp_path, kind):
    case = make_case(tmp_path / "series")
    (document,) = make(case, kind)
    items = [item for item in document.header.SegmentSequence if item.SegmentNumber > 0]
    assert [int(item.SegmentNumber) for item in items] == list(document.segments)
    for item, label in zip(items, document.segments.values(), strict=True):
        algorithm = item.SegmentationAlgorithmIdentificationSequence[0]
        assert (item.SegmentAlgorithmType, item.SegmentAlgorithmName) == ("AUTOMATIC", "toy_head")
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("toy_head", "1.2.0")
        assert algorithm.AlgorithmFamilyCodeSequence[0].CodeValue == "123110"
        assert item.TrackingID == case.context.tracking_id(label)
        assert item.TrackingUID == case.context.tracking_uid(label)
        assert len(item.RecommendedDisplayCIELabValue) == 3


def leaning(folder):
    """A stack whose slices lean against it, as under a tilted gantry."""
    case = make_case(folder, size=(9, 34, 37))
    volume = case.context.volume
    affine = volume.affine_lps.copy()
    affine[:3, 0] += (0.0, 0.9, 0.0)
    for index, header in enumerate(case.context.sources):
        position = affine[:3, 3] + index * affine[:3, 0]
        header.ImagePositionPatient = [f"{value:.6f}" for value in position]
    return replace(case, context=replace(case.context, volume=replace(volume, affine_lps=affine)))


def enhanced(folder):
    """The same slices as frames of one object."""
    case = make_case(folder, size=(9, 34, 37))
    headers = case.context.sources
    whole = pydicom.Dataset()
    whole.update(headers[0])
    whole.SOPClassUID = pydicom.uid.EnhancedMRImageStorage
    whole.NumberOfFrames = len(headers)
    shared, orientation, measures = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    orientation.ImageOrientationPatient = headers[0].ImageOrientationPatient
    measures.PixelSpacing = headers[0].PixelSpacing
    measures.SliceThickness = headers[0].SliceThickness
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    whole.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for header in headers:
        group, position = pydicom.Dataset(), pydicom.Dataset()
        position.ImagePositionPatient = header.ImagePositionPatient
        group.PlanePositionSequence = [position]
        groups.append(group)
    whole.PerFrameFunctionalGroupsSequence = groups
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        del whole[keyword]
    uid, sop_class = str(whole.SOPInstanceUID), str(whole.SOPClassUID)
    frames = tuple(SourceSlice(uid, sop_class, number + 1) for number in range(len(headers)))
    volume = replace(case.context.volume, sources=frames)
    return replace(case, context=replace(case.context, sources=(whole,), volume=volume))


@pytest.mark.parametrize("source", [leaning, enhanced], ids=lambda source: source.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_leaning_slices_and_frames_of_one_object_are_followed(tmp_path, source, kind):
    case = source(tmp_path / "series")
    (document,) = make(case, kind, compression=Compression.RLE)
    path = written(document, tmp_path)
    frames, wanted = read(path, case), expected(case, kind, document)
    assert frames.keys() == wanted.keys()
    assert all(np.array_equal(frames[at], wanted[at]) for at in frames)
    found = pydicom.dcmread(path)
    measures = found.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    # Along the normal, which a leaning stack's own step is not.
    assert float(measures.SpacingBetweenSlices) == pytest.approx(3.0, abs=1e-6)
    listed = found.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert [item.ReferencedSOPInstanceUID for item in listed] == [
        header.SOPInstanceUID for header in case.context.sources
    ]
    assert "SourceImageSequence" not in found
    assert left_by(run_dciodvfy, path) == []


def test_more_segments_than_a_byte_has_bits_are_kept_apart(tmp_path):
    case = make_case(tmp_path / "series")
    labels = tuple(replace(LABELS[0], value=value, name=f"part_{value}") for value in range(1, 256))
    manifest = replace(case.context.manifest, labels=labels)
    answer = (np.arange(9 * 16 * 20) % 256).astype(np.uint8).reshape(9, 16, 20)
    case = replace(case, context=replace(case.context, manifest=manifest), labels=answer)
    for kind in (SegmentationKind.BINARY, SegmentationKind.LABELMAP):
        (document,) = make(case, kind)
        frames, wanted = read(written(document, tmp_path), case), expected(case, kind, document)
        assert len(document.segments) == 255
        assert all(np.array_equal(frames[at], wanted[at]) for at in wanted)


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("kind", KINDS)
def test_validators_find_nothing(tmp_path, kind, plane, each):
    case = make_case(tmp_path / "series", plane, size=(9, 34, 37))
    for compression in (Compression.NONE, Compression.JPEG_LS):
        document = make(case, kind, compression=compression, one_segment_each=each)[0]
        path = written(document, tmp_path)
        assert left_by(run_dciodvfy, path) == []
        assert left_by(run_dcentvfy, case.paths, [path]) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compression", [Compression.NONE, Compression.RLE])
def test_dcmqi_reads_what_is_not_compressed_or_run_length_encoded(tmp_path, kind, compression):
    case = make_case(tmp_path / "series", size=(9, 34, 37))
    (document,) = make(case, kind, compression=compression)
    assert left_by(run_segimage2itkimage, written(document, tmp_path)) == []
