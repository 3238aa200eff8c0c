from __future__ import annotations

import numpy as np
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from secondread.dicom.headers import read_slice
from secondread.dicom.pixels import StoredPlane, read_voxels, why_undecodable
from secondread.errors import PixelDataError
from tests.slices import make_slice, put_raw, store, store_implicit

RNG = np.random.default_rng(3)


def _planes(*paths):
    return [
        StoredPlane(path, header.pixels, plane)
        for path in paths
        for header in [read_slice(path)]
        for plane in header.planes
    ]


def _one(tmp_path, dataset, syntax=ExplicitVRLittleEndian):
    return read_voxels(_planes(store(dataset, tmp_path, syntax)))[0]


def _refusal(tmp_path, dataset) -> PixelDataError:
    with pytest.raises(PixelDataError) as caught:
        _one(tmp_path, dataset)
    return caught.value


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16])
def test_every_uncompressed_syntax_gives_the_same_values(tmp_path, syntax, kind):
    info = np.iinfo(kind)
    pixels = RNG.integers(info.min, info.max, (4, 6), endpoint=True).astype(kind)
    stored = pixels
    if syntax == ExplicitVRBigEndian:
        # OW swaps the bytes of every 16-bit word, whatever lies in it.
        stored = np.frombuffer(pixels.tobytes(), np.uint16).byteswap().view(kind).reshape(4, 6)
    voxels = _one(tmp_path, make_slice(stored, (0, 0, 0)), syntax)
    assert voxels.dtype == np.int16
    np.testing.assert_array_equal(voxels, pixels)


@pytest.mark.parametrize(("rows", "columns"), [(3, 3), (4, 5)])
def test_big_endian_bytes_of_an_odd_number_are_in_pairs(tmp_path, rows, columns):
    pixels = RNG.integers(0, 256, (rows, columns)).astype(np.uint8)
    flat = pixels.tobytes() + b"\0" * (pixels.size % 2)
    dataset = make_slice(pixels, (0, 0, 0))
    dataset.PixelData = np.frombuffer(flat, np.uint16).byteswap().tobytes()
    voxels = _one(tmp_path, dataset, ExplicitVRBigEndian)
    np.testing.assert_array_equal(voxels, pixels)


def test_large_unsigned_values_become_floats(tmp_path):
    pixels = np.array([[0, 65535], [32768, 5]], np.uint16)
    voxels = _one(tmp_path, make_slice(pixels, (0, 0, 0)))
    assert voxels.dtype == np.float32
    np.testing.assert_array_equal(voxels, pixels)


def test_32_bit_pixels_are_read(tmp_path):
    pixels = np.array([[-70000, 70000], [1, 2]], np.int32)
    np.testing.assert_array_equal(_one(tmp_path, make_slice(pixels, (0, 0, 0))), pixels)


def test_hounsfield_units_are_exact_integers(tmp_path):
    pixels = np.array([[0, 4095], [1024, 24]], np.uint16)
    dataset = make_slice(pixels, (0, 0, 0), RescaleSlope="1", RescaleIntercept="-1024")
    voxels = _one(tmp_path, dataset)
    assert voxels.dtype == np.int16
    np.testing.assert_array_equal(voxels, pixels.astype(int) - 1024)


def test_each_slice_has_its_own_rescale(tmp_path):
    pixels = np.array([[10, 20], [30, 40]], np.uint16)
    paths = [
        store(make_slice(pixels, (0, 0, n), n, RescaleSlope=slope, RescaleIntercept="1"), tmp_path)
        for n, slope in enumerate(("0.5", "2"), 1)
    ]
    voxels = read_voxels(_planes(*paths))
    assert voxels.dtype == np.float32
    np.testing.assert_array_equal(voxels[0], pixels * 0.5 + 1)
    np.testing.assert_array_equal(voxels[1], pixels * 2 + 1)


def test_signed_and_unsigned_slices_meet_in_one_volume(tmp_path):
    first = np.array([[-5, 32000]], np.int16)
    second = np.array([[5, 40000]], np.uint16)
    paths = [
        store(make_slice(first, (0, 0, 0), 1), tmp_path),
        store(make_slice(second, (0, 0, 1), 2), tmp_path),
    ]
    np.testing.assert_array_equal(read_voxels(_planes(*paths))[:, 0], [[-5, 32000], [5, 40000]])


@pytest.mark.parametrize(("stored", "high"), [(12, 11), (12, 15), (10, 11)])
@pytest.mark.parametrize("signed", [0, 1])
def test_bits_beside_the_stored_ones_are_not_part_of_the_value(tmp_path, stored, high, signed):
    low, top = (-(2 ** (stored - 1)), 2 ** (stored - 1)) if signed else (0, 2**stored)
    values = RNG.integers(low, top, (5, 4))
    below = high + 1 - stored
    noise = RNG.integers(0, 2**16, (5, 4)) & ~(((1 << stored) - 1) << below)
    raw = (((values & ((1 << stored) - 1)) << below) | noise).astype(np.uint16)
    dataset = make_slice(
        raw, (0, 0, 0), BitsStored=stored, HighBit=high, PixelRepresentation=signed
    )
    np.testing.assert_array_equal(_one(tmp_path, dataset), values)


def test_monochrome1_is_a_matter_of_display(tmp_path):
    pixels = np.array([[1, 2], [3, 4]], np.int16)
    dataset = make_slice(pixels, (0, 0, 0), PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(_one(tmp_path, dataset), pixels)


def test_run_lengths_are_decoded(tmp_path):
    pixels = RNG.integers(-500, 500, (9, 7)).astype(np.int16)
    dataset = make_slice(pixels, (0, 0, 0))
    path = store(dataset, tmp_path)
    from pydicom import dcmread

    packed = dcmread(path)
    packed.compress(RLELossless, generate_instance_uid=False)
    packed.save_as(path)
    assert read_slice(path).pixels.offset == 0
    np.testing.assert_array_equal(read_voxels(_planes(path))[0], pixels)


def test_float_pixels_stay_floats(tmp_path):
    pixels = np.array([[0.25, -1.5], [3.0, 4.0]], np.float32)
    dataset = make_slice(pixels, (0, 0, 0), PixelData=None, FloatPixelData=pixels.tobytes())
    voxels = _one(tmp_path, dataset)
    assert voxels.dtype == np.float32
    np.testing.assert_array_equal(voxels, pixels)


def test_pixels_that_are_not_numbers_are_refused(tmp_path):
    pixels = np.array([[0.25, np.nan]], np.float32)
    dataset = make_slice(pixels, (0, 0, 0), PixelData=None, FloatPixelData=pixels.tobytes())
    assert _refusal(tmp_path, dataset).outcome == "not-finite"


PIXELS = np.arange(6, dtype=np.int16).reshape(2, 3)


def test_a_truncated_image_is_refused_whether_its_length_says_so_or_not(tmp_path):
    short = make_slice(PIXELS, (0, 0, 0))
    short.PixelData = short.PixelData[:-2]
    assert _refusal(tmp_path, short).outcome == "truncated-pixels"
    path = store(make_slice(PIXELS, (0, 0, 0)), tmp_path)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(PixelDataError, match="cut short"):
        read_voxels(_planes(path))


def test_a_damaged_compressed_image_is_refused(tmp_path):
    from pydicom import dcmread

    path = store(make_slice(RNG.integers(0, 99, (16, 16)).astype(np.int16), (0, 0, 0)), tmp_path)
    packed = dcmread(path)
    packed.compress(RLELossless, generate_instance_uid=False)
    packed.save_as(path)
    content = path.read_bytes()
    path.write_bytes(content[:-60])
    with pytest.raises(PixelDataError) as caught:
        read_voxels(_planes(path))
    assert caught.value.outcome == "undecodable-pixels"


@pytest.mark.parametrize("slope", ["0", "x", "1\\2"])
def test_a_rescale_that_makes_no_sense_is_refused(tmp_path, slope):
    dataset = make_slice(PIXELS, (0, 0, 0))
    put_raw(dataset, 0x00281053, slope)
    with pytest.raises(PixelDataError) as caught:
        read_voxels(_planes(store_implicit(dataset, tmp_path)))
    assert caught.value.outcome == "bad-rescale"


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "not grey values but RGB"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR"),
        ({"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}, "1 of 1 bits"),
        ({"BitsStored": 12, "HighBit": 5}, "High Bit is 5"),
        ({"BitsStored": 17}, "17 of 16 bits"),
        ({"PixelData": None}, "no pixels"),
    ],
)
def test_pixels_that_are_no_grey_values_are_refused(tmp_path, attributes, words):
    error = _refusal(tmp_path, make_slice(PIXELS, (0, 0, 0), **attributes))
    assert error.outcome == "unsupported-pixels"
    assert words in str(error)


def test_a_look_up_table_is_refused(tmp_path):
    from pydicom.dataset import Dataset

    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType, table.LUTData = [1, 0, 16], "US", b"\0\0"
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "OW"
    error = _refusal(tmp_path, make_slice(PIXELS, (0, 0, 0), ModalityLUTSequence=[table]))
    assert "look-up table" in str(error)


def test_a_syntax_without_a_decoder_is_named(tmp_path):
    from dataclasses import replace

    layout = read_slice(store(make_slice(PIXELS, (0, 0, 0)), tmp_path)).pixels
    video = replace(layout, transfer_syntax_uid="1.2.840.10008.1.2.4.102", offset=0)
    assert "MPEG-4" in why_undecodable(video)
    assert why_undecodable(layout) == ""
