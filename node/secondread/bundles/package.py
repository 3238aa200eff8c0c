"""A model package as files: what a worker needs to know of it, and whether a byte has changed."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from secondread.bundles.entry import EntryFault
from secondread.errors import ManifestError

MANIFEST_NAME = "model.toml"
_MANIFEST_BYTES_MAX = 4 * 1024**2
_SECTIONS = {
    *("model", "input", "runtime", "preprocessing", "envelope"),
    *("output", "files", "labels", "upstream"),
}
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Verifiable(Protocol):
    """Whatever names the files of a package."""

    @property
    def id(self) -> str:
        """Of the model."""

    @property
    def folder(self) -> Path:
        """Where the files lie."""

    @property
    def files(self) -> Mapping[str, str]:
        """Name and sha256 of every file but ``model.toml``."""


@dataclass(frozen=True, slots=True)
class Package:
    """A ``model.toml`` that was read, and of which only what concerns its files was looked at.

    Attributes:
        runtime: which kind of runtime it asks for.
        files: name and sha256 of every other file.
        digest: sha256 over ``model.toml``, which itself names the digest of every other file.
        raw: the parsed file.
    """

    id: str
    runtime: str
    files: Mapping[str, str]
    folder: Path
    digest: str
    raw: Mapping[str, Any]

    @property
    def path(self) -> Path:
        """The file that was read."""
        return self.folder / MANIFEST_NAME


def read_package(folder: Path) -> Package:
    """Read ``model.toml``.

    Raises:
        ManifestError: it is absent, not TOML, has unknown sections, or does not say which files and
            which runtime it needs.
    """
    path = folder / MANIFEST_NAME
    try:
        # A pipe or a device of that name would never end.
        if path.exists() and not path.is_file():
            raise ManifestError(f"'{path}' is no plain file.")
        with path.open("rb") as file:
            content = file.read(_MANIFEST_BYTES_MAX + 1)
        if len(content) > _MANIFEST_BYTES_MAX:
            raise ManifestError(
                f"'{path}' has more than {_MANIFEST_BYTES_MAX // 1024**2} MiB; no manifest does."
            )
        raw = tomllib.loads(content.decode("utf-8"))
    except FileNotFoundError:
        raise ManifestError(f"There is no {MANIFEST_NAME} in '{folder}'.") from None
    except OSError as error:
        raise ManifestError(f"'{path}' cannot be read: {error.strerror}.") from None
    except RecursionError:
        raise ManifestError(f"'{path}' is not valid TOML: it is nested too deep.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"'{path}' is not valid TOML: {error}.") from None
    if unknown := set(raw) - _SECTIONS:
        raise ManifestError(f"'{path}' has unknown sections: {', '.join(sorted(unknown))}.")
    with faults_of(path):
        return Package(
            id=str(raw["model"]["id"]),
            runtime=str(raw["runtime"]["kind"]),
            files=_files(raw["files"]),
            folder=folder,
            digest=digest_of(content),
            raw=raw,
        )


def _files(rows: object) -> Mapping[str, str]:
    """Read ``[files]``; that no name leads out of the folder is for ``verify`` to say."""
    if not isinstance(rows, dict):
        raise EntryFault("[files]", "is not a table")
    for name, digest in rows.items():
        if not name.isprintable():
            raise EntryFault("[files]", f"names a file {name!r}, which is no name")
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise EntryFault(
                "[files]", f"gives '{name}' a sha256 that is not 64 hexadecimal digits"
            )
    return rows


def digest_of(content: bytes) -> str:
    """What a package is known by: sha256 over the bytes of its ``model.toml``."""
    return hashlib.sha256(content).hexdigest()


@contextmanager
def faults_of(path: Path) -> Iterator[None]:
    """Say of which file a value is absent or of the wrong kind."""
    try:
        yield
    except EntryFault as fault:
        raise ManifestError(f"{fault.where} of '{path}' {fault.what}.") from None
    except KeyError as error:
        raise ManifestError(f"'{path}' lacks the key {error}.") from None
    except (ArithmeticError, AttributeError, IndexError, TypeError, ValueError) as error:
        raise ManifestError(f"'{path}' has a value of the wrong kind: {error}.") from None


def verify(package: Verifiable) -> None:
    """Compare every file that the package names with its digest.

    Raises:
        ManifestError: a file is absent, lies outside the folder, or a byte of it has changed.
    """
    for name, expected in package.files.items():
        absent = ManifestError(f"Model '{package.id}' lacks its file '{name}'.")
        try:
            path = (package.folder / name).resolve()
        except (OSError, RuntimeError):
            # Links in a circle.
            raise absent from None
        if not path.is_relative_to(package.folder.resolve()):
            raise ManifestError(f"Model '{package.id}' names a file outside its folder: '{name}'.")
        try:
            # A pipe or a device would never end.
            if not path.is_file():
                raise absent
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            raise absent from None
        if found != expected:
            raise ManifestError(
                f"File '{name}' of model '{package.id}' has changed: sha256 is {found[:12]}…, "
                f"the manifest says {expected[:12]}…. Reinstall the model."
            )
