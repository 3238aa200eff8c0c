"""Text of our own in character sets of other people."""

from __future__ import annotations

import unicodedata

_SIGNS = str.maketrans(
    {
        "…": "...",
        "–": "-",
        "—": "-",
        "‘": "'",
        "’": "'",
        "“": '"',
        "”": '"',
        "×": "x",
        "≤": "<=",
        "≥": ">=",
        "°": " degrees",
        "→": "->",
        "\\": "/",
        "ß": "ss",
        "\u00a0": " ",
    }
)


def plain(text: str, length: int = 0) -> str:
    """``text`` in printable ASCII on one line, which every Specific Character Set can hold.

    A result carries its source's Specific Character Set, because the patient's name is in it; a
    sentence of ours must not depend on which one that is (PS3.3 C.12.1.1.2). A backslash would
    part values (PS3.5 6.2). ``length`` cuts; 0 does not.
    """
    flat = unicodedata.normalize("NFKD", " ".join(text.split()).translate(_SIGNS))
    ascii_only = "".join(sign for sign in flat if not unicodedata.combining(sign))
    printable = "".join(sign if " " <= sign <= "~" else "?" for sign in ascii_only)
    return (printable[:length] if length else printable).strip()
