"""Every kind of segmentation in every form, read back by programs that did not write it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from itertools import product

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_fragments
from pydicom.uid import ExplicitVRLittleEndian

from secondread.domain.form import Compression, Form, SegmentationKind
from secondread.errors import ResultError
from secondread.results.analysis import Analysis
from secondread.results.segmentation.compression import write_pixels
from secondread.results.segmentation.documents import (
    LABEL_MAP_SEGMENTATION_STORAGE,
    SEGMENTATION_STORAGE,
    make_segmentations,
)
from secondread.results.segmentation.frames import FramePlace
from secondread.results.segmentation.stacks import FrameStack
from tests.result_cases import PLANES, in_patient_space, make_case
from tests.segmentation_cases import (
    KINDS,
    SIZE,
    SYNTAXES,
    expected,
    make,
    make_probabilities,
    read,
    written,
)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return make_case(tmp_path_factory.mktemp("series"), size=SIZE)


@pytest.mark.parametrize(
    ("kind", "compression", "keep", "each"),
    list(product(KINDS, Compression, (False, True), (False, True))),
)
def test_every_frame_is_the_answer_on_its_slice(tmp_path, case, kind, compression, keep, each):
    documents = make(case, kind, compression=compression, empty_frames=keep, one_segment_each=each)
    assert [document.name for document in documents] == (
        ["seg-1", "seg-2", "seg-3", "seg-4"] if each else ["seg"]
    )
    for document in documents:
        frames = read(written(document, tmp_path), case)
        wanted = expected(case, kind, document, keep=keep)
        assert list(frames) == sorted(frames)
        assert frames.keys() == wanted.keys()
        assert all(np.array_equal(frames[at], wanted[at]) for at in frames)
        assert int(document.header.NumberOfFrames) == len(frames)


@pytest.mark.parametrize("compression", Compression)
@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_compressed_as_the_standard_allows(tmp_path, case, kind, compression):
    (document,) = make(case, kind, compression=compression)
    found = pydicom.dcmread(written(document, tmp_path))
    left_as_it_is = kind is SegmentationKind.BINARY and compression is not Compression.DEFLATED
    wanted = SYNTAXES[Compression.NONE if left_as_it_is else compression]
    assert found.file_meta.TransferSyntaxUID == wanted
    assert found.file_meta.MediaStorageSOPInstanceUID == found.SOPInstanceUID
    assert found.file_meta.MediaStorageSOPClassUID == found.SOPClassUID
    assert (found.LossyImageCompression, found.SegmentationType) == ("00", kind.value.upper())
    if wanted != SYNTAXES[Compression.NONE]:
        fragments = list(generate_fragments(found.PixelData))
        table, *frames = fragments
        # Each offset leads to an item of its frame (PS3.5 A.4).
        offsets = np.frombuffer(table, "<u4")
        lengths = [len(frame) + 8 for frame in frames]
        assert offsets.tolist() == [0, *np.cumsum(lengths[:-1]).tolist()]
        assert len(frames) == found.NumberOfFrames


@pytest.mark.parametrize("compression", [Compression.JPEG_LS, Compression.JPEG_2000])
def test_what_is_too_small_for_an_encoder_stays_as_it_is(tmp_path, compression):
    small = make_case(tmp_path / "series", size=(5, 9, 31))
    (document,) = make(small, SegmentationKind.LABELMAP, compression=compression)
    frames = read(written(document, tmp_path), small)
    wanted = expected(small, SegmentationKind.LABELMAP, document)
    assert document.header.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert all(np.array_equal(frames[at], wanted[at]) for at in wanted)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("kind", [SegmentationKind.BINARY, SegmentationKind.LABELMAP])
def test_highdicom_has_the_answer_in_patient_space(tmp_path, plane, each, kind):
    case = make_case(tmp_path / "series", plane, size=SIZE)
    for document in make(case, kind, one_segment_each=each, compression=Compression.JPEG_LS):
        volume = highdicom.seg.segread(written(document, tmp_path)).get_volume(
            combine_segments=True
        )
        table = np.zeros(256, np.uint8)
        table[[label.value for label in document.segments.values()]] = list(document.segments)
        assert in_patient_space(volume.array.astype(np.uint8), volume.affine) == in_patient_space(
            table[case.labels], case.context.volume.affine_lps
        )


@pytest.mark.parametrize("plane", PLANES)
def test_highdicom_has_the_probabilities_in_patient_space(tmp_path, plane):
    case = make_case(tmp_path / "series", plane, size=SIZE)
    (document,) = make(case, SegmentationKind.FRACTIONAL, compression=Compression.RLE)
    found = highdicom.seg.segread(written(document, tmp_path))
    volume = found.get_volume(combine_segments=False, rescale_fractional=False)
    probabilities = make_probabilities(case)
    assert (found.MaximumFractionalValue, found.SegmentationFractionalType) == (255, "PROBABILITY")
    for number, label in document.segments.items():
        assert in_patient_space(
            np.ascontiguousarray(volume.array[..., number - 1]), volume.affine
        ) == in_patient_space(probabilities[label.value - 1], case.context.volume.affine_lps)


def test_a_label_map_is_an_object_of_its_own_class_with_its_background_last(tmp_path, case):
    (document,) = make(case, SegmentationKind.LABELMAP)
    found = pydicom.dcmread(written(document, tmp_path))
    assert found.SOPClassUID == LABEL_MAP_SEGMENTATION_STORAGE
    assert [int(item.SegmentNumber) for item in found.SegmentSequence] == [1, 2, 3, 4, 0]
    assert found.SegmentSequence[-1].SegmentedPropertyTypeCodeSequence[0].CodeValue == "125040"
    assert (found.PixelPaddingValue, found.BitsAllocated, found.SegmentsOverlap) == (0, 8, "NO")
    assert [str(item.DimensionIndexPointer) for item in found.DimensionIndexSequence] == [
        "(0020,0032)"
    ]


def test_without_probabilities_a_fractional_segmentation_is_binary(tmp_path, case):
    form = Form(segmentation=SegmentationKind.FRACTIONAL, compression=Compression.RLE)
    context = replace(case.context, form=form)
    (document,) = make_segmentations(context, Analysis(case.labels))
    frames = read(written(document, tmp_path), case)
    wanted = expected(case, SegmentationKind.BINARY, document)
    assert document.header.SegmentationType == "BINARY"
    assert document.header.SOPClassUID == SEGMENTATION_STORAGE
    assert all(np.array_equal(frames[at], wanted[at]) for at in wanted)


def test_a_structure_has_a_frame_even_where_its_probability_was_rounded_away(tmp_path, case):
    probabilities = make_probabilities(case)
    probabilities[2] = 0
    form = Form(segmentation=SegmentationKind.FRACTIONAL)
    context = replace(case.context, form=form)
    (document,) = make_segmentations(context, Analysis(case.labels, probabilities))
    frames = read(written(document, tmp_path), case)
    assert document.segments[3].name == "brain_stem"
    assert [index for segment, index in frames if segment == 3] == [
        index for index in range(SIZE[0]) if (case.labels[index] == 3).any()
    ]


@pytest.mark.parametrize("wrong", ["too few", "type"])
def test_probabilities_that_do_not_fit_are_refused(case, wrong):
    probabilities = make_probabilities(case)
    probabilities = probabilities[1:] if wrong == "too few" else probabilities.astype(np.float32)
    context = replace(case.context, form=Form(segmentation=SegmentationKind.FRACTIONAL))
    with pytest.raises(ResultError, match="probabilities have shape"):
        make_segmentations(context, Analysis(case.labels, probabilities))


@pytest.mark.parametrize("kind", SegmentationKind)
def test_nothing_found_or_nothing_wanted_is_no_segmentation(case, kind):
    context = replace(case.context, form=Form(segmentation=kind))
    empty = np.zeros_like(case.labels)
    assert make_segmentations(context, Analysis(empty, make_probabilities(case))) == ()
    if kind is SegmentationKind.NONE:
        assert make_segmentations(context, Analysis(case.labels)) == ()


def test_objects_of_one_series_are_told_apart(case):
    documents = make(case, SegmentationKind.LABELMAP, one_segment_each=True)
    headers = [document.header for document in documents]
    assert len({header.SeriesInstanceUID for header in headers}) == 1
    assert len({header.SOPInstanceUID for header in headers}) == 4
    assert [int(header.InstanceNumber) for header in headers] == [1, 2, 3, 4]
    assert [list(document.segments) for document in documents] == [[1]] * 4
    tracking = [header.SegmentSequence[0].TrackingUID for header in headers]
    together = make(case)[0].header.SegmentSequence
    assert tracking == [item.TrackingUID for item in together]


def test_a_lone_segment_is_named_by_each_frame_and_not_shared(tmp_path, case):
    document = make(case, one_segment_each=True)[0]
    found = pydicom.dcmread(written(document, tmp_path))
    # PS3.3 C.7.6.16.1.1: a functional group is shared, or the frames' own, never both.
    assert "SegmentIdentificationSequence" not in found.SharedFunctionalGroupsSequence[0]
    assert all(
        "SegmentIdentificationSequence" in group for group in found.PerFrameFunctionalGroupsSequence
    )


@pytest.mark.parametrize("compression", Compression)
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_answer_gives_the_same_bytes(tmp_path, case, kind, compression):
    first = written(make(case, kind, compression=compression)[0], tmp_path).read_bytes()
    (again,) = make(case, kind, compression=compression)
    assert written(again, tmp_path).read_bytes() == first
    assert written(again, tmp_path).read_bytes() == first


def test_other_forms_are_other_objects_that_track_the_same_structures(case):
    forms = [
        make(case, kind, compression=compression)[0].header
        for kind, compression in product(KINDS, (Compression.NONE, Compression.DEFLATED))
    ]
    assert len({header.SOPInstanceUID for header in forms}) == len(forms)
    assert len({header.SeriesInstanceUID for header in forms}) == len(forms)
    assert len({header.SegmentSequence[0].TrackingUID for header in forms}) == 1


def test_probabilities_may_overlap_and_the_other_kinds_do_not(case):
    found = {kind: make(case, kind)[0].header.SegmentsOverlap for kind in KINDS}
    lone = make(case, SegmentationKind.FRACTIONAL, one_segment_each=True)[0]
    assert found == {
        SegmentationKind.BINARY: "NO",
        SegmentationKind.LABELMAP: "NO",
        SegmentationKind.FRACTIONAL: "UNDEFINED",
    }
    assert lone.header.SegmentsOverlap == "NO"


def test_more_than_an_object_can_hold_is_refused_before_a_pixel_is_made():
    places = tuple(FramePlace(1, index) for index in range(2))
    stack = FrameStack(8, (65535, 65535), places, lambda _: pytest.fail("a frame was made"))
    with pytest.raises(ResultError, match="4 GiB"):
        write_pixels(BytesIO(), stack, str(ExplicitVRLittleEndian))


def test_two_threads_may_compress_at_once(tmp_path, case):
    (document,) = make(
        case, SegmentationKind.LABELMAP, compression=Compression.JPEG_2000, empty_frames=True
    )
    folders = [tmp_path / str(number) for number in range(8)]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor(4) as threads:
        paths = list(threads.map(lambda folder: written(document, folder), folders))
    assert len({path.read_bytes() for path in paths}) == 1
