"""What the model found, or why it was not asked, as a TID 1500 report (PS3.16 A)."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CodedConcept,
    Comprehensive3DSR,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    LanguageOfContentItemAndDescendants,
    Measurement,
    ObservationContext,
    ObserverContext,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceSeriesForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from secondread.results import coding
from secondread.results.analysis import Analysis
from secondread.results.context import (
    NODE_MANUFACTURER,
    NODE_MODEL,
    RESEARCH_NOTICE,
    SR,
    Predecessor,
    ResultContext,
)
from secondread.results.document import Document, WholeDocument
from secondread.results.equipment import sign, stand_in
from secondread.results.library import list_images
from secondread.results.made import Made
from secondread.results.measurements import StructureMeasurements
from secondread.results.segmentation import SEGMENTATION_STORAGE, SegmentationDocument
from secondread.results.wording import plain

COMPREHENSIVE_3D_SR_STORAGE = "1.2.840.10008.5.1.4.1.1.88.34"
NOTHING_FOUND = "Analysed: none of the structures that the model knows was found."
NOT_ANALYSED = "Not analysed"
NOT_FOUND = "Not found"
REPLACES = (
    "This is version {version} of the analysis; it replaces the report that is named as its "
    "predecessor."
)
_WHY_PARTIAL = "Not analysed; the reason is a comment in the report."
_LANGUAGE = CodedConcept("en", "RFC5646", "English")
_LONG_STRING = 64
_CONTAINS = RelationshipTypeValues.CONTAINS
_MODIFIES = RelationshipTypeValues.HAS_CONCEPT_MOD


def make_report(context: ResultContext, analysis: Analysis, made: Made) -> Document:
    """The report on an analysed volume: one measurement group for each structure that was found.

    Args:
        context: the job.
        analysis: what the model answered, and an earlier report to compare with.
        made: the measurements, and the segmentations that the groups point at.
    """
    measured = made.measured
    groups: list[ContentItem] = []
    for one in measured:
        found = made.find_segment(one.label)
        if one.voxels and found is not None:
            group = _measure_group(context, one, *found)
            groups.extend(item for item in group if isinstance(item, ContentItem))
    absent = [one.label.meaning for one in measured if not one.voxels]
    notes = []
    if not groups:
        notes.append(NOTHING_FOUND)
    if absent:
        notes.append(f"{NOT_FOUND}: {', '.join(absent)}.")
    content = _make_content(context, groups, coding.SUCCEEDED, notes)
    evidence = [*context.sources, *(document.header for document in made.documents)]
    what = "measurements" if groups else "analysed, nothing found"
    return _make_document(context, content, evidence, what, refusal="")


def make_refusal_report(context: ResultContext, reason: str) -> Document:
    """The report that says why a study was not analysed; it is PARTIAL and says so in words.

    A measurement report without measurements is legal when it holds qualitative evaluations
    (PS3.16 TID 1500 rows 6, 10 and 12): the summary 'Not Attempted' and the reason as a comment.
    """
    sentence = f"{NOT_ANALYSED}, because: {reason}"
    content = _make_content(context, [], coding.NOT_ATTEMPTED, [sentence])
    evidence = list(context.sources)
    return _make_document(context, content, evidence, "NOT ANALYSED", refusal=sentence)


def _make_document(
    context: ResultContext,
    content: ContainerContentItem,
    evidence: Sequence[Dataset],
    what: str,
    *,
    refusal: str,
) -> Document:
    # Two different reasons are two documents of one series; the same reason is the same document.
    instance = ["instance", SR, *([refusal] if refusal else [])]
    if context.predecessor is not None:
        instance.append(context.predecessor.sop_instance_uid)
    # highdicom copies the whole tree it is given, and searches it once for every kind of item. It
    # is given the trunk, and the branches are put on afterwards.
    trunk = ContainerContentItem(coding.REPORT_TITLE, template_id="1500")
    trunk.ContentSequence = ContentSequence(content.ContentSequence[:1])
    document = Comprehensive3DSR(
        evidence=[stand_in(context.reference)],
        content=trunk,
        series_instance_uid=context.object_uid("series", SR),
        series_number=context.series_number(SR),
        sop_instance_uid=context.object_uid(*instance),
        instance_number=1,
        manufacturer=NODE_MANUFACTURER,
        manufacturer_model_name=NODE_MODEL,
        software_versions=plain(context.software_version, _LONG_STRING),
        device_serial_number=plain(context.device_serial, _LONG_STRING),
        is_complete=not refusal,
        is_final=False,
        is_verified=False,
        series_description=context.series_description(what),
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    document.ContentSequence = content.ContentSequence
    document.CurrentRequestedProcedureEvidenceSequence = [_list_evidence(evidence)]
    if context.predecessor is not None:
        document.PredecessorDocumentsSequence = [_name_predecessor(context.predecessor)]
    if refusal:
        document.CompletionFlagDescription = _WHY_PARTIAL
    sign(document, context)
    return WholeDocument(SR, SR, document)


def _name_predecessor(predecessor: Predecessor) -> Dataset:
    """The report that this one amends (PS3.3 C.17.2, Predecessor Documents Sequence)."""
    instance = Dataset()
    instance.ReferencedSOPClassUID = predecessor.sop_class_uid
    instance.ReferencedSOPInstanceUID = predecessor.sop_instance_uid
    series = Dataset()
    series.SeriesInstanceUID = predecessor.series_instance_uid
    series.ReferencedSOPSequence = [instance]
    study = Dataset()
    study.StudyInstanceUID = predecessor.study_instance_uid
    study.ReferencedSeriesSequence = [series]
    return study


def _list_evidence(evidence: Sequence[Dataset]) -> Dataset:
    """Every object that the report refers to, by series (PS3.3 C.17.2.3)."""
    series: dict[str, list[Dataset]] = {}
    for one in evidence:
        instance = Dataset()
        instance.ReferencedSOPClassUID = one.SOPClassUID
        instance.ReferencedSOPInstanceUID = one.SOPInstanceUID
        series.setdefault(str(one.SeriesInstanceUID), []).append(instance)
    study = Dataset()
    study.StudyInstanceUID = evidence[0].StudyInstanceUID
    study.ReferencedSeriesSequence = []
    for uid, instances in series.items():
        item = Dataset()
        item.SeriesInstanceUID = uid
        item.ReferencedSOPSequence = instances
        study.ReferencedSeriesSequence.append(item)
    return study


def _make_content(
    context: ResultContext,
    groups: Sequence[ContentItem],
    summary: Code,
    notes: Sequence[str],
) -> ContainerContentItem:
    """The content tree. It is built here because highdicom's needs at least one group."""
    root = ContainerContentItem(coding.REPORT_TITLE, template_id="1500")
    root.ContentSequence = ContentSequence()
    root.ContentSequence.extend(LanguageOfContentItemAndDescendants(_LANGUAGE))
    root.ContentSequence.extend(_observe(context))
    for procedure in _list_procedures(context.reference):
        root.ContentSequence.append(
            CodeContentItem(codes.DCM.ProcedureReported, procedure, _MODIFIES)
        )
    library = list_images(context.sources)
    if library.ContentSequence:
        root.ContentSequence.append(library)
    if groups:
        measurements = ContainerContentItem(
            codes.DCM.ImagingMeasurements, relationship_type=_CONTAINS
        )
        measurements.ContentSequence = ContentSequence(groups)
        root.ContentSequence.append(measurements)
    root.ContentSequence.append(_evaluate(context, summary, notes))
    return root


def _evaluate(context: ResultContext, summary: Code, notes: Sequence[str]) -> ContainerContentItem:
    """What there is to say in words: how the analysis went, by which model, and what it is for."""
    manifest = context.manifest
    sentences = [*notes, f"Model: {manifest.title}, version {manifest.version} ({manifest.id})."]
    if context.predecessor is not None:
        sentences.append(REPLACES.format(version=context.job.version))
    if context.is_research:
        sentences.append(RESEARCH_NOTICE)
    evaluations = ContainerContentItem(coding.QUALITATIVE_EVALUATIONS, relationship_type=_CONTAINS)
    evaluations.ContentSequence = ContentSequence(
        [CodeContentItem(coding.SUMMARY_OF_ANALYSES, summary, _CONTAINS)]
    )
    for sentence in sentences:
        evaluations.ContentSequence.append(
            TextContentItem(coding.COMMENT, plain(sentence), _CONTAINS)
        )
    return evaluations


def _observe(context: ResultContext) -> ObservationContext:
    """The node as device observer (PS3.16 TID 1004)."""
    return ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
                uid=context.device_uid,
                name=plain(context.ae_title, _LONG_STRING),
                manufacturer_name=NODE_MANUFACTURER,
                model_name=NODE_MODEL,
                serial_number=plain(context.device_serial, _LONG_STRING),
            ),
        )
    )


def _list_procedures(source: Dataset) -> list[Code]:
    """The imaging procedure as the study names it, else as its modality implies (CID 100)."""
    named = [
        Code(item.CodeValue, item.CodingSchemeDesignator, plain(item.CodeMeaning, _LONG_STRING))
        for item in source.get("ProcedureCodeSequence") or ()
        if item.get("CodeValue") and item.get("CodingSchemeDesignator") and item.get("CodeMeaning")
    ]
    modality = str(source.get("Modality", ""))
    return named or [coding.MODALITY_PROCEDURE.get(modality, coding.IMAGING_PROCEDURE)]


def _measure_group(
    context: ResultContext,
    one: StructureMeasurements,
    segmentation: SegmentationDocument,
    number: int,
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    """One structure (PS3.16 TID 1411)."""
    label, manifest = one.label, context.manifest
    side = coding.LATERALITY.get(label.laterality)
    sites = None
    if label.category.value in coding.ANATOMY:
        sites = [FindingSite(coding.concept(label.type), laterality=side)]
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=context.tracking_uid(label), identifier=context.tracking_id(label)
        ),
        referenced_segment=ReferencedSegment(
            sop_class_uid=SEGMENTATION_STORAGE,
            sop_instance_uid=segmentation.sop_instance_uid,
            segment_number=number,
            source_series=SourceSeriesForSegmentation(str(context.reference.SeriesInstanceUID)),
        ),
        finding_type=coding.concept(label.type),
        finding_sites=sites,
        algorithm_id=AlgorithmIdentification(
            name=plain(manifest.id, _LONG_STRING), version=plain(manifest.version, _LONG_STRING)
        ),
        measurements=_list_measurements(context, one),
    )


def _list_measurements(context: ResultContext, one: StructureMeasurements) -> list[Measurement]:
    found = [
        Measurement(
            coding.VOLUME, _rounded(one.volume_ml), coding.MILLILITRE, method=coding.VOXEL_SUM
        )
    ]
    signal = coding.SIGNAL.get(str(context.reference.get("Modality", "")))
    if signal is not None:
        name, unit = signal
        for derivation, value in (
            (coding.MEAN, one.signal_mean),
            (coding.STANDARD_DEVIATION, one.signal_deviation),
        ):
            found.append(Measurement(name, _rounded(value), unit, derivation=derivation))
    return found


def _rounded(value: float) -> float:
    """Six significant digits: more are not measured and do not fit a decimal string."""
    return float(f"{value:.6g}")
