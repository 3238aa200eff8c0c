from __future__ import annotations

import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian

from secondread.dicom.headers import read_header, read_slice
from secondread.errors import CannotUnderstandError
from tests.slices import make_slice, put_raw, store, store_implicit

PIXELS = np.arange(12, dtype=np.int16).reshape(3, 4)


def test_a_header_holds_what_was_written(tmp_path):
    dataset = make_slice(
        PIXELS,
        (1.5, -2, 3e-7),
        number=7,
        SeriesDescription="t1 mprage",
        BodyPartExamined="HEAD",
        BurnedInAnnotation="NO",
        RescaleSlope="2",
        RescaleIntercept="-1024",
    )
    header = read_slice(store(dataset, tmp_path))
    assert (header.modality, header.body_part, header.instance_number) == ("MR", "HEAD", 7)
    assert header.image_type == ("ORIGINAL", "PRIMARY", "M")
    assert header.series_description == "t1 mprage"
    assert not header.burned_in
    (plane,) = header.planes
    assert plane.position_mm == (1.5, -2.0, 3e-7)
    assert plane.spacing_mm == (1.0, 1.0)
    assert (plane.slope, plane.intercept) == (2.0, -1024.0)
    assert (header.pixels.rows, header.pixels.columns) == (3, 4)
    assert header.pixels.signed


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", ExplicitVRBigEndian]
)
def test_the_pixels_are_found_in_the_file(tmp_path, syntax):
    path = store(make_slice(PIXELS, (0, 0, 0)), tmp_path, syntax)
    layout = read_slice(path).pixels
    assert path.read_bytes()[layout.offset :][: layout.length_bytes] == PIXELS.tobytes()


@pytest.mark.parametrize(
    "value",
    ["1\\2", "1\\2\\x", "1\\2\\nan", "1\\2\\inf", "1\\2\\1,5", "1\\2\\1_0", "\\\\", "1e999\\0\\0"],
)
def test_bad_decimals_are_named_and_do_not_raise(tmp_path, value):
    dataset = make_slice(PIXELS, (0, 0, 0))
    put_raw(dataset, 0x00200032, value)
    (plane,) = read_slice(store_implicit(dataset, tmp_path)).planes
    assert plane.position_mm is None
    assert plane.unreadable == ("Image Position (Patient)",)


def test_decimals_with_padding_are_read(tmp_path):
    dataset = make_slice(PIXELS, (0, 0, 0))
    put_raw(dataset, 0x00200032, " +1.5 \\-.5e1\\ 2. ")
    (plane,) = read_slice(store_implicit(dataset, tmp_path)).planes
    assert plane.position_mm == (1.5, -5.0, 2.0)


def test_a_description_is_read_in_its_character_set(tmp_path):
    dataset = make_slice(PIXELS, (0, 0, 0), SpecificCharacterSet="ISO_IR 144")
    dataset.SeriesDescription = "Голова"
    assert read_slice(store(dataset, tmp_path)).series_description == "Голова"


@pytest.mark.filterwarnings("ignore:Unknown encoding")  # pydicom warns as it writes the file
def test_an_unknown_character_set_is_no_reason_to_fail(tmp_path):
    dataset = make_slice(PIXELS, (0, 0, 0))
    put_raw(dataset, 0x00080005, "ISO_IR 999")
    put_raw(dataset, 0x0008103E, "head\x07 1")
    assert read_slice(store_implicit(dataset, tmp_path)).series_description == "head  1"


def test_an_object_without_pixels_has_no_kind(tmp_path):
    dataset = make_slice(PIXELS, (0, 0, 0))
    del dataset.PixelData
    header = read_slice(store(dataset, tmp_path))
    assert header.pixels.kind == ""


def test_a_classic_multi_frame_image_has_planes_without_places(tmp_path):
    dataset = make_slice(np.zeros((6, 4), np.int16), (0, 0, 0), NumberOfFrames="2", Rows=3)
    header = read_slice(store(dataset, tmp_path))
    assert [plane.position_mm for plane in header.planes] == [None, None]


@pytest.mark.parametrize("content", [b"", b"not dicom at all", b"\0" * 200])
def test_what_is_not_dicom_is_one_sentence(tmp_path, content):
    path = tmp_path / "x.dcm"
    path.write_bytes(content)
    for read in (read_slice, read_header):
        with pytest.raises(CannotUnderstandError, match="cannot be read as DICOM"):
            read(path)


def test_an_absent_file_is_one_sentence(tmp_path):
    with pytest.raises(CannotUnderstandError, match="cannot be read as DICOM"):
        read_slice(tmp_path / "absent.dcm")


def test_a_full_header_stops_at_the_pixels(tmp_path):
    dataset = make_slice(PIXELS, (0, 0, 0), PatientID="P1")
    header = read_header(store(dataset, tmp_path))
    assert header.PatientID == "P1"
    assert "PixelData" not in header


def test_any_cut_of_a_file_is_read_or_refused(tmp_path):
    whole = store(make_slice(PIXELS, (0, 0, 0)), tmp_path).read_bytes()
    path = tmp_path / "cut.dcm"
    for length in range(0, len(whole), 5):
        path.write_bytes(whole[:length])
        try:
            header = read_slice(path)
        except CannotUnderstandError:
            continue
        assert header.planes
