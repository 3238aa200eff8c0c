"""Reading back what a destination has: the proof where it does not commit to anything.

An archive is asked for the objects of a series, by C-FIND or QIDO-RS; a folder is read. What is
found is there now, and no more is claimed. Besides, whose the archive says the study is tells
whether it has changed what it was sent.
"""

from __future__ import annotations

import filecmp
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.datadict import dictionary_description
from pydicom.dataset import Dataset

from secondread.delivery import find_scu, qido
from secondread.delivery.calling import address_of, identity_of, security_of
from secondread.delivery.object_names import ObjectNames, read_names
from secondread.delivery.study_keys import IDENTITY
from secondread.domain.destination import Destination, Way
from secondread.domain.drop_folder import Layout
from secondread.domain.result import OutboxItem
from secondread.errors import DeliveryError, PeerRefusedError, PeerUnreachableError
from secondread.store import Spool

CHANGES_REMARKED = 0xB000
"""Coercion of data elements (PS3.4 table B.2-1): the archive says that it has changed something."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a destination has of some objects of one series.

    Attributes:
        there: those that it has.
        missing: those that it has not.
        unread: those whose local file cannot be read, so that nobody knows where to look.
        changed: names of the attributes that it holds with another value than it was sent.
    """

    there: Sequence[OutboxItem] = ()
    missing: Sequence[OutboxItem] = ()
    unread: Sequence[OutboxItem] = ()
    changed: Sequence[str] = ()


@dataclass(slots=True)
class Reader:
    """Reads back from one destination.

    What was found out about the changes to a study is asked for once, and no more once the archive
    would not tell.
    """

    destination: Destination
    spool: Spool
    _changed: dict[str, tuple[str, ...]] = field(default_factory=dict, init=False)
    _tells: bool = field(default=True, init=False)

    def look(self, items: Sequence[OutboxItem]) -> Iterator[Seen]:
        """What the destination has of these, series by series.

        Raises:
            PeerUnreachableError: it does not answer, or not to the end.
            PeerRefusedError: it will not be asked; what was told before stays true.
        """
        series: dict[tuple[str, str], list[tuple[OutboxItem, ObjectNames]]] = {}
        for item in items:
            try:
                names = read_names(self.spool.absolute(item.path))
            except PeerRefusedError:
                yield Seen(unread=(item,))
                continue
            place = (names.study_instance_uid, names.series_instance_uid)
            series.setdefault(place, []).append((item, names))
        for (study_uid, series_uid), objects in series.items():
            found = self._find(study_uid, series_uid, [names for _, names in objects])
            there = [item for item, names in objects if names.sop_instance_uid in found]
            missing = [item for item, names in objects if names.sop_instance_uid not in found]
            changed = self.find_changes(objects[0][0], study_uid) if there else ()
            yield Seen(there, missing, changed=changed)

    def find_changes(self, item: OutboxItem, study_uid: str = "") -> tuple[str, ...]:
        """Names of the attributes that the archive holds otherwise than they were sent.

        Nobody's proof hangs on it: where it cannot be told, there are none.
        """
        if not self._tells or self.destination.way not in {Way.DICOM, Way.STOW}:
            return ()
        source = _read_identity(self.spool.absolute(item.path))
        study_uid = study_uid or str(source.get("StudyInstanceUID", ""))
        if study_uid not in self._changed:
            self._changed[study_uid] = self._compare(source)
        return self._changed[study_uid]

    def _find(
        self, study_uid: str, series_uid: str, names: Sequence[ObjectNames]
    ) -> frozenset[str]:
        """The SOP Instance UIDs that are there."""
        to = self.destination
        if to.way is Way.DICOM:
            return find_scu.find_instances(
                address_of(to), study_uid, series_uid, security_of(to), identity_of(to)
            )
        if to.web is not None:
            return qido.find_instances(to.web, study_uid, series_uid)
        return frozenset(one.sop_instance_uid for one in names if self._is_in_folder(one))

    def _is_in_folder(self, names: ObjectNames) -> bool:
        target = self.destination.folder
        if target is None:
            raise PeerRefusedError(
                f"'{self.destination.name}' has neither an address nor a folder."
            )
        place = target.folder
        if target.layout is Layout.STUDY:
            place = place / names.study_instance_uid / names.series_instance_uid
        place = place / f"{names.sop_instance_uid}.dcm"
        try:
            if not target.folder.is_dir():
                raise PeerUnreachableError(f"{target.shown} is not there; mount the share.")
            return filecmp.cmp(names.path, place, shallow=False)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise PeerUnreachableError(
                f"What is in {target.shown} cannot be read ({error.strerror})."
            ) from None

    def _compare(self, source: Dataset) -> tuple[str, ...]:
        to = self.destination
        try:
            if to.way is Way.DICOM:
                found = find_scu.read_back_identity(
                    address_of(to), source, security_of(to), identity_of(to)
                )
            elif to.web is not None:
                found = qido.read_back_identity(to.web, source)
            else:
                found = ()
        except DeliveryError:
            self._tells = False
            return ()
        except ValueError:
            return ()
        # That the archive does not know the study is told by what is missing.
        return tuple(
            dictionary_description(keyword) for keyword in found if keyword != "StudyInstanceUID"
        )


def _read_identity(path: Path) -> Dataset:
    """Whose an object is; empty where the file cannot be read."""
    tags = [0x00080005, *IDENTITY]
    with warnings.catch_warnings():
        # pydicom quotes the value that it warns about, and the value may be a person's.
        warnings.simplefilter("ignore")
        try:
            return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(tags))
        except Exception:  # what pydicom raises over bad bytes has no common base
            return Dataset()
