"""A picture of an answer: slices in three planes with coloured outlines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy.ndimage import map_coordinates

from secondread.bundles.manifest import Label
from secondread.domain.volume import Volume
from secondread.results.companions.canvas import WHITE, write

_TILE_PX = 300
_GAP_PX = 6
_FRACTIONS = (0.2, 0.4, 0.6, 0.8)
_WINDOW_PERCENTILES = (1.0, 99.7)
_MARGIN_MM = 15.0
_HALF_MIN_MM = 50.0
_LEGEND_COLUMNS = 4
_LEGEND_ROW_PX = 20
_TITLE_PX = 26
_TEXT_PX, _LETTER_PX = 14, 16

Pixels = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
Corner = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Plane:
    """How a plane is shown, in patient axes (0 = left, 1 = posterior, 2 = superior, LPS).

    The picture follows the radiological convention: the patient's left is on the right, anterior
    or superior is up. ``down`` is +1 where the axis grows downwards on the picture.
    """

    name: str
    through: int
    across: int
    vertical: int
    down: int
    at_left: str
    at_right: str


PLANES = (
    Plane("axial", through=2, across=0, vertical=1, down=1, at_left="R", at_right="L"),
    Plane("coronal", through=1, across=0, vertical=2, down=-1, at_left="R", at_right="L"),
    Plane("sagittal", through=0, across=1, vertical=2, down=-1, at_left="A", at_right="P"),
)


@dataclass(frozen=True, slots=True)
class _Scene:
    """What is drawn: the volume with its answer, and the box of both in the patient frame, mm.

    ``depths`` are the ends of what was found, likewise; ``None`` where nothing was.
    """

    volume: Volume
    labels: npt.NDArray[np.uint8]
    low: Points
    high: Points
    window: tuple[float, float]
    colours: Pixels
    tile_px: int
    depths: tuple[Points, Points] | None

    @property
    def mm_per_px(self) -> float:
        """One scale for every tile, so that all lengths of the picture can be compared."""
        return float((self.high - self.low).max()) / self.tile_px


def draw_overlay(
    volume: Volume, labels: npt.NDArray[np.uint8], structures: Sequence[Label], path: Path
) -> None:
    """Draw axial, coronal and sagittal slices with the outline of every structure.

    The slices are those of the patient, whatever the acquisition's were, at one scale in mm.

    Args:
        volume: ``(slice, row, column)`` with its affine.
        labels: of the same shape; 0 is background.
        structures: name and colour of each value.
        path: a PNG.
    """
    rows = draw_planes(volume, labels, structures, _TILE_PX, _FRACTIONS)
    present = [item for item in structures if (labels == item.value).any()]
    legend_rows = -(-len(present) // _LEGEND_COLUMNS)
    width = len(_FRACTIONS) * (_TILE_PX + _GAP_PX) + _GAP_PX
    heights = [max(tile.height for tile in row) for row in rows]
    height = _TITLE_PX + sum(heights) + _GAP_PX * (len(rows) + 1) + _LEGEND_ROW_PX * legend_rows
    sheet = Image.new("RGB", (width, height + _GAP_PX))
    pen = ImageDraw.Draw(sheet)
    convention = "Radiological convention: the patient's left is on the right. Not for diagnosis."
    write(pen, (_GAP_PX, _GAP_PX), convention, _TEXT_PX)
    top = _TITLE_PX + _GAP_PX
    for row, row_height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            left = _GAP_PX + column * (_TILE_PX + _GAP_PX)
            sheet.paste(tile, (left + (_TILE_PX - tile.width) // 2, top))
        top += row_height + _GAP_PX
    _draw_legend(pen, present, top, width)
    sheet.save(path, format="PNG")


def draw_planes(
    volume: Volume,
    labels: npt.NDArray[np.uint8],
    structures: Sequence[Label],
    tile_px: int,
    fractions: Sequence[float],
) -> list[list[Image.Image]]:
    """Axial, coronal and sagittal slices through what was found, a row of tiles for each plane.

    Args:
        volume: ``(slice, row, column)`` with its affine.
        labels: of the same shape; 0 is background.
        structures: colour of each value.
        tile_px: the longest side that a tile can have; all have the same scale.
        fractions: where the slices lie in what was found, 0 to 1.
    """
    scene = _set_scene(volume, labels, structures, tile_px)
    return [
        [_draw_tile(scene, plane, at) for at in _choose(scene, plane, fractions)]
        for plane in PLANES
    ]


def _set_scene(
    volume: Volume, labels: npt.NDArray[np.uint8], structures: Sequence[Label], tile_px: int
) -> _Scene:
    last = np.array(volume.voxels.shape) - 1.0
    low, high = _box(volume, np.zeros(3), last)
    filled = _find_box(labels)
    if filled is not None:
        near, far = _box(volume, *filled)
        centre, half = (near + far) / 2, np.maximum((far - near) / 2 + _MARGIN_MM, _HALF_MIN_MM)
        low, high = np.maximum(low, centre - half), np.minimum(high, centre + half)
    colours = np.zeros((256, 3), np.uint8)
    for item in structures:
        colours[item.value] = item.color_rgb
    return _Scene(
        volume,
        labels,
        low,
        high,
        find_window(volume),
        colours,
        tile_px,
        _find_depths(volume, labels),
    )


def _find_box(labels: npt.NDArray[np.uint8]) -> tuple[Corner, Corner] | None:
    """First and last index of what was found along each axis; ``None`` where nothing was."""
    # Axis by axis: a list of all voxels of a body is larger than the body.
    flat = np.asarray(labels.any(axis=0))
    if not flat.any():
        return None
    filled = (labels.any(axis=(1, 2)), flat.any(axis=1), flat.any(axis=0))
    places = [np.flatnonzero(one) for one in filled]
    first, last = ([one[at] for one in places] for at in (0, -1))
    return np.array(first), np.array(last)


def _find_depths(volume: Volume, labels: npt.NDArray[np.uint8]) -> tuple[Points, Points] | None:
    """Between which positions in the patient frame, mm, something was found, or ``None``."""
    found = np.argwhere(labels[::2, ::2, ::2])
    if not len(found):
        return None
    depths = _to_patient(volume, found.astype(np.float64) * 2)
    return depths.min(axis=0), depths.max(axis=0)


def find_window(volume: Volume) -> tuple[float, float]:
    """What is shown black and what white, where the source does not say it."""
    signal = volume.voxels[:: max(1, len(volume.voxels) // 64), ::2, ::2].astype(np.float64)
    darkest, brightest = np.percentile(signal, _WINDOW_PERCENTILES)
    return float(darkest), float(max(brightest, darkest + 1e-6))


def _box(volume: Volume, first: Corner, last: Corner) -> tuple[Points, Points]:
    """The box in the patient frame, mm, around a box of voxels."""
    ends = np.stack([first, last]).astype(np.float64)
    corners = np.stack(np.meshgrid(*ends.T, indexing="ij"), axis=-1).reshape(-1, 3)
    at_mm = _to_patient(volume, corners)
    return at_mm.min(axis=0), at_mm.max(axis=0)


def _to_patient(volume: Volume, points: Points) -> Points:
    moved: Points = points @ volume.affine_lps[:3, :3].T + volume.affine_lps[:3, 3]
    return moved


def _choose(scene: _Scene, plane: Plane, fractions: Sequence[float]) -> list[float]:
    """Positions along the plane's normal, mm, spread over what was found."""
    low, high = scene.low[plane.through], scene.high[plane.through]
    if scene.depths is not None:
        low, high = scene.depths[0][plane.through], scene.depths[1][plane.through]
    positions = [float(low + fraction * (high - low)) for fraction in fractions]
    return positions if plane.through == 0 else positions[::-1]


def _draw_tile(scene: _Scene, plane: Plane, depth_mm: float) -> Image.Image:
    step = scene.mm_per_px
    across = np.arange(scene.low[plane.across], scene.high[plane.across], step)
    vertical = np.arange(scene.low[plane.vertical], scene.high[plane.vertical], step)[:: plane.down]
    points = np.empty((len(vertical), len(across), 3))
    points[..., plane.through] = depth_mm
    points[..., plane.across] = across
    points[..., plane.vertical] = vertical[:, None]
    inverse = np.linalg.inv(scene.volume.affine_lps)
    indices = np.moveaxis(points @ inverse[:3, :3].T + inverse[:3, 3], -1, 0)
    # Read where they are: a copy of a whole body as floats would cost more than all tiles.
    voxels = cast("npt.NDArray[np.int16]", scene.volume.voxels)
    signal = map_coordinates(voxels, indices, np.float32, order=1, cval=scene.window[0])
    names = map_coordinates(scene.labels, indices, order=0, cval=0)
    darkest, brightest = scene.window
    grey = np.clip((signal - darkest) / (brightest - darkest), 0, 1) * 255
    pixels = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1)
    outline = find_outline(names)
    pixels[outline] = scene.colours[names[outline]]
    tile = Image.fromarray(pixels)
    _letter(tile, plane, depth_mm)
    return tile


def find_outline(names: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Pixels of a structure next to a pixel that is not of it."""
    padded = np.pad(names, 1)
    differs = np.zeros(names.shape, bool)
    for row, column in ((0, 1), (2, 1), (1, 0), (1, 2)):
        differs |= padded[row : row + names.shape[0], column : column + names.shape[1]] != names
    return differs & (names > 0)


def _letter(tile: Image.Image, plane: Plane, depth_mm: float) -> None:
    pen, middle = ImageDraw.Draw(tile), tile.height / 2
    direction = "LPS"[plane.through] if depth_mm >= 0 else "RAI"[plane.through]
    caption = f"{plane.name} {direction} {abs(depth_mm):.0f} mm"
    for at, text, anchor in (
        ((4, middle), plane.at_left, "lm"),
        ((tile.width - 4, middle), plane.at_right, "rm"),
        ((4, tile.height - 4), caption, "lb"),
    ):
        write(pen, at, text, _LETTER_PX, WHITE, anchor)


def _draw_legend(pen: ImageDraw.ImageDraw, present: Sequence[Label], top: int, width: int) -> None:
    for index, item in enumerate(present):
        row, column = divmod(index, _LEGEND_COLUMNS)
        left = _GAP_PX + column * (width // _LEGEND_COLUMNS)
        y = top + row * _LEGEND_ROW_PX
        pen.rectangle((left, y + 3, left + 12, y + 15), fill=item.color_rgb)
        write(pen, (left + 18, y + 1), item.meaning, _TEXT_PX)
