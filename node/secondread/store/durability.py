"""Making sure that a power cut cannot take what was just written."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

# statfs(2): ext4, XFS, Btrfs. On these, fsync of a file also makes a rename of it durable, because
# the rename changed its inode in the same journal.
_RENAME_GOES_WITH_FSYNC = frozenset({0xEF53, 0x58465342, 0x9123683E})
_GROUP_FOR_SYNCFS = 3
_STATFS_BYTES = 256
_SYNC_FILE_RANGE_WRITE = 2


class Durability:
    """Syncs files that were renamed into a folder tree; one object for each tree.

    Three files and more are cheaper to sync with one ``syncfs`` than one by one, because the
    journal of the file system is written once. But it says that a write has failed to one caller
    alone, and the file may be one of the next group. After a failure files are synced one by one,
    each of which tells whoever had it open (errseq_t, Linux 4.16).
    """

    def __init__(self, folder: Path, *, enabled: bool = True) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)
        self._enabled = enabled
        self._root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self._file_is_enough = self._kind_of_file_system() in _RENAME_GOES_WITH_FSYNC
        self._in_groups = hasattr(self._library, "syncfs")

    def close(self) -> None:
        """Let the folder go."""
        os.close(self._root)

    def begin(self, descriptor: int, offset: int, size_bytes: int) -> None:
        """Have a part of a file written, without waiting, so that its sync has less to do."""
        if self._enabled and hasattr(self._library, "sync_file_range"):
            self._library.sync_file_range(
                descriptor,
                ctypes.c_int64(offset),
                ctypes.c_int64(size_bytes),
                _SYNC_FILE_RANGE_WRITE,
            )

    def sync(self, descriptors: Sequence[int], paths: Sequence[str]) -> None:
        """Wait until these open files, and their names in the folders of these paths, are on disk.

        Raises:
            OSError: at least one of them may not be; nothing is known about any.
        """
        if not self._enabled:
            return
        if self._in_groups and len(descriptors) >= _GROUP_FOR_SYNCFS:
            # Since Linux 5.8 syncfs reports write errors, as fsync does.
            if self._library.syncfs(self._root) != 0:
                self._in_groups = False
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
            return
        for descriptor in descriptors:
            os.fsync(descriptor)
        if not self._file_is_enough:
            for folder in {Path(path).parent for path in paths}:
                sync_folder(folder)

    def _kind_of_file_system(self) -> int:
        buffer = ctypes.create_string_buffer(_STATFS_BYTES)
        if not hasattr(self._library, "fstatfs") or self._library.fstatfs(self._root, buffer) != 0:
            return 0
        return ctypes.cast(buffer, ctypes.POINTER(ctypes.c_long)).contents.value & 0xFFFFFFFF


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file_system(folder: Path) -> None:
    """Wait until everything on the file system of a folder is on disk.

    Raises:
        OSError: some of it may not be.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "syncfs"):
        os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if library.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)
