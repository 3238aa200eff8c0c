"""Text on pictures, with the font that Pillow brings: Latin letters, no Chinese ones."""

from __future__ import annotations

from functools import cache

from PIL import ImageDraw, ImageFont

from secondread.results.wording import plain

Colour = tuple[int, int, int]
BLACK: Colour = (0, 0, 0)
WHITE: Colour = (235, 235, 235)
GREY: Colour = (165, 165, 165)
AMBER: Colour = (255, 176, 0)
RED: Colour = (150, 30, 30)

_CUT = "..."
_LETTERS = ("L", "R"), ("P", "A"), ("H", "F")
"""Along and against each axis of the patient frame (PS3.3 C.7.6.1.1.1)."""


@cache
def find_font(size_px: int) -> ImageFont.FreeTypeFont:
    """The one font there is, in a size."""
    font = ImageFont.load_default(size=size_px)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def fit(text: str, size_px: int, width_px: float) -> str:
    """``text`` in ASCII, cut where it is wider than ``width_px``."""
    font, whole = find_font(size_px), plain(text)
    if font.getlength(whole) <= width_px:
        return whole
    kept = whole
    while kept and font.getlength(kept.rstrip() + _CUT) > width_px:
        kept = kept[:-1]
    return kept.rstrip() + _CUT


def wrap(text: str, size_px: int, width_px: float, lines_max: int) -> list[str]:
    """``text`` in ASCII in lines of at most ``width_px``; the last one is cut."""
    font = find_font(size_px)
    lines: list[str] = []
    words = plain(text).split()
    while words and len(lines) < lines_max:
        taken = 1
        while taken < len(words) and font.getlength(" ".join(words[: taken + 1])) <= width_px:
            taken += 1
        if len(lines) == lines_max - 1:
            taken = len(words)
        lines.append(fit(" ".join(words[:taken]), size_px, width_px))
        words = words[taken:]
    return lines


def write(
    pen: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    size_px: int,
    fill: Colour = WHITE,
    anchor: str = "la",
) -> None:
    """Write ASCII with a dark rim, which keeps it readable on a bright place of an image.

    ``anchor`` is Pillow's.
    """
    pen.text(
        at,
        plain(text),
        fill=fill,
        font=find_font(size_px),
        anchor=anchor,
        stroke_width=1,
        stroke_fill=BLACK,
    )


def name_direction(vector: tuple[float, float, float]) -> str:
    """The letter of the axis of the patient that a direction in LPS follows most."""
    axis = max(range(3), key=lambda at: abs(vector[at]))
    return _LETTERS[axis][0 if vector[axis] > 0 else 1]
