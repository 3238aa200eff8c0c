"""Who a result is about: the patient and study modules, copied unchanged from the source."""

from __future__ import annotations

from copy import deepcopy

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

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
_SPEAKS_FOR_COPIED = ("SpecificCharacterSet", "TimezoneOffsetFromUTC")
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
    """Give ``result`` the patient and study of ``source``; an absent type 2 attribute is empty."""
    for keyword in (*_SPEAKS_FOR_COPIED, *COPIED):
        if keyword in result:
            del result[keyword]
        if keyword in source:
            result[keyword] = deepcopy(source[keyword])
        elif keyword in TYPE_2:
            setattr(result, keyword, None)


def find_differences(source: Dataset, result: Dataset) -> tuple[str, ...]:
    """Keywords of patient and study attributes that differ; the values are not told."""
    return tuple(
        keyword
        for keyword in (*_SPEAKS_FOR_COPIED, *COPIED)
        if not _is_same(source, result, keyword)
    )


def _is_same(source: Dataset, result: Dataset, keyword: str) -> bool:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    ours, theirs = result.get(tag), source.get(tag)
    if theirs is None or theirs.is_empty:
        must_be_there = keyword in TYPE_2
        return ours.is_empty if ours is not None else not must_be_there
    return ours is not None and bool(ours.value == theirs.value)
