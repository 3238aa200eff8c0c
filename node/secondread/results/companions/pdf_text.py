"""Text on the pages of a PDF: which font has which letters.

Latin letters are in Helvetica, one of the 14 fonts that every reader of PDF has. Chinese, Japanese
and Korean ones are in Droid Sans Fallback where the node's system has it, and what a page needs of
that is in its file. Else they are in Adobe's fonts, which are not: a reader takes what its system
has, and shows blanks where that is nothing.
"""

from __future__ import annotations

from functools import lru_cache
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from secondread.results.wording import plain

LATIN, LATIN_BOLD = "Helvetica", "Helvetica-Bold"
_LATIN_CODEC = "cp1252"
EMBEDDED = "DroidSansFallback"
_EMBEDDED_FILES = (
    Path("/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf"),
    Path("/usr/share/fonts-droid-fallback/truetype/DroidSansFallback.ttf"),
)
_FONTS = (
    ("STSong-Light", "gbk"),
    ("HeiseiMin-W3", "shift_jis"),
    ("HYSMyeongJo-Medium", "euc_kr"),
)
"""Fonts of PDF 1.7 annex D and of the Asian font packs, with a codec of about the same letters."""


def mark_up(text: str, *, bold: bool = False) -> str:
    """``text`` for a paragraph, each run in a font that has its letters; what none has is ``?``."""
    runs = []
    for font, signs in groupby(_spell(text), key=_choose):
        run = escape("".join(signs))
        if font in {LATIN, ""}:
            runs.append(f"<b>{run}</b>" if bold else run)
        else:
            runs.append(f'<font name="{font}">{run}</font>')
    return "".join(runs)


def prepare_library() -> None:
    """Tell reportlab of the fonts, and to write bytes; doing it again changes nothing.

    Pixels as ASCII, which is its habit, are a quarter larger and take most of the time.
    """
    from reportlab import rl_config
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.pdfbase.pdfmetrics import getRegisteredFontNames, registerFont

    rl_config.useA85 = 0
    known = set(getRegisteredFontNames())
    for name, _ in _FONTS:
        if name not in known:
            registerFont(UnicodeCIDFont(name))
    embedded = _load_embedded()
    if embedded is not None and EMBEDDED not in known:
        registerFont(embedded)


@lru_cache(1)
def _load_embedded() -> Any:
    """The font that goes into the file, or None where this system has none."""
    from reportlab.pdfbase.ttfonts import TTFError, TTFont

    for path in _EMBEDDED_FILES:
        try:
            return TTFont(EMBEDDED, str(path))
        except (OSError, TTFError):
            continue
    return None


def _spell(text: str) -> str:
    """``text`` with what no font has replaced by its nearest ASCII."""
    flat = " ".join(text.split())
    return "".join(sign if _choose(sign) else plain(sign) or "?" for sign in flat)


def _choose(sign: str) -> str:
    if _can_encode(sign, _LATIN_CODEC):
        return LATIN
    embedded = _load_embedded()
    if embedded is not None and sign.isprintable() and ord(sign) in embedded.face.charToGlyph:
        return EMBEDDED
    return next((font for font, codec in _FONTS if _can_encode(sign, codec)), "")


def _can_encode(sign: str, codec: str) -> bool:
    try:
        sign.encode(codec)
    except UnicodeEncodeError:
        return False
    return sign.isprintable()
