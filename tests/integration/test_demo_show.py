"""Laying a segmentation of some slices over the whole of its source."""

from __future__ import annotations

import numpy as np
import pytest

from deploy.demo.series import affine_from_axes
from deploy.demo.show import _place
from secondread.domain.volume import Volume

AFFINE = affine_from_axes((0, 1, 0), (0, 0, -1), (2.0, 1.0, 1.5), (90.0, -120.0, 60.0))


@pytest.fixture
def volume():
    return Volume(np.zeros((10, 6, 7), np.int16), AFFINE, ())


def moved(slices, rows=0.0):
    affine = AFFINE.copy()
    affine[:3, 3] = (AFFINE @ (slices, rows, 0, 1))[:3]
    return affine


def test_slices_land_where_they_lie_in_space(volume):
    labels = np.zeros((3, 6, 7), np.uint8)
    labels[1, 2, 3] = 9
    placed = _place(labels, moved(4), volume)
    assert placed.shape == volume.voxels.shape
    assert np.argwhere(placed).tolist() == [[5, 2, 3]]
    assert placed[5, 2, 3] == 9


@pytest.mark.parametrize("affine", [moved(4.3), moved(4, rows=1), -moved(4)])
def test_a_segmentation_off_its_source_is_an_error(volume, affine):
    with pytest.raises(RuntimeError, match="does not lie on its source's slices"):
        _place(np.ones((3, 6, 7), np.uint8), affine, volume)
