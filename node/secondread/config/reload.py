"""A configuration that changes while the node runs: what is new, and what of it applies at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType

from secondread.config.load import load
from secondread.config.settings import Settings
from secondread.errors import ConfigurationError

LIVE = frozenset({"peers", "crosswalk_key_file", "crosswalk_credential", "exports"})
"""Fields of ``Settings`` whose changes apply while the node runs, or that commands alone use."""

PLACES: Mapping[str, str] = MappingProxyType(
    {
        "ae_title": "ae_title in [node]",
        "data_dir": "data_dir in [node]",
        "uid_root": "uid_root in [node]",
        "minimum_free_bytes": "minimum_free_gib in [node]",
        "host": "host in [dicom]",
        "port": "port in [dicom]",
        "max_associations": "max_associations in [dicom]",
        "max_waiting": "max_waiting in [dicom]",
        "association_timeout_s": "association_timeout_s in [dicom]",
        "pdu_timeout_s": "pdu_timeout_s in [dicom]",
        "request_timeout_s": "request_timeout_s in [dicom]",
        "max_object_bytes": "max_object_mib in [dicom]",
        "max_inflated_bytes": "max_inflated_mib in [dicom]",
        "sop_classes": "sop_classes in [dicom]",
        "extra_sop_classes": "extra_sop_classes in [dicom]",
        "tls": "[tls]",
        "peers": "[[peers]]",
        "destinations": "[[destinations]]",
        "rules": "[[rules]]",
        "models": "[[models]]",
        "packages": "[packages]",
        "listeners": "[[notify]]",
        "worklists": "[[worklists]]",
        "slots": "slots in [inference]",
        "device": "device in [inference]",
        "threads_per_slot": "threads in [inference]",
        "retention": "[retention]",
        "monitoring": "[monitoring]",
        "crosswalk_key_file": "key_file in [deid]",
        "crosswalk_credential": "key_credential in [deid]",
        "exports": "[[exports]]",
        "log_level": "level in [log]",
        "log_format": "format in [log]",
    }
)
"""Where the administrator finds each field of ``Settings``."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a changed file means for the node that runs.

    Attributes:
        settings: those that hold from now on; with a fault, those that held before.
        fault: what is wrong with the file, in sentences; '' where nothing is.
        changed: fields of ``Settings`` that differ from the file as it was before.
        live: those of them that apply now.
        restart: fields that differ from those that the node was started with and wait for a
            restart, whenever they were changed.
        added: names of new peers.
        removed: names of peers that are gone.
        altered: names of peers that are there still, but changed.
    """

    settings: Settings
    fault: str = ""
    changed: tuple[str, ...] = ()
    live: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What to tell the administrator, in sentences."""
        if self.fault:
            return f"The configuration was changed but is not used: {self.fault}"
        said = []
        for word, names in (
            ("New", self.added),
            ("Removed", self.removed),
            ("Changed", self.altered),
        ):
            if names:
                said.append(f"{word} in [[peers]]: {', '.join(names)}.")
        if self.restart:
            places = ", ".join(PLACES[name] for name in self.restart)
            said.append(f"Restart the node for: {places}.")
        return " ".join(said) or "The configuration is as it was."


@dataclass(frozen=True, slots=True)
class _FileState:
    """What tells that a file has changed, without reading it."""

    modified_ns: int
    size_bytes: int
    inode: int


_NEVER = _FileState(-1, -1, -1)


class Watch:
    """Looks whether the configuration file has changed; for a timer, once a second.

    A file is read when it looks the same in two checks, so that one that is just being written is
    left alone: the half of a file, or none of it yet, can be a valid configuration without peers.
    A faulty file is looked at again in every check, because what is wrong may lie outside it.
    """

    def __init__(
        self, path: Path, settings: Settings, environment: Mapping[str, str] = os.environ
    ) -> None:
        self._path = path
        self._environment = environment
        self._started = settings
        self._settings = settings
        self._fault = ""
        self._seen = _look(path)
        # Nobody knows whether the file is still the one that the settings were read from.
        self._read: _FileState | None = _NEVER

    def check(self) -> Change | None:
        """What is new since the last check; None where nothing is, or it is not known yet."""
        state = _look(self._path)
        if state != self._seen:
            self._seen = state
            return None
        if state == self._read and not self._fault:
            return None
        if state is None:
            self._read = None
            return self._failed(f"'{self._path}' is gone. Put it back; the node goes on as it was.")
        try:
            settings = load(self._path, self._environment)
        except ConfigurationError as error:
            self._read = state
            return self._failed(str(error))
        if _look(self._path) != state:
            return None
        self._read = state
        return self._accepted(settings)

    def _failed(self, fault: str) -> Change | None:
        if fault == self._fault:
            return None
        self._fault = fault
        return Change(self._settings, fault)

    def _accepted(self, settings: Settings) -> Change | None:
        before, self._settings = self._settings, settings
        was_faulty, self._fault = bool(self._fault), ""
        changed = _different(before, settings)
        if not changed and not was_faulty:
            return None
        old = {peer.name: peer for peer in before.peers}
        new = {peer.name: peer for peer in settings.peers}
        return Change(
            settings=settings,
            changed=changed,
            live=tuple(name for name in changed if name in LIVE),
            restart=tuple(name for name in _different(self._started, settings) if name not in LIVE),
            added=_sorted(new.keys() - old.keys()),
            removed=_sorted(old.keys() - new.keys()),
            altered=_sorted(name for name in old.keys() & new.keys() if old[name] != new[name]),
        )


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names))


def _different(before: Settings, after: Settings) -> tuple[str, ...]:
    names = (field.name for field in fields(Settings) if field.name in PLACES)
    return tuple(name for name in names if getattr(before, name) != getattr(after, name))


def _look(path: Path) -> _FileState | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return _FileState(found.st_mtime_ns, found.st_size, found.st_ino)
