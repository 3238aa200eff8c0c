"""The data folder: there, private, on a local disk, with space, and durable."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from secondread.cli.probes.finding import Finding, failure, warning, well
from secondread.config.settings import GIB, Settings

_REMOTE = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "glusterfs", "ceph"}
)
_SLOW_SYNC_S = 0.5
_SYNC_BYTES = 64 * 1024
_COMFORT = 4


def probe_disk(settings: Settings) -> Iterator[Finding]:
    """Everything about the data folder."""
    folder = settings.data_dir
    if not folder.exists():
        yield _absent(folder)
        folder = _nearest_parent(folder)
        yield probe_space(folder, settings.minimum_free_bytes)
        return
    if not folder.is_dir():
        yield failure("data folder", f"'{folder}' is not a folder.", "Correct data_dir in [node].")
        return
    yield probe_privacy(folder)
    yield probe_file_system(folder)
    yield probe_space(folder, settings.minimum_free_bytes)
    yield probe_sync(folder)


def _nearest_parent(folder: Path) -> Path:
    return next(parent for parent in folder.parents if parent.exists())


def _absent(folder: Path) -> Finding:
    parent = _nearest_parent(folder)
    if os.access(parent, os.W_OK | os.X_OK):
        return well("data folder", f"'{folder}' is not there yet; the node makes it.")
    return failure(
        "data folder",
        f"'{folder}' is not there, and this user may not make it in '{parent}'.",
        f"As root: install -d -m 700 -o <user of the node> '{folder}'.",
    )


def probe_privacy(folder: Path) -> Finding:
    """Only the node's user may look: images of patients lie there."""
    subject = "permissions"
    found = folder.stat()
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return failure(
            subject,
            f"This user may not write to '{folder}'.",
            "Run the doctor as the user that runs the node, or give it the folder: chown.",
        )
    if found.st_uid != os.geteuid():
        return warning(
            subject,
            f"'{folder}' belongs to another user (uid {found.st_uid}).",
            "Run the doctor and the node as the same user.",
        )
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return warning(
            subject,
            f"Others than the node's user can look into '{folder}'.",
            f"chmod 700 '{folder}'",
        )
    return well(subject, f"'{folder}' is for this user only.")


def probe_file_system(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> Finding:
    """SQLite's WAL needs shared memory between processes, which network file systems lack."""
    subject = "file system"
    kind = _file_system(folder, mounts)
    if kind in _REMOTE:
        return failure(
            subject,
            f"'{folder}' is on a network file system ({kind}), where the ledger is not safe.",
            "Move data_dir to a local disk.",
        )
    return well(subject, f"'{folder}' is on a local file system ({kind or 'of unknown kind'}).")


def _file_system(folder: Path, mounts: Path) -> str:
    """The kind of the mount that a folder lies in; empty where the system does not tell."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    real = folder.resolve()
    best, kind = -1, ""
    for line in lines:
        _, point, found, *_ = line.split(" ")
        mount = Path(point.replace("\\040", " "))
        if real.is_relative_to(mount) and len(mount.parts) >= best:
            best, kind = len(mount.parts), found
    return kind


def probe_space(folder: Path, minimum_bytes: int) -> Finding:
    """Free space, against the amount below which the node takes no more objects."""
    subject = "space"
    free = shutil.disk_usage(folder).free
    told = f"{free / GIB:.1f} GiB free at '{folder}'"
    floor = f"the node stops taking objects below {minimum_bytes / GIB:.1f} GiB"
    if free < minimum_bytes:
        return failure(subject, f"{told}; {floor}.", "Make space, or move data_dir.")
    if free < _COMFORT * minimum_bytes:
        return warning(subject, f"{told}; {floor}.", "Make space soon.")
    return well(subject, f"{told}.")


def probe_sync(folder: Path) -> Finding:
    """Write a file, wait until it is on disk, read it back."""
    subject = "durable writes"
    path = folder / f".doctor-{secrets.token_hex(8)}"
    content = secrets.token_bytes(_SYNC_BYTES)
    started = time.monotonic()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(handle, content)
            os.fsync(handle)
        finally:
            os.close(handle)
        sound = path.read_bytes() == content
    except OSError as error:
        return failure(
            subject,
            f"A file cannot be written to '{folder}': {error.strerror}.",
            "Check the disk, its quota and the permissions.",
        )
    finally:
        path.unlink(missing_ok=True)
    seconds = time.monotonic() - started
    if not sound:
        return failure(subject, f"'{folder}' gives back other bytes.", "Replace the disk.")
    told = f"fsync of 64 KiB takes {seconds * 1000:.0f} ms"
    if seconds > _SLOW_SYNC_S:
        return warning(
            subject, f"{told}, so scanners will wait.", "Use a faster or less busy disk."
        )
    return well(subject, f"{told}.")
