"""Where each value of the configuration came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from secondread.config.load import examine
from secondread.config.positions import KeyPath
from secondread.config.schema import NESTED, ROW_KEY, ROWS, SECTIONS
from secondread.config.settings import Settings
from secondread.config.source import Source
from secondread.errors import ConfigurationError

HIDDEN = "(set)"
_SECRET = frozenset({"passcode_hash"})
"""Keys whose values are told only to be there: a hash can be tried out at leisure."""
_RECORDS = {"notify": "listeners"}
"""Fields of ``Settings`` that are called otherwise than their table."""


@dataclass(frozen=True, slots=True)
class Explained:
    """One value; ``key`` reads like ``dicom.port`` or ``peers.ct1.ae_title``.

    ``origin`` is ``default``, ``secondread.toml:12`` or the name of an environment variable.
    """

    key: str
    value: Any
    origin: str


def explain(path: Path | None = None) -> tuple[Settings, tuple[Explained, ...]]:
    """The settings and every value of the file's tables, in the order of the schema.

    Raises:
        ConfigurationError: there is no configuration, or anything is wrong with it.
    """
    examined = examine(path)
    if examined.settings is None:
        raise ConfigurationError(
            f"The configuration '{examined.source.path}' has faults; see: secondread config check."
        )
    source = examined.source
    return examined.settings, (*_scalars(source), *_rows(source, examined.settings))


def _scalars(source: Source) -> Iterator[Explained]:
    overrides = {(entry.section, entry.key): entry for entry in source.overrides}
    for section, schema in SECTIONS.items():
        table = source.raw.get(section, {})
        for key, field in schema.model_fields.items():
            name = f"{section}.{key}"
            override = overrides.get((section, key))
            if override is not None:
                yield Explained(name, override.text, override.variable)
            elif key in table:
                yield Explained(name, table[key], _origin(source, (section, key)))
            else:
                value = field.get_default(call_default_factory=True)
                yield Explained(name, value, "default")


def _rows(source: Source, settings: Settings) -> Iterator[Explained]:
    for table, schema in ROWS.items():
        for index, row in enumerate(source.raw.get(table, [])):
            place = _Place(source, f"{table}.{row[ROW_KEY[table]]}", (table, index))
            records = getattr(settings, _RECORDS.get(table, table))
            yield from _table(place, schema, row, records[index])


@dataclass(frozen=True, slots=True)
class _Place:
    source: Source
    name: str
    path: KeyPath


def _table(
    place: _Place, schema: type[BaseModel], row: Mapping[str, Any], record: object
) -> Iterator[Explained]:
    """The values of one row; ``record`` knows those whose default depends on other settings."""
    for key, field in schema.model_fields.items():
        name, path = f"{place.name}.{key}", (*place.path, key)
        default = field.get_default(call_default_factory=True)
        nested = NESTED.get(f"{path[0]}.{key}")
        if nested is not None and (key in row or default is not None):
            inner = _Place(place.source, name, path)
            yield from _table(inner, nested, row.get(key, {}), None)
        elif key in row:
            value = HIDDEN if key in _SECRET and row[key] else row[key]
            yield Explained(name, value, _origin(place.source, path))
        elif default is not None:
            yield Explained(name, default, "default")
        elif record is not None and nested is None:
            yield Explained(name, getattr(record, key), "default")


def _origin(source: Source, path: KeyPath) -> str:
    line = source.positions.line_of(path)
    return f"{source.path.name}:{line}" if line else source.path.name
