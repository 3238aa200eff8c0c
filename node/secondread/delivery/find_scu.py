"""The query SCU: how many objects of a study does an archive have (PS3.4 C, study root)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom.presentation import build_context

from secondread.delivery.store_scu import SUCCESS, Address, associate, shown
from secondread.errors import PeerRefusedError, PeerUnreachableError

# Study Root Query/Retrieve Information Model - FIND (PS3.4 C.6.2).
_STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.2.1"
_PENDING = frozenset({0xFF00, 0xFF01})
_TRIES = 2
_ANSWERS_MAX = 100_000


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
    association = associate(address, [build_context(_STUDY_ROOT)])
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
