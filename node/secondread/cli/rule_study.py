"""The study that rules are tried on: one of the ledger, or a folder that nobody has sent yet."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from secondread.cli.send import find_dicom_files
from secondread.cli.study import open_ledger
from secondread.errors import ConfigurationError, NotFoundError

if TYPE_CHECKING:
    from secondread.config.settings import Settings
    from secondread.domain.instance import Instance
    from secondread.domain.series import SeriesSummary
    from secondread.domain.study import Study

_IDENTIFIERS = ("SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID")


@dataclass(frozen=True, slots=True)
class Subject:
    """A study, and what its headers say; ``name`` is what people call it."""

    name: str
    study: Study
    series: tuple[SeriesSummary, ...]


def read_subjects(settings: Settings, key: str, peer: str | None) -> Sequence[Subject]:
    """The study of that number or UID, or every study in a folder of DICOM files.

    Args:
        settings: the configuration.
        key: a number, a Study Instance UID, or a folder.
        peer: the peer that it is to have come from; None is the one that it came from.

    Raises:
        NotFoundError: there is no such study, and no such folder.
        ConfigurationError: there is no such peer.
    """
    if peer is not None and peer not in {known.name for known in settings.peers}:
        names = ", ".join(known.name for known in settings.peers)
        raise ConfigurationError(f"There is no peer '{peer}'; the configuration has: {names}.")
    folder = Path(key)
    if folder.is_dir():
        return _of_folder(folder, peer or _only_peer(settings))
    subject = _of_ledger(settings, key)
    if peer is not None:
        subject = replace(subject, study=replace(subject.study, peer=peer))
    return (subject,)


def _only_peer(settings: Settings) -> str:
    return settings.peers[0].name if len(settings.peers) == 1 else ""


def _of_ledger(settings: Settings, key: str) -> Subject:
    """From the ledger where the headers are known, else from the files; nothing is written."""
    from secondread.assembly.series import read_study
    from secondread.assembly.summary import summarize

    with open_ledger(settings) as ledger, ledger.read() as view:
        study = view.studies.find(key)
        uid = study.study_instance_uid
        digests = view.series.digests(uid)
        kept = view.series.of_study(study.id)
        found = {
            name: item
            for name, item in kept.items()
            if digests.get(name, item.digest) == item.digest
        }
        changed = [
            instance
            for name in digests
            if name not in found
            for instance in view.instances.of_series(uid, name)
        ]
    for series in read_study(changed, settings.data_dir):
        found[series.series_instance_uid] = summarize(series)
    return Subject(f"Study {study.id}", study, _ordered(found))


def _of_folder(folder: Path, peer: str) -> Sequence[Subject]:
    return tuple(subject for subject, _ in read_folder(folder, peer))


def read_folder(folder: Path, peer: str) -> Sequence[tuple[Subject, Sequence[Instance]]]:
    """Every study in a folder of DICOM files with its objects, as if ``peer`` had sent them.

    Raises:
        NotFoundError: there are no DICOM images.
    """
    from secondread.assembly.series import read_study
    from secondread.assembly.summary import summarize

    files, others = find_dicom_files(folder)
    studies: dict[str, list[Instance]] = {}
    for path in files:
        instance = _instance(path, folder, peer)
        if instance is not None:
            studies.setdefault(instance.study_instance_uid, []).append(instance)
    if not studies:
        raise NotFoundError(f"There are no DICOM images in '{folder}' ({others} other files).")
    subjects = []
    for uid, instances in studies.items():
        series = {
            item.series_instance_uid: summarize(item) for item in read_study(instances, folder)
        }
        name = f"'{folder}'" if len(studies) == 1 else f"'{folder}', study {uid}"
        subject = Subject(name, _study(uid, peer, len(instances)), _ordered(series))
        subjects.append((subject, instances))
    return subjects


def _instance(path: Path, folder: Path, peer: str) -> Instance | None:
    """A file as an object that has just come; None where it belongs to no study."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    from secondread.domain.instance import Instance

    try:
        header = pydicom.dcmread(path, specific_tags=list(_IDENTIFIERS), stop_before_pixels=True)
        uid, sop_class, study, series = (str(header.get(name, "")) for name in _IDENTIFIERS)
        syntax = str(header.file_meta.TransferSyntaxUID)
    except (InvalidDicomError, AttributeError, ValueError, EOFError):
        return None
    if not study or not series:
        return None
    name = str(path.relative_to(folder))
    size = path.stat().st_size
    return Instance(uid, sop_class, study, series, syntax, name, size, uid, peer, time.time())


def _study(uid: str, peer: str, objects: int) -> Study:
    from secondread.domain.states import StudyState
    from secondread.domain.study import Study

    now = time.time()
    return Study(
        id=0,
        study_instance_uid=uid,
        state=StudyState.RECEIVING,
        peer=peer,
        first_at=now,
        last_at=now,
        quiet_s=0.0,
        due_at=now,
        instances=objects,
        attempts=0,
        reason="",
    )


def _ordered(series: Mapping[str, SeriesSummary]) -> tuple[SeriesSummary, ...]:
    def order(item: SeriesSummary) -> tuple[bool, int, str]:
        return item.number is None, item.number or 0, item.series_instance_uid

    return tuple(sorted(series.values(), key=order))
