"""Reports that the node made, against the job that they are about."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.tag import Tag

from secondread.domain.form import Language
from secondread.results.context import ResultContext
from secondread.results.gate import template
from secondread.results.gate.answer import find_answer_faults
from secondread.results.gate.content import Item, read_content
from secondread.results.gate.evidence import (
    Evidence,
    find_existence_faults,
    find_listing_faults,
    list_evidence,
    list_objects,
    uid_of,
)
from secondread.results.gate.measurements import (
    Expectation,
    find_measurement_faults,
    text_of,
)
from secondread.results.gate.opened import Opened
from secondread.results.gate.origin import is_marked
from secondread.results.gate.required import COMPREHENSIVE_3D_SR
from secondread.results.wording import plain

_OBSERVER = {
    "121012": "uid",
    "121013": "name",
    "121014": "manufacturer",
    "121015": "model",
    "121016": "serial",
}
_SUMMARY = "111065"
_SUCCEEDED, _NOT_ATTEMPTED = "111222", "111225"
_PREDECESSORS = "PredecessorDocumentsSequence"
_ROWS = Tag("Rows")


def find_own_faults(opened: Opened, context: ResultContext, expected: Expectation) -> Iterator[str]:
    """Faults of a report that the node made, but for those of its origin."""
    header = opened.header
    if header.SOPClassUID != COMPREHENSIVE_3D_SR or (
        not any(
            str(item.get("TemplateIdentifier")) == "1500" and item.get("MappingResource") == "DCMR"
            for item in header.get("ContentTemplateSequence") or ()
        )
    ):
        yield "The report is not a Comprehensive 3D SR with TID 1500 at its root."
    if header.get("VerificationFlag") != "UNVERIFIED":
        yield "The report says that a person has verified it."
    root = read_content(header)
    evidence = list_evidence(header)
    yield from _find_trunk_faults(root, context)
    yield from _find_outcome_faults(opened, root, expected)
    yield from _find_evidence_faults(opened, root, evidence, context, expected)
    yield from _find_predecessor_faults(opened, context, expected)
    yield from _find_earlier_faults(root, evidence, expected)
    yield from find_measurement_faults(root, context, expected)
    if expected.analysis is not None:
        yield from find_answer_faults(root, context, expected.analysis)
    yield from template.find_root_faults(root)
    for group in template.list_groups(root):
        yield from template.find_group_faults(group)
    yield from template.find_item_faults(root, header, evidence)


def _find_trunk_faults(root: Item, context: ResultContext) -> Iterator[str]:
    if root.concept not in template.TITLES:
        yield "The report's title is not in DICOM's CID 7021."
    language = root.find(template.LANGUAGE)
    spoken = language.code.value if language and language.code else ""
    # English stands in where the source's character set cannot hold what is wanted.
    if spoken not in {context.form.language.value, Language.ENGLISH.value}:
        yield "The report does not say that it is in the language of its destination."
    missing = [part for code, part in _OBSERVER.items() if not text_of(root.find(code))]
    if missing:
        yield f"The report's device observer lacks its {', '.join(missing)}."
    elif text_of(root.find("121012")) != context.device_uid:
        yield "The report was observed by another device than this node."
    procedures = root.find_all(template.PROCEDURE_REPORTED)
    if not procedures:
        yield "The report does not say which procedure it reports."
    names = {context.manifest.id, context.manifest.title}
    if any(item.code is None or item.code.meaning in names for item in procedures):
        yield "The report's procedure is the algorithm, not the imaging."
    if context.is_research and not any(
        is_marked(item.text) for item in root.walk() if item.value_type == "TEXT"
    ):
        yield "The report does not say that it is for research only."


def _find_outcome_faults(opened: Opened, root: Item, expected: Expectation) -> Iterator[str]:
    header = opened.header
    summaries = [
        item.code.value
        for part in root.find_all(template.QUALITATIVE_EVALUATIONS)
        for item in part.find_all(_SUMMARY)
        if item.code
    ]
    if not expected.refusal:
        if header.CompletionFlag != "COMPLETE":
            yield "The report on a finished analysis is not COMPLETE."
        if summaries != [_SUCCEEDED]:
            yield "The report does not say that the analysis succeeded."
        return
    if header.CompletionFlag != "PARTIAL" or not header.get("CompletionFlagDescription"):
        yield "A report on what was not analysed must be PARTIAL and say why."
    if summaries != [_NOT_ATTEMPTED] or template.list_groups(root):
        yield "A report on what was not analysed claims an analysis."
    texts = [item.text for item in root.walk() if item.value_type == "TEXT"]
    if not any(plain(expected.refusal) in text or expected.refusal in text for text in texts):
        yield "The report does not say why nothing was analysed."


def _find_evidence_faults(
    opened: Opened,
    root: Item,
    evidence: Evidence,
    context: ResultContext,
    expected: Expectation,
) -> Iterator[str]:
    header = opened.header
    images = {uid_of(one) for one in context.sources if _ROWS in one}
    library = root.find(template.IMAGE_LIBRARY)
    shown = {
        item.reference.sop_instance_uid
        for item in (library.walk() if library else ())
        if item.value_type == "IMAGE" and item.reference
    }
    if shown != images:
        yield "The report's image library does not list exactly the source images."
    made = expected.made.documents if expected.made else ()
    uid = str(header.SOPInstanceUID)
    others = [one.header for one in made if str(one.header.SOPInstanceUID) != uid]
    there = list_objects([*context.sources, *others])
    segmentations = expected.made.segmentations if expected.made else ()
    needed = {*images, *(one.sop_instance_uid for one in segmentations)}
    if not needed <= set(evidence):
        yield "The report's evidence does not list every object that it refers to."
    yield from find_listing_faults(evidence, there, "report")
    before = set(list_evidence(header, _PREDECESSORS)) | _earlier(expected)
    named = {
        item.reference.sop_instance_uid: item.reference.sop_class_uid
        for item in root.walk()
        if item.reference is not None and item.reference.sop_instance_uid not in before
    }
    listed = {key: value[0] for key, value in evidence.items() if key not in before}
    yield from find_existence_faults({**listed, **named}, there, "report")


def _find_earlier_faults(root: Item, evidence: Evidence, expected: Expectation) -> Iterator[str]:
    """The report that this one compares with is named, as what it is."""
    earlier = expected.analysis.earlier if expected.analysis else None
    if earlier is None:
        return
    named = {
        item.reference.sop_instance_uid: item.reference.sop_class_uid
        for item in root.walk()
        if item.reference is not None
    }
    if named.get(earlier.sop_instance_uid) != earlier.sop_class_uid:
        yield "The report does not name the earlier report that it compares with."
    place = (earlier.sop_class_uid, earlier.series_instance_uid, earlier.study_instance_uid)
    if evidence.get(earlier.sop_instance_uid) != place:
        yield "The report's evidence does not list the earlier report as what it is."


def _earlier(expected: Expectation) -> set[str]:
    earlier = expected.analysis.earlier if expected.analysis else None
    return {earlier.sop_instance_uid} if earlier else set()


def _find_predecessor_faults(
    opened: Opened, context: ResultContext, expected: Expectation
) -> Iterator[str]:
    before = context.predecessor
    named = list_evidence(opened.header, _PREDECESSORS)
    wanted = {before.sop_instance_uid} if before else set()
    if not wanted <= set(named) or not set(named) <= wanted | _earlier(expected):
        yield "The report does not name exactly the report that it replaces."
    if before is None:
        return
    if before.study_instance_uid != context.reference.StudyInstanceUID:
        yield "The report would replace a report of another study."
    place = (before.sop_class_uid, before.series_instance_uid, before.study_instance_uid)
    if named.get(before.sop_instance_uid, place) != place:
        yield "The report names its predecessor with another class, series or study."
