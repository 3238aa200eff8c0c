"""From headers to the summary of a series; the files are real, their content is made up."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    ParametricMapStorage,
    RTDoseStorage,
    SegmentationStorage,
)

from secondread.assembly.conditions import attributes_of
from secondread.assembly.series import read_study
from secondread.assembly.summary import VALUES_MAX, plane_of, summarize
from secondread.assembly.volume import read_volume, same_pixels
from secondread.domain.series import digest
from tests.slices import decimal_strings, instance_of, make_series, make_slice, store_all


def _numbered(datasets):
    for number, dataset in enumerate(datasets):
        dataset.SOPInstanceUID = f"2.25.4000{number}"
    return list(datasets)


def _summary(folder, datasets, *, compared=False):
    instances = store_all(_numbered(datasets), folder)
    return _of(instances, folder, compared=compared)


def _of(instances, folder, *, compared=False):
    (series,) = read_study(instances, folder)
    alike = same_pixels(series.instances, series.headers, folder) if compared else None
    return summarize(series, alike)


def test_one_sound_volume_is_one_part(tmp_path):
    datasets = _numbered(make_series(12, 2.5, PixelSpacing=["0.5", "0.75"], SeriesNumber=4))
    instances = store_all(datasets, tmp_path)
    summary = _of(instances, tmp_path)
    assert (summary.number, summary.objects, summary.unreadable) == (4, 12, 0)
    assert summary.holds_images
    (part,) = summary.parts
    assert (part.name, part.outcome, part.reason, part.pixels) == ("", "sound", "", "")
    assert (part.slices, part.rows, part.columns) == (12, 16, 16)
    assert part.spacing_mm == pytest.approx((2.5, 0.5, 0.75))
    assert (part.plane, part.tilt_degrees, part.attributes) == ("axial", 0.0, {})
    expected = digest((item.sop_instance_uid, item.sha256) for item in instances)
    assert part.digest == summary.digest == expected
    shuffled = _of(instances[::-1], tmp_path)
    assert shuffled == summary


def test_values_are_merged_in_the_order_in_which_they_appear(tmp_path):
    datasets = make_series(4, EchoTime="3")
    datasets[1].ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    datasets[2].PatientAge = "034Y"
    datasets[3].SeriesDescription = "t1"
    found = _summary(tmp_path, datasets).attributes
    assert found["ImageType"] == ("ORIGINAL", "PRIMARY", "M", "OTHER")
    assert (found["PatientAge"], found["SeriesDescription"]) == ((34.0,), ("t1",))
    assert found["EchoTime"] == (3.0,)
    assert "FlipAngle" not in found


def test_a_value_that_is_different_in_every_image_does_not_grow_for_ever(tmp_path):
    datasets = make_series(VALUES_MAX + 8)
    for number, dataset in enumerate(datasets):
        dataset.TriggerTime = str(number)
    found = _summary(tmp_path, datasets).attributes
    assert found["TriggerTime"] == tuple(float(number) for number in range(VALUES_MAX))


@pytest.mark.parametrize(
    ("normal", "name"),
    [
        ((0, 0, 1), "axial"),
        ((0, 0, -3), "axial"),
        ((1, 0, 0), "sagittal"),
        ((0, -1, 0), "coronal"),
        ((0, np.sin(np.radians(19.9)), np.cos(np.radians(19.9))), "axial"),
        ((0, np.sin(np.radians(20.1)), np.cos(np.radians(20.1))), "oblique"),
        ((1, 1, 1), "oblique"),
    ],
)
def test_a_plane_is_called_after_the_axis_within_20_degrees(normal, name):
    assert plane_of(np.array(normal, float)) == name


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal", "oblique"])
def test_the_plane_of_real_files(head_series, plane):
    acquisition = head_series(plane=plane)
    tilted = {"oblique": "axial"}.get(plane, plane)
    (series,) = read_study(_instances(acquisition.paths), acquisition.folder)
    (part,) = summarize(series).parts
    assert (part.outcome, part.plane) == ("sound", tilted)


def _instances(paths):
    return [instance_of(path, dcmread(path, stop_before_pixels=True)) for path in paths]


def test_what_is_no_volume_says_why(tmp_path):
    datasets = make_series(12)
    del datasets[5]
    (part,) = _summary(tmp_path, datasets).parts
    assert part.outcome == "missing-slices"
    assert part.reason.startswith("One slice is missing: between image 5")
    assert (part.slices, part.spacing_mm, part.plane) == (11, None, "")


def test_pixels_that_cannot_be_decoded_are_told_before_anybody_tries(tmp_path):
    (part,) = _summary(tmp_path, make_series(6, PhotometricInterpretation="PALETTE COLOR")).parts
    assert part.pixels.startswith("Its pixels are not grey values but PALETTE COLOR")


def test_a_stack_that_leans_has_its_angle_and_the_distance_along_the_normal(tmp_path):
    datasets = [
        make_slice(np.zeros((16, 16), np.int16), (0, 1.5 * number, 4.0 * number), number)
        for number in range(1, 9)
    ]
    (part,) = _summary(tmp_path, datasets).parts
    assert part.outcome == "sound"
    assert part.tilt_degrees == pytest.approx(np.degrees(np.arctan2(1.5, 4.0)))
    assert part.spacing_mm == pytest.approx((4.0, 1.0, 1.0))


def test_echoes_are_parts_with_their_own_values(tmp_path):
    first = make_series(6, EchoNumbers="1", EchoTime="10", InversionTime="5")
    second = make_series(6, EchoNumbers="2", EchoTime="20")
    summary = _summary(tmp_path, [*first, *second])
    one, two = summary.parts
    assert (one.name, two.name) == ("EchoNumbers 1", "EchoNumbers 2")
    assert summary.attributes["EchoTime"] == (10.0, 20.0)
    assert one.attributes == {"EchoTime": (10.0,), "EchoNumbers": (1.0,)}
    assert two.attributes["InversionTime"] == ()
    assert len({one.digest, two.digest, summary.digest}) == 3
    assert attributes_of(summary, two)["EchoTime"] == (20.0,)
    assert not attributes_of(summary, two)["InversionTime"]
    assert "Modality" not in one.attributes


def test_a_part_keeps_its_digest_when_its_neighbour_comes(tmp_path):
    datasets = _numbered(
        [*make_series(6, EchoNumbers="1"), *make_series(6, EchoNumbers="2", EchoTime="9")]
    )
    instances = store_all(datasets, tmp_path)
    (alone,) = _of(instances[:6], tmp_path).parts
    first, second = _of(instances, tmp_path).parts
    assert alone.name != first.name
    assert alone.digest == first.digest != second.digest


def _enhanced(frames):
    """An enhanced MR: (position, echo time) of each frame."""
    dataset = make_slice(np.zeros((4, 4), np.int16), (0, 0, 0))
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(dataset, name)
    dataset.SOPClassUID = EnhancedMRImageStorage
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "T1", "NONE"]
    dataset.NumberOfFrames = len(frames)
    dataset.PixelData = np.zeros((len(frames), 4, 4), np.int16).tobytes()
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = ["1", "1"]
    orientation.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [orientation]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [_frame(*said) for said in frames]
    return dataset


def _frame(position_mm, echo_ms):
    groups, place, echo = Dataset(), Dataset(), Dataset()
    place.ImagePositionPatient = decimal_strings((0, 0, position_mm))
    echo.EffectiveEchoTime = float(echo_ms)
    groups.PlanePositionSequence, groups.MREchoSequence = [place], [echo]
    return groups


def test_frames_of_one_object_are_parts_with_their_own_values(tmp_path):
    frames = [(2.0 * place, echo) for echo in (10, 60) for place in range(5)]
    summary = _summary(tmp_path, [_enhanced(frames)])
    assert (summary.objects, [part.slices for part in summary.parts]) == (1, [5, 5])
    assert [part.name for part in summary.parts] == ["EchoTime 10", "EchoTime 60"]
    assert [part.attributes for part in summary.parts] == [
        {"EchoTime": (10.0,)},
        {"EchoTime": (60.0,)},
    ]
    # Both are of one object, and yet they are not the same input.
    assert summary.parts[0].digest != summary.parts[1].digest


def test_what_came_twice_under_two_uids_changes_nothing(tmp_path):
    once = make_series(6)
    again = make_series(6)[2]
    instances = store_all(_numbered([*once, again]), tmp_path)
    (alone,) = _of(instances[:6], tmp_path).parts
    (part,) = _of(instances, tmp_path, compared=True).parts
    assert (part.outcome, part.slices) == ("sound", 6)
    assert part.digest == alone.digest
    assert read_volume(instances, tmp_path).voxels.shape == (6, 16, 16)
    (unsure,) = _of(instances, tmp_path).parts
    assert unsure.outcome == "duplicate-positions"


def test_pixels_that_cannot_be_compared_are_a_reason_and_no_crash(tmp_path):
    instances = store_all(_numbered([*make_series(6), make_series(6)[2]]), tmp_path)
    (series,) = read_study(instances, tmp_path)
    alike = same_pixels(series.instances, series.headers, tmp_path)
    path = tmp_path / instances[6].path
    path.write_bytes(path.read_bytes()[:-200])
    (part,) = summarize(series, alike).parts
    assert part.outcome == "duplicate-positions"
    assert "their pixels cannot be compared: " in part.reason


@pytest.mark.parametrize(
    ("modality", "sop_class"),
    [
        ("SEG", SegmentationStorage),
        ("CT", SegmentationStorage),
        ("OT", ParametricMapStorage),
        ("RTDOSE", RTDoseStorage),
        ("SR", CTImageStorage),
    ],
)
def test_what_was_made_from_images_is_no_source(tmp_path, modality, sop_class):
    summary = _summary(tmp_path, make_series(6, Modality=modality, SOPClassUID=sop_class))
    assert (summary.holds_images, summary.parts) == (False, ())
    assert summary.attributes["Modality"] == (modality,)


def test_objects_that_cannot_be_read_are_counted_and_part_of_the_digest(tmp_path):
    instances = store_all(_numbered(make_series(6)), tmp_path)
    whole = _of(instances, tmp_path)
    (tmp_path / instances[2].path).write_bytes(b"damaged")
    summary = _of(instances, tmp_path)
    assert (summary.objects, summary.unreadable) == (6, 1)
    assert summary.digest == whole.digest
    assert summary.parts[0].outcome == "missing-slices"
    for instance in instances:
        (tmp_path / instance.path).unlink(missing_ok=True)
    gone = _of(instances, tmp_path)
    assert (gone.unreadable, gone.holds_images, gone.parts) == (6, False, ())
    assert (gone.number, gone.attributes) == (None, {})
