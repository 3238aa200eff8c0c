from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label as find_parts

from secondread.results.companions.outlines import simplify, trace_slice, trace_volume


def enclosed(corners):
    """Area in pixels; negative around a hole."""
    x, y = corners.astype(float).T
    return 0.5 * float(x @ np.roll(y, -1) - y @ np.roll(x, -1))


def fill(corners, shape):
    """Pixels whose middle is inside, by how often a line to the left crosses the polygon."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    inside = np.zeros(shape, bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        is_between = (rows > min(y0, y1)) & (rows < max(y0, y1))
        crossing = x0 + (rows - y0) * (x1 - x0) / (y1 - y0)
        inside ^= is_between & (crossing < columns)
    return inside


def disc(radius, size=64):
    rows, columns = np.mgrid[:size, :size]
    return ((rows - 30.2) ** 2 + (columns - 33) ** 2 < radius**2).astype(np.uint8)


def test_corners_lie_between_pixels_and_go_around_clockwise():
    plane = np.zeros((6, 9), np.uint8)
    plane[2:4, 3:7] = 5
    (outline,) = trace_slice(plane, 12)
    assert (outline.value, outline.slice_index) == (5, 12)
    assert outline.corners.tolist() == [[3, 2], [7, 2], [7, 4], [3, 4]]


def test_a_hole_has_a_line_of_its_own_that_goes_the_other_way():
    plane = np.zeros((7, 7), np.uint8)
    plane[1:6, 1:6] = 1
    plane[3, 3] = 0
    areas = sorted(enclosed(outline.corners) for outline in trace_slice(plane, 0))
    assert areas == [-1, 25]


def test_pixels_that_touch_at_a_corner_have_outlines_of_their_own():
    outlines = trace_slice(np.eye(3, dtype=np.uint8), 0)
    assert [enclosed(outline.corners) for outline in outlines] == [1, 1, 1]


@pytest.mark.parametrize("seed", range(20))
def test_the_outlines_of_each_structure_enclose_its_pixels_and_no_others(seed):
    plane = np.random.default_rng(seed).integers(0, 4, (17, 23)).astype(np.uint8)
    outlines = trace_slice(plane, 0)
    for value in (1, 2, 3):
        covered = np.zeros(plane.shape, int)
        own = [outline.corners for outline in outlines if outline.value == value]
        for corners in own:
            covered += fill(corners, plane.shape) * (1 if enclosed(corners) > 0 else -1)
        assert np.array_equal(covered, (plane == value).astype(int))
        rims = sum(enclosed(corners) > 0 for corners in own)
        assert rims == find_parts(plane == value)[1]


def test_slices_without_structures_have_none():
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[2, 1:3, 1:3] = 1
    assert [outline.slice_index for outline in trace_volume(labels, range(4))] == [2]
    assert trace_volume(labels, [0, 1]) == []


def test_fewer_corners_keep_the_area_and_stay_near_the_edge():
    (outline,) = trace_slice(disc(20), 0)
    (fewer,) = simplify([outline.corners], 0.75)
    assert len(fewer) < 0.5 * len(outline.corners)
    assert enclosed(fewer) == pytest.approx(enclosed(outline.corners), rel=0.01)
    assert {tuple(corner) for corner in fewer} <= {tuple(corner) for corner in outline.corners}


def test_many_polygons_at_once_are_what_each_is_alone():
    corners = [trace_slice(disc(radius), 0)[0].corners for radius in (1, 2, 5, 11, 28)]
    together = simplify(corners, 0.75)
    alone = [simplify([one], 0.75)[0] for one in corners]
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))
    assert simplify([], 0.75) == []


def test_a_rectangle_and_a_single_pixel_stay_what_they_are():
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    (kept,) = simplify([square], 5.0)
    assert len(kept) == 4
