"""Series of several volumes are split, sound ones and hopeless ones are not."""

from __future__ import annotations

import random

import numpy as np
import pytest

from secondread.assembly.volume import read_volume
from secondread.dicom.geometry import stack
from secondread.dicom.headers import read_slice
from secondread.dicom.kinds import is_code, name_values
from secondread.dicom.parts import find, split
from secondread.errors import GeometryError
from tests.slices import make_series, make_slice, store, store_all


def _headers(tmp_path, datasets):
    for number, dataset in enumerate(datasets):
        dataset.SOPInstanceUID = f"2.25.3000{number}"
    return [read_slice(store(dataset, tmp_path)) for dataset in datasets]


def _groups(tmp_path, datasets):
    """Name → how many planes, of parts that are all sound."""
    headers = _headers(tmp_path, datasets)
    groups = split(headers)
    for group in groups:
        stack(headers, group.planes)
    assert sum(len(group.planes) for group in groups) == len(headers)
    return {group.name: len(group.planes) for group in groups}


def _each(keyword, values, count=5):
    return [item for value in values for item in make_series(count, **{keyword: value})]


M, P = ["ORIGINAL", "PRIMARY", "M", "ND"], ["ORIGINAL", "PRIMARY", "P", "ND"]


@pytest.mark.parametrize(
    ("keyword", "values", "names"),
    [
        ("EchoNumbers", ["1", "2"], ["EchoNumbers 1", "EchoNumbers 2"]),
        ("EchoTime", ["2.46", "4.92"], ["EchoTime 2.46", "EchoTime 4.92"]),
        (
            "TemporalPositionIdentifier",
            ["10", "9"],
            ["TemporalPositionIdentifier 9", "TemporalPositionIdentifier 10"],
        ),
        ("AcquisitionNumber", ["3", "4"], ["AcquisitionNumber 3", "AcquisitionNumber 4"]),
        ("ImageType", [M, P], ["ImageType M", "ImageType P"]),
        ("DiffusionBValue", [0.0, 1000.0], ["DiffusionBValue 0", "DiffusionBValue 1000"]),
        ("TriggerTime", ["0", "33.5"], ["TriggerTime 0", "TriggerTime 33.5"]),
        ("InversionTime", ["400", "2500"], ["InversionTime 400", "InversionTime 2500"]),
        (
            "FrameReferenceTime",
            ["15000", "45000"],
            ["FrameReferenceTime 15000", "FrameReferenceTime 45000"],
        ),
        ("FlipAngle", ["4", "18"], ["FlipAngle 4", "FlipAngle 18"]),
        (
            "ConvolutionKernel",
            ["H60S", "H31S"],
            ["ConvolutionKernel H31S", "ConvolutionKernel H60S"],
        ),
        (
            "ComplexImageComponent",
            ["PHASE", "MAGNITUDE"],
            ["ComplexImageComponent MAGNITUDE", "ComplexImageComponent PHASE"],
        ),
        ("AcquisitionTime", ["101500", "101530"], ["pass 1", "pass 2"]),
    ],
)
def test_what_differs_at_equal_positions_splits_a_series(tmp_path, keyword, values, names):
    series = _each(keyword, values)
    random.Random(4).shuffle(series)
    found = _groups(tmp_path, series)
    assert found == dict.fromkeys(names, 5)
    assert list(found) == names


def test_a_value_that_only_some_images_have_splits_too(tmp_path):
    series = make_series(5) + make_series(5, EchoNumbers="2")
    assert _groups(tmp_path, series) == {"EchoNumbers 2": 5, "no EchoNumbers": 5}


def test_two_attributes_split_together(tmp_path):
    series = [
        item
        for echo in ("1", "2")
        for kind in (M, P)
        for item in make_series(4, EchoNumbers=echo, ImageType=kind)
    ]
    assert _groups(tmp_path, series) == {
        "ImageType M, EchoNumbers 1": 4,
        "ImageType M, EchoNumbers 2": 4,
        "ImageType P, EchoNumbers 1": 4,
        "ImageType P, EchoNumbers 2": 4,
    }


def test_directions_of_diffusion_are_named_with_their_b_value(tmp_path):
    series = make_series(4, DiffusionBValue=0.0)
    for direction in ([1.0, 0.0, 0.0], [0.0, 0.6, 0.8]):
        series += make_series(4, DiffusionBValue=800.0, DiffusionGradientOrientation=direction)
    assert list(_groups(tmp_path, series)) == [
        "DiffusionBValue 0, no DiffusionGradientOrientation",
        "DiffusionBValue 800, DiffusionGradientOrientation 0.000\\0.600\\0.800",
        "DiffusionBValue 800, DiffusionGradientOrientation 1.000\\0.000\\0.000",
    ]


def test_heart_phases_are_told_by_their_order_at_each_place(tmp_path):
    series = []
    for place in range(4):
        for phase, delay in enumerate((0, 33 + place, 67 + 2 * place)):
            series.append(
                make_slice(
                    np.zeros((4, 4), np.int16),
                    (0, 0, 3 * place),
                    3 * place + phase,
                    TriggerTime=str(delay),
                )
            )
    assert _groups(tmp_path, series) == {"phase 1": 4, "phase 2": 4, "phase 3": 4}


def _passes(overlap_s):
    series = []
    for repeat in range(2):
        for place in range(5):
            at = 30 * repeat + 2 * place - overlap_s * repeat
            series.append(
                make_slice(
                    np.zeros((4, 4), np.int16),
                    (0, 0, 3 * place),
                    5 * repeat + place,
                    AcquisitionTime=f"1015{at:02d}.5",
                )
            )
    return series


def test_repetitions_one_after_the_other_are_told_by_their_times(tmp_path):
    assert _groups(tmp_path, _passes(0)) == {"pass 1": 5, "pass 2": 5}


def test_times_of_repetitions_that_overlap_tell_nothing(tmp_path):
    headers = _headers(tmp_path, _passes(25))
    (group,) = split(headers)
    assert group.name == ""


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("AcquisitionNumber", [str(number) for number in range(1, 9)]),
        ("AcquisitionNumber", ["1", "1", "2", "2", "3", "3", "4", "4"]),
        ("EchoTime", ["4.6", "4.61", "4.59", "4.6", "4.62", "4.6", "4.58", "4.6"]),
        ("ImageType", [[*M, "NORM"], M] * 4),
        ("TemporalPositionIdentifier", list("11112222")),
        ("AcquisitionTime", [f"10150{number}" for number in range(8)]),
        ("StackID", list("11112222")),
    ],
)
def test_a_sound_series_is_never_split(tmp_path, keyword, values):
    series = make_series(8)
    for dataset, value in zip(series, values, strict=True):
        setattr(dataset, keyword, value)
    assert _groups(tmp_path, series) == {"": 8}


@pytest.mark.parametrize(
    "keyword", ["AcquisitionNumber", "EchoTime", "AcquisitionTime", "FlipAngle"]
)
def test_a_number_that_counts_slices_does_not_resolve_a_slice_sent_twice(tmp_path, keyword):
    series = [*make_series(6), make_series(6)[2]]
    for number, dataset in enumerate(series):
        setattr(dataset, keyword, f"{101500 + number}")
    headers = _headers(tmp_path, series)
    (group,) = split(headers)
    assert (group.name, len(group.planes)) == ("", 7)


@pytest.mark.parametrize(
    ("keyword", "values", "names"),
    [
        ("EchoNumbers", list("12121212"), ["EchoNumbers 1", "EchoNumbers 2"]),
        ("ImageType", [M, P] * 4, ["ImageType M", "ImageType P"]),
        ("EchoTime", ["9.2", "18.4", "9.21", "18.4"] * 2, ["EchoTime 9.2", "EchoTime 18.4"]),
        ("DiffusionBValue", [0.0, 500.0] * 4, ["DiffusionBValue 0", "DiffusionBValue 500"]),
    ],
)
def test_kinds_of_images_are_never_mixed_even_where_they_do_not_collide(
    tmp_path, keyword, values, names
):
    series = make_series(8)
    for dataset, value in zip(series, values, strict=True):
        setattr(dataset, keyword, value)
    assert _groups(tmp_path, series) == dict.fromkeys(names, 4)


def test_kinds_of_which_none_makes_a_volume_are_refused(tmp_path):
    series = make_series(6)
    for number, dataset in enumerate(series):
        dataset.EchoNumbers = number // 2
    headers = _headers(tmp_path, series)
    (group,) = split(headers)
    words = "of 3 kinds, .*: EchoNumbers 0, EchoNumbers 1, EchoNumbers 2[.]$"
    with pytest.raises(GeometryError, match=words) as caught:
        stack(headers, group.planes)
    assert caught.value.outcome == "mixed-kinds"


def test_halves_with_a_hole_between_them_stay_one(tmp_path):
    series = make_series(9)
    del series[4]
    for number, dataset in enumerate(series):
        dataset.AcquisitionNumber = 1 + number // 4
    headers = _headers(tmp_path, series)
    (group,) = split(headers)
    with pytest.raises(GeometryError) as caught:
        stack(headers, group.planes)
    assert caught.value.outcome == "missing-slices"


def test_a_hole_in_one_echo_is_that_echo_s(tmp_path):
    series = _each("EchoNumbers", ["1", "2"], 6)
    del series[8]
    headers = _headers(tmp_path, series)
    first, second = split(headers)
    assert len(stack(headers, first.planes).planes) == 6
    with pytest.raises(GeometryError, match="between image 2 at .* and image 4 at"):
        stack(headers, second.planes)


def test_a_copy_within_an_echo_stays_with_it(tmp_path):
    series = _each("EchoNumbers", ["1", "2"], 6)
    series.append(make_series(6, EchoNumbers="2")[3])
    found = {group.name: len(group.planes) for group in split(_headers(tmp_path, series))}
    assert found == {"EchoNumbers 1": 6, "EchoNumbers 2": 7}


def test_a_rescanned_slice_is_the_trouble_of_its_echo_alone(tmp_path):
    series = _each("EchoNumbers", ["1", "2"], 6)
    series.append(make_series(6, EchoNumbers="2")[3])
    for number, dataset in enumerate(series):
        dataset.AcquisitionTime = f"{101500 + number}"
    headers = _headers(tmp_path, series)
    first, second = split(headers)
    assert (first.name, len(first.planes)) == ("EchoNumbers 1", 6)
    assert (second.name, len(second.planes)) == ("EchoNumbers 2", 7)
    with pytest.raises(GeometryError) as caught:
        stack(headers, second.planes)
    assert caught.value.outcome == "duplicate-positions"


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("ImageType", [[*M, "ADD"], M]),
        ("TemporalPositionIdentifier", ["1", "2"]),
        ("AcquisitionNumber", ["1", "2"]),
        ("ConvolutionKernel", ["H31S", "H60S"]),
        ("AcquisitionTime", ["101500", "101530"]),
    ],
)
@pytest.mark.parametrize("interleaved", [True, False])
def test_one_slice_sent_twice_makes_no_chips_of_a_volume(tmp_path, keyword, values, interleaved):
    series = make_series(12)
    for number, dataset in enumerate(series):
        setattr(dataset, keyword, values[number % 2 if interleaved else number // 6])
    again = make_series(12)[4]
    setattr(again, keyword, values[1])
    headers = _headers(tmp_path, [*series, again])
    (group,) = split(headers)
    assert (group.name, len(group.planes)) == ("", 13)


def test_an_image_made_from_one_slice_is_a_part_beside_the_volume(tmp_path):
    series = make_series(8)
    series.append(make_series(8, ImageType=["DERIVED", "SECONDARY", "M", "ND"])[3])
    found = {group.name: len(group.planes) for group in split(_headers(tmp_path, series))}
    assert found == {"ImageType DERIVED\\SECONDARY\\ND": 1, "ImageType ORIGINAL\\PRIMARY": 8}


def test_images_that_nothing_tells_apart_stay_together(tmp_path):
    series = make_series(5) + make_series(5)
    found = {group.name: len(group.planes) for group in split(_headers(tmp_path, series))}
    assert found == {"": 10}


def test_a_localizer_in_the_same_series_is_told_by_its_image_type(tmp_path):
    series = make_series(8)
    scout = make_slice(
        np.zeros((16, 16), np.int16),
        (0, 0, 0),
        99,
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        ImageOrientationPatient=["0", "1", "0", "0", "0", "-1"],
    )
    found = {group.name: len(group.planes) for group in split(_headers(tmp_path, [*series, scout]))}
    assert found == {"ImageType LOCALIZER": 1, "ImageType M": 8}


def test_three_stacks_of_different_planes_are_three(tmp_path):
    series = make_series(4)
    for orientation, at in (
        (["0", "1", "0", "0", "0", "-1"], 0),
        (["1", "0", "0", "0", "0", "-1"], 1),
    ):
        for number, dataset in enumerate(make_series(4)):
            position = [0, 0, 0]
            position[at] = 3 * number
            dataset.ImagePositionPatient = [str(value) for value in position]
            dataset.ImageOrientationPatient = orientation
            series.append(dataset)
    assert _groups(tmp_path, series) == {"axial": 4, "coronal": 4, "sagittal": 4}


def test_two_sizes_are_two_volumes(tmp_path):
    series = make_series(4)
    series += [make_slice(np.zeros((8, 8), np.int16), (0, 0, 3 * n), n) for n in range(1, 5)]
    assert _groups(tmp_path, series) == {"8 x 8": 4, "16 x 16": 4}


def test_one_slice_that_differs_is_no_volume_of_its_own(tmp_path):
    series = make_series(8)
    series[3].ImageOrientationPatient = ["0", "1", "0", "0", "0", "-1"]
    (group,) = split(_headers(tmp_path, series))
    assert group.name == ""


def test_images_without_places_and_mosaics_are_left_to_geometry(tmp_path):
    series = make_series(5) + make_series(5, EchoNumbers="2")
    del series[3].ImagePositionPatient
    assert [group.name for group in split(_headers(tmp_path, series))] == [""]
    series = _each("EchoNumbers", ["1", "2"])
    series[0].ImageType = ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]
    assert [group.name for group in split(_headers(tmp_path, series))] == [""]
    assert [group.name for group in split([])] == [""]


def test_the_order_of_the_headers_is_nothing(tmp_path):
    series = [
        item
        for echo in ("1", "2", "3")
        for kind in (M, P)
        for item in make_series(3, EchoNumbers=echo, ImageType=kind)
    ]
    headers = _headers(tmp_path, series)
    expected = _uids(headers)
    for seed in range(5):
        random.Random(seed).shuffle(headers)
        assert _uids(headers) == expected


def _uids(headers):
    return [
        (group.name, {headers[item.header].sop_instance_uid for item in group.planes})
        for group in split(headers)
    ]


def test_a_part_that_nobody_named_or_knows_is_refused(tmp_path):
    instances = store_all(
        [
            make_slice(
                np.zeros((4, 4), np.int16),
                (0, 0, 3 * n),
                n,
                EchoNumbers=echo,
                SOPInstanceUID=f"2.25.4{echo}{n}",
            )
            for echo in "12"
            for n in range(4)
        ],
        tmp_path,
    )
    with pytest.raises(GeometryError) as caught:
        read_volume(instances, tmp_path)
    assert caught.value.outcome == "several-volumes"
    with pytest.raises(GeometryError) as caught:
        read_volume(instances, tmp_path, "EchoNumbers 3")
    assert caught.value.outcome == "no-such-part"
    assert read_volume(instances, tmp_path, "EchoNumbers 2").voxels.shape == (4, 4, 4)
    # The objects of the part alone are the part.
    assert read_volume(instances[4:], tmp_path, "EchoNumbers 2").voxels.shape == (4, 4, 4)


def test_a_part_is_found_among_fewer_objects_that_need_fewer_words(tmp_path):
    kinds = [(M, "1"), (P, "1"), (M, "2"), (P, "2")]
    series = [
        item for kind, echo in kinds for item in make_series(4, ImageType=kind, EchoNumbers=echo)
    ]
    headers = _headers(tmp_path, series)
    wanted = next(g for g in split(headers) if g.name == "ImageType P, EchoNumbers 2")
    fewer = headers[8:]
    found = find(split(fewer), wanted.name)
    assert {fewer[item.header].sop_instance_uid for item in found.planes} == {
        headers[item.header].sop_instance_uid for item in wanted.planes
    }
    assert find(split(headers), "ImageType P") is None
    assert find(split(headers), "ImageType P, EchoNumbers 3") is None


def test_a_text_where_a_code_belongs_is_numbered_and_not_quoted() -> None:
    texts = ("ORIGINAL\\PRIMARY\\M\\DOE^JOHN", "ORIGINAL\\PRIMARY\\M\\SOMEBODY ELSE")
    assert name_values([*texts, "M", None]) == {
        "M": "M",
        texts[0]: "of kind 1",
        texts[1]: "of kind 2",
    }
    assert is_code("DERIVED\\SECONDARY\\ADC")
