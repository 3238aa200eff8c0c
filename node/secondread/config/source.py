"""What the operator said: the file, and the environment variables that override it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secondread.config.positions import Positions, locate
from secondread.errors import ConfigurationError

VARIABLE = "SECONDREAD_CONFIG"
PREFIX = "SECONDREAD_"
FILE_NAME = "secondread.toml"
SYSTEM_PATH = Path("/etc/secondread") / FILE_NAME


@dataclass(frozen=True, slots=True)
class Override:
    """A scalar that an environment variable such as ``SECONDREAD_DICOM__PORT`` sets."""

    variable: str
    section: str
    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """A configuration as it was found, unchecked."""

    path: Path
    raw: Mapping[str, Any]
    positions: Positions
    overrides: tuple[Override, ...]


def find_path(path: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """The file to read: ``path``, ``$SECONDREAD_CONFIG``, ``./secondread.toml``, then ``/etc``.

    Raises:
        ConfigurationError: there is none of them; a file that is named but absent is not skipped.
    """
    named = path or (Path(environment[VARIABLE]) if environment.get(VARIABLE) else None)
    if named is not None:
        if named.is_file():
            return named.absolute()
        said = "--config" if path else f"${VARIABLE}"
        raise ConfigurationError(
            f"There is no configuration file '{named}', which {said} names. "
            f"Write one with: secondread config init '{named}'."
        )
    for candidate in (Path.cwd() / FILE_NAME, SYSTEM_PATH):
        if candidate.is_file():
            return candidate
    raise ConfigurationError(
        f"There is no configuration file: neither ./{FILE_NAME} nor {SYSTEM_PATH} is there, and "
        f"neither --config nor ${VARIABLE} names one. Write one with: secondread config init."
    )


def resolved(folder: Path, text: str) -> Path:
    """An absolute path; a relative one counts from the folder of the configuration file."""
    return Path(os.path.normpath(folder / Path(text).expanduser()))


def read_source(path: Path | None, environment: Mapping[str, str] = os.environ) -> Source:
    """Read the file and the environment.

    Raises:
        ConfigurationError: there is no file, it cannot be read, or it is not TOML.
    """
    found = find_path(path, environment)
    try:
        text = found.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError(
            f"The configuration '{found}' cannot be read: {error.strerror}."
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"The configuration '{found}' is not UTF-8 text.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"The configuration '{found}' is not valid TOML: {error}."
        ) from None
    return Source(found, raw, locate(text), _overrides(environment))


def _overrides(environment: Mapping[str, str]) -> tuple[Override, ...]:
    found = []
    for variable, text in sorted(environment.items()):
        section, mark, key = variable.removeprefix(PREFIX).partition("__")
        if variable.startswith(PREFIX) and mark:
            found.append(Override(variable, section.lower(), key.lower(), text))
    return tuple(found)
