"""The tables of a configuration, each checked against its schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_origin

from pydantic import BaseModel, ValidationError

from secondread.config.condition_error import ConditionError
from secondread.config.faults import Fault, nearest, type_sentence, unknown_key
from secondread.config.positions import KeyPath
from secondread.config.schema import NESTED, ROW_KEY, ROWS, SECTIONS
from secondread.config.source import PREFIX, Override, Source

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Tables:
    """What could be read of each table; a table with a fault is None, but keeps its place."""

    sections: Mapping[str, BaseModel | None]
    rows: Mapping[str, tuple[BaseModel | None, ...]]
    faults: tuple[Fault, ...]


def read_tables(source: Source) -> Tables:
    """Check every table on its own, so that one run tells everything that is wrong."""
    faults = list(_unknown_tables(source))
    changes, override_faults = _converted(source.overrides)
    faults += override_faults
    sections: dict[str, BaseModel | None] = {}
    for name, schema in SECTIONS.items():
        table = source.raw.get(name, {})
        if not isinstance(table, dict):
            faults.append(_fault(source, (name,), f"'{name}' must be a table: write [{name}]."))
            sections[name] = None
            continue
        merged = {**table, **changes.get(name, {})}
        sections[name] = _checked(source, (name,), schema, merged, faults)
    rows: dict[str, tuple[BaseModel | None, ...]] = {}
    for name, schema in ROWS.items():
        listed = source.raw.get(name, [])
        if not isinstance(listed, list):
            faults.append(
                _fault(
                    source, (name,), f"There can be several {name}: write [[{name}]], not [{name}]."
                )
            )
            listed = []
        rows[name] = tuple(
            _checked(source, (name, index), schema, row, faults) for index, row in enumerate(listed)
        )
    return Tables(sections, rows, tuple(faults))


def title(path: KeyPath, row: object = None) -> str:
    """How a table is called in a sentence: ``[dicom]`` or ``[[peers]] 'ct1'``."""
    name = str(path[0])
    if name in SECTIONS:
        return f"[{name}]"
    key = ROW_KEY[name]
    said = row.get(key) if isinstance(row, dict) else None
    number = path[1] if len(path) > 1 and isinstance(path[1], int) else 0
    return (
        f"[[{name}]] '{said}'"
        if isinstance(said, str) and said
        else f"[[{name}]] number {number + 1}"
    )


def place(source: Source, path: KeyPath) -> str:
    """Where a value stands: its variable if one overrides it, else its line."""
    for override in source.overrides:
        if path[:2] == (override.section, override.key):
            return override.variable
    line = source.positions.line_of(path)
    return f"line {line}" if line else ""


def _fault(source: Source, path: KeyPath, sentence: str) -> Fault:
    return Fault(place(source, path), sentence)


def _checked(
    source: Source, path: KeyPath, schema: type[Model], table: object, faults: list[Fault]
) -> Model | None:
    try:
        return schema.model_validate(table)
    except ValidationError as error:
        faults.extend(_told(source, path, schema, table, error))
        return None


def _told(
    source: Source, path: KeyPath, schema: type[BaseModel], table: object, error: ValidationError
) -> Iterator[Fault]:
    for detail in error.errors():
        where = (*path, *detail["loc"])
        wrong = detail.get("ctx", {}).get("error")
        if isinstance(wrong, ConditionError):
            name, _ = _named(path, schema, table, detail["loc"])
            yield _fault(source, (*where, *wrong.path), f"{name}: {wrong}")
            continue
        if not detail["loc"]:
            yield _fault(source, path, f"{title(path, table)} {type_sentence(detail)}.")
            continue
        name, within = _named(path, schema, table, detail["loc"][:-1])
        key = detail["loc"][-1]
        if detail["type"] == "extra_forbidden":
            elsewhere = _keys_elsewhere(str(path[0]))
            yield _fault(source, where, unknown_key(str(key), name, within.model_fields, elsewhere))
        elif detail["type"] == "missing":
            yield _fault(source, where[:-1], f"{name} lacks the key '{key}'.")
        else:
            name, key = _holder(path, schema, table, detail["loc"])
            yield _fault(source, where, f"'{key}' in {name} {type_sentence(detail)}.")


def _holder(
    path: KeyPath, schema: type[BaseModel], table: object, inside: KeyPath
) -> tuple[str, str]:
    """The table that a faulty value stands in, as it is called, and the value's key in it."""
    last = max(at for at, step in enumerate(inside) if isinstance(step, str))
    return _named(path, schema, table, inside[:last])[0], str(inside[last])


def _named(
    path: KeyPath, schema: type[BaseModel], table: object, inside: KeyPath
) -> tuple[str, type[BaseModel]]:
    """How the table around a value is called, and its schema; ``inside`` is its path in a row."""
    name = title(path, table)
    found, steps, number = schema, [str(path[0])], ""
    for step in inside:
        if isinstance(step, int):
            number = f" number {step + 1}"
        elif nested := NESTED.get(_nested_name([*steps, step])):
            found, number = nested, ""
            steps.append(step)
    if len(steps) == 1:
        return name, found
    said = f"[[{'.'.join(steps)}]]{number}" if number else f"[{'.'.join(steps)}]"
    return f"{said} of {name.removeprefix(f'[[{path[0]}]] ')}", found


def _nested_name(steps: Sequence[str]) -> str:
    """The name of a nested table in the schema, which has that of wanted series once."""
    return ".".join(steps).replace("peers.complete.series", "rules.complete.series")


def _keys_elsewhere(table: str) -> dict[str, str]:
    return {
        key: f"[{name}]"
        for name, schema in SECTIONS.items()
        if name != table
        for key in schema.model_fields
    }


def _unknown_tables(source: Source) -> Iterator[Fault]:
    known = [*SECTIONS, *ROWS]
    elsewhere = _keys_elsewhere("")
    for name, value in source.raw.items():
        if name in known:
            continue
        if isinstance(value, dict | list):
            sentence = f"Unknown section '{name}'; {nearest(name, known)}"
        else:
            sentence = unknown_key(name, "the top of the file", known, elsewhere)
        yield _fault(source, (name,), sentence)


def _converted(
    overrides: tuple[Override, ...],
) -> tuple[dict[str, dict[str, Any]], list[Fault]]:
    changes: dict[str, dict[str, Any]] = {}
    faults = []
    for override in overrides:
        schema = SECTIONS.get(override.section)
        if schema is None:
            sentence = (
                f"The environment can override only {', '.join(f'[{name}]' for name in SECTIONS)}."
            )
            faults.append(Fault(override.variable, sentence))
        elif override.key not in schema.model_fields:
            sentence = unknown_key(override.key, f"[{override.section}]", schema.model_fields, {})
            faults.append(Fault(override.variable, sentence))
        else:
            kind = schema.model_fields[override.key].annotation
            changes.setdefault(override.section, {})[override.key] = _typed(override.text, kind)
    return changes, faults


def variable(section: str, key: str) -> str:
    """The environment variable that overrides a scalar."""
    return f"{PREFIX}{section}__{key}".upper()


def _typed(text: str, kind: object) -> object:
    """The text as the kind of the setting; what does not fit is left for the schema to refuse."""
    try:
        if kind is int:
            return int(text)
        if kind is float:
            return float(text)
    except ValueError:
        return text
    if get_origin(kind) is list:
        return text.replace(",", " ").split()
    return text
