from __future__ import annotations

import math

import numpy as np
import pytest

from secondread.results.measurement.surface import measure_surfaces

SPACINGS = {
    "cubes": (1.0, 1.0, 1.0),
    "ct": (1.5, 0.7, 0.7),
    "thick": (3.0, 1.0, 1.0),
    "coarse": (1.0, 2.0, 2.0),
    "wide": (1.2, 0.6, 1.1),
}


def grid(spacing, extent_mm, shear=0.0):
    """An affine, and where its voxels lie: ``(slice, row, column, xyz)`` mm around the middle."""
    axes = np.diag(spacing)
    axes[1, 0] = shear * spacing[0]
    shape = [2 * math.ceil(extent_mm / side) + 5 for side in spacing]
    shape[1] += 2 * math.ceil(abs(shear) * extent_mm / spacing[1])
    at = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    affine = np.eye(4)
    affine[:3, :3] = axes
    return affine, (at - np.array(shape) / 2 + 0.27) @ axes.T


def turn(seed):
    """A rotation."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]


def surface_of(mask, affine):
    return measure_surfaces(mask.astype(np.uint8), affine)[1]


def ellipsoid_area(a, b, c):
    """Knud Thomsen's formula, within 1.1 %."""
    p = 1.6075
    mean = ((a * b) ** p + (a * c) ** p + (b * c) ** p) / 3
    return 4 * math.pi * mean ** (1 / p)


@pytest.mark.parametrize("spacing", SPACINGS.values(), ids=SPACINGS)
@pytest.mark.parametrize("radius_mm", [10.0, 18.0])
def test_a_sphere_within_five_percent(spacing, radius_mm):
    affine, at = grid(spacing, radius_mm)
    found = surface_of(np.linalg.norm(at, axis=-1) <= radius_mm, affine)
    assert found == pytest.approx(4 * math.pi * radius_mm**2, rel=0.05)


def test_a_sphere_of_a_few_voxels_within_ten_percent():
    for radius_mm in (2.0, 3.0, 5.0):
        affine, at = grid((1.0, 1.0, 1.0), radius_mm)
        found = surface_of(np.linalg.norm(at, axis=-1) <= radius_mm, affine)
        assert found == pytest.approx(4 * math.pi * radius_mm**2, rel=0.10)


@pytest.mark.parametrize("shear", [0.2, -0.5])
def test_a_sphere_on_a_leaning_stack(shear):
    affine, at = grid((2.0, 1.0, 1.0), 18.0, shear)
    found = surface_of(np.linalg.norm(at, axis=-1) <= 18.0, affine)
    assert found == pytest.approx(4 * math.pi * 18.0**2, rel=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_an_ellipsoid_that_lies_askew(seed):
    affine, at = grid((1.5, 1.0, 1.0), 24.0)
    turned = at @ turn(seed) / (24.0, 14.0, 9.0)
    found = surface_of(np.linalg.norm(turned, axis=-1) <= 1, affine)
    assert found == pytest.approx(ellipsoid_area(24.0, 14.0, 9.0), rel=0.05)


@pytest.mark.parametrize("spacing", SPACINGS.values(), ids=SPACINGS)
def test_a_box_loses_a_little_at_its_edges(spacing):
    affine, at = grid(spacing, 30.0)
    sides = [
        2 * round(mm / side / 2) * side for mm, side in zip((48, 36, 40), spacing, strict=True)
    ]
    inside = (np.abs(at - at.reshape(-1, 3)[0] % spacing) < np.array(sides) / 2).all(axis=-1)
    sides = [np.ptp(at[inside][:, axis]) + spacing[axis] for axis in range(3)]
    true = 2 * (sides[0] * sides[1] + sides[0] * sides[2] + sides[1] * sides[2])
    assert 0.90 * true < surface_of(inside, affine) <= 1.0001 * true


def test_a_flat_surface_is_right_whichever_way_it_faces():
    affine, at = grid((1.5, 1.0, 1.0), 34.0)
    for seed in range(4):
        normal = turn(seed)[0]
        below, within = at @ normal <= 0.3, np.linalg.norm(at, axis=-1) <= 32.0
        halves = np.where(within, np.where(below, 1, 2), 0).astype(np.uint8)
        whole = measure_surfaces(np.minimum(halves, 1), affine)[1]
        first, second = measure_surfaces(halves, affine)[1:]
        disc = math.pi * (32.0**2 - 0.3**2)
        # A little goes at the two rims, where it meets the sphere.
        assert 0.92 * disc < (first + second - whole) / 2 < 1.02 * disc


def test_it_scales_with_the_square_of_length():
    affine, at = grid((1.5, 0.7, 0.7), 12.0)
    mask = np.linalg.norm(at, axis=-1) <= 12.0
    larger = affine.copy()
    larger[:3, :3] *= 3
    assert surface_of(mask, larger) == pytest.approx(9 * surface_of(mask, affine), rel=1e-4)


def test_the_edge_of_the_volume_closes_a_structure():
    whole = np.ones((20, 24, 28), bool)
    within = np.pad(whole, 5)
    affine = np.diag([2.0, 1.0, 1.0, 1.0])
    assert surface_of(whole, affine) == pytest.approx(surface_of(within, affine))


def test_slabs_do_not_show():
    labels = np.random.default_rng(1).integers(0, 3, (70, 9, 8)).astype(np.uint8)
    affine = np.diag([1.0, 1.3, 1.0, 1.0])
    short = sum(
        measure_surfaces(np.where(np.arange(70)[:, None, None] // 10 == part, labels, 0), affine)
        for part in range(7)
    )
    apart = np.zeros((7 * 20, 9, 8), np.uint8)
    for part in range(7):
        apart[20 * part : 20 * part + 10] = labels[10 * part : 10 * part + 10]
    np.testing.assert_allclose(measure_surfaces(apart, affine), short, rtol=1e-5)


def test_each_structure_has_its_own_whatever_lies_beside_it():
    affine, at = grid((1.0, 1.0, 1.0), 16.0)
    ball = np.linalg.norm(at, axis=-1) <= 12.0
    labels = np.where(ball, 3, 0).astype(np.uint8)
    alone = measure_surfaces(labels, affine)[3]
    labels[~ball] = 200
    assert measure_surfaces(labels, affine)[3] == pytest.approx(alone, rel=1e-5)


def test_nothing_has_no_surface():
    assert measure_surfaces(np.zeros((3, 4, 5), np.uint8), np.eye(4)).tolist() == [0.0]


def test_a_tool_of_others_finds_about_the_same():
    simple_itk = pytest.importorskip("SimpleITK")
    affine, at = grid((1.0, 1.0, 1.0), 20.0)
    for seed in range(3):
        turned = at @ turn(seed) / (20.0, 15.0, 10.0)
        mask = (np.linalg.norm(turned, axis=-1) <= 1).astype(np.uint8)
        shape = simple_itk.LabelShapeStatisticsImageFilter()
        shape.ComputePerimeterOn()
        shape.Execute(simple_itk.GetImageFromArray(mask))
        assert surface_of(mask, affine) == pytest.approx(shape.GetPerimeter(1), rel=0.05)
