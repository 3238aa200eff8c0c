"""What is wrong with a configuration, in sentences."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from secondread.errors import ConfigurationError

_ALIKE = 0.5


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, and where: ``line 12`` or a variable's name, or empty."""

    where: str
    sentence: str

    def __str__(self) -> str:
        """The sentence, with its place before it."""
        return f"{self.where}: {self.sentence}" if self.where else self.sentence


def faults_error(path: object, faults: Sequence[Fault]) -> ConfigurationError:
    """One error that tells all faults, a line for each."""
    count = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
    lines = "\n".join(f"  {fault}" for fault in faults)
    return ConfigurationError(f"The configuration '{path}' has {count}:\n{lines}")


def unknown_key(key: str, table: str, known: Iterable[str], elsewhere: Mapping[str, str]) -> str:
    """A sentence about a key that does not exist, naming the one that was probably meant.

    ``elsewhere`` maps the keys of other tables to the table they belong to.
    """
    names = list(known)
    if key in elsewhere and key not in names:
        return f"Unknown key '{key}' in {table}; it belongs in {elsewhere[key]}."
    return f"Unknown key '{key}' in {table}; {nearest(key, names)}"


def unknown_name(kind: str, name: str, said_by: str, known: Iterable[str]) -> str:
    """A sentence about a reference to something that is not configured."""
    names = list(known)
    hint = nearest(name, names) if names else f"there is no [[{kind}]] at all."
    return f"{said_by} names '{name}', which is not among the [[{kind}]]; {hint}"


def nearest(name: str, known: Sequence[str]) -> str:
    """``did you mean …?`` or, where nothing is alike, what there is."""
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=_ALIKE)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"there are: {', '.join(sorted(known))}."


def type_sentence(error: Mapping[str, Any]) -> str:
    """What pydantic found wrong with one value, as the end of a sentence about that value."""
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    match kind:
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return f"must be {context['expected']}, not {_shown(value)}"
        case "greater_than_equal":
            return f"must be at least {context['ge']:g}, not {_shown(value)}"
        case "less_than_equal":
            return f"must be at most {context['le']:g}, not {_shown(value)}"
        case "too_short":
            return "must not be empty"
    wanted = {
        "int_type": "a whole number",
        "int_parsing": "a whole number",
        "float_type": "a number",
        "finite_number": "a finite number",
        "string_type": "a text in quotes",
        "bool_type": "true or false",
        "list_type": "a list, in [ ]",
        "model_type": "a table",
    }.get(kind)
    if wanted:
        return f"must be {wanted}, not {_shown(value)}"
    return f"is not valid: {error['msg']}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text '{value}'"
    if isinstance(value, dict):
        return "a table"
    return str(value)
