"""Who a result is about: the patient and study modules, copied unchanged from the source."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

from pydicom.charset import convert_encodings, default_encoding
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filewriter import correct_ambiguous_vr
from pydicom.tag import BaseTag, Tag

PATIENT = [
    "ReferencedPatientSequence",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "TypeOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "SourcePatientGroupIdentificationSequence",
    "GroupOfPatientsIdentificationSequence",
    "PatientBirthDate",
    "PatientBirthTime",
    "PatientBirthDateInAlternativeCalendar",
    "PatientDeathDateInAlternativeCalendar",
    "PatientAlternativeCalendar",
    "PatientSex",
    "QualityControlSubject",
    "StrainDescription",
    "StrainNomenclature",
    "StrainStockSequence",
    "StrainAdditionalInformation",
    "StrainCodeSequence",
    "GeneticModificationsSequence",
    "OtherPatientIDs",
    "OtherPatientNames",
    "OtherPatientIDsSequence",
    "ReferencedPatientPhotoSequence",
    "EthnicGroup",
    "EthnicGroupCodeSequence",
    "PatientSpeciesDescription",
    "PatientSpeciesCodeSequence",
    "PatientBreedDescription",
    "PatientBreedCodeSequence",
    "BreedRegistrationSequence",
    "ResponsiblePerson",
    "ResponsiblePersonRole",
    "ResponsibleOrganization",
    "PatientComments",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
]
"""PS3.3 C.7.1.1, with two retired attributes that scanners still write."""

STUDY = [
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName",
    "ReferringPhysicianIdentificationSequence",
    "ConsultingPhysicianName",
    "ConsultingPhysicianIdentificationSequence",
    "StudyDescription",
    "ProcedureCodeSequence",
    "PhysiciansOfRecord",
    "PhysiciansOfRecordIdentificationSequence",
    "NameOfPhysiciansReadingStudy",
    "PhysiciansReadingStudyIdentificationSequence",
    "ReferencedStudySequence",
    "StudyInstanceUID",
    "StudyID",
    "RequestingService",
    "RequestingServiceCodeSequence",
    "ReasonForPerformedProcedureCodeSequence",
]
"""PS3.3 C.7.2.1."""

PATIENT_STUDY = [
    "AdmittingDiagnosesDescription",
    "AdmittingDiagnosesCodeSequence",
    "PatientAge",
    "PatientSize",
    "PatientSizeCodeSequence",
    "PatientBodyMassIndex",
    "MeasuredAPDimension",
    "MeasuredLateralDimension",
    "PatientWeight",
    "MedicalAlerts",
    "Allergies",
    "Occupation",
    "SmokingStatus",
    "AdditionalPatientHistory",
    "PregnancyStatus",
    "LastMenstrualDate",
    "PatientSexNeutered",
    "ReasonForVisit",
    "ReasonForVisitCodeSequence",
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
    "ServiceEpisodeID",
    "ServiceEpisodeDescription",
    "IssuerOfServiceEpisodeIDSequence",
    "PatientState",
]
"""PS3.3 C.7.2.2."""

CLINICAL_TRIAL = [
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "IssuerOfClinicalTrialProtocolID",
    "OtherClinicalTrialProtocolIDsSequence",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "IssuerOfClinicalTrialSiteID",
    "ClinicalTrialSubjectID",
    "IssuerOfClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
    "IssuerOfClinicalTrialSubjectReadingID",
    "ClinicalTrialProtocolEthicsCommitteeName",
    "ClinicalTrialProtocolEthicsCommitteeApprovalNumber",
    "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription",
    "LongitudinalTemporalOffsetFromEvent",
    "LongitudinalTemporalEventType",
    "ClinicalTrialTimePointTypeCodeSequence",
    "IssuerOfClinicalTrialTimePointID",
    "ConsentForClinicalTrialUseSequence",
]
"""PS3.3 C.7.1.3 and C.7.2.3."""

COPIED = (*PATIENT, *STUDY, *PATIENT_STUDY, *CLINICAL_TRIAL)
UNICODE = "ISO_IR 192"
"""UTF-8, as Specific Character Set names it."""
_CHARACTER_SET = "SpecificCharacterSet"
_NOT_ASCII_BELOW_128 = frozenset({"ISO_IR 13", "ISO 2022 IR 13"})
"""JIS X 0201 has a yen sign and an overline where ASCII has a backslash and a tilde."""
_PLAIN_BYTES = frozenset(b"\t\n\f\r") | frozenset(range(0x20, 0x7F))
_SPEAKS_FOR_COPIED = (_CHARACTER_SET, "TimezoneOffsetFromUTC")
_TEXTS = frozenset("AE AS CS DA DS DT IS LO LT PN SH ST TM UC UI UR UT".split())
TYPE_2 = frozenset(
    [
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "ReferringPhysicianName",
        "StudyID",
    ]
)


def copy_identity(source: Dataset, result: Dataset) -> None:
    """Give ``result`` the patient and study of ``source``; an absent type 2 attribute is empty.

    Text goes over byte for byte: reading it would lose padding, and whatever its character set does
    not hold.
    """
    for keyword in (*_SPEAKS_FOR_COPIED, *COPIED):
        if keyword in result:
            del result[keyword]
        if keyword in source:
            tag = _tag(keyword)
            written = _as_written(source, tag)
            result[tag] = deepcopy(source[tag]) if written is None else written
        elif keyword in TYPE_2:
            setattr(result, keyword, None)
    # Or the library reads what it copies once more, to write it anew. Then it no longer settles
    # either which of two VRs an element has (PS3.5 A.2), so that is done here.
    correct_ambiguous_vr(result, is_little_endian=True)
    said = result.get("SpecificCharacterSet")
    result.set_original_encoding(False, True, convert_encodings(said) if said else default_encoding)


def declare_unicode(result: Dataset) -> None:
    """Say that a result is written in UTF-8, where ``is_plain`` holds for its source.

    ASCII is part of UTF-8, so that what was copied means the same as before, byte for byte.
    """
    result.SpecificCharacterSet = UNICODE
    result.set_original_encoding(False, True, convert_encodings(UNICODE))


def list_character_sets(source: Dataset) -> tuple[str, ...]:
    """The values of Specific Character Set; empty where there is none."""
    value = source.get(_CHARACTER_SET) or ()
    return (str(value),) if isinstance(value, str) else tuple(str(one) for one in value)


def is_plain(source: Dataset) -> bool:
    """Whether all that is copied from a source is ASCII, in the bytes and in what they mean.

    Escape sequences are not (PS3.5 6.1.2.5), and neither is the half of a Japanese set that looks
    like ASCII.
    """
    if not _NOT_ASCII_BELOW_128.isdisjoint(list_character_sets(source)):
        return False
    return all(_is_plain(source, _tag(keyword)) for keyword in COPIED if keyword in source)


def _is_plain(source: Dataset, tag: BaseTag) -> bool:
    written = _as_written(source, tag)
    if written is not None:
        return _PLAIN_BYTES.issuperset(written.value or b"")
    element = source[tag]
    nested = element.value if element.VR == "SQ" else ()
    within: Iterable[DataElement] = (one for item in nested for one in item.iterall())
    return all(
        _PLAIN_BYTES.issuperset(str(one.value).encode())
        for one in (element, *within)
        if one.VR in _TEXTS
    )


def find_differences(source: Dataset, result: Dataset) -> tuple[str, ...]:
    """Keywords of patient and study attributes that differ; the values are not told.

    A result may say that it is in UTF-8 where all that it has from its source is ASCII.
    """
    return tuple(
        keyword
        for keyword in (*_SPEAKS_FOR_COPIED, *COPIED)
        if not _is_same(source, result, keyword)
    )


def _is_same(source: Dataset, result: Dataset, keyword: str) -> bool:
    if keyword == _CHARACTER_SET and list_character_sets(result) == (UNICODE,) and is_plain(source):
        return True
    tag = _tag(keyword)
    ours, theirs = _as_written(result, tag), _as_written(source, tag)
    if ours is not None and theirs is not None:
        return ours.value == theirs.value
    found, wanted = result.get(tag), source.get(tag)
    if wanted is None or wanted.is_empty:
        must_be_there = keyword in TYPE_2
        return found.is_empty if found is not None else not must_be_there
    return found is not None and bool(found.value == wanted.value)


def _as_written(dataset: Dataset, tag: BaseTag) -> RawDataElement | None:
    """An element of text that nobody has converted yet, as explicit VR little endian has it.

    What is not text depends on the encoding of its file; what is of odd length may not be written.
    """
    element: object = dataset.get_item(tag) if tag in dataset else None
    if not isinstance(element, RawDataElement) or not element.value or len(element.value) % 2:
        return None
    known = element.VR if element.VR not in {None, "UN"} else dictionary_VR(tag)
    if known not in _TEXTS:
        return None
    return element._replace(
        VR=known, length=len(element.value), is_implicit_VR=False, is_little_endian=True
    )


def _tag(keyword: str) -> BaseTag:
    found = tag_for_keyword(keyword)
    assert found is not None
    return Tag(found)
