"""Dropping results into a folder, such as a mounted share, for whoever looks for them there.

A file appears under its name when it is whole and on disk, never before. What stands there under
the name is never overwritten: the same content is a success, another is for a person to look at.
What is missing, full or forbidden passes or is mended by a person, so it is tried again.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from secondread.delivery.object_names import is_uid, read_names
from secondread.domain.drop_folder import DropFolder, Layout
from secondread.errors import PeerRefusedError, PeerUnreachableError
from secondread.store.durability import sync_folder

_CHUNK_BYTES = 1024**2
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})
_GONE = frozenset(
    {errno.ENOENT, errno.ENOTCONN, errno.ESTALE, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENODEV}
)
# What a file system says to link(2) without hard links, or to renameat2(2) without its flags.
_CANNOT = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}
)
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
# What some network file systems say to fsync(2) of a folder.
_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF})


def drop(path: Path, target: DropFolder) -> Path:
    """Put a DICOM file into the folder; returns where it is, relative to the folder.

    Raises:
        PeerUnreachableError: the folder is not there, is full, or may not be written; try again.
        PeerRefusedError: another content stands under the name, or the file is not there any more.
    """
    names = read_names(path)
    relative = Path(f"{names.sop_instance_uid}.dcm")
    if target.layout is Layout.STUDY:
        relative = Path(names.study_instance_uid, names.series_instance_uid, relative)
    with _sentences(target):
        _check_there(target)
        place = target.folder / relative
        _make_folders(place.parent, target)
        partial = place.with_name(f".{place.name}.part")
        done = False
        try:
            if not _stands(place):
                _copy(path, partial, target.file_mode)
                done = _publish(partial, place)
        finally:
            with suppress(OSError):
                partial.unlink()
        done = done or _is_same(path, place)
        # Also of a file that stood there: who wrote it may have died before.
        _sync(place.parent)
    if not done:
        raise PeerRefusedError(
            f"In {target.shown} another file stands under the name of the object; it is not "
            "overwritten. Move it away, and retry."
        )
    return relative


def mark_done(target: DropFolder, study_uid: str, dropped: Sequence[Path]) -> Path:
    """Write ``<study>.done`` for whoever looks for it: a line for each file that is there.

    One from before is replaced as a whole. Returns where it is, relative to the folder.

    Raises:
        PeerUnreachableError: the folder is not there, is full, or may not be written; try again.
        ValueError: the UID is none.
    """
    if not is_uid(study_uid):
        raise ValueError("not a UID")
    relative = Path(f"{study_uid}.done")
    content = "".join(f"{line}\n" for line in sorted(path.as_posix() for path in set(dropped)))
    with _sentences(target):
        _check_there(target)
        partial = target.folder / f".{relative}.part"
        with _open_new(partial, target.file_mode) as file:
            file.write(content.encode("ascii"))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target.folder / relative)
        _sync(target.folder)
    return relative


def check_folder(target: DropFolder) -> None:
    """Look whether the folder is there and files can be made in it.

    Raises:
        PeerUnreachableError: not for now.
    """
    with _sentences(target):
        _check_there(target)
        partial = target.folder / f".{secrets.token_hex(8)}.part"
        try:
            _open_new(partial, target.file_mode).close()
        finally:
            with suppress(OSError):
                partial.unlink()


def _check_there(target: DropFolder) -> None:
    if not target.folder.is_dir():
        raise PeerUnreachableError(
            f"{target.shown[:1].upper()}{target.shown[1:]} is not there: mount the share, or "
            "correct 'folder'."
        )
    if target.marker and not (target.folder / target.marker).is_file():
        raise PeerUnreachableError(
            f"The file '{target.marker}' is not in {target.shown}: the share is not mounted, or "
            "somebody has removed the file. Mount it, or put the file back."
        )


def _make_folders(folder: Path, target: DropFolder) -> None:
    """Those below the target's own, made durable from the top."""
    relative = folder.relative_to(target.folder)
    above = target.folder
    for part in relative.parts:
        below = above / part
        with suppress(FileExistsError):
            below.mkdir(mode=0o700)
            # Who may read a file may enter the folders above it.
            with suppress(PermissionError):  # some shares have permissions of their own
                below.chmod(target.file_mode | (target.file_mode & 0o444) >> 2 | 0o300)
            _sync(above)
        above = below


def _stands(place: Path) -> bool:
    return os.path.lexists(place)


def _copy(source: Path, partial: Path, mode: int) -> None:
    """The whole content, on disk."""
    try:
        reading = source.open("rb")
    except OSError:
        raise PeerRefusedError(
            "The result file is not on disk any more; retry the study."
        ) from None
    with reading, _open_new(partial, mode) as writing:
        while content := reading.read(_CHUNK_BYTES):
            writing.write(content)
        writing.flush()
        os.fsync(writing.fileno())


def _open_new(path: Path, mode: int) -> BinaryIO:
    """For writing; what a try before left behind is replaced, and no link is followed."""
    with suppress(FileNotFoundError):
        path.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    with suppress(PermissionError):
        os.fchmod(descriptor, mode)
    return os.fdopen(descriptor, "wb")


def _publish(partial: Path, place: Path) -> bool:
    """Give a file its name; False where the name is taken, for who comes second loses."""
    for give in (os.link, _rename_to_new):
        try:
            give(partial, place)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
        else:
            return True
    # Between the look and the rename another could come; this system knows no better.
    if _stands(place):
        return False
    partial.rename(place)
    return True


def _rename_to_new(partial: Path, place: Path) -> None:
    """renameat2(2) with RENAME_NOREPLACE, which CIFS and FAT know.

    Raises:
        OSError: it is not done.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    old, new = os.fsencode(partial), os.fsencode(place)
    if library.renameat2(_AT_FDCWD, old, _AT_FDCWD, new, _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _sync(folder: Path) -> None:
    """Wait until the names in a folder are on disk, where the file system can say so."""
    try:
        sync_folder(folder)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def _is_same(one: Path, other: Path) -> bool:
    try:
        with one.open("rb") as first, other.open("rb") as second:
            if os.fstat(first.fileno()).st_size != os.fstat(second.fileno()).st_size:
                return False
            while content := first.read(_CHUNK_BYTES):
                if content != second.read(_CHUNK_BYTES):
                    return False
    except IsADirectoryError:
        return False
    return True


@contextmanager
def _sentences(target: DropFolder) -> Iterator[None]:
    """What the system says of the folder, as sentences."""
    try:
        yield
    except OSError as error:
        raise PeerUnreachableError(_sentence(error, target)) from None


def _sentence(error: OSError, target: DropFolder) -> str:
    start = f"{target.shown[:1].upper()}{target.shown[1:]}"
    if error.errno in _FULL:
        return f"{start} has no space left: make room there, and delivery goes on by itself."
    if error.errno in _FORBIDDEN:
        return f"{start} may not be written by the user that runs the node: give it the right."
    if error.errno == errno.EROFS:
        return f"{start} is mounted for reading only: mount it for writing."
    if error.errno in _GONE:
        return f"{start} has gone while it was written: mount the share again."
    return f"{start} cannot be written ({error.strerror or 'no reason is given'})."
