"""Segmentations of every kind and transfer syntax, written by highdicom, read by us."""

from __future__ import annotations

import zlib

import numpy as np
import pydicom
import pydicom.encaps
import pytest
from highdicom import UID, AlgorithmIdentificationSequence
from highdicom.content import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.sr.codedict import codes
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from deploy.demo.series import affine_from_axes, write_series
from secondread.errors import ResultError
from secondread.results.reading.segmentation import read_contents, read_frames, read_segmentation
from tests.result_cases import PLANES

DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
SPACING_MM = (3.0, 1.25, 1.5)
ORIGIN = (-40.0, 31.5, 17.25)
# 7 × 9 voxels do not fill whole bytes.
SIZES = ((6, 7, 9), (4, 32, 40))


@pytest.fixture
def segmentation(tmp_path):
    """``segmentation(kind, pixels, syntax, plane)``: the path of what highdicom writes."""

    def write(kind, pixels, numbers, syntax=ExplicitVRLittleEndian, plane="oblique", **options):
        affine = affine_from_axes(*PLANES[plane], SPACING_MM, ORIGIN)
        # Of these, GDCM aborts the process, and highdicom does not know the other.
        is_rle, is_deflated = syntax == RLELossless, syntax == DEFLATED_FRAMES
        slices, rows, columns = pixels.shape[:3]
        blank = np.zeros((slices, rows, columns), np.int16)
        source = pydicom.dcmread(write_series(blank, affine, tmp_path / "source")[0])
        algorithm = AlgorithmIdentificationSequence(
            "test", codes.cid7162.ArtificialIntelligence, "1"
        )
        along_rows, along_columns = PLANES[plane]
        positions = [affine[:3, :3] @ (at, 0, 0) + affine[:3, 3] for at in range(slices)]
        made = Segmentation(
            source_images=[source],
            pixel_array=pixels,
            segmentation_type=kind,
            segment_descriptions=[
                SegmentDescription(
                    number,
                    f"part {number}",
                    codes.SCT.Organ,
                    codes.SCT.Liver,
                    "AUTOMATIC",
                    algorithm,
                    tracking_uid=UID(),
                    tracking_id=f"part {number}",
                )
                for number in numbers
            ],
            series_instance_uid=UID(),
            series_number=1,
            sop_instance_uid=UID(),
            instance_number=1,
            manufacturer="test",
            manufacturer_model_name="test",
            software_versions="1",
            device_serial_number="1",
            transfer_syntax_uid=ExplicitVRLittleEndian if is_rle or is_deflated else syntax,
            pixel_measures=PixelMeasuresSequence(SPACING_MM[1:], SPACING_MM[0], SPACING_MM[0]),
            plane_orientation=PlaneOrientationSequence("PATIENT", [*along_rows, *along_columns]),
            plane_positions=[
                PlanePositionSequence("PATIENT", position.tolist()) for position in positions
            ],
            **options,
        )
        if is_rle:
            made.compress(RLELossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
        path = tmp_path / "seg.dcm"
        if is_deflated:
            path.write_bytes(deflate_frames(made))
        else:
            made.save_as(path)
        return path, affine

    return write


def deflate_frames(found):
    """A file of Deflated Image Frame Compression (PS3.5 A.4.13), which pydicom does not write."""
    values = found.pixel_array.reshape(found.NumberOfFrames, -1)
    if found.BitsAllocated == 1:
        frames = [np.packbits(frame, bitorder="little").tobytes() for frame in values]
    else:
        frames = [frame.astype(f"<u{found.BitsAllocated // 8}").tobytes() for frame in values]
    machines = [zlib.compressobj(wbits=-zlib.MAX_WBITS) for _ in frames]
    found.PixelData = pydicom.encaps.encapsulate(
        [
            machine.compress(frame) + machine.flush()
            for machine, frame in zip(machines, frames, strict=True)
        ]
    )
    found["PixelData"].VR = "OB"
    found["PixelData"].is_undefined_length = True
    found.file_meta.TransferSyntaxUID = DEFLATED_FRAMES
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    file.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(file, found.file_meta)
    write_dataset(file, found)
    return file.getvalue()


def random_labels(size, numbers):
    labels = np.random.default_rng(2).choice([0, 0, *numbers], size)
    labels[1] = 0
    labels[0].flat[: len(numbers)] = numbers
    labels[-1, -1, -1] = numbers[-1]
    return labels


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DEFLATED_FRAMES], ids=str
)
def test_a_binary_one_is_what_was_written(size, syntax, segmentation):
    labels = random_labels(size, [1, 2, 3]).astype(np.uint8)
    path, affine = segmentation("BINARY", labels, [1, 2, 3], syntax)
    contents = read_segmentation(path)
    assert (contents.labels == labels).all()
    assert np.allclose(contents.affine_lps, affine, atol=1e-4)
    for number in (1, 2, 3):
        assert (contents.mask(number) == (labels == number)).all()
        assert (contents.probability(number) == (labels == number)).all()
    assert {segment.tracking_id for segment in contents.segments} == {"part 1", "part 2", "part 3"}


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_segments_that_overlap_are_read_one_by_one(size, segmentation):
    masks = np.random.default_rng(4).integers(0, 2, (*size, 3)).astype(np.uint8)
    path, _ = segmentation("BINARY", masks, [1, 2, 3])
    contents = read_segmentation(path)
    for number in (1, 2, 3):
        assert (contents.mask(number) == masks[..., number - 1]).all()
    with pytest.raises(ResultError, match="overlap"):
        contents.label_map()


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, JPEGLSLossless, JPEG2000Lossless, RLELossless, DEFLATED_FRAMES],
    ids=str,
)
@pytest.mark.parametrize("numbers", [[1, 2, 3], [1, 2, 300]], ids=["8 bit", "16 bit"])
def test_a_label_map_is_what_was_written(numbers, syntax, segmentation):
    labels = random_labels(SIZES[1], numbers).astype(np.uint16)
    path, affine = segmentation("LABELMAP", labels, numbers, syntax)
    contents = read_segmentation(path)
    assert [segment.number for segment in contents.segments] == numbers
    assert (contents.labels == labels).all()
    assert contents.labels.dtype == (np.uint16 if 300 in numbers else np.uint8)
    assert np.allclose(contents.affine_lps, affine, atol=1e-4)
    assert (contents.mask(2) == (labels == 2)).all()


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, JPEGLSLossless, JPEG2000Lossless, RLELossless], ids=str
)
def test_probabilities_are_what_was_written(syntax, segmentation):
    probabilities = np.random.default_rng(6).integers(0, 256, (*SIZES[1], 2)) / 255
    path, _ = segmentation("FRACTIONAL", probabilities, [1, 2], syntax)
    contents = read_segmentation(path)
    assert (contents.fractional_type, contents.maximum) == ("PROBABILITY", 255)
    for number in (1, 2):
        written = np.rint(probabilities[..., number - 1] * 255)
        assert (contents.fractions(number) == written).all()
        assert np.allclose(contents.probability(number), written / 255)
        assert (contents.mask(number, at_least=0.9) == (written >= 0.9 * 255)).all()
    with pytest.raises(ResultError, match="probabilities"):
        contents.label_map()


def test_a_data_set_in_memory_gives_the_same_as_its_file(segmentation):
    labels = random_labels(SIZES[0], [1, 2]).astype(np.uint8)
    for kind, syntax in (("BINARY", ExplicitVRLittleEndian), ("LABELMAP", RLELossless)):
        path, _ = segmentation(kind, labels, [1, 2], syntax)
        found = pydicom.dcmread(path)
        contents = read_contents(found, read_frames(found))
        assert (contents.labels == labels).all()


def test_a_deflated_data_set_is_read(segmentation, tmp_path):
    labels = random_labels(SIZES[0], [1, 2]).astype(np.uint8)
    path, _ = segmentation("BINARY", labels, [1, 2])
    found = pydicom.dcmread(path)
    found.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    found.save_as(tmp_path / "deflated.dcm")
    assert (read_segmentation(tmp_path / "deflated.dcm").labels == labels).all()


def test_sequences_without_a_length_are_read(segmentation, tmp_path):
    labels = random_labels(SIZES[0], [1, 2]).astype(np.uint8)
    path, _ = segmentation("BINARY", labels, [1, 2])
    found = pydicom.dcmread(path)
    for item in found.iterall():
        if item.VR == "SQ":
            item.is_undefined_length = True
    found.save_as(tmp_path / "open.dcm")
    assert (read_segmentation(tmp_path / "open.dcm").labels == labels).all()


def test_groups_that_all_frames_share_are_read(segmentation, tmp_path):
    labels = random_labels(SIZES[0], [1]).astype(np.uint8)
    path, affine = segmentation("BINARY", labels, [1])
    found = pydicom.dcmread(path)
    shared = found.SharedFunctionalGroupsSequence[0]
    own = found.PerFrameFunctionalGroupsSequence
    assert "SegmentIdentificationSequence" in shared
    for item in own:
        item.PixelMeasuresSequence = shared.PixelMeasuresSequence
        item.PlaneOrientationSequence = shared.PlaneOrientationSequence
    del shared.PixelMeasuresSequence, shared.PlaneOrientationSequence
    found.save_as(tmp_path / "moved.dcm")
    contents = read_segmentation(tmp_path / "moved.dcm")
    assert (contents.labels == labels).all()
    assert np.allclose(contents.affine_lps, affine, atol=1e-4)


def test_a_number_that_no_segment_describes_is_told(segmentation, tmp_path):
    path, _ = segmentation("LABELMAP", random_labels(SIZES[0], [1, 2]).astype(np.uint8), [1, 2])
    found = pydicom.dcmread(path)
    found.SegmentSequence = [one for one in found.SegmentSequence if one.SegmentNumber != 2]
    found.save_as(tmp_path / "unknown.dcm")
    with pytest.raises(ResultError, match="no segment of the label map describes"):
        read_segmentation(tmp_path / "unknown.dcm").label_map()


def test_slices_are_given_one_by_one_in_their_order(segmentation):
    labels = random_labels(SIZES[1], [1, 2]).astype(np.uint8)
    for kind in ("BINARY", "LABELMAP"):
        path, _ = segmentation(kind, labels, [1, 2])
        contents = read_segmentation(path)
        seen = {place: plane.copy() for place, plane in contents.label_planes()}
        assert sorted(seen) == sorted(set(contents.places))
        for place, plane in seen.items():
            assert (plane == labels[place]).all()
        for frame in contents.stored_frames():
            wanted = labels[frame.place]
            assert (frame.values == (wanted == frame.segment if frame.segment else wanted)).all()


def test_a_pixel_that_is_lossy_is_refused(segmentation, tmp_path):
    path, _ = segmentation(
        "LABELMAP", random_labels(SIZES[1], [1, 2]).astype(np.uint8), [1, 2], JPEGLSLossless
    )
    found = pydicom.dcmread(path)
    found.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.81"
    found.save_as(tmp_path / "lossy.dcm")
    with pytest.raises(ResultError, match="with loss"):
        read_segmentation(tmp_path / "lossy.dcm")


def test_a_stack_that_leans_keeps_its_lean(segmentation, tmp_path):
    labels = random_labels(SIZES[0], [1]).astype(np.uint8)
    path, affine = segmentation("BINARY", labels, [1])
    found = pydicom.dcmread(path)
    for item in found.PerFrameFunctionalGroupsSequence:
        position = item.PlanePositionSequence[0]
        along = np.array(position.ImagePositionPatient) - affine[:3, 3]
        index = round(float(np.linalg.norm(along)) / SPACING_MM[0])
        moved = np.array(position.ImagePositionPatient) + index * 0.6 * affine[:3, 1]
        position.ImagePositionPatient = [round(float(value), 6) for value in moved]
    found.save_as(tmp_path / "tilted.dcm")
    contents = read_segmentation(tmp_path / "tilted.dcm")
    assert (contents.labels == labels).all()
    leaning = affine.copy()
    leaning[:3, 0] += 0.6 * affine[:3, 1]
    assert np.allclose(contents.affine_lps, leaning, atol=1e-4)


def test_two_stacks_are_refused(segmentation, tmp_path):
    path, _ = segmentation("BINARY", random_labels(SIZES[0], [1]).astype(np.uint8), [1])
    found = pydicom.dcmread(path)
    found.PerFrameFunctionalGroupsSequence[1].PlaneOrientationSequence = [pydicom.Dataset()]
    orientation = found.PerFrameFunctionalGroupsSequence[1].PlaneOrientationSequence[0]
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    found.save_as(tmp_path / "two.dcm")
    with pytest.raises(ResultError, match="several stacks"):
        read_segmentation(tmp_path / "two.dcm")
