from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread
from pydicom.pixels.processing import apply_rescale
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
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


def test_big_endian_bytes_that_say_they_are_bytes_are_not_swapped(tmp_path):
    pixels = RNG.integers(0, 256, (3, 5)).astype(np.uint8)
    dataset = make_slice(pixels, (0, 0, 0))
    dataset["PixelData"].VR = "OB"
    np.testing.assert_array_equal(_one(tmp_path, dataset, ExplicitVRBigEndian), pixels)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("stored", [1, 5, 8, 9, 12, 15, 16, 17, 24, 32])
@pytest.mark.parametrize("allocated", [8, 16, 32])
def test_values_are_those_of_another_reader(tmp_path, syntax, signed, stored, allocated):
    if stored > allocated:
        return
    cells = RNG.integers(0, 2**stored, (6, 7)).astype(f"u{allocated // 8}")
    if signed:
        # Copies of the sign stand above the value, as most writers leave them.
        shift = allocated - stored
        cells = (cells << shift).view(f"i{allocated // 8}") >> shift
    dataset = make_slice(
        cells, (0, 0, 0), BitsStored=stored, HighBit=stored - 1, PixelRepresentation=signed
    )
    dataset.RescaleSlope, dataset.RescaleIntercept = "2.5", "-100"
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = cells.byteswap().tobytes()
        dataset["PixelData"].VR = "OB" if allocated == 8 else "OW"
        if allocated == 32:
            # OW swaps words of 16 bits and leaves their order (PS3.5 7.3).
            return
    path = store(dataset, tmp_path, syntax)
    theirs = apply_rescale(dcmread(path).pixel_array, dcmread(path))
    np.testing.assert_array_equal(
        read_voxels(_planes(path))[0], theirs.astype(np.float32), strict=True
    )
    if stored > 8 and allocated < 32:
        image = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))[0]
        np.testing.assert_array_equal(image.astype(np.float32), theirs.astype(np.float32))


def test_an_overlay_in_the_high_bits_is_no_part_of_the_value(tmp_path):
    values = RNG.integers(0, 4096, (5, 5)).astype(np.uint16)
    overlay = RNG.integers(0, 2, (5, 5)).astype(np.uint16) << 12
    dataset = make_slice(values | overlay, (0, 0, 0), BitsStored=12, HighBit=11)
    dataset.add_new(0x60000100, "US", 16)
    dataset.add_new(0x60000102, "US", 12)
    np.testing.assert_array_equal(_one(tmp_path, dataset), values)


def test_whole_values_that_do_not_all_fit_become_floats_in_every_slice(tmp_path):
    """An intercept that was added early is taken away again."""
    small, large = np.array([[0, 4095]], np.uint16), np.array([[0, 65535]], np.uint16)
    paths = [
        store(make_slice(pixels, (0, 0, n), n, RescaleIntercept="-1024"), tmp_path)
        for n, pixels in enumerate((small, large, small), 1)
    ]
    voxels = read_voxels(_planes(*paths))
    assert voxels.dtype == np.float32
    np.testing.assert_array_equal(voxels[:, 0], [[-1024, 3071], [-1024, 64511], [-1024, 3071]])


@pytest.mark.parametrize("slope", ["-1", "3", "-2"])
def test_whole_slopes_are_exact(tmp_path, slope):
    pixels = RNG.integers(-9000, 9000, (4, 5)).astype(np.int16)
    dataset = make_slice(pixels, (0, 0, 0), RescaleSlope=slope, RescaleIntercept="7")
    voxels = _one(tmp_path, dataset)
    assert voxels.dtype == np.int16
    np.testing.assert_array_equal(voxels, pixels.astype(int) * int(slope) + 7)


def test_a_volume_that_is_read_by_threads_is_the_same(tmp_path):
    pixels = RNG.integers(-2000, 2000, (40, 300, 301)).astype(np.int16)
    paths = [
        store(make_slice(frame, (0, 0, n), n, RescaleIntercept=str(n)), tmp_path)
        for n, frame in enumerate(pixels)
    ]
    wanted = pixels + np.arange(40)[:, None, None]
    np.testing.assert_array_equal(read_voxels(_planes(*paths)), wanted)
    np.testing.assert_array_equal(read_voxels(_planes(*paths[::-1])), wanted[::-1])


def test_double_pixels_become_floats(tmp_path):
    pixels = np.array([[0.25, -1e30], [3.0, 4.0]], np.float64)
    dataset = make_slice(pixels, (0, 0, 0), PixelData=None, DoubleFloatPixelData=pixels.tobytes())
    voxels = _one(tmp_path, dataset)
    assert voxels.dtype == np.float32
    np.testing.assert_array_equal(voxels, pixels.astype(np.float32))
    huge = np.array([[1e300, 0.0]])
    dataset = make_slice(huge, (0, 0, 0), PixelData=None, DoubleFloatPixelData=huge.tobytes())
    assert _refusal(tmp_path, dataset).outcome == "not-finite"


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


def test_a_compressed_image_that_was_cut_short_is_refused(tmp_path):
    path = store(make_slice(RNG.integers(0, 99, (16, 16)).astype(np.int16), (0, 0, 0)), tmp_path)
    packed = dcmread(path)
    packed.compress(RLELossless, generate_instance_uid=False)
    packed.save_as(path)
    content = path.read_bytes()
    path.write_bytes(content[:-60])
    with pytest.raises(PixelDataError) as caught:
        read_voxels(_planes(path))
    assert caught.value.outcome == "truncated-pixels"


@pytest.mark.parametrize("slope", ["0", "x", "1\\2"])
def test_a_rescale_that_makes_no_sense_is_refused(tmp_path, slope):
    dataset = make_slice(PIXELS, (0, 0, 0))
    put_raw(dataset, 0x00281053, slope)
    with pytest.raises(PixelDataError) as caught:
        read_voxels(_planes(store_implicit(dataset, tmp_path)))
    assert caught.value.outcome == "bad-rescale"


@pytest.mark.parametrize(
    ("attributes", "outcome", "words"),
    [
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colour", "but RGB"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_FULL"}, "colour", "YBR_FULL"),
        ({"PhotometricInterpretation": "HSV"}, "colour", "but HSV"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "palette", "PALETTE COLOR"),
        ({"PhotometricInterpretation": None}, "photometric", "absent"),
        ({"PhotometricInterpretation": "GREY"}, "photometric", "not known"),
        ({"SamplesPerPixel": 3}, "photometric", "3 samples"),
        ({"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}, "bits", "1 of 1 bits"),
        ({"BitsAllocated": 24, "BitsStored": 24, "HighBit": 23}, "bits", "24 of 24 bits"),
        ({"BitsAllocated": 64, "BitsStored": 64, "HighBit": 63}, "bits", "64 of 64 bits"),
        ({"BitsStored": 12, "HighBit": 5}, "bits", "High Bit is 5"),
        ({"BitsStored": 17}, "bits", "17 of 16 bits"),
        ({"PixelData": None}, "no-pixels", "no pixels"),
    ],
)
def test_pixels_that_are_no_grey_values_are_refused(tmp_path, attributes, outcome, words):
    error = _refusal(tmp_path, make_slice(PIXELS, (0, 0, 0), **attributes))
    assert error.outcome == outcome
    assert words in str(error)


def test_red_green_and_blue_that_are_alike_are_not_taken_for_grey(tmp_path):
    grey = np.repeat(RNG.integers(0, 256, (4, 6, 1)), 3, axis=2).astype(np.uint8)
    dataset = make_slice(
        grey[:, :, 0], (0, 0, 0), SamplesPerPixel=3, PhotometricInterpretation="RGB"
    )
    dataset.PlanarConfiguration, dataset.PixelData = 0, grey.tobytes()
    assert _refusal(tmp_path, dataset).outcome == "colour"


def test_a_mixture_of_monochrome1_and_2_is_refused(tmp_path):
    paths = [
        store(make_slice(PIXELS, (0, 0, n), n, PhotometricInterpretation=kind), tmp_path)
        for n, kind in enumerate(("MONOCHROME1", "MONOCHROME2"), 1)
    ]
    with pytest.raises(PixelDataError, match="MONOCHROME1 and others") as caught:
        read_voxels(_planes(*paths))
    assert caught.value.outcome == "mixed-photometric"


def test_slices_of_different_sizes_are_refused(tmp_path):
    paths = [
        store(make_slice(np.zeros((4, columns), np.int16), (0, 0, n), n), tmp_path)
        for n, columns in enumerate((5, 6), 1)
    ]
    with pytest.raises(PixelDataError, match="different sizes"):
        read_voxels(_planes(*paths))


def test_native_pixels_under_a_compressed_syntax_are_refused_and_the_reverse(tmp_path):
    path = store(make_slice(PIXELS, (0, 0, 0)), tmp_path)
    (native,) = _planes(path)
    claims = replace(native, layout=replace(native.layout, transfer_syntax_uid=JPEGLSLossless))
    with pytest.raises(PixelDataError, match="not compressed, though") as caught:
        read_voxels([claims])
    assert caught.value.outcome == "undecodable-pixels"
    packed = dcmread(path)
    packed.compress(RLELossless, generate_instance_uid=False)
    packed.save_as(path)
    (plane,) = _planes(path)
    claims = replace(
        plane, layout=replace(plane.layout, transfer_syntax_uid=ExplicitVRLittleEndian)
    )
    with pytest.raises(PixelDataError, match="compressed, though") as caught:
        read_voxels([claims])
    assert caught.value.outcome == "undecodable-pixels"


def test_a_look_up_table_is_refused(tmp_path):
    from pydicom.dataset import Dataset

    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType, table.LUTData = [1, 0, 16], "US", b"\0\0"
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "OW"
    error = _refusal(tmp_path, make_slice(PIXELS, (0, 0, 0), ModalityLUTSequence=[table]))
    assert error.outcome == "modality-table"
    assert "look-up table" in str(error)


def test_a_syntax_without_a_decoder_is_named(tmp_path):
    layout = read_slice(store(make_slice(PIXELS, (0, 0, 0)), tmp_path)).pixels
    video = replace(layout, transfer_syntax_uid="1.2.840.10008.1.2.4.102", offset=0)
    assert "MPEG-4" in why_undecodable(video)
    assert why_undecodable(layout) == ""
    damaged = replace(layout, transfer_syntax_uid="1.2.840.10008.1e-91", offset=0)
    assert "nothing that is known" in why_undecodable(damaged)
