"""Changing the operator's configuration file: all of it or nothing, and nobody else's change lost.

A change is worked out on the file as it is at that moment, under a lock on its folder; the result
is checked as a whole before a byte is written, and replaces the file in one step (``rename``), with
the mode, owner and extended attributes of the old one. A symbolic link is followed, not replaced.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import shutil
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from secondread.config.blocks import Kind, RowChange, apply, block_of
from secondread.config.checks import cross_check
from secondread.config.faults import Fault
from secondread.config.load import load
from secondread.config.positions import locate
from secondread.config.settings import Settings
from secondread.config.source import find_path, read_source
from secondread.config.tables import read_tables
from secondread.errors import ConfigurationError

LOCK_PATIENCE_S = 10.0
_LOCK_PAUSE_S = 0.05

Plan = Callable[[Settings], Sequence[RowChange]]
"""What to change, worked out on the settings as the file has them at that moment."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A sound file that is about to be written, or was.

    Attributes:
        path: the file as the operator names it.
        before: the whole of it as it is.
        text: the whole of it after the change.
        blocks: the rows that were added or changed, as they stand in it.
        settings: what the file said before.
    """

    path: Path
    before: str
    text: str
    blocks: tuple[str, ...]
    settings: Settings

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        return self.text != self.before


def draft(path: Path | None, plan: Plan, environment: Mapping[str, str] = os.environ) -> Draft:
    """What the file would be after a change; nothing is written.

    Raises:
        ConfigurationError: the file is not sound now, or would not be then.
    """
    settings = load(path, environment)
    source = read_source(path, environment)
    before = _read(source.path)
    if tomllib.loads(before.replace("\r\n", "\n")) != source.raw:
        raise _overtaken(source.path)
    changes = plan(settings)
    text = _applied(before, changes)
    after = replace(source, raw=tomllib.loads(text), positions=locate(text))
    tables = read_tables(after)
    if faults := (*tables.faults, *cross_check(after, tables)):
        raise _refused(source.path, faults)
    blocks = tuple(
        block_of(text, change.table, _name_after(change))
        for change in changes
        if change.kind is not Kind.REMOVE
    )
    return Draft(source.path, before, text, blocks, settings)


def write(
    path: Path | None,
    plan: Plan,
    environment: Mapping[str, str] = os.environ,
    *,
    around: Callable[[Draft], AbstractContextManager[object]] = nullcontext,
) -> Draft:
    """Change the file; a running node takes it up by itself.

    ``around`` is entered before the file is replaced and left after it, under the lock, and only if
    there is something to replace: to record the change in the same breath.

    Raises:
        ConfigurationError: the file is not sound now, or would not be then; or another command
            held it too long.
        OSError: it cannot be written; it is as it was.
    """
    real = find_path(path, environment).resolve()
    with _locked(real):
        made = draft(path, plan, environment)
        if made.changed:
            with around(made):
                _replace(real, made)
    return made


def _applied(text: str, changes: Sequence[RowChange]) -> str:
    # A file with the line ends of Windows keeps them.
    windows = "\r\n" in text and "\n" not in text.replace("\r\n", "")
    if windows:
        text = text.replace("\r\n", "\n")
    for change in changes:
        text = apply(text, change)
    return text.replace("\n", "\r\n") if windows else text


def _name_after(change: RowChange) -> str:
    return str(change.values.get("name", change.name))


def _refused(path: Path, faults: Sequence[Fault]) -> ConfigurationError:
    """The faults without their lines, which are those of a file that nobody sees."""
    sentences = "\n".join(f"  {fault.sentence}" for fault in faults)
    return ConfigurationError(
        f"Nothing was written to '{path}', because it would not be sound:\n{sentences}"
    )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """The lock is on the folder: it leaves no file behind, and outlives the file's replacement."""
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + LOCK_PATIENCE_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ConfigurationError(
                        f"Another command has been changing '{path}' for {LOCK_PATIENCE_S:g} s; "
                        "nothing was written. Try again when it has ended."
                    ) from None
                time.sleep(_LOCK_PAUSE_S)
        yield
    finally:
        os.close(handle)


def _read(path: Path) -> str:
    return path.read_bytes().decode("utf-8")


def _overtaken(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"Somebody else has just changed '{path}', so nothing was written. Try again."
    )


def _replace(path: Path, made: Draft) -> None:
    """Write a new file beside the old one, and put it in its place when it is safe on disk."""
    new = path.with_name(f".{path.name}.new")
    try:
        # The folder may let this user replace a file which the file itself does not.
        os.close(os.open(path, os.O_WRONLY))
        new.unlink(missing_ok=True)  # left by a command that was killed; the lock is ours
        with new.open("x", encoding="utf-8", newline="") as file:
            _take_after(path, new)
            file.write(made.text)
            file.flush()
            os.fsync(file.fileno())
        if _read(path) != made.before:
            new.unlink()
            raise _overtaken(path)
        new.replace(path)
    except OSError as error:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        said = f"{error.strerror}; nothing was written"
        raise type(error)(error.errno, said, str(path)) from error
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _take_after(old: Path, new: Path) -> None:
    """Owner, mode, access list and label of the old file, but a time of its own."""
    was, now = old.stat(), new.stat()
    if (was.st_uid, was.st_gid) != (now.st_uid, now.st_gid):
        try:
            os.chown(new, was.st_uid, was.st_gid)
        except PermissionError:
            said = f"it belongs to {_user(was.st_uid)}, and would belong to somebody else then"
            raise PermissionError(errno.EPERM, said, str(old)) from None
    shutil.copystat(old, new)
    os.utime(new)


def _user(uid: int) -> str:
    try:
        return f"'{pwd.getpwuid(uid).pw_name}'"
    except KeyError:
        return f"user {uid}"
