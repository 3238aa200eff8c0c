"""Syncing in groups, and one by one once the disk has failed."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from secondread.store.durability import Durability


class Disk:
    """Counts the ways of syncing; ``syncfs`` fails as often as it is told."""

    def __init__(self) -> None:
        self.groups = 0
        self.files: list[int] = []
        self.failures = 0

    def syncfs(self, _descriptor: int) -> int:
        self.groups += 1
        if not self.failures:
            return 0
        self.failures -= 1
        ctypes.set_errno(errno.EIO)
        return -1

    def fsync(self, descriptor: int) -> None:
        self.files.append(descriptor)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr(os, "fsync", made.fsync)
    return made


@pytest.fixture
def durability(tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Durability]:
    made = Durability(tmp_path)
    monkeypatch.setattr(made, "_library", SimpleNamespace(syncfs=disk.syncfs))
    monkeypatch.setattr(made, "_file_is_enough", True)
    yield made
    made.close()


def test_few_files_are_synced_one_by_one_and_more_in_a_group(
    durability: Durability, disk: Disk
) -> None:
    durability.sync([10, 11], ["a"])
    assert (disk.files, disk.groups) == ([10, 11], 0)
    durability.sync([12, 13, 14], ["a"])
    assert (disk.files, disk.groups) == ([10, 11], 1)


def test_after_a_failed_group_every_file_is_asked_itself(
    durability: Durability, disk: Disk
) -> None:
    disk.failures = 1
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        durability.sync([1, 2, 3], ["a"])
    # What failed then may have been theirs, and the file system says so to one caller alone.
    durability.sync([4, 5, 6], ["a"])
    durability.sync([7, 8, 9], ["a"])
    assert (disk.files, disk.groups) == ([4, 5, 6, 7, 8, 9], 1)
