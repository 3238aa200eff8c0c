"""On which line of a TOML file each value stands; the standard library's parser does not tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

KeyPath = tuple[str | int, ...]

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_PART = re.compile(r"[ \t]*(?:\"((?:\\.|[^\"\\])*)\"|'([^']*)'|([A-Za-z0-9_-]+))[ \t]*(\.?)")
_STRING = re.compile(
    r'"""(?:\\[\s\S]|[^"\\]|"(?!""))*"""(?:""|"(?!"))?'
    r"|'''(?:[^']|'(?!''))*'''(?:''|'(?!'))?"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'"
)
_SCALAR = re.compile(r"[^,\]}\n#]+")


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


def locate(text: str) -> Positions:
    """Find the values of a document that is already known to be valid TOML.

    Keys have the line of their name; items of a list have the line on which they begin.
    """
    scan = _Scan(text)
    scan.document()
    return Positions(scan.lines)


@dataclass(slots=True)
class _Scan:
    text: str
    lines: dict[KeyPath, int] = field(default_factory=dict)
    at: int = 0
    _rows: dict[KeyPath, int] = field(default_factory=dict)
    _line: int = 1
    _counted: int = 0

    def document(self) -> None:
        prefix: KeyPath = ()
        self._skip()
        while self.at < len(self.text):
            if self.text.startswith("[[", self.at):
                prefix = self._header(2)
            elif self.text[self.at] == "[":
                prefix = self._header(1)
            else:
                self._pair(prefix)
            self._skip()

    def _header(self, brackets: int) -> KeyPath:
        line = self._line_here()
        self.at += brackets
        *around, last = self._key()
        self.at = self.text.index("]", self.at) + brackets
        path: KeyPath = ()
        for part in around:
            path = self._within((*path, part))
        path = (*path, last)
        self.lines.setdefault(path, line)
        if brackets == 1:
            return path
        self._rows[path] = self._rows.get(path, -1) + 1
        path = self._within(path)
        self.lines[path] = line
        return path

    def _within(self, path: KeyPath) -> KeyPath:
        """The table that a header's name means: of several rows, the last one."""
        return (*path, self._rows[path]) if path in self._rows else path

    def _pair(self, prefix: KeyPath) -> None:
        line = self._line_here()
        path = (*prefix, *self._key())
        self.lines[path] = line
        self.at = self.text.index("=", self.at) + 1
        self._skip()
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        sign = self.text[self.at]
        if sign == "[":
            self._list(path)
        elif sign == "{":
            self._inline(path)
        else:
            match = (_STRING if sign in "\"'" else _SCALAR).match(self.text, self.at)
            assert match is not None
            self.at = match.end()

    def _list(self, path: KeyPath) -> None:
        self.at += 1
        index = 0
        while not self._closes("]"):
            self.lines[(*path, index)] = self._line_here()
            self._value((*path, index))
            index += 1

    def _inline(self, path: KeyPath) -> None:
        self.at += 1
        while not self._closes("}"):
            self._pair(path)

    def _closes(self, bracket: str) -> bool:
        self._skip()
        if self.text[self.at] == ",":
            self.at += 1
            self._skip()
        if self.text[self.at] != bracket:
            return False
        self.at += 1
        return True

    def _key(self) -> tuple[str, ...]:
        """The parts of a dotted key."""
        parts: list[str] = []
        while match := _PART.match(self.text, self.at):
            parts.append(next(group for group in match.groups()[:3] if group is not None))
            self.at = match.end()
            if not match.group(4):
                break
        return tuple(parts)

    def _skip(self) -> None:
        match = _SPACE.match(self.text, self.at)
        assert match is not None
        self.at = match.end()

    def _line_here(self) -> int:
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        return self._line
