"""Reports read back: a TID 1500 report as plain records, with none of the code that writes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from secondread.domain.code import Code
from secondread.results.reading.transcript_records import (
    AlgorithmRecord,
    FrameReference,
    MeasurementGroup,
    QualitativeFinding,
    Quantity,
    SegmentReference,
    Shape,
    Transcript,
)

__all__ = [
    "AlgorithmRecord",
    "FrameReference",
    "MeasurementGroup",
    "QualitativeFinding",
    "Quantity",
    "SegmentReference",
    "Shape",
    "Transcript",
    "read_report",
    "transcribe",
]

_IMAGE_LIBRARY = "111028"
_IMAGING_MEASUREMENTS = "126010"
_MEASUREMENT_GROUP = "125007"
_QUALITATIVE_EVALUATIONS = "C0034375"
_TRACKING_ID = "112039"
_TRACKING_UID = "112040"
_FINDING = "121071"
_FINDING_SITE = "363698007"
_LATERALITY = "272741003"
_REFERENCED_SEGMENT = "121191"
_SEGMENTATION_FRAME = "121214"
_ALGORITHM_NAME = "111001"
_ALGORITHM_VERSION = "111003"
_MEASUREMENT_METHOD = "370129005"
_DERIVATION = "121401"
_PROCEDURE_REPORTED = "121058"
_COMMENT = "121106"
_SUMMARY = "111065"
_LANGUAGE = "121049"
_PRIOR_REPORT = "122075"
_CERTAINTY = "111012"
_NORMALITY = "121402"
_LOWER_LIMIT = "385524004"
_UPPER_LIMIT = "371933006"
_PROCESSING_ALGORITHM = "1630001"
_OBSERVER = {
    "121012": "uid",
    "121013": "name",
    "121014": "manufacturer",
    "121015": "model",
    "121016": "serial",
}
_COORDINATES = {"SCOORD": 2, "SCOORD3D": 3}
"""Numbers of a point."""
_SIDES = {"7771000": "left", "24028007": "right"}


def read_report(path: Path) -> Transcript:
    """Read a TID 1500 report from a file."""
    return transcribe(pydicom.dcmread(path))


def transcribe(report: Dataset) -> Transcript:
    """Read a TID 1500 report; what is absent is empty, for the gate to complain of."""
    template = (report.get("ContentTemplateSequence") or [Dataset()])[0]
    evaluations = list(_nested(report, _QUALITATIVE_EVALUATIONS))
    measurements = _nested(report, _IMAGING_MEASUREMENTS)
    return Transcript(
        sop_class_uid=str(report.get("SOPClassUID", "")),
        template=str(template.get("TemplateIdentifier", "")),
        title=_code(report, "ConceptNameCodeSequence"),
        completion=str(report.get("CompletionFlag", "")),
        completion_reason=str(report.get("CompletionFlagDescription", "")),
        verification=str(report.get("VerificationFlag", "")),
        observer={
            _OBSERVER[_name(item)]: str(item.get("TextValue") or item.get("UID") or "")
            for item in _items(report)
            if _name(item) in _OBSERVER
        },
        procedures=tuple(
            code
            for item in _items(report)
            if _name(item) == _PROCEDURE_REPORTED and (code := _value(item))
        ),
        images=frozenset(_list_images(report)),
        evidence=frozenset(_list_evidence(report)),
        groups=tuple(_group(item) for item in measurements if _name(item) == _MEASUREMENT_GROUP),
        summary=next((_value(item) for item in evaluations if _name(item) == _SUMMARY), None),
        comments=tuple(str(item.TextValue) for item in evaluations if _name(item) == _COMMENT),
        algorithm=_algorithm(report),
        series_description=str(report.get("SeriesDescription", "")),
        created=f"{report.get('ContentDate', '')}{report.get('ContentTime', '')}"[:14],
        predecessors=frozenset(_list_instances(report, "PredecessorDocumentsSequence")),
        language=next(
            (code.value for item in _items(report) if (code := _named(item, _LANGUAGE))), ""
        ),
        findings=tuple(_list_findings(evaluations)),
        prior_reports=frozenset(
            str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
            for item in _items(report)
            if _name(item) == _PRIOR_REPORT and "ReferencedSOPSequence" in item
        ),
    )


def _items(item: Dataset) -> Iterator[Dataset]:
    yield from item.get("ContentSequence") or ()


def _nested(item: Dataset, name: str) -> Iterator[Dataset]:
    """Children of the children that are called ``name``."""
    for child in _items(item):
        if _name(child) == name:
            yield from _items(child)


def _name(item: Dataset) -> str:
    code = _code(item, "ConceptNameCodeSequence")
    return code.value if code else ""


def _named(item: Dataset, name: str) -> Code | None:
    """The value of an item if it is called ``name``."""
    return _value(item) if _name(item) == name else None


def _value(item: Dataset) -> Code | None:
    return _code(item, "ConceptCodeSequence")


def _code(item: Dataset, keyword: str) -> Code | None:
    sequence = item.get(keyword)
    if not sequence:
        return None
    code = sequence[0]
    return Code(
        str(code.get("CodeValue", "")),
        str(code.get("CodingSchemeDesignator", "")),
        str(code.get("CodeMeaning", "")),
    )


def _list_findings(items: Iterable[Dataset]) -> Iterator[QualitativeFinding]:
    """Coded values that are no part of the frame around them."""
    for item in items:
        name, value = _code(item, "ConceptNameCodeSequence"), _value(item)
        if name is None or value is None or item.get("RelationshipType") != "CONTAINS":
            continue
        if name.value in {_FINDING, _SUMMARY}:
            continue
        certainties = [
            float(child.MeasuredValueSequence[0].NumericValue)
            for child in _items(item)
            if _name(child) == _CERTAINTY
        ]
        yield QualitativeFinding(name, value, certainties[0] if certainties else None)


def _list_shapes(items: Iterable[Dataset]) -> Iterator[Shape]:
    for item in items:
        value_type = item.get("ValueType")
        if value_type not in _COORDINATES:
            continue
        numbers, size = [float(one) for one in item.GraphicData], _COORDINATES[value_type]
        image = Dataset()
        for child in _items(item):
            if "ReferencedSOPSequence" in child:
                image = child.ReferencedSOPSequence[0]
        yield Shape(
            kind=str(item.GraphicType),
            points=tuple(
                tuple(numbers[at : at + size]) for at in range(0, len(numbers) - size + 1, size)
            ),
            image_uid=str(image.get("ReferencedSOPInstanceUID", "")),
            frame=int(image.get("ReferencedFrameNumber") or 0),
            frame_of_reference_uid=str(item.get("ReferencedFrameOfReferenceUID", "")),
        )


def _group(group: Dataset) -> MeasurementGroup:
    children = {_name(item): item for item in _items(group)}
    template = (group.get("ContentTemplateSequence") or [Dataset()])[0]
    site = children.get(_FINDING_SITE)
    around = _items(site) if site is not None else iter(())
    side = next((_value(item) for item in around if _name(item) == _LATERALITY), None)
    return MeasurementGroup(
        tracking_id=_text(children.get(_TRACKING_ID)),
        tracking_uid=_text(children.get(_TRACKING_UID)),
        finding=_value(children[_FINDING]) if _FINDING in children else None,
        site=_value(site) if site else None,
        laterality=_SIDES.get(side.value, "") if side else "",
        segment=_segment(children.get(_REFERENCED_SEGMENT)),
        algorithm=_text(children.get(_ALGORITHM_NAME)),
        algorithm_version=_text(children.get(_ALGORITHM_VERSION)),
        quantities=tuple(
            _quantity(item) for item in _items(group) if item.get("ValueType") == "NUM"
        ),
        template=str(template.get("TemplateIdentifier", "")),
        findings=tuple(_list_findings(_items(group))),
        shapes=tuple(_list_shapes(_items(group))),
        frame=_frame(children.get(_SEGMENTATION_FRAME)),
    )


def _text(item: Dataset | None) -> str:
    return str(item.get("TextValue") or item.get("UID") or "") if item is not None else ""


def _segment(item: Dataset | None) -> SegmentReference | None:
    if item is None:
        return None
    reference = item.ReferencedSOPSequence[0]
    return SegmentReference(
        str(reference.ReferencedSOPClassUID),
        str(reference.ReferencedSOPInstanceUID),
        int(reference.get("ReferencedSegmentNumber") or 0),
    )


def _frame(item: Dataset | None) -> FrameReference | None:
    if item is None:
        return None
    reference = item.ReferencedSOPSequence[0]
    return FrameReference(
        str(reference.ReferencedSOPInstanceUID), int(reference.get("ReferencedFrameNumber") or 0)
    )


def _quantity(item: Dataset) -> Quantity:
    measured = item.MeasuredValueSequence[0]
    modifiers = {_name(child): _value(child) for child in _items(item)}
    limits = {
        _name(child): float(child.MeasuredValueSequence[0].NumericValue)
        for child in _items(item)
        if _name(child) in {_LOWER_LIMIT, _UPPER_LIMIT}
    }
    return Quantity(
        name=_code(item, "ConceptNameCodeSequence") or Code("", "", ""),
        value=float(measured.NumericValue),
        unit=_code(measured, "MeasurementUnitsCodeSequence") or Code("", "", ""),
        derivation=modifiers.get(_DERIVATION),
        method=modifiers.get(_MEASUREMENT_METHOD),
        low=limits.get(_LOWER_LIMIT),
        high=limits.get(_UPPER_LIMIT),
        normality=modifiers.get(_NORMALITY),
        lines=tuple(_list_shapes(_items(item))),
    )


def _list_images(report: Dataset) -> Iterator[str]:
    for group in _nested(report, _IMAGE_LIBRARY):
        for item in _items(group):
            if item.get("ValueType") == "IMAGE":
                yield str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)


def _list_evidence(report: Dataset) -> Iterator[str]:
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        yield from _list_instances(report, keyword)


def _list_instances(report: Dataset, keyword: str) -> Iterator[str]:
    """SOP Instance UIDs in a sequence of the hierarchical references of PS3.3 C.17.2.1."""
    for study in report.get(keyword) or ():
        for series in study.ReferencedSeriesSequence:
            for instance in series.ReferencedSOPSequence:
                yield str(instance.ReferencedSOPInstanceUID)


def _algorithm(report: Dataset) -> AlgorithmRecord | None:
    for item in report.get("ContributingEquipmentSequence") or ():
        purpose = _code(item, "PurposeOfReferenceCodeSequence")
        if purpose is not None and purpose.value == _PROCESSING_ALGORITHM:
            return AlgorithmRecord(
                device_uid=str(item.get("DeviceUID", "")),
                manufacturer=str(item.get("Manufacturer", "")),
                model=str(item.get("ManufacturerModelName", "")),
                version=str(item.get("SoftwareVersions", "")),
                description=str(item.get("ContributionDescription", "")),
            )
    return None
