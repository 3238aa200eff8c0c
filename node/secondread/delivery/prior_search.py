"""Whose earlier studies are looked for: what the images of a study say of the patient and the day.

What is read here goes to the archive alone: none of it into the ledger, the trail or the log.
"""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from secondread.delivery.study_keys import (
    ISSUER,
    MODALITY,
    PATIENT_ID,
    STUDY_DATE,
    StudyKeys,
    date_of,
)
from secondread.dicom.elements import readable_text
from secondread.domain.fetch import FetchTerms
from secondread.domain.job import Job
from secondread.domain.network import Rule
from secondread.errors import NotFoundError


def find_terms(rules: Iterable[Rule], source: str, jobs: Sequence[Job]) -> FetchTerms | None:
    """What the rules of these jobs want of a source together; None where no rule wants priors."""
    names = {job.rule for job in jobs}
    wanted = [
        rule.fetch
        for rule in rules
        if rule.name in names and rule.fetch and rule.fetch.source == source and rule.fetch.priors
    ]
    if not wanted:
        return None
    return FetchTerms(
        source,
        priors=max(one.priors for one in wanted),
        prior_days=max(one.prior_days for one in wanted),
    )


def read_keys(path: Path, prior_days: int) -> StudyKeys | None:
    """What to look for; None where the image does not say whose it is, or of which day.

    An archive has to name the same Patient ID, of the same issuer where the image names one, and
    a study of the same modality of an earlier day.

    Raises:
        NotFoundError: the image cannot be read.
    """
    with warnings.catch_warnings():
        # pydicom quotes values in its warnings.
        warnings.simplefilter("ignore")
        try:
            header = dcmread(path, specific_tags=[PATIENT_ID, ISSUER, STUDY_DATE, MODALITY])
        except (OSError, InvalidDicomError):
            raise NotFoundError("The images of the study cannot be read any more.") from None
        texts = [readable_text(header, tag) for tag in (PATIENT_ID, ISSUER, MODALITY, STUDY_DATE)]
    patient_id, issuer, modality, date = texts
    day = date_of(date)
    if day is None:
        return None
    days = min(prior_days, day.toordinal() - 1)
    try:
        return StudyKeys(
            patient_id,
            issuer,
            modality,
            earliest=day - dt.timedelta(days=days),
            latest=day - dt.timedelta(days=1),
        )
    except (ValueError, OverflowError):
        return None
