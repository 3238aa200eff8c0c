"""What archives are asked for and answer: studies, series and whose they are (PS3.4 C.6.2).

Everything in an answer is a stranger's text: what is no number, no date or no UID counts as not
said, and nothing of it goes into a sentence.
"""

from __future__ import annotations

import datetime as dt
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.dataset import Dataset

from secondread.delivery.wanted import CHARACTER_SET, SERIES, STUDY
from secondread.dicom.elements import readable_text
from secondread.dicom.messages import Item

STUDY_DATE, MODALITY, MODALITIES = 0x00080020, 0x00080060, 0x00080061
PATIENT_NAME, PATIENT_ID, ISSUER, BIRTH_DATE = 0x00100010, 0x00100020, 0x00100021, 0x00100030
ACCESSION_NUMBER, BODY_PART = 0x00080050, 0x00180015
STUDY_SERIES, STUDY_INSTANCES, SERIES_INSTANCES = 0x00201206, 0x00201208, 0x00201209

IDENTITY = {
    ACCESSION_NUMBER: ("SH", "AccessionNumber"),
    PATIENT_NAME: ("PN", "PatientName"),
    PATIENT_ID: ("LO", "PatientID"),
    BIRTH_DATE: ("DA", "PatientBirthDate"),
    STUDY: ("UI", "StudyInstanceUID"),
}
"""VR and keyword of what says whose a study is."""

_INTEGER = re.compile(r"\d{1,9}")
_DATE = re.compile(r"\d{8}")
# PS3.4 C.2.2.2.4 and C.2.2.2.2: with these a key matches more than one value.
_WILD = frozenset("*?\\")
_LO_LENGTH_MAX = 64


@dataclass(frozen=True, slots=True)
class StudyFound:
    """A study that an archive has.

    Attributes:
        study_instance_uid: its UID.
        study_date: its date; None where the archive tells none.
        modalities: of its series, as far as they are known.
        body_parts: Body Part Examined of its series, where they were asked for.
        issuer_of_patient_id: who gave the Patient ID; "" where the archive does not say.
        series: how many it has; None where the archive does not say.
        instances: how many objects it has; None where the archive does not say.
    """

    study_instance_uid: str
    study_date: dt.date | None = None
    modalities: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    issuer_of_patient_id: str = ""
    series: int | None = None
    instances: int | None = None


@dataclass(frozen=True, slots=True)
class SeriesFound:
    """A series that an archive has; "" and None stand for what it does not say."""

    series_instance_uid: str
    modality: str = ""
    body_part: str = ""
    instances: int | None = None


@dataclass(frozen=True, slots=True)
class StudyKeys:
    """Whose studies are looked for, and which of them.

    Attributes:
        patient_id: matched as it is.
        issuer_of_patient_id: with one, an answer has to name it; "" is any.
        modality: one that the study must have; "" is any.
        body_part: Body Part Examined, whatever the case of its letters; "" is any.
        earliest: first Study Date that counts; None is without limit.
        latest: last Study Date that counts; None is without limit.

    Raises:
        ValueError: there is no Patient ID, or a key would match more than one value.
    """

    patient_id: str
    issuer_of_patient_id: str = ""
    modality: str = ""
    body_part: str = ""
    earliest: dt.date | None = None
    latest: dt.date | None = None

    def __post_init__(self) -> None:
        """Refuse what would find strangers."""
        texts = (self.patient_id, self.issuer_of_patient_id, self.modality, self.body_part)
        if not self.patient_id.strip() or any(
            _WILD & set(text) or not text.isprintable() or len(text) > _LO_LENGTH_MAX
            for text in texts
        ):
            raise ValueError(
                "Studies are looked for by one Patient ID, without '*', '?' and backslash."
            )

    @property
    def range(self) -> str:
        """The Study Date as a key: a range, or nothing (PS3.4 C.2.2.2.5)."""
        if self.earliest is None and self.latest is None:
            return ""
        ends = (self.earliest, self.latest)
        return "-".join("" if end is None else f"{end:%Y%m%d}" for end in ends)

    @property
    def needs_series(self) -> bool:
        """Whether the study alone does not settle it: Modalities in Study is optional."""
        return bool(self.modality or self.body_part)

    def admit(self, study: StudyFound) -> bool:
        """Whether a study may be meant, as far as the study level tells.

        With limits on the date, one without a date is not.
        """
        if self.issuer_of_patient_id not in ("", study.issuer_of_patient_id):
            return False
        if self.modality and study.modalities and self.modality not in study.modalities:
            return False
        if self.earliest is None and self.latest is None:
            return True
        return study.study_date is not None and (
            (self.earliest or dt.date.min) <= study.study_date <= (self.latest or dt.date.max)
        )

    def look_into(self, study: StudyFound, series: tuple[SeriesFound, ...]) -> StudyFound | None:
        """The study with what its series say; None where none of them may be meant."""
        meant = [
            one
            for one in series
            if self.modality in ("", one.modality)
            and (not self.body_part or one.body_part.upper() in ("", self.body_part.upper()))
        ]
        if not meant:
            return None
        return replace(
            study,
            modalities=_distinct(one.modality for one in series),
            body_parts=_distinct(one.body_part for one in series),
        )


def read_study(match: Item) -> StudyFound:
    """A match at study level."""
    return StudyFound(
        match.text(STUDY),
        date_of(match.text(STUDY_DATE)),
        _distinct(match.texts(MODALITIES)),
        (),
        readable(match, ISSUER),
        number(match, STUDY_SERIES),
        number(match, STUDY_INSTANCES),
    )


def read_series(match: Item) -> SeriesFound:
    """A match at series level."""
    return SeriesFound(
        match.text(SERIES),
        match.text(MODALITY),
        match.text(BODY_PART),
        number(match, SERIES_INSTANCES),
    )


def number(match: Item, tag: int) -> int | None:
    """A number (IS) of a match; None where it has none, or one that is none."""
    text = match.text(tag)
    return int(text) if _INTEGER.fullmatch(text) else None


def readable(match: Item, tag: int) -> str:
    """A text of a match in the character set that the match names, without padding."""
    value = match.values.get(tag, b"")
    if value.isascii():
        return value.decode("ascii").strip(" \0")
    with warnings.catch_warnings():
        # pydicom warns of a character set that it does not know, and quotes it.
        warnings.simplefilter("ignore")
        try:
            found = decode_bytes(
                value, convert_encodings(list(match.texts(CHARACTER_SET)) or [""]), set()
            )
        except (LookupError, ValueError):
            found = value.decode("latin-1")
    return found.strip(" \0")


def differing(match: Item, source: Dataset) -> tuple[str, ...]:
    """The keywords of the attributes of ``IDENTITY`` in which a match is not the source."""
    found = []
    for tag, (_, keyword) in IDENTITY.items():
        told, ours = _plain(readable(match, tag)), _plain(readable_text(source, tag))
        # An optional key (PS3.4 table C.6-5): an archive that does not know it leaves it empty.
        if told != ours and (told or tag != BIRTH_DATE):
            found.append(keyword)
    return tuple(found)


def _plain(text: str) -> str:
    """Without what a value may end with and mean the same (PS3.5 6.2, 6.2.1.2)."""
    groups = [group.rstrip("^ ") for group in text.split("=")]
    return "=".join(groups).rstrip("= ").strip()


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))


def date_of(text: str) -> dt.date | None:
    """A date (DA); None where it is none."""
    if not _DATE.fullmatch(text):
        return None
    try:
        return dt.date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None
