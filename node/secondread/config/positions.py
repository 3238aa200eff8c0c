"""On which line of a TOML file each key stands; the standard library's parser does not tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

KeyPath = tuple[str | int, ...]

_TOKEN = re.compile(r"\"\"\"|'''|\"(?:\\.|[^\"\\])*\"|'[^']*'|[\[\]{}]|#.*")
_PART = re.compile(r"\s*(?:\"((?:\\.|[^\"\\])*)\"|'([^']*)'|([A-Za-z0-9_-]+))\s*(\.?)")


@dataclass(frozen=True, slots=True)
class Positions:
    """Lines by path; ``("peers", 1, "ae_title")`` is a key of the second ``[[peers]]``."""

    lines: Mapping[KeyPath, int]

    def line_of(self, path: KeyPath) -> int | None:
        """The 1-based line of a path, or of the nearest table around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None


@dataclass(slots=True)
class _OpenValue:
    """Follows a value that may go on over several lines."""

    depth: int = 0
    quote: str = ""
    _closing: dict[str, re.Pattern[str]] = field(
        default_factory=lambda: {
            '"""': re.compile(r'(?:\\.|[^"\\]|"(?!""))*"""'),
            "'''": re.compile(r"(?:[^']|'(?!''))*'''"),
        }
    )

    @property
    def is_open(self) -> bool:
        return bool(self.depth or self.quote)

    def feed(self, text: str) -> None:
        at = 0
        while at < len(text):
            if self.quote:
                end = self._closing[self.quote].match(text, at)
                if end is None:
                    return
                self.quote, at = "", end.end()
                continue
            token = _TOKEN.search(text, at)
            if token is None:
                return
            at = token.end()
            sign = token.group()
            if sign in self._closing:
                self.quote = sign
            elif sign in "[{":
                self.depth += 1
            elif sign in "]}":
                self.depth -= 1


def locate(text: str) -> Positions:
    """Find the keys of a document that is already known to be valid TOML.

    Keys inside inline tables have no line of their own; they count with the key that holds them.
    """
    lines: dict[KeyPath, int] = {}
    rows: dict[KeyPath, int] = {}
    prefix: KeyPath = ()
    value = _OpenValue()
    for number, line in enumerate(text.splitlines(), start=1):
        if value.is_open:
            value.feed(line)
            continue
        content = line.strip()
        if not content or content.startswith("#"):
            continue
        if content.startswith("[["):
            name, _ = _split_key(content[2:])
            rows[name] = rows.get(name, -1) + 1
            prefix = (*name, rows[name])
            lines.setdefault(name, number)
            lines[prefix] = number
        elif content.startswith("["):
            prefix, _ = _split_key(content[1:])
            lines.setdefault(prefix, number)
        else:
            name, rest = _split_key(content)
            lines[(*prefix, *name)] = number
            value.feed(rest)
    return Positions(lines)


def _split_key(text: str) -> tuple[KeyPath, str]:
    """The parts of a dotted key, and what follows it."""
    parts: list[str] = []
    at = 0
    while match := _PART.match(text, at):
        parts.append(next(group for group in match.groups()[:3] if group is not None))
        at = match.end()
        if not match.group(4):
            break
    return tuple(parts), text[at:]
