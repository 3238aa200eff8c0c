"""Reports read back: a TID 1500 report as plain records, with none of the code that writes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from secondread.domain.code import Code

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
_ALGORITHM_NAME = "111001"
_ALGORITHM_VERSION = "111003"
_MEASUREMENT_METHOD = "370129005"
_DERIVATION = "121401"
_PROCEDURE_REPORTED = "121058"
_COMMENT = "121106"
_SUMMARY = "111065"
_VOLUME = "118565006"
_PROCESSING_ALGORITHM = "1630001"
_OBSERVER = {
    "121012": "uid",
    "121013": "name",
    "121014": "manufacturer",
    "121015": "model",
    "121016": "serial",
}
_SIDES = {"7771000": "left", "24028007": "right"}


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number of a measurement group, with its unit (UCUM) and how it came about."""

    name: Code
    value: float
    unit: Code
    derivation: Code | None
    method: Code | None


@dataclass(frozen=True, slots=True)
class SegmentReference:
    """The segment that a measurement group is about."""

    sop_class_uid: str
    sop_instance_uid: str
    number: int


@dataclass(frozen=True, slots=True)
class MeasurementGroup:
    """One structure of a report; ``laterality`` is ``left``, ``right`` or empty."""

    tracking_id: str
    tracking_uid: str
    finding: Code | None
    site: Code | None
    laterality: str
    segment: SegmentReference | None
    algorithm: str
    algorithm_version: str
    quantities: tuple[Quantity, ...]

    @property
    def volume_ml(self) -> float | None:
        """The volume in mL; ``None`` where the group has none in that unit."""
        for quantity in self.quantities:
            if quantity.name.value == _VOLUME and quantity.unit.value == "mL":
                return quantity.value
        return None


@dataclass(frozen=True, slots=True)
class AlgorithmRecord:
    """The algorithm as Contributing Equipment names it."""

    device_uid: str
    manufacturer: str
    model: str
    version: str
    description: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """A report in plain records.

    Attributes:
        template: identifier of the root template, ``1500``.
        completion: ``COMPLETE`` or ``PARTIAL``, with ``completion_reason``.
        observer: ``uid name manufacturer model serial`` of the device, as far as they are there.
        images: SOP Instance UIDs that the image library lists.
        evidence: SOP Instance UIDs that the evidence sequences list.
        predecessors: SOP Instance UIDs of the reports that it names as its predecessors.
        summary: Summary of Analyses.
        comments: the sentences of the qualitative evaluations.
        created: Content Date and Time, ``YYYYMMDDHHMMSS``.
    """

    sop_class_uid: str
    template: str
    title: Code | None
    completion: str
    completion_reason: str
    verification: str
    observer: Mapping[str, str]
    procedures: tuple[Code, ...]
    images: frozenset[str]
    evidence: frozenset[str]
    groups: tuple[MeasurementGroup, ...]
    summary: Code | None
    comments: tuple[str, ...]
    algorithm: AlgorithmRecord | None
    series_description: str
    created: str
    predecessors: frozenset[str] = frozenset()


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


def _group(group: Dataset) -> MeasurementGroup:
    children = {_name(item): item for item in _items(group)}
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


def _quantity(item: Dataset) -> Quantity:
    measured = item.MeasuredValueSequence[0]
    modifiers = {_name(child): _value(child) for child in _items(item)}
    return Quantity(
        name=_code(item, "ConceptNameCodeSequence") or Code("", "", ""),
        value=float(measured.NumericValue),
        unit=_code(measured, "MeasurementUnitsCodeSequence") or Code("", "", ""),
        derivation=modifiers.get(_DERIVATION),
        method=modifiers.get(_MEASUREMENT_METHOD),
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
