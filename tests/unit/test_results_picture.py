from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from deploy.demo.series import affine_from_axes
from secondread.domain.code import Code
from secondread.domain.volume import Volume
from secondread.results.companions.picture import draw_overlay
from tests.result_cases import PLANES, STRUCTURE, make_label

LEFT_COLOUR, FRONT_COLOUR = (255, 0, 0), (0, 255, 0)
TILE, GAP, TITLE = 300, 6, 26


def draw(plane, path, spacing=(4.0, 2.0, 2.5)):
    """A ball with a red ball on the patient's left and a green one in front, drawn."""
    size = tuple(int(160 / length) for length in spacing)
    affine = affine_from_axes(*PLANES[plane], spacing)
    affine[:3, 3] = -(affine[:3, :3] @ ((np.array(size) - 1) / 2))
    grid = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1)
    at_mm = grid @ affine[:3, :3].T + affine[:3, 3]
    voxels = np.where(np.linalg.norm(at_mm, axis=-1) < 75, 300, 0).astype(np.int16)
    labels = np.zeros(size, np.uint8)
    labels[np.linalg.norm(at_mm - (45, 0, 0), axis=-1) < 20] = 1
    labels[np.linalg.norm(at_mm - (0, -45, 0), axis=-1) < 20] = 2
    structures = [
        make_label(1, "left_part", Code("1", "SCT", "x"), "left"),
        make_label(2, "front_part", Code("2", "SCT", "y")),
    ]
    coloured = [
        type(item)(item.value, item.name, item.meaning, STRUCTURE, item.type, "", colour, None)
        for item, colour in zip(structures, (LEFT_COLOUR, FRONT_COLOUR), strict=True)
    ]
    draw_overlay(Volume(voxels, affine, ()), labels, coloured, path)
    return load(path)


def load(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def places(picture, colour, rows, columns):
    """Mean row and column of a colour in a part of the picture."""
    part = picture[rows[0] : rows[1], columns[0] : columns[1]]
    found = np.argwhere((part == colour).all(axis=-1))
    assert len(found), "the colour is not in this tile"
    return found.mean(axis=0)


@pytest.mark.parametrize("plane", PLANES)
def test_left_is_on_the_right_and_front_is_up_whatever_the_acquisition(tmp_path, plane):
    picture = draw(plane, tmp_path / "overlay.png")
    second = GAP + TILE + GAP
    columns = (second, second + TILE)
    height = (picture.shape[0] - TITLE - 20 - 5 * GAP) // 3
    axial = (TITLE + GAP, TITLE + GAP + height)
    left, front = (
        places(picture, colour, axial, columns) for colour in (LEFT_COLOUR, FRONT_COLOUR)
    )
    assert left[1] - front[1] > 30
    assert left[0] - front[0] > 30


def test_it_has_three_planes_and_a_legend(tmp_path):
    picture = draw("axial", tmp_path / "overlay.png")
    assert picture.shape[1] == 4 * (TILE + GAP) + GAP
    bottom = picture[-30:]
    for colour in (LEFT_COLOUR, FRONT_COLOUR):
        assert (bottom == colour).all(axis=-1).sum() > 100


def test_an_answer_without_structures_is_drawn_too(tmp_path):
    volume = Volume(np.arange(6 * 8 * 9).reshape(6, 8, 9).astype(np.float32), np.eye(4), ())
    draw_overlay(volume, np.zeros((6, 8, 9), np.uint8), [], tmp_path / "empty.png")
    assert load(tmp_path / "empty.png").shape[1] > 1000


def test_ball_stays_round_at_any_spacing(tmp_path):
    """An outline is as wide as it is high: the display is isotropic in mm."""
    picture = draw("sagittal", tmp_path / "overlay.png", (8.0, 1.0, 2.0))
    second = GAP + TILE + GAP
    tile = picture[TITLE : TITLE + TILE, second : second + TILE]
    rows, columns = np.where((tile == LEFT_COLOUR).all(axis=-1))
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), abs=0.3 * np.ptp(rows))
