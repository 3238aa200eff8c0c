"""The spool: files that are either wholly there or not at all.

::

    spool/incoming/<number>            being written; discarded at a start
    spool/objects/<2 hex>/<hash>.dcm   stored objects, named by a hash of their SOP Instance UID
    spool/purging/<hash>.dcm           second names of stored objects that are being removed
    spool/quarantine/<random>.dcm      other content under a known UID; kept for a person
    work/<job key>/                    what a worker sees: arrays only
    results/<job key>/                 the DICOM objects that go out
    results/<job key>/<form>/          those in another form than the usual one
"""

from __future__ import annotations

import hashlib
import itertools
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from secondread.store.durability import sync_folder

_OBJECTS = "spool/objects"


class Spool:
    """The files below a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.root = data_dir
        self.incoming = data_dir / "spool" / "incoming"
        self.objects = data_dir / _OBJECTS
        self.quarantine = data_dir / "spool" / "quarantine"
        self.work = data_dir / "work"
        self.results = data_dir / "results"
        self._numbers = itertools.count()

    def prepare(self) -> None:
        """Make the folders; readable by nobody but the node."""
        for folder in (self.incoming, self.objects, self.quarantine, self.work, self.results):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for number in range(256):
            (self.objects / f"{number:02x}").mkdir(exist_ok=True, mode=0o700)

    def sync_folders(self) -> None:
        """Make the folders of the objects durable; an object would have to do it otherwise."""
        for folder in self.objects.iterdir():
            sync_folder(folder)
        sync_folder(self.objects)
        sync_folder(self.objects.parent)
        sync_folder(self.root)

    def free_bytes(self) -> int:
        """Space left for the spool."""
        return shutil.disk_usage(self.root).free

    def new_incoming(self) -> str:
        """A path for a file that is about to be written; only one process may ask."""
        return f"{self.incoming}/{next(self._numbers)}"

    def object_name(self, sop_instance_uid: str) -> str:
        """Where the object with this UID belongs, as the ledger keeps it.

        The name tells nothing about the study.
        """
        name = hashlib.sha256(sop_instance_uid.encode()).hexdigest()[:40]
        return f"{_OBJECTS}/{name[:2]}/{name}.dcm"

    def object_path(self, sop_instance_uid: str) -> Path:
        """Where the object with this UID belongs."""
        return self.root / self.object_name(sop_instance_uid)

    def relative(self, path: Path) -> str:
        """A path as the ledger keeps it."""
        return str(path.relative_to(self.root))

    def absolute(self, relative: str) -> Path:
        """The path of something that the ledger names."""
        return self.root / relative

    def new_quarantine(self) -> Path:
        """A name for a file that is kept for a person to look at."""
        return self.quarantine / f"{secrets.token_hex(16)}.dcm"

    def set_aside(self, path: Path) -> Path:
        """Move a file to the quarantine; returns where it is."""
        target = self.new_quarantine()
        path.rename(target)
        sync_folder(self.quarantine)
        sync_folder(path.parent)
        return target

    def new_result_folder(self, job_key: str, form_mark: str = "") -> None:
        """Make the folder of a job's results, so that a power cut cannot take it again.

        Those in another form than the usual one have a folder of their own in there.
        """
        folder = self.results / job_key
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(self.results)
        if form_mark:
            (folder / form_mark).mkdir(mode=0o700, exist_ok=True)
            sync_folder(folder)

    def discard_incoming(self) -> int:
        """Remove what was being written when the node stopped; the number of files."""
        count = 0
        for path in self.incoming.iterdir():
            path.unlink()
            count += 1
        return count

    def stored(self) -> Iterator[Path]:
        """Every file among the stored objects."""
        yield from sorted(self.objects.glob("*/*.dcm"))
