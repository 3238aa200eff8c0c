"""Whatever a model draws: the numbers are those that a slow and simple way of counting gives."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.spatial import ConvexHull

from secondread.domain.volume import Volume
from secondread.results.measurement.diameters import find_diameters
from secondread.results.measurement.measurements import measure
from secondread.results.measurement.surface import measure_surfaces
from tests.result_cases import LABELS

SETTINGS = settings(max_examples=60, deadline=None)
FEW = settings(SETTINGS, max_examples=10)
WANTED = ("minimum", "p05", "p10", "p25", "median", "p75", "p90", "p95", "maximum")
SHARES = (0, 5, 10, 25, 50, 75, 90, 95, 100)

shapes = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))
spacings = st.tuples(*[st.floats(0.3, 6.0)] * 3)


@st.composite
def label_maps(draw):
    return draw(arrays.arrays(np.uint8, draw(shapes), elements=st.integers(0, 3), fill=st.just(0)))


@st.composite
def affines(draw):
    """Any spacing, any turn of the patient, and slices that lean against their stack."""
    turned = np.linalg.qr(
        np.array(draw(st.lists(st.floats(-1, 1), min_size=9, max_size=9))).reshape(3, 3)
        + 2 * np.eye(3)
    )[0]
    leaning = np.eye(3)
    leaning[1:, 0] = draw(st.tuples(st.floats(-0.6, 0.6), st.floats(-0.6, 0.6)))
    affine = np.eye(4)
    affine[:3, :3] = turned @ leaning @ np.diag(draw(spacings))
    affine[:3, 3] = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    return affine


def outline(mask, affine):
    """The middles of the edges between a structure's voxels in a slice and the others, mm."""
    rows, columns = np.nonzero(mask)
    at = np.column_stack([rows, columns])
    steps = np.array([(0, 0.5), (0, -0.5), (0.5, 0), (-0.5, 0)])
    return (at[:, np.newaxis] + steps).reshape(-1, 2) @ affine[:3, 1:3].T


def longest(points):
    return max(math.dist(one, other) for one, other in itertools.product(points, points))


@SETTINGS
@given(label_maps(), affines())
def test_the_longest_diameter_is_that_of_all_pairs(labels, affine):
    found = find_diameters(labels, affine, [1, 2, 3])
    assert sorted(found) == [value for value in (1, 2, 3) if (labels == value).any()]
    for value, diameter in found.items():
        slices = [plane == value for plane in labels if (plane == value).any()]
        expected = max(longest(outline(mask, affine)) for mask in slices)
        assert diameter.longest_mm == pytest.approx(expected)
        own = outline(labels[diameter.source] == value, affine)
        assert diameter.longest_mm == pytest.approx(longest(own))


@SETTINGS
@given(label_maps(), affines())
def test_no_chord_across_the_longest_line_is_longer(labels, affine):
    for value, found in find_diameters(labels, affine, [1, 2, 3]).items():
        points = outline(labels[found.source] == value, affine)
        points = points + affine[:3, 0] * found.source + affine[:3, 3]
        start, along = np.array(found.longest[0]), np.subtract(*found.longest[::-1])
        along /= np.linalg.norm(along)
        normal = np.cross(affine[:3, 1], affine[:3, 2])
        across = np.cross(normal / np.linalg.norm(normal), along)
        flat = np.column_stack([(points - start) @ along, (points - start) @ across])
        sides = ConvexHull(flat).equations
        chords = []
        for at in flat[:, 0]:
            ends = []
            for a, b, c in sides:
                if abs(b) > 1e-9:
                    ends.append((b > 0, -(a * at + c) / b))
            above = min(end for is_above, end in ends if is_above)
            below = max(end for is_above, end in ends if not is_above)
            chords.append(above - below)
        assert found.perpendicular_mm == pytest.approx(max(chords), abs=1e-6)
        assert math.dist(*found.perpendicular) == pytest.approx(found.perpendicular_mm)
        for end in found.perpendicular:
            height = (np.array(end) - start) @ across
            place = (np.array(end) - start) @ along
            assert (sides @ (place, height, 1) < 1e-6).all()
            assert (np.array(end) - start) @ np.cross(along, across) == pytest.approx(0, abs=1e-6)


@SETTINGS
@given(label_maps(), st.sampled_from(["int16", "float32", "uint8", "int32"]), st.data())
def test_percentiles_are_numpys(labels, dtype, data):
    kind = np.dtype(dtype)
    elements = arrays.from_dtype(kind, allow_nan=False, allow_infinity=False)
    voxels = data.draw(arrays.arrays(kind, labels.shape, elements=elements))
    for one in measure(Volume(voxels, np.eye(4), ()), labels, LABELS, WANTED):
        inside = voxels[labels == one.label.value].astype(np.float64)
        expected = np.percentile(inside, SHARES).tolist() if inside.size else []
        assert list(one.statistics.values()) == pytest.approx(expected, rel=1e-9)


@FEW
@given(label_maps(), affines(), st.tuples(*[st.floats(-300, 300)] * 3))
def test_where_the_patient_lies_changes_no_number(labels, affine, shift):
    moved = affine.copy()
    moved[:3, 3] += shift
    first, second = (find_diameters(labels, one, [1, 2, 3]) for one in (affine, moved))
    for value, one in first.items():
        other = second[value]
        assert (one.longest_mm, one.perpendicular_mm) == (other.longest_mm, other.perpendicular_mm)
        for ends in ("longest", "perpendicular"):
            apart = np.array(getattr(other, ends)) - getattr(one, ends)
            np.testing.assert_allclose(apart, [shift, shift], atol=1e-6)
    np.testing.assert_array_equal(*(measure_surfaces(labels, one) for one in (affine, moved)))


@SETTINGS
@given(label_maps(), affines(), st.sampled_from([(0, 2, 1), (0, 1, 2)]), st.data())
def test_the_order_of_rows_and_columns_changes_no_diameter(labels, affine, order, data):
    flipped = tuple(axis for axis in (1, 2) if data.draw(st.booleans()))
    other = np.flip(labels.transpose(order), flipped)
    turned = affine.copy()
    turned[:3, :3] = affine[:3, :3][:, order]
    for axis in flipped:
        turned[:3, 3] += turned[:3, axis] * (other.shape[axis] - 1)
        turned[:3, axis] *= -1
    first, second = (
        find_diameters(one, grid, [1, 2, 3]) for one, grid in ((labels, affine), (other, turned))
    )
    for value, one in first.items():
        assert second[value].longest_mm == pytest.approx(one.longest_mm)


@FEW
@given(label_maps(), affines(), st.permutations((0, 1, 2)))
def test_the_order_of_the_axes_changes_no_surface(labels, affine, order):
    turned = affine.copy()
    turned[:3, :3] = affine[:3, :3][:, order]
    expected = measure_surfaces(labels, affine)
    found = measure_surfaces(np.ascontiguousarray(labels.transpose(order)), turned)
    np.testing.assert_allclose(found[1:], expected[1:], rtol=0.02)


@FEW
@given(label_maps(), affines())
def test_a_surface_is_no_more_than_its_voxels_faces(labels, affine):
    axes = affine[:3, :3]
    sides = np.linalg.norm(np.linalg.inv(axes), axis=1) * abs(np.linalg.det(axes))
    around = np.pad(labels, 1)
    for value, found in enumerate(measure_surfaces(labels, affine)[1:], start=1):
        mask = (around == value).astype(int)
        faces = sum(np.abs(np.diff(mask, axis=axis)).sum() * sides[axis] for axis in range(3))
        assert 0.0 <= found <= faces * 1.001
        assert (found > 0) == (faces > 0)
