"""Text in pixels for which there is no rule, as far as Tesseract reads it.

The program is asked through pipes: pixels that may show a name go into no temporary file.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from secondread.deid.profile.pixels import Box, PixelShape, planes
from secondread.errors import ExportRefusedError, UsageError

PROGRAM = "tesseract"
_TIMEOUT_S = 120.0
_SPARSE_TEXT = "11"
_WORD_LEVEL = "5"
_COLUMNS = 12
_CONFIDENCE_MIN = 20.0
_SCALE = 3
_SCALED_PX_MAX = 4096
_MARGIN = 0.35
"""Of a word's height, on each side: what is read ends before the ink does."""


def require_program() -> None:
    """Say so before anything is written where the program is not there.

    Raises:
        UsageError: with the package that brings it.
    """
    if shutil.which(PROGRAM) is None:
        raise UsageError(
            f"The option 'find-text' needs the program {PROGRAM}, which is not installed: install "
            "the package tesseract-ocr, or leave the option out."
        )


def find_text(value: bytes, shape: PixelShape) -> tuple[Box, ...]:
    """Where words are in any frame of native pixel data; one box for each word.

    Raises:
        ExportRefusedError: the program failed, so that nobody knows.
    """
    frames = planes(np.frombuffer(value, np.uint8)[: shape.size_bytes], shape)
    found: dict[Box, None] = {}
    for frame in frames:
        grey = _grey(frame, shape)
        scale = max(1, min(_SCALE, _SCALED_PX_MAX // max(grey.shape)))
        # Scanners write white on black, and the program is at its best with black on white.
        for picture in (255 - grey, grey):
            for box in _words(_read(picture, scale), scale, grey.shape):
                found[box] = None
    return tuple(found)


def _grey(frame: npt.NDArray[np.generic], shape: PixelShape) -> npt.NDArray[np.uint8]:
    """``(row, column)``; of colours the brightest sample, of YBR the first."""
    samples = frame[:1] if shape.photometric.startswith("YBR") else frame
    brightest = samples.max(axis=0).astype(np.float64)
    low, high = float(brightest.min()), float(brightest.max())
    grey: npt.NDArray[np.uint8] = ((brightest - low) * (255 / max(high - low, 1.0))).astype(
        np.uint8
    )
    return grey


def _read(picture: npt.NDArray[np.uint8], scale: int) -> str:
    """What the program says of a picture, as its table of tab-separated values."""
    image = Image.fromarray(picture)
    large = image.resize((image.width * scale, image.height * scale), Image.Resampling.BICUBIC)
    content = io.BytesIO()
    large.save(content, "PNG", compress_level=1)
    command = [PROGRAM, "stdin", "stdout", "--psm", _SPARSE_TEXT, "tsv"]
    try:
        done = subprocess.run(
            command, input=content.getvalue(), capture_output=True, timeout=_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        raise ExportRefusedError(
            f"The program {PROGRAM} could not look for text in an object's pixels, so nobody knows "
            "whether there is any. Run 'tesseract --list-langs' to see whether it works, or leave "
            "the option 'find-text' out."
        ) from None
    return done.stdout.decode("utf-8", "replace")


def _words(table: str, scale: int, size: tuple[int, ...]) -> Iterator[Box]:
    """The boxes of its words, with a margin, in pixels of the object."""
    rows, columns = size
    for line in table.splitlines():
        cells = line.split("\t")
        if len(cells) < _COLUMNS or cells[0] != _WORD_LEVEL or float(cells[10]) < _CONFIDENCE_MIN:
            continue
        if not any(sign.isalnum() for sign in cells[11]):
            continue
        left, top, width, height = (int(cell) / scale for cell in cells[6:10])
        margin = max(2.0, height * _MARGIN)
        first_column, first_row = max(0, int(left - margin)), max(0, int(top - margin))
        last_column = min(columns, int(np.ceil(left + width + margin)))
        last_row = min(rows, int(np.ceil(top + height + margin)))
        yield first_column, first_row, last_column - first_column, last_row - first_row
