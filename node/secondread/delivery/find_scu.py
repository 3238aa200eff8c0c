"""The query SCU: how many objects of a study does an archive have (PS3.4 C, study root)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, _config
from pynetdicom.presentation import PresentationContext, build_context

from secondread.delivery.address import Address, shown
from secondread.delivery.statuses import SUCCESS
from secondread.dicom.rejections import why_rejected
from secondread.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from secondread.errors import KindRefusedError, PeerRefusedError, PeerUnreachableError

# Study Root Query/Retrieve Information Model - FIND (PS3.4 C.6.2).
_STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.2.1"
_PENDING = frozenset({0xFF00, 0xFF01})
_TRIES = 2
_ANSWERS_MAX = 100_000
_MAXIMUM_PDU_BYTES = 131072


def count_objects(study_instance_uid: str, address: Address) -> int:
    """How many objects of a study an archive has; 0 where it does not know the study.

    It is asked for Number of Study Related Instances (PS3.4 C.3.4). That key is optional: from an
    archive without it the objects are counted, series by series. A time-out is tried once more,
    because an answer can be lost on the way without anybody having gone.

    Raises:
        PeerUnreachableError: it does not answer.
        PeerRefusedError: it will not be asked by this node, or says that it cannot answer.
    """
    for left in reversed(range(_TRIES)):
        try:
            return _count(study_instance_uid, address)
        except PeerUnreachableError:
            if not left:
                raise
    raise AssertionError("unreachable")


def _count(study_instance_uid: str, address: Address) -> int:
    association = _associate(address, [build_context(_STUDY_ROOT)])
    try:
        query = _query("STUDY", StudyInstanceUID=study_instance_uid)
        query.NumberOfStudyRelatedInstances = None
        studies = list(_find(association, query, address))
        if not studies:
            return 0
        number = _number(studies[0], "NumberOfStudyRelatedInstances")
        return _count_series(association, study_instance_uid, address) if number is None else number
    finally:
        if association.is_established:
            association.release()


def _count_series(association: Any, study_instance_uid: str, address: Address) -> int:
    query = _query("SERIES", StudyInstanceUID=study_instance_uid, SeriesInstanceUID="")
    query.NumberOfSeriesRelatedInstances = None
    total = 0
    for series in list(_find(association, query, address)):
        number = _number(series, "NumberOfSeriesRelatedInstances")
        if number is None:
            images = _query(
                "IMAGE",
                StudyInstanceUID=study_instance_uid,
                SeriesInstanceUID=str(series.get("SeriesInstanceUID", "")),
                SOPInstanceUID="",
            )
            number = sum(1 for _ in _find(association, images, address))
        total += number
    return total


def _query(level: str, **keys: str) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(query, keyword, value)
    return query


def _number(answer: Dataset, keyword: str) -> int | None:
    """A number of the answer; None where it has none, or one that is none."""
    try:
        return max(0, int(answer.get(keyword)))
    except (TypeError, ValueError):
        return None


def _find(association: Any, query: Dataset, address: Address) -> Iterator[Dataset]:
    """The matches of a query.

    Raises:
        PeerUnreachableError: the association broke, or the answer did not come in time.
        PeerRefusedError: the archive answered that it cannot.
    """
    try:
        answers = association.send_c_find(query, _STUDY_ROOT)
    except (RuntimeError, ValueError):
        # Gone meanwhile, or the context was not accepted.
        raise PeerUnreachableError(f"{shown(address)} does not take queries.") from None
    for count, (status, identifier) in enumerate(answers):
        code = getattr(status, "Status", None)
        if code is None or count > _ANSWERS_MAX:
            association.abort()
            raise PeerUnreachableError(f"{shown(address)} did not answer the query to its end.")
        if code in _PENDING:
            if identifier is not None:
                yield identifier
        elif code != SUCCESS:
            raise PeerRefusedError(f"{shown(address)} answered the query with 0x{code:04X}.")


def _associate(address: Address, contexts: list[PresentationContext]) -> Any:
    """Open an association; pynetdicom's.

    Raises:
        PeerUnreachableError: try again later.
        PeerRefusedError: the peer will not talk to this calling AE title.
    """
    _config.LOG_HANDLER_LEVEL = "none"
    try:
        socket.create_connection((address.host, address.port), timeout=address.timeout_s).close()
    except socket.gaierror:
        raise PeerUnreachableError(
            f"The name '{address.host}' is not known; correct the host."
        ) from None
    except TimeoutError:
        raise PeerUnreachableError(
            f"{address.host}:{address.port} does not answer; is a firewall between?"
        ) from None
    except OSError as error:
        raise PeerUnreachableError(
            f"Nobody listens at {address.host}:{address.port} ({error.strerror})."
        ) from None
    entity = AE(address.calling)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.acse_timeout = entity.dimse_timeout = address.timeout_s
    entity.connection_timeout = entity.network_timeout = address.timeout_s
    association = entity.associate(
        address.host,
        address.port,
        contexts=contexts,
        ae_title=address.called,
        max_pdu=_MAXIMUM_PDU_BYTES,
    )
    if association.is_established:
        return association
    if association.is_rejected:
        answer: Any = association.acceptor.primitive
        why = why_rejected(answer.result_source, answer.diagnostic)
        sentence = f"{shown(address)} rejected the association {why}."
        raise PeerRefusedError(sentence) if answer.result == 1 else PeerUnreachableError(sentence)
    if not getattr(association, "accepted_contexts", None) and association.is_aborted:
        rejected = getattr(association, "rejected_contexts", None)
        if rejected:
            raise KindRefusedError(f"{shown(address)} accepted none of the SOP classes offered.")
    raise PeerUnreachableError(f"{shown(address)} broke off the association.")
