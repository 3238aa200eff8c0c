"""The studies of one patient that a server has, asked over the web (PS3.18 10.6)."""

from __future__ import annotations

from urllib.parse import quote

from secondread.delivery.dicom_web import DataSet, number, read_data_sets, text
from secondread.delivery.qido import check_answer
from secondread.delivery.study_keys import (
    ISSUER,
    MODALITIES,
    PATIENT_ID,
    STUDY_DATE,
    STUDY_INSTANCES,
    StudyFound,
    StudyKeys,
    date_of,
)
from secondread.delivery.wanted import STUDY
from secondread.delivery.web import Request, exchange
from secondread.delivery.web_wording import (
    describe_wrong_answer,
)
from secondread.dicom.messages import is_uid
from secondread.domain.web_target import WebTarget

_JSON = {"Accept": "application/dicom+json"}
_STUDIES_MAX = 1000


def find_studies(target: WebTarget, keys: StudyKeys) -> tuple[StudyFound, ...]:
    """The studies of a patient that a server has, newest first; as ``find_scu.find_studies``.

    Series are not asked for: where the server does not say of which modalities a study is, it may
    be meant.

    Raises:
        PeerUnreachableError: it does not answer.
        PeerRefusedError: it will not be asked like this.
    """
    query = [f"PatientID={quote(keys.patient_id, safe='')}", f"limit={_STUDIES_MAX}"]
    if keys.range:
        query.append(f"StudyDate={keys.range}")
    if keys.modality:
        query.append(f"ModalitiesInStudy={quote(keys.modality, safe='')}")
    query += [f"includefield={tag:08X}" for tag in (MODALITIES, ISSUER, STUDY_INSTANCES)]
    answer = exchange(target, Request("GET", f"/studies?{'&'.join(query)}", _JSON))
    check_answer(target, answer)
    datasets = read_data_sets(answer) if answer.body.strip() else []
    if datasets is None:
        raise describe_wrong_answer(target.shown, answer.media_type, True)
    found = {
        study.study_instance_uid: study
        for study in map(_study, filter(lambda one: _is_of(one, keys), datasets))
        if keys.admit(study)
    }
    return tuple(
        sorted(found.values(), key=lambda study: str(study.study_date or ""), reverse=True)
    )


def _is_of(dataset: DataSet, keys: StudyKeys) -> bool:
    """Whether a match names the very patient; servers leave aside keys that they do not know."""
    return text(dataset, f"{PATIENT_ID:08X}") == keys.patient_id.strip() and is_uid(
        text(dataset, f"{STUDY:08X}")
    )


def _study(dataset: DataSet) -> StudyFound:
    element = dataset.get(f"{MODALITIES:08X}")
    values = element.get("Value") if isinstance(element, dict) else None
    modalities = tuple(one for one in values or () if isinstance(one, str) and one)
    return StudyFound(
        study_instance_uid=text(dataset, f"{STUDY:08X}"),
        study_date=date_of(text(dataset, f"{STUDY_DATE:08X}")),
        modalities=modalities,
        issuer_of_patient_id=text(dataset, f"{ISSUER:08X}"),
        instances=number(dataset, f"{STUDY_INSTANCES:08X}"),
    )
