"""What the model found, or why it was not asked, as a TID 1500 report (PS3.16 A)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian

from secondread.domain.code import Code
from secondread.domain.form import Language
from secondread.results import coding
from secondread.results.analysis import Analysis
from secondread.results.context import (
    NODE_MANUFACTURER,
    NODE_MODEL,
    SR,
    Predecessor,
    ResultContext,
)
from secondread.results.earlier import EarlierReport
from secondread.results.equipment import sign
from secondread.results.identity import UNICODE, declare_unicode, list_character_sets
from secondread.results.made import Made
from secondread.results.references import list_evidence
from secondread.results.report import concepts
from secondread.results.report.comparison import begin_comparison, compare, refer_to_earlier
from secondread.results.report.content import (
    CONTAINS,
    HAS_CONCEPT_MOD,
    HAS_OBS_CONTEXT,
    ContentWriter,
    Item,
)
from secondread.results.report.draft import Draft
from secondread.results.report.findings import list_findings
from secondread.results.report.groups import list_groups
from secondread.results.report.language import ENGLISH_SENTENCES, choose_tongue
from secondread.results.report.library import list_images
from secondread.results.wording import plain

COMPREHENSIVE_3D_SR_STORAGE = "1.2.840.10008.5.1.4.1.1.88.34"
TEMPLATE = "1500"
_LONG_STRING = 64


@dataclass(frozen=True, slots=True)
class ReportDocument:
    """A report.

    Attributes:
        language: that it is written in; English where the study's character set has no signs for
            the one that was asked for.
    """

    header: Dataset
    language: Language
    kind: str = SR
    name: str = SR

    def write(self, file: BinaryIO) -> None:
        """Write it as a DICOM file (PS3.10 7)."""
        self.header.save_as(file, enforce_file_format=True)


@dataclass(frozen=True, slots=True)
class _Content:
    """What is said in a report.

    Attributes:
        groups: measurement groups.
        findings: about the image as a whole.
        summary: how the analysis went.
        notes: sentences.
        earlier: the report that it is compared with.
    """

    summary: Code
    notes: Sequence[str]
    groups: Sequence[Item] = ()
    findings: Sequence[Item] = ()
    earlier: EarlierReport | None = None


def make_report(context: ResultContext, analysis: Analysis, made: Made) -> ReportDocument:
    """The report on an analysed volume.

    Args:
        context: the job, and the language that its form asks for.
        analysis: what the model answered, and an earlier report to compare with.
        made: the measurements, and the segmentations that the groups point at.

    Raises:
        ResultError: the model answered what its manifest does not declare.
    """
    tongue = choose_tongue(context)
    writer = ContentWriter(tongue)
    comparison = begin_comparison(context, analysis, made)
    draft = Draft.begin(context, analysis, made, writer, comparison)
    groups, findings = list_groups(draft), list_findings(draft)
    absent = [tongue.name(one.label) for one in made.measured if not one.voxels]
    notes = []
    if not groups and not findings:
        notes.append(tongue.say("nothing_found"))
    if absent:
        notes.append(tongue.say("not_found", names=tongue.say("separator").join(absent)))
    notes += compare(draft)
    content = _Content(concepts.SUCCEEDED, notes, groups, findings, comparison.earlier)
    what = "measurements" if groups or findings else "analysed, nothing found"
    evidence = [*context.sources, *(document.header for document in made.documents)]
    document = _make_document(context, what, refusal="", earlier=comparison.earlier)
    _fill(document, context, writer, content)
    _list_evidence(document, evidence, comparison.earlier)
    return ReportDocument(document, tongue.language)


def make_refusal_report(context: ResultContext, reason: str) -> ReportDocument:
    """The report that says why a study was not analysed; it is PARTIAL and says so in words.

    A measurement report without measurements is legal when it holds qualitative evaluations
    (PS3.16 TID 1500 rows 6, 10 and 12): the summary 'Not Attempted' and the reason as a comment.
    """
    tongue = choose_tongue(context)
    sentence = tongue.say("not_analysed", reason=plain(reason))
    content = _Content(concepts.NOT_ATTEMPTED, [sentence])
    # Two different reasons are two documents of one series; the same reason is the same document,
    # in whatever language it is told.
    refusal = ENGLISH_SENTENCES["not_analysed"].format(reason=reason)
    document = _make_document(context, "NOT ANALYSED", refusal=refusal)
    _fill(document, context, ContentWriter(tongue), content)
    why = tongue.encode(tongue.fit(tongue.say("why_partial"), _LONG_STRING))
    _put(document, "CompletionFlagDescription", "LO", why + b" " * (len(why) % 2))
    _list_evidence(document, context.sources, None)
    return ReportDocument(document, tongue.language)


def _make_document(
    context: ResultContext, what: str, *, refusal: str, earlier: EarlierReport | None = None
) -> Dataset:
    """Everything around the content (PS3.3 A.35.13).

    What one destination was sent before may differ from what another was, so that the reports that
    a report refers to count for its UID.
    """
    instance = ["instance", SR, *([refusal] if refusal else [])]
    if earlier is not None:
        instance.append(f"earlier {earlier.sop_instance_uid}")
    if context.predecessor is not None:
        instance.append(context.predecessor.sop_instance_uid)
    document = Dataset()
    document.SOPClassUID = COMPREHENSIVE_3D_SR_STORAGE
    document.SOPInstanceUID = context.object_uid(*instance)
    document.file_meta = FileMetaDataset()
    document.file_meta.MediaStorageSOPClassUID = document.SOPClassUID
    document.file_meta.MediaStorageSOPInstanceUID = document.SOPInstanceUID
    document.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    document.Modality = "SR"
    document.SeriesInstanceUID = context.object_uid("series", SR)
    document.SeriesNumber = context.series_number(SR)
    document.SeriesDescription = context.series_description(what)
    document.ReferencedPerformedProcedureStepSequence = []
    document.Manufacturer = NODE_MANUFACTURER
    document.ManufacturerModelName = NODE_MODEL
    document.DeviceSerialNumber = plain(context.device_serial, _LONG_STRING)
    document.SoftwareVersions = plain(context.software_version, _LONG_STRING)
    document.InstanceNumber = 1
    document.PerformedProcedureCodeSequence = []
    document.CompletionFlag = "PARTIAL" if refusal else "COMPLETE"
    document.VerificationFlag = "UNVERIFIED"
    document.PreliminaryFlag = "PRELIMINARY"
    if context.predecessor is not None:
        document.PredecessorDocumentsSequence = [_name_predecessor(context.predecessor)]
    sign(document, context)
    return document


def _name_predecessor(predecessor: Predecessor) -> Dataset:
    """The report that this one amends (PS3.3 C.17.2, Predecessor Documents Sequence)."""
    replaced = Dataset()
    replaced.SOPClassUID = predecessor.sop_class_uid
    replaced.SOPInstanceUID = predecessor.sop_instance_uid
    replaced.SeriesInstanceUID = predecessor.series_instance_uid
    replaced.StudyInstanceUID = predecessor.study_instance_uid
    return list_evidence([replaced])[0]


def _list_evidence(
    document: Dataset, evidence: Sequence[Dataset], earlier: EarlierReport | None
) -> None:
    """Every object that the report refers to, by study and series (PS3.3 C.17.2.3).

    What is of another study was no evidence of the requested procedure.
    """
    objects = list(evidence)
    if earlier is not None:
        before = Dataset()
        before.SOPClassUID = earlier.sop_class_uid
        before.SOPInstanceUID = earlier.sop_instance_uid
        before.SeriesInstanceUID = earlier.series_instance_uid
        before.StudyInstanceUID = earlier.study_instance_uid
        objects.append(before)
    own, *others = list_evidence(objects)
    document.CurrentRequestedProcedureEvidenceSequence = [own]
    if others:
        document.PertinentOtherEvidenceSequence = others


def _fill(
    document: Dataset, context: ResultContext, writer: ContentWriter, content: _Content
) -> None:
    """Put the content tree into the document, in the document's character set."""
    tongue = writer.tongue
    items = [
        writer.code(HAS_CONCEPT_MOD, concepts.LANGUAGE, tongue.code),
        *_observe(context, writer),
        *(
            writer.code(HAS_CONCEPT_MOD, concepts.PROCEDURE_REPORTED, procedure)
            for procedure in _list_procedures(context.reference)
        ),
        *list_images(writer, context.sources),
    ]
    if content.groups:
        items.append(writer.container(concepts.IMAGING_MEASUREMENTS, content.groups))
    items.append(_evaluate(context, writer, content))
    if content.earlier is not None:
        items.append(refer_to_earlier(writer, content.earlier))
    if tongue.character_sets == (UNICODE,) != list_character_sets(document):
        declare_unicode(document)
    document.ValueType = "CONTAINER"
    _put(document, "ConceptNameCodeSequence", "SQ", writer.item_of(concepts.REPORT_TITLE))
    document.ContinuityOfContent = "CONTINUOUS"
    template = Dataset()
    template.MappingResource = "DCMR"
    template.TemplateIdentifier = TEMPLATE
    document.ContentTemplateSequence = [template]
    if concepts.PRIVATE_SCHEME in writer.schemes:
        document.CodingSchemeIdentificationSequence = [_identify_scheme()]
    _put(document, "ContentSequence", "SQ", b"".join(items))


def _put(document: Dataset, keyword: str, vr: str, value: bytes) -> None:
    """Put an element into the document that is encoded already, in its character set."""
    tag = Tag(keyword)
    document[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)


def _identify_scheme() -> Dataset:
    """Our own coding scheme (PS3.3 C.12.1.1, table C.12-1)."""
    scheme = Dataset()
    scheme.CodingSchemeDesignator = concepts.PRIVATE_SCHEME
    scheme.CodingSchemeName = concepts.PRIVATE_SCHEME_NAME
    scheme.CodingSchemeResponsibleOrganization = NODE_MANUFACTURER
    return scheme


def _evaluate(context: ResultContext, writer: ContentWriter, content: _Content) -> Item:
    """What there is to say in words: how the analysis went, by which model, and what it is for."""
    manifest, tongue = context.manifest, writer.tongue
    model = {"title": manifest.title, "version": manifest.version, "id": manifest.id}
    sentences = [*content.notes, tongue.say("model", **model)]
    if context.predecessor is not None:
        sentences.append(tongue.say("replaces", version=context.job.version))
        before = context.predecessor.model_version
        if before not in {"", manifest.version}:
            now = manifest.version
            sentences.append(tongue.say("replaces_other_model", before=before, now=now))
    if context.is_research:
        sentences.append(tongue.say("research"))
    items = [
        writer.code(CONTAINS, concepts.SUMMARY_OF_ANALYSES, content.summary),
        *content.findings,
        *(writer.text(CONTAINS, concepts.COMMENT, sentence) for sentence in sentences),
    ]
    return writer.container(concepts.QUALITATIVE_EVALUATIONS, items)


def _observe(context: ResultContext, writer: ContentWriter) -> list[Item]:
    """The node as device observer (PS3.16 TID 1004)."""
    texts = (
        (concepts.DEVICE_NAME, context.ae_title),
        (concepts.DEVICE_MANUFACTURER, NODE_MANUFACTURER),
        (concepts.DEVICE_MODEL, NODE_MODEL),
        (concepts.DEVICE_SERIAL, context.device_serial),
    )
    return [
        writer.code(HAS_OBS_CONTEXT, concepts.OBSERVER_TYPE, concepts.DEVICE),
        writer.uid(HAS_OBS_CONTEXT, concepts.DEVICE_UID, context.device_uid),
        *(writer.text(HAS_OBS_CONTEXT, name, plain(text, _LONG_STRING)) for name, text in texts),
    ]


def _list_procedures(source: Dataset) -> list[Code]:
    """The imaging procedure as the study names it, else as its modality implies (CID 100)."""
    named = [
        Code(str(item.CodeValue), str(item.CodingSchemeDesignator), str(item.CodeMeaning))
        for item in source.get("ProcedureCodeSequence") or ()
        if item.get("CodeValue") and item.get("CodingSchemeDesignator") and item.get("CodeMeaning")
    ]
    if named:
        return named
    modality = str(source.get("Modality", ""))
    implied = coding.MODALITY_PROCEDURE.get(modality, coding.IMAGING_PROCEDURE)
    return [Code(implied.value, implied.scheme_designator, implied.meaning)]
