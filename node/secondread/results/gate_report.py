"""The gate before the door, for reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom

from secondread.bundles.manifest import Label
from secondread.errors import GateError
from secondread.results import coding
from secondread.results.context import ResultContext
from secondread.results.gate import COMMON_TYPE_1, check_algorithm, check_origin, require
from secondread.results.measurements import StructureMeasurements
from secondread.results.transcript import MeasurementGroup, Transcript, transcribe
from secondread.results.wording import plain

_COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
_TITLES = frozenset({"126000", "126001", "126002", "126003"})
"""PS3.16 CID 7021."""
_OBSERVER = ("uid", "name", "manufacturer", "model", "serial")
_VOLUME_TOLERANCE = 1e-5
_REPORT_TYPE_1 = [
    "CompletionFlag",
    "VerificationFlag",
    "ValueType",
    "ConceptNameCodeSequence",
    "ContentTemplateSequence",
    "ContentSequence",
    "CurrentRequestedProcedureEvidenceSequence",
]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a report should say.

    Attributes:
        measured: every structure of the manifest.
        segments: the segmentation's segments by number, empty where there is none.
        segmentation_uid: its SOP Instance UID, or empty.
        refusal: why nothing was analysed, or empty.
    """

    measured: Sequence[StructureMeasurements]
    segments: Mapping[int, Label]
    segmentation_uid: str
    refusal: str


def check_report(path: Path, context: ResultContext, expected: Expectation) -> None:
    """Let the report pass or raise.

    Raises:
        GateError: with what is wrong, in one sentence.
    """
    found = pydicom.dcmread(path)
    require(found, (*COMMON_TYPE_1, *_REPORT_TYPE_1), "report")
    check_origin(found, context, "report")
    check_algorithm(found, context, "report")
    try:
        report = transcribe(found)
    except (AttributeError, IndexError, ValueError) as error:
        raise GateError(f"The report's content cannot be read back: {error}.") from None
    _check_document(report, context)
    _check_outcome(report, expected)
    _check_evidence(report, context, expected)
    _check_predecessor(report, context)
    _check_groups(report, context, expected)


def _check_document(report: Transcript, context: ResultContext) -> None:
    if report.sop_class_uid != _COMPREHENSIVE_3D_SR or report.template != "1500":
        raise GateError("The report is not a Comprehensive 3D SR with TID 1500 at its root.")
    if report.title is None or report.title.value not in _TITLES:
        raise GateError("The report's title is not in DICOM's CID 7021.")
    if report.verification != "UNVERIFIED":
        raise GateError("The report says that a person has verified it.")
    if missing := [part for part in _OBSERVER if not report.observer.get(part)]:
        raise GateError(f"The report's device observer lacks its {', '.join(missing)}.")
    if not report.procedures:
        raise GateError("The report does not say which procedure it reports.")
    names = {context.manifest.id, context.manifest.title}
    if any(procedure.meaning in names for procedure in report.procedures):
        raise GateError("The report's procedure is the algorithm, not the imaging.")


def _check_outcome(report: Transcript, expected: Expectation) -> None:
    summary = report.summary.value if report.summary else ""
    if expected.refusal:
        if report.completion != "PARTIAL" or not report.completion_reason:
            raise GateError("A report on what was not analysed must be PARTIAL and say why.")
        if summary != coding.NOT_ATTEMPTED.value or report.groups:
            raise GateError("A report on what was not analysed claims an analysis.")
        if not any(plain(expected.refusal) in comment for comment in report.comments):
            raise GateError("The report does not say why nothing was analysed.")
        return
    if report.completion != "COMPLETE":
        raise GateError("The report on a finished analysis is not COMPLETE.")
    if summary != coding.SUCCEEDED.value:
        raise GateError("The report does not say that the analysis succeeded.")


def _check_evidence(report: Transcript, context: ResultContext, expected: Expectation) -> None:
    images = {str(header.SOPInstanceUID) for header in context.sources if "Rows" in header}
    if report.images != images:
        raise GateError("The report's image library does not list exactly the source images.")
    needed = images | ({expected.segmentation_uid} if expected.segmentation_uid else set())
    if not needed <= report.evidence:
        raise GateError("The report's evidence does not list every object that it refers to.")


def _check_predecessor(report: Transcript, context: ResultContext) -> None:
    before = context.predecessor
    if report.predecessors != ({before.sop_instance_uid} if before else set()):
        raise GateError("The report does not name exactly the report that it replaces.")
    if before is not None and before.study_instance_uid != context.reference.StudyInstanceUID:
        raise GateError("The report would replace a report of another study.")


def _check_groups(report: Transcript, context: ResultContext, expected: Expectation) -> None:
    if len(report.groups) != len(expected.segments):
        raise GateError("The report does not have one measurement group for each segment.")
    identifiers = {group.tracking_uid for group in report.groups}
    if len(identifiers) != len(report.groups):
        raise GateError("Two measurement groups share a Tracking Unique Identifier.")
    measured = {one.label.value: one for one in expected.measured}
    for group in report.groups:
        segment = group.segment
        if segment is None or segment.sop_instance_uid != expected.segmentation_uid:
            raise GateError("A measurement group does not refer to the segmentation.")
        label = expected.segments.get(segment.number)
        if label is None:
            raise GateError(
                f"A measurement group refers to segment {segment.number}: there is none."
            )
        _check_group(group, context, label)
        _check_quantities(group, label, measured[label.value])


def _check_group(group: MeasurementGroup, context: ResultContext, label: Label) -> None:
    whose = f"Measurement group '{label.name}'"
    if (group.tracking_id, group.tracking_uid) != (
        context.tracking_id(label),
        context.tracking_uid(label),
    ):
        raise GateError(f"{whose} has not the tracking identifier of its segment.")
    if group.finding is None or group.finding.value != label.type.value:
        raise GateError(f"{whose} has not the finding that its segment shows.")
    if not coding.is_known(group.finding.value, group.finding.scheme):
        raise GateError(f"{whose} has a finding that none of DICOM's context groups lists.")
    if label.category.value in coding.ANATOMY and group.site is None:
        raise GateError(f"{whose} does not say where in the body it is.")
    if group.site is not None and group.laterality != label.laterality:
        raise GateError(f"{whose} is on the wrong side or does not say on which.")
    version = plain(context.manifest.version, 64)
    if not group.algorithm or group.algorithm_version != version:
        raise GateError(f"{whose} does not name its algorithm and version.")


def _check_quantities(
    group: MeasurementGroup, label: Label, measured: StructureMeasurements
) -> None:
    whose = f"Measurement group '{label.name}'"
    volume = group.volume_ml
    if volume is None:
        raise GateError(f"{whose} has no volume in mL.")
    if abs(volume - measured.volume_ml) > _VOLUME_TOLERANCE * measured.volume_ml:
        raise GateError(f"{whose} has a volume that is not the segment's.")
    for quantity in group.quantities:
        if quantity.unit.scheme != "UCUM":
            raise GateError(f"{whose} has a number whose unit is not UCUM.")
        if quantity.derivation is None and quantity.method is None:
            raise GateError(f"{whose} has a number without a method.")
