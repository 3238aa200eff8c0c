"""The canonical grid: any orientation in, the same patient out, and back again."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from secondread.inference.worker.canonical import (
    CanonicalGrid,
    bright_end,
    locate,
    normalise,
    resample,
    resample_back,
)

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
GRID = CanonicalGrid((26, 30, 26), 8.0, (0.0, 0.0, 0.0))
ORIENTATIONS = list(product(permutations(range(3)), product((1, -1), repeat=3)))


def place(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> np.ndarray:
    """Give the RAS affine of a grid centred on the origin."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -np.array(spacing) * (np.array(shape) - 1) / 2
    return affine


def paint_head(affine: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Paint an ellipsoid with a bright block on the patient's left, in front and up."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"))
    at = np.einsum("ij,j...->i...", affine[:3, :3], index) + affine[:3, 3].reshape(3, 1, 1, 1)
    head = sum((at[k] / r) ** 2 for k, r in enumerate((75.0, 90.0, 80.0))) < 1
    mark = (abs(at[0] + 30) < 15) & (abs(at[1] - 30) < 15) & (abs(at[2] - 20) < 15)
    return (100.0 * head + 150.0 * mark).astype(np.float32)


def turn(
    voxels: np.ndarray, affine: np.ndarray, order: tuple[int, ...], signs: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Store the same patient with other array axes."""
    stored = np.eye(4)[:, [*order, 3]]
    out = voxels.transpose(order)
    for axis, sign in enumerate(signs):
        if sign < 0:
            flip = np.eye(4)
            flip[axis, axis], flip[axis, 3] = -1, out.shape[axis] - 1
            out, stored = np.flip(out, axis), stored @ flip
    return out, affine @ stored


@pytest.fixture(scope="module")
def head() -> tuple[np.ndarray, np.ndarray]:
    shape = (32, 36, 30)
    affine = place(shape, (6.0, 6.4, 7.0))
    return paint_head(affine, shape), affine


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_orientation_changes_nothing(head, order, signs) -> None:
    voxels, affine = head
    expected = resample(voxels, RAS_TO_LPS @ affine, GRID)
    turned, turned_affine = turn(voxels, affine, order, signs)
    found = resample(turned, RAS_TO_LPS @ turned_affine, GRID)
    np.testing.assert_allclose(found, expected, atol=1e-2)
    left_front_up = np.argwhere(found > 200).mean(axis=0) - (np.array(GRID.shape) - 1) / 2
    np.testing.assert_allclose(left_front_up * GRID.spacing_mm, (-30, 30, 20), atol=4)


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_labels_come_back_to_the_voxels_they_came_from(head, order, signs) -> None:
    voxels, affine = turn(*head, order, signs)
    affine = RAS_TO_LPS @ affine
    mark = resample((voxels > 200).astype(np.float32), affine, GRID)
    channels = np.stack((1 - mark, mark), axis=-1)
    labels = resample_back(
        channels, mark > 0.05, GRID, voxels.shape, affine, lambda r: (r[:, 1] > 0.5) * np.uint8(1)
    )
    assert labels.shape == voxels.shape
    assert labels.dtype == np.uint8
    overlap = 2 * np.sum(labels * (voxels > 200)) / (labels.sum() + (voxels > 200).sum())
    assert overlap > 0.8


@pytest.mark.parametrize("spacing", [(0.5, 3.0, 3.0), (2.0, 2.0, 7.0), (5.0, 1.5, 1.5)])
@pytest.mark.parametrize("angle_deg", [0, 14, -31])
def test_oblique_and_anisotropic(spacing, angle_deg) -> None:
    angle = np.deg2rad(angle_deg)
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    shape = tuple(int(240 / s) for s in spacing)
    affine = tilt @ place(shape, spacing)
    image = resample(paint_head(affine, shape), RAS_TO_LPS @ affine, GRID)
    expected = paint_head(GRID.affine_ras, GRID.shape)
    assert np.mean(np.abs(image - expected) > 60) < 0.03


def test_the_top_of_the_head_is_found_above_a_neck(head) -> None:
    voxels, affine = head
    shape = (32, 36, 55)
    affine = affine.copy()
    tall = np.zeros(shape, np.float32)
    affine[2, 3] -= 25 * 7.0
    tall[:, :, 25:] = voxels
    tall[10:22, 12:24, :30] = 100
    found = locate(tall, RAS_TO_LPS @ affine, below_top_mm=76.0)
    assert found is not None
    np.testing.assert_allclose(found.centre_ras, (0, 0, 80 - 76), atol=8)


def test_noise_in_the_background_does_not_move_the_head(head) -> None:
    voxels, affine = head
    rng = np.random.default_rng(1)
    clean = locate(voxels, RAS_TO_LPS @ affine, 76.0)
    noisy = locate(voxels + np.abs(rng.normal(0, 8, voxels.shape)), RAS_TO_LPS @ affine, 76.0)
    assert clean is not None
    assert noisy is not None
    np.testing.assert_allclose(noisy.centre_ras, clean.centre_ras, atol=5)


@pytest.mark.parametrize("value", [0, 7, -1000])
def test_an_empty_image_has_no_head_of_its_own(value) -> None:
    found = locate(np.full((40, 40, 40), value, np.int16), np.diag([5.0, 5, 5, 1]), 76.0)
    assert found is None or found.volume_ml > 0


def test_integer_input_is_left_alone() -> None:
    voxels = np.arange(8000, dtype=np.int16).reshape(20, 20, 20)
    before = voxels.copy()
    resample(voxels, np.diag([9.0, 9, 9, 1]), GRID)
    locate(voxels, np.diag([9.0, 9, 9, 1]), None)
    np.testing.assert_array_equal(voxels, before)


def test_normalise_puts_the_bright_end_at_one() -> None:
    image = np.zeros((20, 20, 20), np.float32)
    image[5:15, 5:15, 5:15] = np.linspace(500, 1000, 1000).reshape(10, 10, 10)
    out = normalise(image, bright_end(image))
    assert out.dtype == np.float32
    assert 0.98 < np.percentile(out[out > 0], 99) < 1.02
    nothing = np.zeros((4, 4, 4), np.float32)
    assert not normalise(nothing, bright_end(nothing)).any()


def test_nothing_wanted_gives_no_label(head) -> None:
    voxels, affine = head
    channels = np.ones((*GRID.shape, 2), np.float32)
    nothing = np.zeros(GRID.shape, bool)
    labels = resample_back(
        channels, nothing, GRID, voxels.shape, RAS_TO_LPS @ affine, lambda r: r[:, 0] > 0
    )
    assert not labels.any()
