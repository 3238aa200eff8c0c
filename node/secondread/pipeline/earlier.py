"""The newest earlier report on the same patient by the same model, to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import structlog
from pydicom import dcmread
from pydicom.dataset import Dataset

from secondread.domain.job import Job
from secondread.errors import SecondReadError
from secondread.observe.keys import patient_mark, read_secret
from secondread.pipeline.editions import Edition
from secondread.pipeline.predecessor import find_report
from secondread.pipeline.workplace import Workplace
from secondread.results.earlier import EarlierReport, read_earlier

log = structlog.stdlib.get_logger(__name__)

_JOBS_MAX = 100
"""So many jobs of one patient are looked at; a phantom that is scanned daily has thousands."""
_NAMES = ("StudyDate", "PatientID", "IssuerOfPatientID", "PatientBirthDate")


class _Candidate(NamedTuple):
    """In the order of which is the newer one."""

    study_date: str
    version: int
    job_id: int
    path: Path


def _aside(source: Dataset) -> Dataset:
    """What a header says of the patient and the day, to be read without touching the header.

    Reading an element converts it where it stands, and the results take it over byte for byte.
    """
    person = Dataset()
    for name in _NAMES:
        if name in source:
            person[name] = source.get_item(name)
    is_implicit, is_little = source.original_encoding
    person.set_original_encoding(is_implicit, is_little, source.original_character_set)
    return person


def mark_patient(place: Workplace, source: Dataset) -> str:
    """Whose images they are, as a keyed hash; '' where the study does not say."""
    person = _aside(source)
    return patient_mark(
        str(person.get("PatientID") or ""),
        str(person.get("IssuerOfPatientID") or ""),
        read_secret(place.spool.root),
    )


def find_earlier(
    place: Workplace, job: Job, source: Dataset, edition: Edition, *, shadow: bool
) -> EarlierReport | None:
    """The report on the study before this one, as those who get an edition have it; or None.

    Only a delivered one of the same model counts, on a study of an earlier day, of the same Patient
    ID of the same issuer. A report that does not name the same patient in so many words, or another
    birth date, is none: a Patient ID may have been given twice.

    Args:
        place: where the node works.
        job: the job that asks.
        source: a header of its images.
        edition: who will read the comparison.
        shadow: whether nobody will.
    """
    person = _aside(source)
    today = str(person.get("StudyDate") or "")
    if not today:
        return None
    mark = mark_patient(place, source)
    with place.ledger.read() as view:
        found = []
        for before in view.jobs.delivered_of_patient(job, mark, _JOBS_MAX):
            path = find_report(place, view, before, edition, shadow=shadow)
            if path is None:
                continue
            header = dcmread(path, specific_tags=list(_NAMES))
            date = str(header.get("StudyDate") or "")
            if date and date < today and _is_same_person(header, person):
                found.append(_Candidate(date, before.version, before.id, path))
    for candidate in sorted(found, reverse=True):
        try:
            report = read_earlier(candidate.path)
        except SecondReadError as error:
            log.warning("earlier report not read", job_id=candidate.job_id, reason=str(error))
            continue
        if report is not None:
            return report
    return None


def _is_same_person(header: Dataset, source: Dataset) -> bool:
    """What the hash says, once more in plain; an absent birth date says nothing."""
    for name in ("PatientID", "IssuerOfPatientID"):
        if str(header.get(name) or "").strip() != str(source.get(name) or "").strip():
            return False
    births = {str(one.get("PatientBirthDate") or "") for one in (header, source)} - {""}
    return len(births) <= 1
