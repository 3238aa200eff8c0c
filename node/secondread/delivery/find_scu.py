"""The query SCU: what does an archive have (PS3.4 C.4.1, Study Root, C.6.2)?

Keys that an archive does not know it may leave aside, and then answers with more than was asked
for (PS3.4 C.2.2.1.2, C.2.2.2). So every match is looked at here once more: a match of another
patient, study or series counts for nothing.

In all of it ``security`` is TLS, or None for plain DICOM, and ``identity`` a user's name and
passcode for archives that ask for one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pydicom.dataset import Dataset

from secondread.delivery.address import Address
from secondread.delivery.association import Identity
from secondread.delivery.dialogue import C_FIND_RQ
from secondread.delivery.query import (
    STUDY_ROOT_FIND,
    Caller,
    Inquiry,
    Patience,
    inquire,
)
from secondread.delivery.query_status import SUCCESS, describe_refusal
from secondread.delivery.reach import Security
from secondread.delivery.study_keys import (
    BODY_PART,
    IDENTITY,
    ISSUER,
    MODALITIES,
    MODALITY,
    PATIENT_ID,
    SERIES_INSTANCES,
    STUDY_DATE,
    STUDY_INSTANCES,
    STUDY_SERIES,
    SeriesFound,
    StudyFound,
    StudyKeys,
    differing,
    number,
    read_series,
    read_study,
    readable,
)
from secondread.delivery.wanted import LEVEL, SERIES, SOP_INSTANCE, STUDY, Level, Wanted
from secondread.dicom.messages import Element, Item, is_uid
from secondread.errors import PeerRefusedError, PeerUnreachableError

_TRIES = 2
_PATIENCE = Patience()


def count_objects(
    study_instance_uid: str,
    address: Address,
    security: Security | None = None,
    identity: Identity | None = None,
) -> int:
    """How many objects of a study an archive has; 0 where it does not know the study.

    It is asked for Number of Study Related Instances (PS3.4 C.3.4). That key is optional: from an
    archive without it the objects are counted, series by series. A time-out is tried once more,
    because an answer can be lost on the way without anybody having gone.

    Raises:
        PeerUnreachableError: it does not answer, or is out of resources.
        PeerRefusedError: it will not be asked by this node, or says that it cannot answer; or the
            UID is none.
    """
    if not is_uid(study_instance_uid):
        raise PeerRefusedError(
            "The study has no sound Study Instance UID, so that no archive can be asked about it."
        )
    for left in reversed(range(_TRIES)):
        try:
            with _ask(address, Caller(security, identity)) as archive:
                return archive.count(study_instance_uid)
        except PeerUnreachableError:
            if not left:
                raise
    raise AssertionError("unreachable")


def find_instances(
    address: Address,
    study_instance_uid: str,
    series_instance_uid: str,
    security: Security | None = None,
    identity: Identity | None = None,
) -> frozenset[str]:
    """The SOP Instance UIDs that an archive has of a series; none where it does not know it.

    An answer that breaks off is an error, never 'nothing is there'.

    Raises:
        PeerUnreachableError: it does not answer, or not to the end.
        PeerRefusedError: it will not be asked by this node, or says that it cannot answer.
        ValueError: what should be a UID is none.
    """
    series = Wanted(study_instance_uid, series_instance_uid)
    with _ask(address, Caller(security, identity)) as archive:
        return frozenset(archive.instances(series))


def find_series(
    address: Address,
    study_instance_uid: str,
    security: Security | None = None,
    identity: Identity | None = None,
) -> tuple[SeriesFound, ...]:
    """The series that an archive has of a study; none where it does not know it.

    Raises:
        PeerUnreachableError: it does not answer, or not to the end.
        PeerRefusedError: it will not be asked by this node, or says that it cannot answer.
        ValueError: what should be a UID is none.
    """
    study = Wanted(study_instance_uid)
    with _ask(address, Caller(security, identity)) as archive:
        return tuple(archive.series(study.study_instance_uid))


def find_studies(
    address: Address,
    keys: StudyKeys,
    security: Security | None = None,
    identity: Identity | None = None,
) -> tuple[StudyFound, ...]:
    """The studies of a patient that an archive has, newest first; those without a date at the end.

    A match whose Patient ID is not that of the keys, character by character, is left out, and with
    an issuer in the keys one that does not name it: the images of a stranger would be taken for
    an earlier study. Where the keys name a modality or a body part, the series of each study are
    asked for, too. A study stays as long as one of its series may be meant; a series that names no
    body part may.

    Raises:
        PeerUnreachableError: it does not answer, or not to the end.
        PeerRefusedError: it will not be asked by this node, or says that it cannot answer.
    """
    with _ask(address, Caller(security, identity)) as archive:
        found = [study for study in archive.studies(keys) if keys.admit(study)]
        if keys.needs_series:
            found = [
                whole
                for study in found
                if (whole := keys.look_into(study, tuple(archive.series(study.study_instance_uid))))
            ]
    unique = {study.study_instance_uid: study for study in found}.values()
    return tuple(sorted(unique, key=lambda study: str(study.study_date or ""), reverse=True))


def read_back_identity(
    address: Address,
    source: Dataset,
    security: Security | None = None,
    identity: Identity | None = None,
) -> tuple[str, ...]:
    """Whose an archive says a study is: the keywords of the attributes that differ from a source.

    Of Patient ID, Patient's Name, Patient's Birth Date, Accession Number and Study Instance UID.
    The last one alone is named where the archive knows no such study: then it has either not got
    it or given it another UID. Spaces and empty components at an end make no difference, nor does a
    birth date that the archive does not tell, for that key is optional (PS3.4 table C.6-5).

    Raises:
        PeerUnreachableError: it does not answer, or not to the end.
        PeerRefusedError: it will not be asked by this node, or says that it cannot answer.
        ValueError: the source has no sound Study Instance UID.
    """
    study = Wanted(str(source.get("StudyInstanceUID", "")))
    keys: list[Element] = [
        *study.keys,
        *((tag, vr, "") for tag, (vr, _) in IDENTITY.items() if tag != STUDY),
    ]
    with _ask(address, Caller(security, identity)) as archive:
        for match in archive.find(keys):
            if match.text(STUDY) == study.study_instance_uid:
                return differing(match, source)
    return ("StudyInstanceUID",)


class _Archive:
    """Questions on one association."""

    def __init__(self, inquiry: Inquiry) -> None:
        self._inquiry = inquiry

    def find(self, keys: Sequence[Element]) -> list[Item]:
        """The matches of a query, all of them."""
        return list(self._matches(keys))

    def count(self, study_uid: str) -> int:
        """All objects of a study."""
        keys = (
            (LEVEL, "CS", Level.STUDY),
            (STUDY, "UI", study_uid),
            (STUDY_INSTANCES, "IS", ""),
        )
        matches = [match for match in self.find(keys) if _is_of(match, STUDY, study_uid)]
        if not matches:
            return 0
        found = number(matches[0], STUDY_INSTANCES)
        return self._count_series(study_uid) if found is None else found

    def _count_series(self, study_uid: str) -> int:
        total = 0
        for series in self.series(study_uid):
            if series.instances is None:
                wanted = Wanted(study_uid, series.series_instance_uid)
                total += len(set(self.instances(wanted)))
            else:
                total += series.instances
        return total

    def series(self, study_uid: str) -> Iterator[SeriesFound]:
        """The series of a study."""
        keys = (
            (LEVEL, "CS", Level.SERIES),
            (MODALITY, "CS", ""),
            (BODY_PART, "CS", ""),
            (STUDY, "UI", study_uid),
            (SERIES, "UI", ""),
            (SERIES_INSTANCES, "IS", ""),
        )
        for match in self.find(keys):
            if _is_of(match, STUDY, study_uid) and is_uid(match.text(SERIES)):
                yield read_series(match)

    def instances(self, series: Wanted) -> Iterator[str]:
        """The SOP Instance UIDs of a series."""
        keys: tuple[Element, ...] = (
            (LEVEL, "CS", Level.IMAGE),
            (SOP_INSTANCE, "UI", ""),
            (STUDY, "UI", series.study_instance_uid),
            (SERIES, "UI", series.series_instance_uid),
        )
        for match in self._matches(keys):
            named = match.text(SOP_INSTANCE)
            inside = _is_of(match, STUDY, series.study_instance_uid)
            if inside and _is_of(match, SERIES, series.series_instance_uid) and is_uid(named):
                yield named

    def studies(self, wanted: StudyKeys) -> Iterator[StudyFound]:
        """The studies of one patient, as far as the archive heeds the keys."""
        keys: list[Element] = [
            (LEVEL, "CS", Level.STUDY),
            (STUDY_DATE, "DA", wanted.range),
            (MODALITIES, "CS", wanted.modality),
            (PATIENT_ID, "LO", wanted.patient_id),
            (ISSUER, "LO", wanted.issuer_of_patient_id),
            (STUDY, "UI", ""),
            (STUDY_SERIES, "IS", ""),
            (STUDY_INSTANCES, "IS", ""),
        ]
        for match in self.find(keys):
            if readable(match, PATIENT_ID) == wanted.patient_id.strip() and is_uid(
                match.text(STUDY)
            ):
                yield read_study(match)

    def _matches(self, keys: Sequence[Element]) -> Iterator[Item]:
        inquiry = self._inquiry
        inquiry.ask(C_FIND_RQ, keys, _PATIENCE)
        while True:
            response = inquiry.read_response(inquiry.hear(), C_FIND_RQ)
            if not response.is_pending:
                if response.status != SUCCESS:
                    raise describe_refusal(inquiry.address, "the query", response.status)
                return
            if response.identifier is not None:
                yield response.identifier


@contextmanager
def _ask(address: Address, caller: Caller) -> Iterator[_Archive]:
    with inquire(address, STUDY_ROOT_FIND, caller) as inquiry:
        yield _Archive(inquiry)


def _is_of(match: Item, tag: int, uid: str) -> bool:
    """Whether a match belongs to what was asked for; one that does not say may."""
    return match.text(tag) in ("", uid)
