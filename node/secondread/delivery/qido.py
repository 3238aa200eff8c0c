"""What a server has of a series, and whose it says it is, asked over the web (PS3.18 10.6).

It is the proof of storage where a server knows no Storage Commitment.
"""

from __future__ import annotations

from http import HTTPStatus

from pydicom.dataset import Dataset

from secondread.delivery.dicom_web import DataSet, names, read_data_sets, text
from secondread.delivery.object_names import is_uid
from secondread.delivery.study_keys import IDENTITY, differing
from secondread.delivery.wanted import CHARACTER_SET, STUDY
from secondread.delivery.web import Answer, Request, exchange
from secondread.delivery.web_wording import (
    describe_status,
    describe_unauthorised,
    describe_wrong_answer,
)
from secondread.dicom.messages import Item
from secondread.domain.web_target import WebTarget

_SOP_INSTANCE = "00080018"
_PAGE = 1000
_PAGES_MAX = 1000
_JSON = {"Accept": "application/dicom+json"}


def find_instances(target: WebTarget, study_uid: str, series_uid: str) -> frozenset[str]:
    """The SOP Instance UIDs that a server has of a series; none where it does not know it.

    It is asked page by page until one brings nothing new, because servers give as much at a time
    as they like (PS3.18 8.3.4.4), and some know no pages.

    Raises:
        PeerUnreachableError: it does not answer, or not in full.
        PeerRefusedError: it will not be asked like this.
        ValueError: what should be a UID is none.
    """
    if not (is_uid(study_uid) and is_uid(series_uid)):
        raise ValueError("not a UID")
    found: set[str] = set()
    for _ in range(_PAGES_MAX):
        path = (
            f"/studies/{study_uid}/series/{series_uid}/instances"
            f"?includefield={_SOP_INSTANCE}&limit={_PAGE}&offset={len(found)}"
        )
        page = _ask(target, path)
        if page is None:
            ask_whether_served(target, study_uid)
            break
        if page <= found:
            break
        found |= page
    return frozenset(found)


def read_back_identity(target: WebTarget, source: Dataset) -> tuple[str, ...]:
    """Whose a server says a study is: the keywords of the attributes that differ from a source.

    As of ``find_scu.read_back_identity``; none where the server does not know the study.

    Raises:
        PeerUnreachableError: it does not answer, or not in full.
        PeerRefusedError: it will not be asked like this.
        ValueError: the source has no sound Study Instance UID.
    """
    study_uid = str(source.get("StudyInstanceUID", ""))
    if not is_uid(study_uid):
        raise ValueError("not a UID")
    fields = "".join(f"&includefield={tag:08X}" for tag in IDENTITY)
    answer = exchange(
        target,
        Request("GET", f"/studies?StudyInstanceUID={study_uid}{fields}&limit=1", _JSON),
    )
    if answer.status == HTTPStatus.NOT_FOUND:
        return ()
    check_answer(target, answer)
    for dataset in (read_data_sets(answer) or []) if answer.body.strip() else []:
        if text(dataset, f"{STUDY:08X}") == study_uid:
            return differing(_as_match(dataset), source)
    return ()


def _as_match(dataset: DataSet) -> Item:
    """What a server says of whose a study is, in the form in which C-FIND says it."""
    values = {
        tag: (names if vr == "PN" else text)(dataset, f"{tag:08X}").encode()
        for tag, (vr, _) in IDENTITY.items()
    }
    return Item({CHARACTER_SET: b"ISO_IR 192", **values}, {})


def _ask(target: WebTarget, path: str) -> set[str] | None:
    """The SOP Instance UIDs of one page; None where the server does not know the address."""
    answer = exchange(target, Request("GET", path, _JSON))
    if answer.status == HTTPStatus.NOT_FOUND:
        return None
    check_answer(target, answer)
    if not answer.body.strip():
        return set()
    datasets = read_data_sets(answer)
    if datasets is None:
        raise describe_wrong_answer(target.shown, answer.media_type, True)
    return {uid for dataset in datasets if (uid := text(dataset, _SOP_INSTANCE))}


def ask_whether_served(target: WebTarget, study_uid: str) -> None:
    """Tell a study that is not known from a service that is not there: some answer 404 to both.

    Raises:
        PeerRefusedError: there is no such service.
    """
    path = f"/studies?StudyInstanceUID={study_uid}&limit=1"
    answer = exchange(target, Request("GET", path, _JSON))
    check_answer(target, answer)


def check_answer(target: WebTarget, answer: Answer) -> None:
    """Raise PeerRefusedError, with a sentence, where a search was not answered."""
    if answer.status == HTTPStatus.UNAUTHORIZED:
        raise describe_unauthorised(target.shown, target.credentials.scheme)
    if answer.status not in (HTTPStatus.OK, HTTPStatus.NO_CONTENT):
        raise describe_status(
            target.shown,
            answer.status,
            retry_after_s=answer.retry_after_s,
            location=answer.location,
        )
