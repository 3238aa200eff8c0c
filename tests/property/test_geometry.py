from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondread.assembly.volume import read_volume
from secondread.dicom.geometry import position_tolerance_mm
from secondread.domain.volume import Volume
from secondread.errors import GeometryError
from tests.slices import decimal_strings, make_slice, store_all

SETTINGS = settings(max_examples=40, deadline=None)


@dataclass
class Acquisition:
    voxels: np.ndarray
    row: np.ndarray
    column: np.ndarray
    normal: np.ndarray
    positions: np.ndarray
    """(slice, 3) mm, along the normal."""
    spacing_mm: tuple[float, float, float]
    rotations: list[np.ndarray]
    """One for each slice, on top of the common orientation."""


def _between(low, high):
    return st.floats(low, high, allow_nan=False)


@st.composite
def acquisitions(draw, least: int = 3, pixel_mm_min: float = 0.3):
    slices, rows, columns = (
        draw(st.integers(least, 9)),
        draw(st.integers(3, 5)),
        draw(st.integers(3, 5)),
    )
    spacing = (
        draw(_between(0.5, 6)),
        draw(_between(pixel_mm_min, 3)),
        draw(_between(pixel_mm_min, 3)),
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        axes = np.eye(3)[rng.permutation(3)] * rng.choice([-1.0, 1.0], (3, 1))
    else:
        axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    row, column = axes[0], axes[1]
    normal = np.cross(row, column)
    origin = rng.uniform(-300, 300, 3)
    return Acquisition(
        voxels=rng.integers(-1000, 3000, (slices, rows, columns)).astype(np.int16),
        row=row,
        column=column,
        normal=normal,
        positions=origin + np.arange(slices)[:, None] * spacing[0] * normal,
        spacing_mm=spacing,
        rotations=[np.eye(3)] * slices,
    )


def _read(acquisition: Acquisition, order, keep=None, twice=None) -> Volume:
    datasets = []
    for index in order:
        if keep is not None and index not in keep:
            continue
        turn = acquisition.rotations[index]
        orientation = [*(turn @ acquisition.row), *(turn @ acquisition.column)]
        for copy in range(2 if index == twice else 1):
            dataset = make_slice(
                acquisition.voxels[index],
                acquisition.positions[index],
                number=index + 1,
                ImageOrientationPatient=decimal_strings(orientation),
                PixelSpacing=decimal_strings(acquisition.spacing_mm[1:]),
            )
            if copy:
                dataset.SOPInstanceUID += "9"
            datasets.append(dataset)
    with tempfile.TemporaryDirectory() as folder:
        return read_volume(store_all(datasets, Path(folder)), Path(folder))


def _assert_same(volume: Volume, acquisition: Acquisition, tolerance_mm: float) -> None:
    np.testing.assert_array_equal(volume.voxels, acquisition.voxels)
    assert volume.voxels.dtype == np.int16
    slices, rows, columns = acquisition.voxels.shape
    _, row_mm, column_mm = acquisition.spacing_mm
    for index in range(slices):
        assert volume.sources[index].sop_instance_uid == f"2.25.2000{index + 1}"
        for row, column in ((0, 0), (rows - 1, 0), (0, columns - 1), (rows - 1, columns - 1)):
            expected = (
                acquisition.positions[index]
                + acquisition.column * row * row_mm
                + acquisition.row * column * column_mm
            )
            found = (volume.affine_lps @ (index, row, column, 1))[:3]
            assert np.linalg.norm(found - expected) <= tolerance_mm


def _refusal(acquisition: Acquisition, order, **how) -> GeometryError:
    with pytest.raises(GeometryError) as caught:
        _read(acquisition, order, **how)
    return caught.value


@SETTINGS
@given(acquisitions(), st.randoms())
def test_any_order_and_orientation_gives_the_exact_volume(acquisition, random):
    order = list(range(len(acquisition.voxels)))
    random.shuffle(order)
    _assert_same(_read(acquisition, order), acquisition, tolerance_mm=1e-6)


@SETTINGS
@given(acquisitions(), st.randoms(), st.integers(0, 2**32 - 1))
def test_jitter_within_the_tolerance_changes_nothing_but_the_fit(acquisition, random, seed):
    order = list(range(len(acquisition.voxels)))
    random.shuffle(order)
    tolerance = position_tolerance_mm(acquisition.spacing_mm[0])
    shift = np.random.default_rng(seed).normal(size=acquisition.positions.shape)
    shift *= 0.8 * tolerance / np.linalg.norm(shift, axis=1, keepdims=True)
    acquisition.positions = acquisition.positions + shift
    _assert_same(_read(acquisition, order), acquisition, tolerance_mm=2 * tolerance)


@SETTINGS
@given(acquisitions(least=4), st.randoms(), st.data())
def test_a_dropped_slice_is_named(acquisition, random, data):
    order = list(range(len(acquisition.voxels)))
    random.shuffle(order)
    lost = data.draw(st.integers(1, len(order) - 2))
    error = _refusal(acquisition, order, keep=set(order) - {lost})
    assert error.outcome == "missing-slices"
    assert f"between image {lost} at" in str(error)
    assert f"and image {lost + 2} at" in str(error)


@SETTINGS
@given(acquisitions(), st.randoms(), st.data())
def test_a_slice_that_is_there_twice_is_refused(acquisition, random, data):
    order = list(range(len(acquisition.voxels)))
    random.shuffle(order)
    error = _refusal(acquisition, order, twice=data.draw(st.sampled_from(order)))
    assert error.outcome == "duplicate-positions"


@SETTINGS
@given(acquisitions(least=5), st.data(), _between(0.15, 0.4))
def test_a_slice_out_of_step_is_uneven(acquisition, data, share):
    moved = data.draw(st.integers(1, len(acquisition.voxels) - 2))
    acquisition.positions[moved] += share * acquisition.spacing_mm[0] * acquisition.normal
    error = _refusal(acquisition, range(len(acquisition.voxels)))
    assert error.outcome == "uneven-spacing"


@SETTINGS
@given(acquisitions(), _between(5, 30), _between(0, 2 * np.pi))
def test_a_tilted_stack_is_refused_with_its_angle(acquisition, degrees, direction):
    lean = np.cos(direction) * acquisition.row + np.sin(direction) * acquisition.column
    steps = np.arange(len(acquisition.voxels))[:, None] * acquisition.spacing_mm[0]
    acquisition.positions = acquisition.positions + steps * np.tan(np.radians(degrees)) * lean
    error = _refusal(acquisition, range(len(acquisition.voxels)))
    assert error.outcome == "gantry-tilt"
    assert f"{degrees:.1f} degrees" in str(error)


@SETTINGS
@given(acquisitions(), st.data(), _between(0.5, 20))
def test_a_slice_beside_the_stack_is_refused(acquisition, data, shift_mm):
    moved = data.draw(st.integers(1, len(acquisition.voxels) - 2))
    acquisition.positions[moved] += shift_mm * acquisition.column
    error = _refusal(acquisition, range(len(acquisition.voxels)))
    assert error.outcome == "displaced-slices"


@SETTINGS
@given(acquisitions(pixel_mm_min=1.0), st.data(), _between(20, 160))
def test_a_turned_slice_is_refused(acquisition, data, degrees):
    turned = data.draw(st.integers(0, len(acquisition.voxels) - 1))
    angle = np.radians(degrees)
    x, y, z = acquisition.row
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    acquisition.rotations = [
        turn if index == turned else np.eye(3) for index in range(len(acquisition.voxels))
    ]
    error = _refusal(acquisition, range(len(acquisition.voxels)))
    assert error.outcome == "mixed-orientations"
