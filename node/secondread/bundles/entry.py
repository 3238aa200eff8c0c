"""One table of ``model.toml``: its keys are all accounted for, and faults say where they are."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from secondread.domain.code import Code

_ID = re.compile(r"[a-z][a-z0-9_]{0,63}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_CODE_PARTS = 3
_PAIR = 2
# PS3.5 6.2: SH for value and scheme, LO for the meaning.
_CODE_LENGTHS = (16, 16, 64)
_MEANING_MAX = 64


class EntryFault(Exception):  # noqa: N818 - the error is the ManifestError that it becomes
    """Something is wrong with an entry; ``faults_of`` says in which file.

    Attributes:
        where: the entry, such as ``[[labels]] 3``.
        what: a predicate, such as ``lacks the key 'name'``.
    """

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where} {what}")
        self.where, self.what = where, what


class Entry:
    """One table; every method raises ``EntryFault`` where a value is not what it should be."""

    def __init__(self, where: str, row: object, keys: Collection[str]) -> None:
        """Args: keys: all that it may have."""
        self.where = where
        if not isinstance(row, dict):
            raise self.fault("is not a table")
        if unknown := sorted(set(row) - set(keys)):
            raise self.fault(f"has unknown keys: {', '.join(unknown)}")
        self._row: Mapping[str, Any] = row

    def fault(self, what: str) -> EntryFault:
        """The fault, to be raised."""
        return EntryFault(self.where, what)

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self._row

    def value(self, key: str) -> Any:
        """Whatever stands there."""
        if key not in self._row:
            raise self.fault(f"lacks the key '{key}'")
        return self._row[key]

    def text(self, key: str, default: str | None = None) -> str:
        """A text that is not empty; ``default`` where the key is absent."""
        if default is not None and not self.has(key):
            return default
        value = self.value(key)
        if not isinstance(value, str) or not value.strip():
            raise self.fault(f"has a {key} that is no text")
        return value

    def one_of(self, key: str, choices: Sequence[str], default: str | None = None) -> str:
        """One of several texts."""
        value = self.text(key, default)
        if value not in choices and value != default:
            raise self.fault(f"has the {key} '{value}'; it is one of {', '.join(choices)}")
        return value

    def name(self, key: str = "id") -> str:
        """A name by which the model calls something: small letters, digits and underscores."""
        value = self.text(key)
        if not _ID.fullmatch(value):
            raise self.fault(
                f"has the {key} '{value}'; it begins with a letter and has small letters, digits "
                "and underscores, 64 at most"
            )
        return value

    def switch(self, key: str) -> bool:
        """True or false; false where the key is absent."""
        value = self._row.get(key, False)
        if not isinstance(value, bool):
            raise self.fault(f"has a {key} that is neither true nor false")
        return value

    def whole(self, key: str) -> int:
        """A whole number."""
        value = self.value(key)
        if type(value) is not int:
            raise self.fault(f"has a {key} that is no whole number")
        return value

    def number(self, key: str) -> float:
        """A finite number."""
        return self._finite(self.value(key), key)

    def number_if_any(self, key: str) -> float | None:
        """A finite number; None where the key is absent."""
        return self.number(key) if self.has(key) else None

    def pair(self, key: str) -> tuple[float, float]:
        """A lower and a higher number."""
        value = self.value(key)
        if not isinstance(value, list) or len(value) != _PAIR:
            raise self.fault(f"has a {key} that is not [low, high]")
        low, high = (self._finite(part, key) for part in value)
        if low >= high:
            raise self.fault(
                f"has a {key} whose low end {low:g} is not below its high end {high:g}"
            )
        return low, high

    def code(self, key: str) -> Code:
        """A coded concept, ``[value, scheme, meaning]``."""
        return self._code(self.value(key), key)

    def codes(self, key: str) -> tuple[Code, ...]:
        """Any number of coded concepts; none where the key is absent."""
        rows = self._row.get(key, [])
        if not isinstance(rows, list):
            raise self.fault(f"has {key} that are no list of codes")
        return tuple(self._code(row, key) for row in rows)

    def unit(self, key: str = "unit") -> Code:
        """A unit, of UCUM (PS3.16 CID 82)."""
        unit = self.code(key)
        if unit.scheme != "UCUM":
            raise self.fault(f"has a {key} of the scheme '{unit.scheme}'; it has to be of UCUM")
        return unit

    def coded_values(self, key: str) -> dict[str, Code]:
        """A table of names and codes, at least one."""
        rows = self.value(key)
        if not isinstance(rows, dict) or not rows:
            raise self.fault(f"has {key} that are no table of names and codes")
        for name in rows:
            if not _ID.fullmatch(name):
                raise self.fault(f"has {key} with the name '{name}', which is no name")
        return {name: self._code(row, f"{key}.{name}") for name, row in rows.items()}

    def meanings(self) -> dict[str, str]:
        """Texts by language (RFC 5646), of 64 characters at most (PS3.5 6.2, LO)."""
        rows = self._row.get("meanings", {})
        if not isinstance(rows, dict):
            raise self.fault("has meanings that are no table of languages")
        for language, text in rows.items():
            if not _LANGUAGE.fullmatch(language):
                raise self.fault(f"has meanings in '{language}', which is no language (RFC 5646)")
            self._check_word(text, _MEANING_MAX, f"meanings.{language}")
        return dict(rows)

    def _code(self, value: object, key: str) -> Code:
        if not isinstance(value, list) or len(value) != _CODE_PARTS:
            raise self.fault(f"has a {key} that is not [value, scheme, meaning]")
        for part, length_max in zip(value, _CODE_LENGTHS, strict=True):
            self._check_word(part, length_max, key)
        return Code(*value)

    def _check_word(self, word: object, length_max: int, key: str) -> None:
        if not isinstance(word, str) or not word.strip() or not word.isprintable():
            raise self.fault(f"has a {key} that is no text")
        if len(word) > length_max or "\\" in word:
            raise self.fault(
                f"has a {key} that DICOM cannot hold: '{word}' has more than {length_max} "
                "characters or a backslash"
            )

    def _finite(self, value: object, key: str) -> float:
        if type(value) not in {int, float} or not math.isfinite(value):  # type: ignore[arg-type]
            raise self.fault(f"has a {key} that is no finite number")
        return float(value)  # type: ignore[arg-type]
