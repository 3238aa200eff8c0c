"""Each outcome of stacking by its name; ``tests/property/test_geometry.py`` has the rest."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage, UltrasoundMultiFrameImageStorage

from secondread.assembly.volume import read_volume
from secondread.dicom.geometry import orientation_name, position_tolerance_mm, stack
from secondread.dicom.headers import read_slice
from secondread.dicom.stacked import all_planes
from secondread.errors import GeometryError, PixelDataError
from tests.slices import (
    decimal_strings,
    instance_of,
    make_series,
    make_slice,
    put_raw,
    store,
    store_implicit,
)


def _stack(tmp_path, datasets, write=store, same_pixels=None):
    for number, dataset in enumerate(datasets):
        dataset.SOPInstanceUID = f"2.25.3000{number}"
    headers = [read_slice(write(dataset, tmp_path)) for dataset in datasets]
    return stack(headers, same_pixels=same_pixels)


def _refusal(tmp_path, datasets, write=store) -> GeometryError:
    with pytest.raises(GeometryError) as caught:
        _stack(tmp_path, datasets, write)
    return caught.value


def test_an_axial_stack_has_the_affine_of_its_headers(tmp_path):
    series = make_series(4, 2.5, PixelSpacing=["0.5", "0.75"])
    volume = _stack(tmp_path, series[::-1])
    np.testing.assert_allclose(
        volume.affine_lps, [[0, 0, 0.75, 0], [0, 0.5, 0, 0], [2.5, 0, 0, 2.5], [0, 0, 0, 1]]
    )
    assert volume.spacing_mm == (2.5, 0.5, 0.75)
    assert [item.header for item in volume.planes] == [3, 2, 1, 0]


def test_slices_run_along_the_cross_product_of_the_directions(tmp_path):
    series = make_series(4, ImageOrientationPatient=["1", "0", "0", "0", "-1", "0"])
    volume = _stack(tmp_path, series)
    np.testing.assert_allclose(volume.affine_lps[:3, 0], [0, 0, -3])
    np.testing.assert_allclose(volume.affine_lps[:3, 3], [0, 0, 12])


@pytest.mark.parametrize(
    "attributes",
    [
        {"SpacingBetweenSlices": "0", "SliceThickness": "0"},
        {"SpacingBetweenSlices": "-3", "SliceLocation": "17"},
        {"SliceThickness": "12", "GantryDetectorTilt": "30"},
        {"InstanceNumber": None},
    ],
)
def test_what_scanners_fill_in_differently_is_not_asked(tmp_path, attributes):
    volume = _stack(tmp_path, make_series(4, 2.5, **attributes))
    assert volume.spacing_mm == (2.5, 1.0, 1.0)
    assert volume.tilt_degrees == 0.0


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_slices(tmp_path, count):
    error = _refusal(tmp_path, make_series(count))
    assert error.outcome == "not-enough-slices"


def test_no_slices_at_all():
    with pytest.raises(GeometryError, match="no slices"):
        stack([])


def test_a_mosaic(tmp_path):
    series = make_series(5, ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])
    assert _refusal(tmp_path, series).outcome == "mosaic"


@pytest.mark.parametrize(
    "name", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"]
)
def test_images_that_do_not_say_where_they_lie(tmp_path, name):
    series = make_series(5)
    delattr(series[2], name)
    error = _refusal(tmp_path, series)
    assert error.outcome == "no-geometry"
    assert "1 of its 5 images" in str(error)


@pytest.mark.parametrize(
    ("tag", "value", "name"),
    [
        (0x00200032, "0\\0\\abc", "Image Position"),
        (0x00200037, "1\\0\\0\\0\\1", "Image Orientation"),
        (0x00280030, "1,0\\1,0", "Pixel Spacing"),
    ],
)
def test_numbers_that_are_none(tmp_path, tag, value, name):
    series = make_series(5)
    put_raw(series[1], tag, value)
    error = _refusal(tmp_path, series, store_implicit)
    assert error.outcome == "unreadable-geometry"
    assert name in str(error)


@pytest.mark.parametrize(
    "attributes",
    [
        {"PixelSpacing": ["0", "1"]},
        {"PixelSpacing": ["-1", "1"]},
        {"ImageOrientationPatient": ["1", "0", "0", "1", "0", "0"]},
        {"ImageOrientationPatient": ["0", "0", "0", "0", "0", "0"]},
        {"ImageOrientationPatient": ["0.9", "0", "0", "0", "1", "0"]},
    ],
)
def test_numbers_that_are_no_geometry(tmp_path, attributes):
    assert _refusal(tmp_path, make_series(5, **attributes)).outcome == "unreadable-geometry"


def test_mixed_sizes(tmp_path):
    series = make_series(4)
    series.append(make_slice(np.zeros((16, 8), np.int16), (0, 0, 15), 5))
    error = _refusal(tmp_path, series)
    assert error.outcome == "mixed-sizes"
    assert "16 x 8, 16 x 16" in str(error)


def test_mixed_frames_of_reference(tmp_path):
    series = make_series(5)
    series[4].FrameOfReferenceUID = "2.25.77"
    assert _refusal(tmp_path, series).outcome == "mixed-frames-of-reference"


def test_no_frame_of_reference(tmp_path):
    series = make_series(5, FrameOfReferenceUID=None)
    assert _refusal(tmp_path, series).outcome == "no-frame-of-reference"


def test_mixed_spacings(tmp_path):
    series = make_series(5)
    series[0].PixelSpacing = ["1.1", "1.1"]
    assert _refusal(tmp_path, series).outcome == "mixed-spacings"


def test_a_localizer_in_three_planes(tmp_path):
    series = make_series(6)
    for dataset in series[2:4]:
        dataset.ImageOrientationPatient = ["0", "1", "0", "0", "0", "-1"]
    for dataset in series[4:]:
        dataset.ImageOrientationPatient = ["1", "0", "0", "0", "0", "-1"]
    error = _refusal(tmp_path, series)
    assert error.outcome == "mixed-orientations"
    assert "3 different orientations" in str(error)


def test_two_echoes_in_one_series(tmp_path):
    error = _refusal(tmp_path, make_series(5) + make_series(5))
    assert error.outcome == "duplicate-positions"
    assert "Each of its 5 positions occurs 2 times" in str(error)


def test_one_place_only(tmp_path):
    series = make_series(5, ImagePositionPatient=["0", "0", "0"])
    error = _refusal(tmp_path, series)
    assert error.outcome == "duplicate-positions"
    assert "All of its 5 images share one position" in str(error)


def test_missing_slices_are_counted_and_placed(tmp_path):
    series = make_series(12)
    del series[7:9]
    error = _refusal(tmp_path, series)
    assert error.outcome == "missing-slices"
    assert str(error) == (
        "2 slices are missing: between image 7 at (0.0, 0.0, 21.0) mm and image 10 at "
        "(0.0, 0.0, 30.0) mm, which lie 9.00 mm apart instead of 3.00 mm."
    )


def test_many_holes_are_not_all_listed(tmp_path):
    series = [item for item in make_series(40) if item.InstanceNumber % 6]
    error = _refusal(tmp_path, series)
    assert error.outcome == "missing-slices"
    assert str(error).endswith("and at 3 more places.")


def test_wide_gaps_that_are_the_rule_are_not_holes(tmp_path):
    series = [
        make_slice(np.zeros((4, 4), np.int16), (0, 0, place), number)
        for number, place in enumerate((0, 2, 3, 5, 7, 9), 1)
    ]
    error = _refusal(tmp_path, series)
    assert error.outcome == "uneven-spacing"
    assert "varies from 1.00 to 2.00 mm" in str(error)


def test_a_spacing_that_creeps_is_uneven(tmp_path):
    # Each gap is within the tolerance of its neighbours, their sum is not.
    places = np.cumsum(np.linspace(0.97, 1.03, 60))
    series = [
        make_slice(np.zeros((4, 4), np.int16), (0, 0, place), number)
        for number, place in enumerate(places, 1)
    ]
    for dataset in series:
        dataset.ImagePositionPatient = decimal_strings(dataset.ImagePositionPatient)
    assert _refusal(tmp_path, series).outcome == "uneven-spacing"


def _leaning(degrees, numbers=range(1, 12)):
    lean = np.tan(np.radians(degrees)) * 3
    return [
        make_slice(np.full((4, 4), number, np.int16), (0, lean * number, 3 * number), number)
        for number in numbers
    ]


@pytest.mark.parametrize("degrees", [18.5, -18.5, 0.5])
def test_a_tilted_stack_has_a_sheared_affine(tmp_path, degrees):
    volume = _stack(tmp_path, _leaning(degrees))
    assert volume.tilt_degrees == pytest.approx(abs(degrees))
    assert volume.spacing_mm == pytest.approx((3, 1, 1))
    np.testing.assert_allclose(
        volume.affine_lps[:3, 0], (0, 3 * np.tan(np.radians(degrees)), 3), atol=1e-9
    )


def test_a_lean_within_the_tolerance_is_no_tilt(tmp_path):
    assert _stack(tmp_path, _leaning(0.2)).tilt_degrees == 0.0
    assert _stack(tmp_path, _leaning(-0.24)).tilt_degrees == 0.0


def test_missing_slices_of_a_tilted_stack_are_named(tmp_path):
    error = _refusal(tmp_path, _leaning(18.5, [1, 2, 3, 5, 6, 7]))
    assert error.outcome == "missing-slices"
    assert "between image 3 at" in str(error)
    assert "and image 5 at" in str(error)


def test_an_uneven_stack_that_leans_says_both(tmp_path):
    series = _leaning(18.5)
    lean = np.tan(np.radians(18.5))
    for number, dataset in enumerate(series[6:]):
        dataset.ImagePositionPatient = decimal_strings(
            (0, lean * (20 + 5 * number), 20 + 5 * number)
        )
    error = _refusal(tmp_path, series)
    assert error.outcome == "uneven-spacing"
    assert str(error).endswith("varies from 2.00 to 5.00 mm; they also lean by 18.5 degrees.")


@pytest.mark.parametrize("moved", [0, 4, 10])
def test_the_slice_beside_the_line_is_named_even_at_an_end(tmp_path, moved):
    series = _leaning(10)
    series[moved].ImagePositionPatient = [
        "5",
        *decimal_strings(series[moved].ImagePositionPatient[1:]),
    ]
    error = _refusal(tmp_path, series)
    assert error.outcome == "displaced-slices"
    assert f"image {moved + 1} at" in str(error)
    assert "5.00 mm beside it" in str(error)


def test_two_slices_side_by_side_in_one_plane(tmp_path):
    series = make_series(5)
    series.append(make_slice(np.zeros((16, 16), np.int16), (40, 0, 9), 6))
    error = _refusal(tmp_path, series)
    assert error.outcome == "displaced-slices"
    assert "image 3 at (0.0, 0.0, 9.0) mm and image 6 at (40.0, 0.0, 9.0) mm" in str(error)


def _copied(numbers=(2, 3)):
    """Five slices and copies of some, whose numbers go on."""
    series = make_series(5)
    for at, number in enumerate(numbers):
        series.append(make_slice(np.full((16, 16), number, np.int16), (0, 0, 3 * number), 6 + at))
    return series


def test_copies_are_left_out_and_listed(tmp_path):
    volume = _stack(tmp_path, _copied()[::-1], same_pixels=lambda one, other: True)
    assert [item.header for item in volume.planes] == [6, 5, 4, 3, 2]
    assert [item.header for item in volume.dropped] == [1, 0]


def test_without_a_look_at_the_pixels_copies_are_an_error(tmp_path):
    error = _refusal(tmp_path, _copied())
    assert error.outcome == "duplicate-positions"
    assert "image 2 at (0.0, 0.0, 6.0) mm and image 6 at (0.0, 0.0, 6.0) mm" in str(error)


def test_different_images_at_one_place_are_named_as_such(tmp_path):
    with pytest.raises(GeometryError) as caught:
        _stack(tmp_path, _copied(), same_pixels=lambda one, other: False)
    assert caught.value.outcome == "duplicate-positions"
    assert str(caught.value) == (
        "2 of its 7 images lie at the position of another, the first two are image 2 at "
        "(0.0, 0.0, 6.0) mm and image 6 at (0.0, 0.0, 6.0) mm; their pixels differ."
    )


def test_images_at_one_place_that_cannot_be_decoded_are_duplicates(tmp_path):
    def damaged(one, other):
        raise PixelDataError("It was cut short.", outcome="truncated-pixels")

    with pytest.raises(GeometryError, match="cannot be compared: It was cut short\\.$") as caught:
        _stack(tmp_path, _copied(), same_pixels=damaged)
    assert caught.value.outcome == "duplicate-positions"


def test_copies_do_not_make_a_volume_of_too_few_slices(tmp_path):
    series = make_series(2) + make_series(2)
    with pytest.raises(GeometryError) as caught:
        _stack(tmp_path, series, same_pixels=lambda one, other: True)
    assert caught.value.outcome == "not-enough-slices"


def test_some_planes_of_a_series_are_stacked_alone(tmp_path):
    series = make_series(5) + make_series(
        5, 4.0, ImageOrientationPatient=["0", "1", "0", "0", "0", "1"]
    )
    for number, dataset in enumerate(series[5:]):
        dataset.ImagePositionPatient = [str(4 * number), "0", "0"]
    for number, dataset in enumerate(series):
        dataset.SOPInstanceUID = f"2.25.3000{number}"
    headers = [read_slice(store(dataset, tmp_path)) for dataset in series]
    planes = all_planes(headers)
    assert stack(headers, planes[:5]).orientation == "axial"
    assert stack(headers, planes[5:]).orientation == "sagittal"
    assert stack(headers, planes[5:]).spacing_mm[0] == 4.0
    with pytest.raises(GeometryError) as caught:
        stack(headers)
    assert caught.value.outcome == "mixed-orientations"


@pytest.mark.parametrize(
    ("normal", "name"),
    [
        ((0, 0, 1), "axial"),
        ((0.1, 0.2, -0.9), "axial"),
        ((-5, 0, 0), "sagittal"),
        ((0, -1, 0.3), "coronal"),
        ((1, 1, 0), "oblique"),
        ((0, 0.5, 1), "oblique"),
    ],
)
def test_how_slices_lie_has_a_name(normal, name):
    assert orientation_name(np.array(normal, float)) == name


def test_the_tolerance_is_small():
    assert position_tolerance_mm(0.5) == 0.02
    assert position_tolerance_mm(3.0) == pytest.approx(0.06)
    assert position_tolerance_mm(50.0) == 0.1


def _item(**attributes) -> Dataset:
    item = Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    return item


def _enhanced(order, spacing_mm=2.0) -> tuple[Dataset, np.ndarray]:
    """An enhanced MR whose frames come in ``order``; frame values tell their place."""
    frames = np.stack([np.full((3, 4), place * 10, np.int16) for place in order])
    dataset = make_slice(np.zeros((3, 4), np.int16), (0, 0, 0), ImagePositionPatient=None)
    del dataset.ImageOrientationPatient, dataset.PixelSpacing
    dataset.SOPClassUID = EnhancedMRImageStorage
    dataset.NumberOfFrames = len(frames)
    dataset.PixelData = frames.tobytes()
    dataset.SharedFunctionalGroupsSequence = [
        _item(
            PlaneOrientationSequence=[_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
            PixelMeasuresSequence=[_item(PixelSpacing=[0.5, 0.25], SliceThickness=2)],
        )
    ]
    dataset.PerFrameFunctionalGroupsSequence = [
        _item(
            PlanePositionSequence=[_item(ImagePositionPatient=[7, 8, place * spacing_mm])],
            PixelValueTransformationSequence=[_item(RescaleSlope=2, RescaleIntercept=place)],
        )
        for place in order
    ]
    return dataset, frames


def test_an_enhanced_multi_frame_image_is_a_volume(tmp_path):
    order = [3, 0, 4, 1, 2]
    dataset, _ = _enhanced(order)
    path = store(dataset, tmp_path)
    volume = read_volume([instance_of(path, dataset)], tmp_path)
    assert [source.frame for source in volume.sources] == [2, 4, 5, 1, 3]
    np.testing.assert_array_equal(volume.voxels[:, 0, 0], [place * 21 for place in range(5)])
    np.testing.assert_allclose(
        volume.affine_lps, [[0, 0, 0.25, 7], [0, 0.5, 0, 8], [2, 0, 0, 0], [0, 0, 0, 1]]
    )


def test_what_a_frame_says_goes_before_what_all_frames_share(tmp_path):
    dataset, _ = _enhanced([0, 1, 2])
    shared = dataset.SharedFunctionalGroupsSequence[0]
    shared.PixelValueTransformationSequence = [_item(RescaleSlope=5, RescaleIntercept=5)]
    path = store(dataset, tmp_path)
    volume = read_volume([instance_of(path, dataset)], tmp_path)
    np.testing.assert_array_equal(volume.voxels[:, 0, 0], [0, 21, 42])


def test_a_hole_in_an_enhanced_image_names_frames(tmp_path):
    dataset, _ = _enhanced([0, 1, 3, 4])
    error = _refusal(tmp_path, [dataset])
    assert error.outcome == "missing-slices"
    assert "image 1 frame 2 at" in str(error)


def test_a_multi_frame_image_without_places(tmp_path):
    dataset = make_slice(np.zeros((12, 4), np.int16), (0, 0, 0), Rows=3, NumberOfFrames=4)
    dataset.SOPClassUID = UltrasoundMultiFrameImageStorage
    assert _refusal(tmp_path, [dataset]).outcome == "no-geometry"
