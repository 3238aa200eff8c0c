"""A leaning stack on an orthogonal grid and back."""

from __future__ import annotations

import numpy as np
import pytest

from secondread.dicom.rectify import (
    is_tilted,
    rectify,
    restore,
    restore_answer,
    straight_grid,
)
from secondread.domain.answer import AnsweredNumber, AnsweredPlace, ModelAnswer
from secondread.domain.volume import SourceSlice, Volume

SPACING = (4.0, 0.75, 0.5)


def _volume(voxels, drift=(0.0, 0.0), axes=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))):
    """Slices whose first voxel drifts by (rows, columns) from one to the next."""
    axes = np.asarray(axes)
    row, column, normal = axes[0], axes[1], np.cross(axes[0], axes[1])
    affine = np.eye(4)
    affine[:3, 0] = normal * SPACING[0]
    affine[:3, 0] += column * drift[0] * SPACING[1] + row * drift[1] * SPACING[2]
    affine[:3, 1], affine[:3, 2] = column * SPACING[1], row * SPACING[2]
    affine[:3, 3] = (-100, 50, 7)
    sources = tuple(SourceSlice(f"2.25.{number}", "1.2", 1) for number in range(len(voxels)))
    return Volume(voxels, affine, sources)


def _random(shape=(9, 12, 11), low=-1000, high=2000):
    return np.random.default_rng(1).integers(low, high, shape).astype(np.int16)


def test_a_straight_volume_stays_as_it_is():
    volume = _volume(_random())
    rectified = rectify(volume)
    assert not is_tilted(volume)
    assert rectified.volume is volume
    assert straight_grid(volume) is None
    labels = np.zeros(volume.voxels.shape, np.uint8)
    assert restore(labels, rectified) is labels
    assert restore(labels, None) is labels


def test_shifts_of_whole_voxels_only_move_them():
    voxels = _random()
    volume = _volume(voxels, (2.0, -1.0))
    rectified = rectify(volume)
    assert is_tilted(volume)
    assert rectified.volume.voxels.shape == (9, 12 + 16, 11 + 8)
    assert rectified.volume.voxels.dtype == np.int16
    for index in range(9):
        row, column = 2 * index, 8 - index
        part = rectified.volume.voxels[index, row : row + 12, column : column + 11]
        np.testing.assert_array_equal(part, voxels[index])
    assert (rectified.volume.voxels == rectified.fill).sum() >= 9 * (28 * 19 - 12 * 11)
    assert rectified.fill == voxels.min()


@pytest.mark.parametrize("drift", [(2.0, -1.0), (0.37, 0.0), (-0.81, 1.26), (0.5, 0.5), (-3.3, 0)])
def test_the_grid_is_orthogonal_and_its_voxels_lie_where_the_source_s_do(drift):
    axes = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    volume = _volume(_random(), drift, axes)
    grid = straight_grid(volume)
    directions = grid.affine_lps[:3, :3] / np.linalg.norm(grid.affine_lps[:3, :3], axis=0)
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(np.linalg.norm(grid.affine_lps[:3, :3], axis=0), SPACING)
    for index in range(9):
        for corner in ((0, 0), (11, 0), (0, 10), (11, 10)):
            found = grid.affine_lps @ (
                index,
                *(np.array(corner) + grid.starts[index] + grid.rests[index]),
                1,
            )
            expected = volume.affine_lps @ (index, *corner, 1)
            np.testing.assert_allclose(found, expected, atol=1e-9)
            nearest = grid.starts[index] + corner
            assert (nearest >= 0).all()
            assert (nearest < grid.shape[1:]).all()
    assert (np.abs(grid.rests) <= 0.5).all()


@pytest.mark.parametrize("drift", [(2.0, -1.0), (0.37, 0.0), (-0.81, 1.26), (0.5, 0.5), (-3.3, 0)])
def test_a_label_comes_back_to_the_voxel_it_was_drawn_on(drift):
    volume = _volume(_random(), drift)
    rectified = rectify(volume)
    inverse = np.linalg.inv(rectified.volume.affine_lps) @ volume.affine_lps
    labels = np.random.default_rng(5).integers(0, 40, volume.voxels.shape).astype(np.uint8)
    drawn = np.full(rectified.volume.voxels.shape, 99, np.uint8)
    for place, label in np.ndenumerate(labels):
        # Half a voxel goes one way everywhere; the tiny amount keeps rounding from choosing.
        at = np.floor((inverse @ (*place, 1))[:3] + 0.5 + 1e-9).astype(int)
        drawn[tuple(at)] = label
    restored = restore(drawn, rectified)
    assert restored.dtype == np.uint8
    np.testing.assert_array_equal(restored, labels)
    np.testing.assert_array_equal(restore(drawn, straight_grid(volume)), labels)


def test_values_between_voxels_are_interpolated_linearly():
    rows = np.arange(12, dtype=np.float32)[:, None]
    columns = np.arange(11, dtype=np.float32)
    ramp = np.broadcast_to(100 * rows + 10 * columns, (9, 12, 11)).astype(np.float32)
    volume = _volume(ramp, (0.3, -0.7))
    rectified = rectify(volume)
    back = np.linalg.inv(volume.affine_lps) @ rectified.volume.affine_lps
    for index in range(9):
        row, column = rectified.grid.starts[index]
        # Its edge goes on as it is, so only what lies inside the source slice is compared.
        for at in np.ndindex(10, 9):
            place = (index, row + 1 + at[0], column + 1 + at[1])
            _, i, j = (back @ (*place, 1))[:3]
            assert rectified.volume.voxels[place] == pytest.approx(100 * i + 10 * j, abs=1e-3)
    assert rectified.volume.voxels.dtype == np.float32


def test_rectifying_twice_gives_the_same_bytes():
    volume = _volume(_random(), (0.37, -0.2))
    first, second = rectify(volume).volume, rectify(volume).volume
    assert first.voxels.tobytes() == second.voxels.tobytes()
    assert first.affine_lps.tobytes() == second.affine_lps.tobytes()
    assert first.sources == volume.sources
    assert not is_tilted(first)


def test_several_arrays_come_back_at_once():
    volume = _volume(_random(), (0.37, -1.26))
    grid = straight_grid(volume)
    stack = np.random.default_rng(4).random((3, *grid.shape)).astype(np.float32)
    found = restore(stack, grid)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.stack([restore(one, grid) for one in stack]))


@pytest.mark.parametrize("drift", [(2.0, -1.0), (0.37, 0.0), (-0.81, 1.26), (-3.3, 0)])
def test_places_stay_where_they_are_in_the_patient(drift):
    volume = _volume(_random(), drift)
    grid = straight_grid(volume)
    points = ((0.0, 0.0, 0.0), (8.0, 3.25, 4.5), (4.5, 7.0, 1.0))
    answer = ModelAnswer(
        (AnsweredNumber("count", 3.0),), (), (AnsweredPlace("border", points, 0.5),)
    )
    (place,) = restore_answer(answer, rectify(volume)).places
    assert (place.id, place.probability) == ("border", 0.5)
    for before, after in zip(points, place.points, strict=True):
        assert after[0] == before[0]
        np.testing.assert_allclose(
            volume.affine_lps @ (*after, 1), grid.affine_lps @ (*before, 1), atol=1e-9
        )


def test_an_answer_on_a_straight_volume_stays_as_it_is():
    answer = ModelAnswer((), (), (AnsweredPlace("peak", ((1.0, 2.0, 3.0),)),))
    assert restore_answer(answer, None) is answer
    assert restore_answer(answer, rectify(_volume(_random()))) is answer


def test_labels_of_another_grid_are_refused():
    rectified = rectify(_volume(_random(), (0.37, -0.2)))
    with pytest.raises(ValueError, match="are not on a grid of"):
        restore(np.zeros((9, 12, 11), np.uint8), rectified)


def test_values_at_the_ends_of_int16_stay_there():
    voxels = np.full((5, 6, 6), 32767, np.int16)
    voxels[:, ::2] = -32768
    found = rectify(_volume(voxels, (0.5, 0.25))).volume.voxels
    assert (found.min(), found.max()) == (-32768, 32767)
