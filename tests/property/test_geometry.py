"""Whatever a scanner sends: the exact volume, or the right refusal by name, and nothing else.

The scenes and what they ask for are in ``tests/scenes.py``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from secondread.assembly.recorded import recorded_slice
from secondread.assembly.volume import read_volume
from secondread.dicom.geometry import stack
from secondread.dicom.headers import read_slice
from secondread.dicom.parts import split
from secondread.dicom.rectify import rectify, restore
from secondread.domain.volume import Volume
from secondread.errors import GeometryError
from tests.recorded import record
from tests.scenes import (
    EXACT_MM,
    KINDS,
    MACROS,
    Acquisition,
    Scene,
    acquisitions,
    between,
    classic,
    enhanced,
    every_slice_once,
    expected_outcome,
    first_hole,
    has_collision,
    is_split,
    scenes,
    tilt,
)
from tests.slices import decimal_strings, store_all

SETTINGS = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.filter_too_much]
)
MANY = settings(SETTINGS, max_examples=80)


def _assert_exact(scene: Scene, echo: int, volume: Volume) -> None:
    """Each slice holds its source's values and lies where its source's own plane lies."""
    acquisition = scene.acquisition
    firsts = {shot.index: shot for shot in scene.shots if shot.echo == echo and not shot.copy}
    assert len(volume.sources) == len(volume.voxels) == len(firsts)
    rows, columns = acquisition.voxels.shape[1:]
    for at, index in enumerate(sorted(firsts)):
        np.testing.assert_array_equal(volume.voxels[at], scene.values(firsts[index]))
        for i, j in ((0, 0), (rows - 1, 0), (0, columns - 1), (rows - 1, columns - 1), (1, 2)):
            expected = (
                acquisition.positions[index]
                + acquisition.column * i * acquisition.spacing_mm[1]
                + acquisition.row * j * acquisition.spacing_mm[2]
            )
            found = (volume.affine_lps @ (at, i, j, 1))[:3]
            assert np.linalg.norm(found - expected) <= acquisition.tolerance_mm


def _check(scene: Scene, read, headers) -> None:
    """Every echo is a part of the right name, and gives what its shots ask for."""
    echoes = range(len(scene.echoes))
    groups = split(headers)
    if not is_split(scene):
        assert [group.name for group in groups] == [""]
        with pytest.raises(GeometryError) as caught:
            read("")
        assert caught.value.outcome == "duplicate-positions"
        return
    assert [group.name for group in groups] == [scene.name(echo) for echo in echoes]
    for echo, group in zip(echoes, groups, strict=True):
        expected = expected_outcome(scene, echo)
        shots = [shot for shot in scene.shots if shot.echo == echo]
        assert len(group.planes) == len(shots)
        if expected == "sound":
            volume = read(group.name)
            _assert_exact(scene, echo, volume)
            found = stack(headers, group.planes, lambda one, other: True)
            assert len(found.dropped) == sum(bool(shot.copy) for shot in shots)
            limit = 0.02 if scene.acquisition.tolerance_mm == EXACT_MM else 6
            assert abs(found.tilt_degrees - scene.acquisition.tilt_degrees) < limit
            continue
        with pytest.raises(GeometryError) as caught:
            read(group.name)
        assert caught.value.outcome == expected
        assert str(caught.value).endswith(".")


@MANY
@given(scenes())
def test_a_scene_gives_the_exact_volumes_or_the_right_refusals(scene):
    assume(len(scene.echoes) == 1 or scene.keyword in KINDS or has_collision(scene))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        instances = store_all(classic(scene), folder)
        headers = [read_slice(folder / instance.path) for instance in instances]
        _check(scene, lambda part: read_volume(instances, folder, part), headers)
        for echo in range(len(scene.echoes)):
            if is_split(scene) and expected_outcome(scene, echo) == "missing-slices":
                with pytest.raises(GeometryError) as caught:
                    read_volume(instances, folder, scene.name(echo))
                before, after = first_hole(scene, echo)
                first = 100 * (echo + 1) + 1
                assert f"between image {first + before} at" in str(caught.value)
                assert f"and image {first + after} at" in str(caught.value)


@MANY
@given(scenes(keywords=tuple(MACROS)))
def test_a_scene_in_one_enhanced_image_does_so_too(scene):
    assume(len(scene.echoes) == 1 or scene.keyword in KINDS or has_collision(scene))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        instances = store_all([enhanced(scene)], folder)
        headers = [read_slice(folder / instance.path) for instance in instances]
        _check(scene, lambda part: read_volume(instances, folder, part), headers)


@SETTINGS
@given(scenes(), st.randoms(use_true_random=False))
def test_the_record_of_intake_and_any_order_give_the_same_bytes(scene, random):
    assume(len(scene.echoes) == 1 or scene.keyword in KINDS or has_collision(scene))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        datasets = classic(scene)
        slow = store_all(datasets, folder)
        fast = [record(folder / instance.path, folder) for instance in slow]
        assert all(recorded_slice(instance) is not None for instance in fast)
        for echo in range(len(scene.echoes)):
            if not is_split(scene) or expected_outcome(scene, echo) != "sound":
                continue
            random.shuffle(fast)
            one = read_volume(slow, folder, scene.name(echo))
            other = read_volume(fast, folder, scene.name(echo))
            assert one.voxels.tobytes() == other.voxels.tobytes()
            assert one.affine_lps.tobytes() == other.affine_lps.tobytes()
            assert one.sources == other.sources
            # The objects of one part alone, as a job names them, are that part.
            uids = {source.sop_instance_uid for source in one.sources}
            alone = [instance for instance in fast if instance.sop_instance_uid in uids]
            again = read_volume(alone, folder, scene.name(echo))
            assert again.voxels.tobytes() == one.voxels.tobytes()


@SETTINGS
@given(scenes())
def test_a_leaning_volume_is_put_straight_and_its_labels_come_back(scene):
    assume(len(scene.echoes) == 1 and expected_outcome(scene, 0) == "sound")
    with tempfile.TemporaryDirectory() as name:
        volume = read_volume(store_all(classic(scene), Path(name)), Path(name))
    rectified = rectify(volume)
    labels = np.random.default_rng(0).integers(0, 9, volume.voxels.shape).astype(np.uint8)
    if not scene.acquisition.tilt_degrees:
        assert rectified.volume is volume
        assert restore(labels, rectified) is labels
        return
    straight = rectified.volume
    axes = straight.affine_lps[:3, :3] / np.linalg.norm(straight.affine_lps[:3, :3], axis=0)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
    into = np.linalg.inv(straight.affine_lps) @ volume.affine_lps
    drawn = np.full(straight.voxels.shape, 99, np.uint8)
    for place, label in np.ndenumerate(labels):
        at = (into @ (*place, 1))[:3]
        nearest = np.floor(at + 0.5 + 1e-9).astype(int)
        assert np.all(np.abs(nearest - at) <= 0.5 + 1e-6)
        drawn[tuple(nearest)] = label
    np.testing.assert_array_equal(restore(drawn, rectified), labels)
    back = np.linalg.inv(into)
    for at, pixels in enumerate(volume.voxels):
        grid = np.moveaxis(np.indices(straight.voxels.shape[1:]), 0, -1).reshape(-1, 2)
        places = np.column_stack([np.full(len(grid), at), grid, np.ones(len(grid))]) @ back.T
        i, j = places[:, 1], places[:, 2]
        inside = (i >= 0) & (j >= 0) & (i <= pixels.shape[0] - 1) & (j <= pixels.shape[1] - 1)
        expected = map_coordinates(pixels.astype(float), [i[inside], j[inside]], order=1)
        found = straight.voxels[at].reshape(-1)[inside]
        assert np.all(np.abs(found - expected) <= 0.5 + 1e-3)


def _refusal(acquisition: Acquisition) -> GeometryError:
    with tempfile.TemporaryDirectory() as name, pytest.raises(GeometryError) as caught:
        read_volume(store_all(classic(every_slice_once(acquisition)), Path(name)), Path(name))
    return caught.value


@SETTINGS
@given(acquisitions(least=5), st.data(), between(0.15, 0.4))
def test_a_slice_out_of_step_is_uneven(acquisition, data, share):
    moved = data.draw(st.integers(1, len(acquisition.voxels) - 2))
    acquisition.positions[moved] += share * acquisition.spacing_mm[0] * acquisition.normal
    assert _refusal(acquisition).outcome == "uneven-spacing"


@SETTINGS
@given(acquisitions(least=4), st.data(), between(0.5, 20), st.sampled_from([0.0, 12.0]))
def test_a_slice_beside_the_stack_is_refused_wherever_it_is(acquisition, data, shift_mm, degrees):
    tilt(acquisition, degrees, 0.4)
    moved = data.draw(st.integers(0, len(acquisition.voxels) - 1))
    acquisition.positions[moved] += shift_mm * acquisition.column
    error = _refusal(acquisition)
    assert error.outcome == "displaced-slices"
    if len(acquisition.voxels) > 4:
        assert f": image {101 + moved} at" in str(error)


def _turn(acquisition: Acquisition, turned: set[int], degrees: float) -> None:
    angle = np.radians(degrees)
    x, y, z = acquisition.row
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    acquisition.rotations = [
        turn if index in turned else np.eye(3) for index in range(len(acquisition.voxels))
    ]


@SETTINGS
@given(acquisitions(pixel_mm_min=1.0), st.data(), between(20, 160))
def test_a_turned_slice_is_refused(acquisition, data, degrees):
    _turn(acquisition, {data.draw(st.integers(0, len(acquisition.voxels) - 1))}, degrees)
    assert _refusal(acquisition).outcome == "mixed-orientations"


@SETTINGS
@given(acquisitions(), st.data())
def test_a_slice_of_another_size_spacing_or_space_is_refused(acquisition, data):
    datasets = classic(every_slice_once(acquisition))
    odd = data.draw(st.sampled_from(datasets))
    outcome = data.draw(
        st.sampled_from(["mixed-sizes", "mixed-spacings", "mixed-frames-of-reference"])
    )
    match outcome:
        case "mixed-sizes":
            odd.Rows, odd.PixelData = odd.Rows - 1, odd.PixelData[: -2 * odd.Columns]
            odd.PixelData += b"\0" * (len(odd.PixelData) % 2)
        case "mixed-spacings":
            odd.PixelSpacing = decimal_strings([float(value) * 1.7 for value in odd.PixelSpacing])
        case _:
            odd.FrameOfReferenceUID = "2.25.999"
    with tempfile.TemporaryDirectory() as name, pytest.raises(GeometryError) as caught:
        read_volume(store_all(datasets, Path(name)), Path(name))
    assert caught.value.outcome == outcome


@SETTINGS
@given(acquisitions(), st.data())
def test_a_slice_that_does_not_say_where_it_lies_is_refused(acquisition, data):
    datasets = classic(every_slice_once(acquisition))
    keyword = data.draw(
        st.sampled_from(["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
    )
    delattr(data.draw(st.sampled_from(datasets)), keyword)
    with tempfile.TemporaryDirectory() as name, pytest.raises(GeometryError) as caught:
        read_volume(store_all(datasets, Path(name)), Path(name))
    assert caught.value.outcome == "no-geometry"


@SETTINGS
@given(acquisitions(), st.sampled_from([2, 3, 4, 6]), st.integers(0, 2**32 - 1))
def test_few_digits_after_the_point_are_tolerated_while_they_say_enough(acquisition, digits, seed):
    scene = every_slice_once(acquisition)
    datasets = classic(scene)
    for dataset in datasets:
        dataset.ImagePositionPatient = [
            f"{float(value):.{digits}f}"[:16] for value in dataset.ImagePositionPatient
        ]
    np.random.default_rng(seed).shuffle(datasets)
    acquisition.tolerance_mm = max(3 * 0.5 * 10.0**-digits, 1e-5)
    with tempfile.TemporaryDirectory() as name:
        volume = read_volume(store_all(datasets, Path(name)), Path(name))
    _assert_exact(scene, 0, volume)


def test_the_scenes_of_these_tests_have_every_outcome():
    """So that no property holds for want of cases."""
    seen: set[str] = set()

    @settings(MANY, max_examples=400, database=None, derandomize=True)
    @given(scenes())
    def look(scene):
        seen.update(expected_outcome(scene, echo) for echo in range(len(scene.echoes)))

    look()
    assert seen == {"sound", "missing-slices", "uneven-spacing", "duplicate-positions"}
