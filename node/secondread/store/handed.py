"""The folder in which objects that were fetched wait for intake, which alone writes to the spool.

::

    spool/handed/from-<source>/<hash>.dcm          whole and synced; intake may take it
    spool/handed/from-<source>/arrival-*.part      on its way

Whoever fetches puts a file there whole, under a name that tells nothing; intake stores what it
holds as if it had come over the network, and removes it when that is durable. So a crash at any
moment leaves an object in one of the two places or, for a moment, in both, and what is in both is
found to be the same object.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote

from secondread.store.durability import sync_folder

_FROM = "from-"
_SUFFIX = ".dcm"


class Handed:
    """The hand-over folder below a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.root = data_dir / "spool" / "handed"

    def folder_of(self, source: str) -> Path:
        """Where what comes from a source is put; made where it is not there."""
        folder = self.root / f"{_FROM}{quote(source, safe='')}"
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for path in (self.root, self.root.parent):
                sync_folder(path)
        return folder

    def put(self, source: str, path: Path, sop_instance_uid: str) -> None:
        """Hand a file over that lies in the folder of its source and is synced.

        Raises:
            OSError: it cannot be renamed, or that is not durable.
        """
        folder = self.folder_of(source)
        name = hashlib.sha256(sop_instance_uid.encode()).hexdigest()[:40]
        path.rename(folder / f"{name}{_SUFFIX}")
        sync_folder(folder)

    def waiting(self) -> Iterator[tuple[str, Path]]:
        """What waits, each with the name of its source."""
        if not self.root.is_dir():
            return
        for folder in sorted(self.root.glob(f"{_FROM}*")):
            source = unquote(folder.name.removeprefix(_FROM))
            for path in sorted(folder.glob(f"*{_SUFFIX}")):
                yield source, path

    def remove(self, path: Path) -> None:
        """Intake has it; a name that comes back after a power cut does no harm."""
        with suppress(FileNotFoundError):
            path.unlink()
