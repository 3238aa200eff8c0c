"""References between objects: what is named must be listed, be there, and be what it is called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from secondread.results.gate.elements import items_of, read_sequence, tag_of, text_of

_SERIES, _INSTANCES = tag_of("ReferencedSeriesSequence"), tag_of("ReferencedSOPSequence")
_STUDY_UID, _SERIES_UID = tag_of("StudyInstanceUID"), tag_of("SeriesInstanceUID")
_CLASS, _INSTANCE = tag_of("ReferencedSOPClassUID"), tag_of("ReferencedSOPInstanceUID")
_OWN_UID, _OWN_CLASS = Tag("SOPInstanceUID"), Tag("SOPClassUID")
_OWN_SERIES, _OWN_STUDY = Tag("SeriesInstanceUID"), Tag("StudyInstanceUID")
Evidence = Mapping[str, tuple[str, str, str]]
"""Class, series and study of objects, by SOP Instance UID."""

_EVIDENCE = ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")


def list_evidence(header: Dataset, *keywords: str) -> dict[str, tuple[str, str, str]]:
    """Class, series and study of each object that the hierarchical lists of PS3.3 C.17.2.1 name.

    By SOP Instance UID. Without keywords the lists are those of evidence.
    """
    found = {}
    for keyword in keywords or _EVIDENCE:
        for study in read_sequence(header, keyword):
            for series in items_of(study, _SERIES):
                place = (text_of(series, _SERIES_UID), text_of(study, _STUDY_UID))
                for instance in items_of(series, _INSTANCES):
                    uid = text_of(instance, _INSTANCE)
                    found[uid] = (text_of(instance, _CLASS), *place)
    return found


def uid_of(header: Dataset) -> str:
    """SOP Instance UID."""
    return str(header[_OWN_UID].value)


def value_of(header: Dataset, tag: BaseTag) -> Any:
    """A value, None where it is absent.

    Asking by tag takes half as long as by name, and every source is asked.
    """
    return header[tag].value if tag in header else None


def list_objects(headers: Iterable[Dataset]) -> dict[str, tuple[str, str, str]]:
    """Class, series and study of objects, by SOP Instance UID."""
    return {
        uid_of(header): (
            str(value_of(header, _OWN_CLASS) or ""),
            str(value_of(header, _OWN_SERIES) or ""),
            str(value_of(header, _OWN_STUDY) or ""),
        )
        for header in headers
    }


def find_existence_faults(named: Mapping[str, str], there: Evidence, what: str) -> Iterator[str]:
    """Faults of references to objects that are not there, or are of another class.

    Args:
        named: SOP Class UID by SOP Instance UID, as the references have it.
        there: all objects that may be referred to.
        what: the object that refers.
    """
    for uid, sop_class_uid in named.items():
        if uid not in there:
            yield f"The {what} refers to an object that is not there."
            return
        if there[uid][0] != sop_class_uid:
            yield f"The {what} refers to an object as of another SOP class than it is."
            return


def find_listing_faults(evidence: Evidence, there: Evidence, what: str) -> Iterator[str]:
    """Faults of evidence that names objects in another series, study or class than theirs."""
    for uid, listed in evidence.items():
        if uid in there and listed != there[uid]:
            yield f"The {what}'s evidence lists an object with another class, series or study."
            return
