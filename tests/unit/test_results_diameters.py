from __future__ import annotations

import math

import numpy as np
import pytest

from deploy.demo.series import affine_from_axes
from secondread.results.measurement.diameters import find_diameters
from tests.result_cases import PLANES

SPACING = (3.0, 0.8, 1.25)


def make_affine(plane="axial", spacing=SPACING, shear=0.0):
    affine = affine_from_axes(*PLANES[plane], spacing, (-40.0, 31.5, 17.25))
    affine[:3, 0] += shear * affine[:3, 1]
    return affine


def diameter_of(mask, affine=None):
    affine = make_affine() if affine is None else affine
    return find_diameters(mask.astype(np.uint8) * 7, affine, [7])[7]


def ellipse(size, centre, radii_mm, spacing=SPACING, turned=0.0):
    row, column = np.mgrid[: size[1], : size[2]]
    y, x = (row - centre[0]) * spacing[1], (column - centre[1]) * spacing[2]
    along = math.cos(turned) * x + math.sin(turned) * y
    across = math.cos(turned) * y - math.sin(turned) * x
    mask = np.zeros(size, bool)
    mask[size[0] // 2] = (along / radii_mm[0]) ** 2 + (across / radii_mm[1]) ** 2 <= 1
    return mask


def test_one_voxel_is_as_long_as_itself():
    mask = np.zeros((3, 5, 6), bool)
    mask[1, 2, 3] = True
    found = diameter_of(mask)
    assert (found.longest_mm, found.perpendicular_mm) == pytest.approx((1.25, 0.8))
    assert found.source == 1


def test_a_row_of_voxels_is_as_long_as_all_of_them_and_one_wide():
    mask = np.zeros((2, 5, 20), bool)
    mask[0, 3, 4:14] = True
    found = diameter_of(mask)
    assert (found.longest_mm, found.perpendicular_mm) == pytest.approx((12.5, 0.8))


def test_a_column_of_voxels_likewise():
    mask = np.zeros((2, 20, 5), bool)
    mask[0, 4:14, 3] = True
    found = diameter_of(mask)
    assert (found.longest_mm, found.perpendicular_mm) == pytest.approx((8.0, 1.25))


@pytest.mark.parametrize("turned", [0.0, 0.4, 1.1, math.pi / 2, 2.3])
@pytest.mark.parametrize("radii_mm", [(30.0, 30.0), (30.0, 18.0), (12.0, 5.0)])
def test_an_ellipse_has_its_two_axes(radii_mm, turned):
    found = diameter_of(ellipse((3, 120, 80), (58.3, 40.7), radii_mm, turned=turned))
    assert found.longest_mm == pytest.approx(2 * radii_mm[0], abs=1.25)
    assert found.perpendicular_mm == pytest.approx(2 * radii_mm[1], abs=1.25)


@pytest.mark.parametrize("plane", sorted(PLANES))
@pytest.mark.parametrize("shear", [0.0, 0.8])
def test_the_ends_are_where_the_structure_is(plane, shear):
    affine = make_affine(plane, shear=shear)
    mask = ellipse((5, 60, 50), (25.2, 22.9), (20.0, 9.0), turned=0.7)
    found = diameter_of(mask, affine)
    back = np.linalg.inv(affine)
    for ends, length in (
        (found.longest, found.longest_mm),
        (found.perpendicular, found.perpendicular_mm),
    ):
        assert math.dist(*ends) == pytest.approx(length)
        for end in ends:
            at, row, column, _ = back @ (*end, 1.0)
            assert at == pytest.approx(2.0)
            near = mask[2, math.floor(row) : math.ceil(row) + 1][
                :, math.floor(column) : math.ceil(column) + 1
            ]
            assert near.any()
            assert not near.all()
    first, second = (np.subtract(*ends) for ends in (found.longest, found.perpendicular))
    assert first @ second == pytest.approx(0.0, abs=1e-9)


def test_the_tilt_of_the_slices_changes_no_length():
    mask = ellipse((5, 60, 50), (25.2, 22.9), (20.0, 9.0), turned=0.7)
    straight, tilted = diameter_of(mask), diameter_of(mask, make_affine(shear=1.3))
    assert tilted.longest_mm == pytest.approx(straight.longest_mm)
    assert tilted.perpendicular_mm == pytest.approx(straight.perpendicular_mm)


def test_the_slice_with_the_longest_line_is_taken():
    mask = np.zeros((4, 10, 30), bool)
    mask[0, 1:9, 2:12] = True
    mask[2, 4, 2:27] = True
    mask[3, 1:9, 3:9] = True
    found = diameter_of(mask)
    assert found.source == 2
    assert found.longest_mm == pytest.approx(25 * 1.25)
    assert found.perpendicular_mm == pytest.approx(0.8)


def test_a_line_may_cross_what_is_not_the_structure():
    mask = np.zeros((1, 12, 12), bool)
    mask[0, 1, 1:11] = mask[0, 1:11, 1] = True
    found = diameter_of(mask, make_affine(spacing=(3.0, 1.0, 1.0)))
    # From the middle of one tip's outer edge to that of the other, and half of that across.
    assert found.longest_mm == pytest.approx(math.hypot(9.5, 9.5), abs=0.6)
    assert found.perpendicular_mm == pytest.approx(found.longest_mm / 2, abs=0.8)


def test_structures_side_by_side_are_not_mixed_up():
    labels = np.zeros((2, 10, 30), np.uint8)
    labels[0, 2:5, 1:11], labels[0, 2:5, 11:14], labels[1, 8, 29], labels[1, 0, 0] = 1, 2, 3, 4
    found = find_diameters(labels, make_affine(), [1, 2, 3, 5])
    assert sorted(found) == [1, 2, 3]
    for value in (1, 2, 3):
        alone = find_diameters(np.where(labels == value, labels, 0), make_affine(), [value])
        assert found[value] == alone[value]


def test_all_values_and_the_very_edge_of_a_slice():
    labels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    found = find_diameters(labels, make_affine(), range(1, 256))
    assert {round(one.longest_mm, 9) for one in found.values()} == {1.25}
    whole = diameter_of(np.ones((1, 16, 16), bool))
    assert whole.longest_mm == pytest.approx(math.hypot(15 * 0.8, 16 * 1.25))


def test_a_tool_of_others_finds_the_same_but_for_half_a_voxel_at_each_end():
    simple_itk = pytest.importorskip("SimpleITK")
    for seed in range(4):
        turned = 0.3 + seed
        mask = ellipse((3, 90, 70), (44.1, 33.8), (24.0 - 4 * seed, 11.0), turned=turned)
        image = simple_itk.GetImageFromArray(mask[1].astype(np.uint8))
        image.SetSpacing((SPACING[2], SPACING[1]))
        shape = simple_itk.LabelShapeStatisticsImageFilter()
        shape.ComputeFeretDiameterOn()
        shape.Execute(image)
        between_centres = shape.GetFeretDiameter(1)
        found = diameter_of(mask).longest_mm
        assert 0 < found - between_centres < math.hypot(0.8, 1.25)
