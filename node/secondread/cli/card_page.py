"""A model's card as one HTML page that needs nothing else: its pictures are within it."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it.token import Token

_PICTURE_TYPES: Mapping[str, str] = MappingProxyType(
    {".png": "image/png", ".jpg": "image/jpeg", ".svg": "image/svg+xml"}
)
_PICTURE_BYTES_MAX = 8 * 1024 * 1024
_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 1rem/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; }}
td, th {{ border: 1px solid #bbb; padding: 0.2rem 0.6rem; text-align: left; }}
pre {{ background: #f4f4f4; padding: 0.6rem; overflow-x: auto; }}
img {{ max-width: 100%; }}
</style>
</head>
<body>
{body}</body>
</html>
"""


def write_page(card: str, folder: Path, title: str) -> str:
    """The card, which is Markdown, as HTML.

    Whatever HTML is in it is shown as text, for the card may be somebody else's. Pictures are taken
    from the package's folder; any other becomes its description, and nothing is ever fetched.
    """
    from markdown_it import MarkdownIt

    parser = MarkdownIt("js-default")
    tokens = parser.parse(card)
    for token in _within(tokens):
        if token.type == "image":
            _embed(token, folder)
    body = parser.renderer.render(tokens, parser.options, {})
    return _PAGE.format(title=html.escape(title), body=body)


def _within(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _within(token.children or [])


def _embed(token: Token, folder: Path) -> None:
    source = _picture(folder, str(token.attrGet("src") or ""))
    if source:
        token.attrSet("src", source)
        return
    token.type, token.tag, token.children = "text", "", None
    token.content = f"[picture: {token.content or 'without a description'}]"


def _picture(folder: Path, name: str) -> str:
    """A picture of the package as a data URL; '' where it has none of this name."""
    path = (folder / name).resolve()
    kind = _PICTURE_TYPES.get(path.suffix.lower())
    if kind is None or not path.is_relative_to(folder.resolve()) or not path.is_file():
        return ""
    if path.stat().st_size > _PICTURE_BYTES_MAX:
        return ""
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
