"""Files of objects that are being removed, told from those that were stored again meanwhile.

::

    spool/purging/<hash>.dcm     a second name of a stored object that is to go
    spool/purging.lock           held while a name among the objects is looked at and taken away

The name of a stored object is a function of its SOP Instance UID, so the same object sent again has
the same name as the file that is to go. Which of the two lies there is seen from the second name:
the old file has it, the new one has not. The second names are the list of what is left to do after
a crash, too.

An object is removed in this order: second name, mark in the ledger, name, second name.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from secondread.store.durability import sync_file_system, sync_folder

_OBJECTS = "spool/objects"
_AT_A_TIME = 64
_PRIVATE_MODE = 0o700


class Purging:
    """The folder of what is being removed; one process at a time removes, another may store.

    Args:
        data_dir: the node's data folder.
    """

    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir
        self._folder = data_dir / "spool" / "purging"
        self._lock_path = data_dir / "spool" / "purging.lock"

    def begin(self, paths: Collection[str]) -> None:
        """Give these stored objects a second name; a file that is not there is left out.

        Args:
            paths: relative to the data folder, as the ledger keeps them.

        Raises:
            OSError: the file system does not take a second name.
        """
        self._folder.mkdir(mode=_PRIVATE_MODE, exist_ok=True)
        for path in paths:
            second = self._second(path)
            # What an earlier attempt left may belong to a file that is not there any more.
            with suppress(FileNotFoundError):
                second.unlink()
            with suppress(FileNotFoundError):
                os.link(self._root / path, second)
        sync_folder(self._folder)

    def is_going(self, path: str) -> bool:
        """Whether the file that lies there is being removed."""
        try:
            there, second = (self._root / path).stat(), self._second(path).stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(there, second)

    def give_way(self, path: str) -> bool:
        """Take away a file that is being removed, because its object comes again.

        Returns:
            Whether the name is free now; False where a file lies there that stays.
        """
        # Asked for every object that comes twice: without the lock first.
        if not self.is_going(path):
            return False
        with self._locked():
            if self.is_going(path):
                (self._root / path).unlink()
        return True

    def left(self) -> tuple[str, ...]:
        """The paths of what is being removed, as the ledger keeps them."""
        if not self._folder.is_dir():
            return ()
        names = sorted(path.name for path in self._folder.iterdir())
        return tuple(f"{_OBJECTS}/{name[:2]}/{name}" for name in names)

    def finish(
        self, paths: Collection[str], marked: Callable[[Collection[str]], Collection[str]]
    ) -> int:
        """Remove what is marked as removed; what is not marked stays, or gets its name back.

        Args:
            paths: of objects that have a second name.
            marked: tells those of these paths whose rows are marked as removed.

        Returns:
            How many files were removed.
        """
        if not paths:
            return 0
        going = frozenset(marked(paths))
        count = 0
        for some in _portions(paths):
            with self._locked():
                count += sum(self._finish_one(path, path in going) for path in some)
        if count:
            # A power cut must not bring back a file that has no second name.
            sync_file_system(self._root)
        for path in paths:
            with suppress(FileNotFoundError):
                self._second(path).unlink()
        return count

    def _finish_one(self, path: str, goes: bool) -> bool:
        name, second = self._root / path, self._second(path)
        if goes:
            if not self.is_going(path):
                return False
            name.unlink()
            return True
        # A purge that was rolled back after its object had given way to one that never came.
        if not name.exists() and second.exists():
            os.link(second, name)
            sync_folder(name.parent)
        return False

    def _second(self, path: str) -> Path:
        return self._folder / Path(path).name

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock_path.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _portions(paths: Collection[str]) -> Iterator[tuple[str, ...]]:
    ordered = tuple(paths)
    for at in range(0, len(ordered), _AT_A_TIME):
        yield ordered[at : at + _AT_A_TIME]
