"""A study leaves the node: checked, foretold, exported, written down, and only then published."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from secondread.deid.crosswalk import Crosswalk
from secondread.deid.export import Export, export
from secondread.deid.origins import Origins, origins_of
from secondread.deid.profile.manifest import Manifest
from secondread.deid.profile.options import Profile
from secondread.deid.profile.risks import Overrides
from secondread.deid.summary import SUMMARY_NAME, summarise
from secondread.domain.clock import Clock
from secondread.domain.crosswalk import Access
from secondread.domain.study import Study
from secondread.errors import ExportError, ExportRefusedError, UsageError
from secondread.store import Ledger
from secondread.store.durability import sync_file_system, sync_folder

EVENT = "export"
READING, WRITING = "Reading", "Exporting"
_FILES = "files"
_MIB = 1024**2
_SPARE_BYTES = 64 * _MIB

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many objects are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class Shipment:
    """What is to leave, and for whom.

    Attributes:
        study: the study in the ledger.
        sources: the files of its objects.
        folder: where the export goes; it may not be there yet.
        project: whose pseudonyms it uses.
        uid_root: the node's, for a project that begins now.
        access: who exports it, and why.
    """

    study: Study
    sources: tuple[Path, ...]
    folder: Path
    project: str
    uid_root: str
    profile: Profile
    overrides: Overrides
    access: Access


@dataclass(frozen=True, slots=True)
class Shipped:
    """What has left.

    Attributes:
        manifest: what was done.
        patients: how many people it is of.
        project_is_new: whether nothing was exported for the project before.
    """

    manifest: Manifest
    patients: int
    project_is_new: bool


class Shipping:
    """Exports studies from a ledger.

    Args:
        ledger: for the trail.
        crosswalk: where the pairs are kept.
        clock: for the trail.
    """

    def __init__(self, ledger: Ledger, crosswalk: Crosswalk, clock: Clock) -> None:
        self._ledger, self._crosswalk, self._clock = ledger, crosswalk, clock

    def ship(self, wanted: Shipment, progress: Progress = lambda what, done, of: None) -> Shipped:
        """Export a study. Its folder appears whole, after the way back is safe in the ledger.

        Raises:
            ExportRefusedError: an object may show who it is, and nobody took that on themselves.
            ExportError: there is too little space, or a file is not what was foretold.
            CrosswalkKeyError: the key is lost or wrong.
            CannotUnderstandError: a file is not a sound DICOM object.
            UsageError: the folder or the project cannot be used.
        """
        check_folder(wanted.folder)
        _check_space(wanted)
        key, is_new = self._crosswalk.project(wanted.project, wanted.uid_root)
        with _partial(wanted.folder) as partial:
            try:
                origins = origins_of(
                    wanted.sources,
                    wanted.profile,
                    key,
                    lambda done, total: progress(READING, done, total),
                )
                manifest = export(
                    Export(
                        wanted.sources,
                        partial / _FILES,
                        wanted.profile,
                        key,
                        wanted.overrides,
                        lambda done, total: progress(WRITING, done, total),
                    )
                )
            except ExportRefusedError as error:
                self._note_refusal(wanted, error)
                raise
            _check_files(partial / _FILES, origins)
            summary = summarise(manifest, origins.patients)
            (partial / _FILES / SUMMARY_NAME).write_text(summary, encoding="utf-8")
            sync_file_system(partial)
            self._crosswalk.remember(wanted.project, origins.pairs)
            self._note(wanted, manifest, origins.patients)
            _publish(partial / _FILES, wanted.folder)
        return Shipped(manifest, origins.patients, is_new)

    def _note(self, wanted: Shipment, manifest: Manifest, patients: int) -> None:
        number = wanted.study.id
        text = (
            f"{wanted.access.who} exported {manifest.objects} objects for the project "
            f"'{wanted.project}'"
        )
        if manifest.overrides:
            text += ", although they may show who it is"
        detail = {
            **_detail(wanted),
            "objects": manifest.objects,
            "patients": patients,
            "overrides": manifest.overrides,
        }
        with self._ledger.begin() as change:
            change.trail.append(
                self._clock.now(), EVENT, f"{text}.", study_id=number, detail=detail
            )

    def _note_refusal(self, wanted: Shipment, error: ExportRefusedError) -> None:
        text = (
            f"{wanted.access.who} wanted to export this study for the project '{wanted.project}': "
            f"{error}"
        )
        with self._ledger.begin() as change:
            change.trail.append(
                self._clock.now(),
                "export-refused",
                text,
                study_id=wanted.study.id,
                detail=_detail(wanted),
            )


def check_folder(folder: Path) -> None:
    """See to it that an export can go there.

    Raises:
        UsageError: something is there already.
    """
    if folder.exists() or folder.is_symlink():
        raise UsageError(
            f"'{folder}' is there already. An export makes its folder; name one that is not there."
        )


def _detail(wanted: Shipment) -> dict[str, object]:
    return {
        "by": wanted.access.who,
        "reason": wanted.access.why,
        "project": wanted.project,
        "profile": wanted.profile.name,
        "methods": [code for code, _ in wanted.profile.codes()],
    }


def _check_space(wanted: Shipment) -> None:
    needed = sum(path.stat().st_size for path in wanted.sources) + _SPARE_BYTES
    place = next(folder for folder in wanted.folder.absolute().parents if folder.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise ExportError(
            f"There is too little space for the export in '{place}': it needs about "
            f"{needed / _MIB:.0f} MiB, and {free / _MIB:.0f} MiB are free. Make room, or name a "
            "folder on another disk."
        )


@contextmanager
def _partial(folder: Path) -> Iterator[Path]:
    """A folder beside the other that is ours alone; what an export that was killed left, goes.

    Raises:
        UsageError: another export is writing there.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    partial.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"Another export is writing '{folder}'. Let it finish, or name another folder."
            ) from None
        _empty(partial)
        try:
            yield partial
        finally:
            _empty(partial)
            partial.rmdir()
    finally:
        os.close(descriptor)


def _empty(partial: Path) -> None:
    """Remove what an export leaves, and nothing else that somebody may keep under such a name.

    Raises:
        UsageError: there is something else.
    """
    ours = {_FILES, f".{_FILES}.partial"}
    for found in partial.iterdir():
        if found.name not in ours:
            raise UsageError(
                f"'{partial}' holds files that no export has written. Move them away, or name "
                "another folder."
            )
        shutil.rmtree(found)


def _check_files(folder: Path, origins: Origins) -> None:
    written = {str(path.relative_to(folder)) for path in folder.rglob("*.dcm")}
    if written != origins.files:
        raise ExportError(
            f"{len(written ^ origins.files)} objects were not named as foretold, so there would be "
            "no sure way back from them. Nothing was exported; please report this."
        )


def _publish(files: Path, folder: Path) -> None:
    try:
        files.rename(folder)
    except OSError as error:
        raise ExportError(
            f"The export could not get its name '{folder}': {error.strerror}. It was written into "
            "the trail and the crosswalk, but nothing was left there; export again."
        ) from error
    sync_folder(folder.parent)
