"""Slices with coloured outlines as Secondary Captures (PS3.3 A.8.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from pydicom.tag import Tag

from secondread.bundles.manifest import Label
from secondread.domain.form import Overlay
from secondread.results.analysis import Analysis
from secondread.results.companions.canvas import AMBER, GREY, fit, name_direction, write
from secondread.results.companions.companion import Companion
from secondread.results.companions.display import Display, read_displays
from secondread.results.companions.markers import Marker, list_markers
from secondread.results.companions.picture import find_outline, find_window
from secondread.results.companions.secondary import TRUE_COLOUR_CAPTURE_STORAGE, make_capture
from secondread.results.context import RESEARCH_NOTICE, SC, ResultContext
from secondread.results.document import Document, WholeDocument
from secondread.results.made import Made
from secondread.results.references import name_slices

FRAMES_MAX = 40
"""More slices than these are thinned evenly."""
LEGEND_MAX = 18
"""More structures than these on one slice are counted, not named."""
SIDE_MIN_PX, SIDE_MAX_PX = 512, 1024
"""The longer side of a slice's picture is brought between these, or text could not be read."""
_LINE_PX, _TEXT_PX, _EDGE_PX, _MARK_PX = 20, 15, 6, 7
_LEGEND_COLUMN_PX = 240
_FRAME_LABEL_VECTOR = Tag(0x0018, 0x2002)
_SHORT_STRING = 16


@dataclass(frozen=True, slots=True)
class Scale:
    """From a slice to its picture, whose pixels are square: the patient is never distorted."""

    width_px: int
    height_px: int

    def stretch(self, plane: npt.NDArray[np.uint8], how: Image.Resampling) -> npt.NDArray[np.uint8]:
        """A slice in the size of the picture."""
        if plane.shape == (self.height_px, self.width_px):
            return plane
        size = (self.width_px, self.height_px)
        return np.asarray(Image.fromarray(plane).resize(size, how))


@dataclass(frozen=True, slots=True)
class _Scene:
    context: ResultContext
    displays: Sequence[Display]
    names: Sequence[str]
    scale: Scale
    window: tuple[float, float]
    legend_lines: int
    colours: npt.NDArray[np.uint8]
    markers: Mapping[int, Sequence[Marker]]


def make_captures(context: ResultContext, analysis: Analysis, made: Made) -> tuple[Document, ...]:
    """One multi-frame object, where the form asks for it and something was found.

    Its frames are the slices as they were acquired, each with the outlines and the names of what is
    on it; text is below the slice, but for the letters of the directions.
    """
    if context.form.overlay is not Overlay.SECONDARY_CAPTURE:
        return ()
    output = context.manifest.output
    markers = list_markers(analysis.answer.places, output.places, len(analysis.labels))
    with_structures = np.flatnonzero(analysis.labels.any(axis=(1, 2))).tolist()
    worth = sorted({*with_structures, *markers})
    if not worth:
        return ()
    count = min(len(worth), FRAMES_MAX)
    chosen = [worth[at] for at in np.linspace(0, len(worth) - 1, count).round().astype(int)]
    scene = _set_scene(context, analysis, chosen, markers)
    frames = np.stack([_draw(scene, analysis.labels[index], index) for index in chosen])
    thinned = f" {count} of the {len(worth)} slices." if count < len(worth) else ""
    capture = make_capture(
        context,
        Companion(SC, TRUE_COLOUR_CAPTURE_STORAGE, "OT", "slices with outlines"),
        frames,
        [context.analysed.sources[index] for index in chosen],
        f"Slices with the outlines of what was found.{thinned}",
    )
    capture.NumberOfFrames = count
    capture.FrameIncrementPointer = _FRAME_LABEL_VECTOR
    capture.FrameLabelVector = [scene.names[index][:_SHORT_STRING] for index in chosen]
    return (WholeDocument(SC, SC, capture),)


def fit_picture(size: tuple[int, int], spacing_mm: tuple[float, float]) -> Scale:
    """The size of a slice's picture; a slice of square pixels and usual size keeps its own.

    Args:
        size: rows and columns.
        spacing_mm: between rows, and between columns.
    """
    (rows, columns), (row_mm, column_mm) = size, spacing_mm
    finest = min(row_mm, column_mm)
    height, width = rows * row_mm / finest, columns * column_mm / finest
    longer = max(height, width)
    factor = min(max(longer, SIDE_MIN_PX), SIDE_MAX_PX) / longer
    return Scale(max(1, round(width * factor)), max(1, round(height * factor)))


def _set_scene(
    context: ResultContext,
    analysis: Analysis,
    chosen: Sequence[int],
    markers: Mapping[int, Sequence[Marker]],
) -> _Scene:
    volume = context.analysed
    _, row_mm, column_mm = volume.spacing_mm
    _, rows, columns = volume.voxels.shape
    scale = fit_picture((rows, columns), (row_mm, column_mm))
    colours = np.zeros((256, 3), np.uint8)
    for label in context.manifest.labels:
        colours[label.value] = label.color_rgb
    most = max(len(np.unique(analysis.labels[index])) for index in chosen)
    in_a_line = max(1, scale.width_px // _LEGEND_COLUMN_PX)
    return _Scene(
        context,
        read_displays(volume, context.sources),
        name_slices(volume, context.sources),
        scale,
        find_window(volume),
        -(-min(most, LEGEND_MAX + 1) // in_a_line),
        colours,
        markers,
    )


def _draw(scene: _Scene, plane: npt.NDArray[np.uint8], index: int) -> npt.NDArray[np.uint8]:
    """One frame: the slice with its outlines above, what it is below."""
    scale = scene.scale
    grey = scale.stretch(_shade(scene, index), Image.Resampling.BILINEAR)
    pixels = np.repeat(grey[..., None], 3, axis=-1)
    names = scale.stretch(plane, Image.Resampling.NEAREST)
    outline = find_outline(names)
    pixels[outline] = scene.colours[names[outline]]
    height = scale.height_px + _LINE_PX * (2 + scene.legend_lines) + 3 * _EDGE_PX
    sheet = Image.new("RGB", (scale.width_px, height))
    sheet.paste(Image.fromarray(pixels), (0, 0))
    pen = ImageDraw.Draw(sheet)
    for marker in scene.markers.get(index, ()):
        _mark(pen, scene, marker, plane.shape)
    _write_directions(pen, scene)
    present = set(np.unique(plane).tolist())
    structures = [label for label in scene.context.manifest.labels if label.value in present]
    _write_foot(pen, scene, structures, index)
    return np.asarray(sheet)


def _shade(scene: _Scene, index: int) -> npt.NDArray[np.uint8]:
    """The slice in its own window, or in one for the whole volume where it has none."""
    display = scene.displays[index]
    # The model may have seen the volume in another unit than the one that the window is in.
    is_own_unit = scene.context.manifest.input.units == "modality"
    low, high = (display.window if is_own_unit else None) or scene.window
    signal = scene.context.analysed.voxels[index].astype(np.float32)
    shade: npt.NDArray[np.uint8] = (np.clip((signal - low) / (high - low), 0, 1) * 255).astype(
        np.uint8
    )
    return np.invert(shade) if display.is_inverse else shade


def _mark(pen: ImageDraw.ImageDraw, scene: _Scene, marker: Marker, size: tuple[int, ...]) -> None:
    """A circle around a point, or a line; the name beside it."""
    wide, high = scene.scale.width_px / size[1], scene.scale.height_px / size[0]
    points = [(column * wide, row * high) for column, row in marker.points]
    if len(points) == 1:
        x, y = points[0]
        pen.ellipse((x - _MARK_PX, y - _MARK_PX, x + _MARK_PX, y + _MARK_PX), outline=AMBER)
    else:
        pen.line([*points, *(points[:1] if marker.is_closed else ())], fill=AMBER)
    x, y = max(points)
    is_room = x < scene.scale.width_px / 2
    at = (x + 2 * _MARK_PX, y) if is_room else (min(points)[0] - 2 * _MARK_PX, y)
    name = fit(marker.name, _TEXT_PX, scene.scale.width_px / 2 - 4 * _MARK_PX)
    write(pen, at, name, _TEXT_PX, AMBER, "lm" if is_room else "rm")


def _write_directions(pen: ImageDraw.ImageDraw, scene: _Scene) -> None:
    """Which side of the patient each edge is."""
    affine = scene.context.analysed.affine_lps
    down, right = affine[:3, 1], affine[:3, 2]
    width, height = scene.scale.width_px, scene.scale.height_px
    for vector, at, anchor in (
        (-right, (_EDGE_PX, height / 2), "lm"),
        (right, (width - _EDGE_PX, height / 2), "rm"),
        (-down, (width / 2, _EDGE_PX), "ma"),
        (down, (width / 2, height - _EDGE_PX), "md"),
    ):
        x, y, z = vector.tolist()
        write(pen, at, name_direction((x, y, z)), _TEXT_PX, AMBER, anchor)


def _write_foot(
    pen: ImageDraw.ImageDraw, scene: _Scene, structures: Sequence[Label], index: int
) -> None:
    width = scene.scale.width_px
    room = width - 2 * _EDGE_PX
    top = scene.scale.height_px + _EDGE_PX
    head = f"{scene.names[index]}   Outlines by {scene.context.model_title}"
    write(pen, (_EDGE_PX, top), fit(head, _TEXT_PX, room), _TEXT_PX)
    notice = RESEARCH_NOTICE if scene.context.is_research else "A picture, not for measuring."
    write(pen, (_EDGE_PX, top + _LINE_PX), fit(notice, _TEXT_PX, room), _TEXT_PX, AMBER)
    top += _LINE_PX * 2 + _EDGE_PX
    columns = max(1, width // _LEGEND_COLUMN_PX)
    step = room // columns
    for number, label in enumerate(structures[: LEGEND_MAX + 1]):
        row, column = divmod(number, columns)
        x, y = _EDGE_PX + column * step, top + row * _LINE_PX
        if number == LEGEND_MAX:
            write(pen, (x, y), f"and {len(structures) - LEGEND_MAX} more", _TEXT_PX, GREY)
            break
        pen.rectangle((x, y + 3, x + 11, y + 14), fill=label.color_rgb)
        write(pen, (x + 17, y), fit(label.meaning, _TEXT_PX, step - 25), _TEXT_PX)
