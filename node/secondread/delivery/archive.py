"""An archive that things are fetched from: asked by C-FIND or QIDO-RS, and made to send.

Over DICOM that is C-MOVE to the node's own AE title, and C-GET where an archive has no C-MOVE; over
the web WADO-RS. What a C-MOVE brings comes to intake by itself; what the others bring is handed
over to it (``store.handed``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from secondread.delivery import find_scu, qido_studies, wado
from secondread.delivery.arrival import Landing, Received
from secondread.delivery.calling import address_of, identity_of, security_of
from secondread.delivery.get_scu import GetOrder, get
from secondread.delivery.move_scu import MoveOrder, move
from secondread.delivery.query_status import Retrieved, Tell
from secondread.delivery.study_keys import SeriesFound, StudyFound, StudyKeys
from secondread.delivery.wado import WadoOrder
from secondread.delivery.wanted import Wanted
from secondread.domain.destination import Destination, Way
from secondread.domain.web_target import WebTarget
from secondread.errors import PeerRefusedError, ServiceMissingError, WriteFailedError
from secondread.store.handed import Handed

log = structlog.stdlib.get_logger(__name__)

_AT_ONCE_MAX = 500
"""Objects in one order; their UIDs have to fit into one value (PS3.5 7.1.2)."""


@dataclass(frozen=True, slots=True)
class Dock:
    """Where what is fetched comes in.

    Attributes:
        ae_title: the node's own, which archives send to.
        handed: the hand-over folder.
        object_bytes_max: of one object.
        free_bytes_min: what has to stay free on the disk.
    """

    ae_title: str
    handed: Handed
    object_bytes_max: int
    free_bytes_min: int


class Archive(Protocol):
    """An archive."""

    def find_studies(self, keys: StudyKeys) -> Sequence[StudyFound]:
        """The studies of a patient, newest first."""

    def lacking(
        self, study_instance_uid: str, here: Collection[str], known: Collection[str]
    ) -> Iterator[Wanted]:
        """What to order so that a study is whole.

        Args:
            study_instance_uid: the study.
            here: SOP Instance UIDs of its objects that are here, or were.
            known: those that this node has sent there itself.
        """

    def bring(self, wanted: Wanted, tell: Tell) -> Retrieved:
        """Have something sent; ``tell`` is told how far that is, if anybody says."""


def open_archive(destination: Destination, dock: Dock) -> Archive:
    """A destination as an archive.

    Raises:
        PeerRefusedError: nothing can be fetched from there.
    """
    if destination.way is Way.DICOM:
        return DicomArchive(destination, dock)
    if destination.way is Way.STOW and destination.web is not None:
        return WebArchive(destination.name, destination.web, dock)
    raise PeerRefusedError(
        f"Nothing can be fetched from '{destination.name}', which is of kind '{destination.way}': "
        "name an archive of kind 'dicom' or 'stow'."
    )


@dataclass(frozen=True, slots=True)
class DicomArchive:
    """An archive with C-FIND, and C-MOVE or C-GET."""

    destination: Destination
    dock: Dock

    def find_studies(self, keys: StudyKeys) -> Sequence[StudyFound]:
        """As of ``Archive``."""
        one = self.destination
        return find_scu.find_studies(address_of(one), keys, security_of(one), identity_of(one))

    def lacking(
        self, study_instance_uid: str, here: Collection[str], known: Collection[str]
    ) -> Iterator[Wanted]:
        """As of ``Archive``: series of which nothing is here, else objects."""
        if not here:
            yield Wanted(study_instance_uid)
            return
        one = self.destination
        call = (address_of(one), study_instance_uid)
        safely = (security_of(one), identity_of(one))
        for series in find_scu.find_series(*call, *safely):
            there = find_scu.find_instances(*call, series.series_instance_uid, *safely)
            yield from _orders(study_instance_uid, series, there, {*here, *known})

    def bring(self, wanted: Wanted, tell: Tell) -> Retrieved:
        """As of ``Archive``; an archive without C-MOVE is asked by C-GET."""
        one = self.destination
        address, security, identity = address_of(one), security_of(one), identity_of(one)
        try:
            order = MoveOrder(wanted, self.dock.ae_title, tell)
            return move(address, order, security, identity)
        except ServiceMissingError as error:
            log.info("no C-MOVE, C-GET is tried", source=one.name, reason=str(error))
        landing = _Landing(one.name, self.dock)
        return get(address, GetOrder(wanted, landing.terms, tell=tell), landing, security, identity)


@dataclass(frozen=True, slots=True)
class WebArchive:
    """An archive with QIDO-RS and WADO-RS; it is asked for whole studies alone."""

    name: str
    target: WebTarget
    dock: Dock

    def find_studies(self, keys: StudyKeys) -> Sequence[StudyFound]:
        """As of ``Archive``."""
        return qido_studies.find_studies(self.target, keys)

    def lacking(
        self,
        study_instance_uid: str,
        here: Collection[str],
        known: Collection[str],
    ) -> Iterator[Wanted]:
        """As of ``Archive``: what is here already is found to be the same object."""
        yield Wanted(study_instance_uid)

    def bring(self, wanted: Wanted, tell: Tell) -> Retrieved:
        """As of ``Archive``; a web server does not say how far it is."""
        landing = _Landing(self.name, self.dock)
        return wado.retrieve(self.target, WadoOrder(wanted, landing.terms), landing)


class _Landing:
    """Hands over to intake what comes from one source."""

    def __init__(self, source: str, dock: Dock) -> None:
        self._source = source
        self._handed = dock.handed
        self.terms = Landing(
            dock.handed.folder_of(source),
            object_bytes_max=dock.object_bytes_max,
            free_bytes_min=dock.free_bytes_min,
        )

    def __call__(self, received: Received) -> None:
        try:
            self._handed.put(self._source, received.path, received.sop_instance_uid)
        except OSError as error:
            raise WriteFailedError(
                f"A fetched object could not be handed over to intake: {error.strerror}."
            ) from None


def _orders(
    study_uid: str, series: SeriesFound, there: Collection[str], have: Collection[str]
) -> Iterator[Wanted]:
    lacking = sorted(set(there) - set(have))
    if lacking and len(lacking) == len(there):
        yield Wanted(study_uid, series.series_instance_uid)
        return
    for start in range(0, len(lacking), _AT_ONCE_MAX):
        uids = tuple(lacking[start : start + _AT_ONCE_MAX])
        yield Wanted(study_uid, series.series_instance_uid, uids)
