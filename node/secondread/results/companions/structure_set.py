"""The outlines of the structures as an RT Structure Set (PS3.3 A.19)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from highdicom.sr.coding import CodedConcept
from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from secondread.bundles.manifest import Label
from secondread.errors import ResultError
from secondread.results import coding
from secondread.results.analysis import Analysis
from secondread.results.companions.companion import Companion, begin
from secondread.results.companions.contours import Contour, find_contours
from secondread.results.companions.implicit import (
    encode_item,
    encode_items,
    encode_text,
    raw_sequence,
)
from secondread.results.context import RESEARCH_NOTICE, RTSTRUCT, ResultContext
from secondread.results.document import Document, WholeDocument
from secondread.results.made import Made
from secondread.results.references import refer
from secondread.results.segmentation.documents import find_structures
from secondread.results.slices import SliceGeometry, read_slices
from secondread.results.wording import plain

STRUCTURE_SET_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"

_STUDY_COMPONENT = "1.2.840.10008.3.1.2.3.1"
"""Detached Study Management, retired, which still names studies here (PS3.3 C.8.8.5)."""
_LABEL = "SECONDREAD"
_CLOSED_PLANAR = "CLOSED_PLANAR"
_SHORT_STRING = 16
_LONG_STRING = 64
_DECIMALS = 4
_ROI_CONTOURS = 0x3006_0039


@dataclass(frozen=True, slots=True)
class _Slice:
    """What the contours of a slice share: where its first pixel is, its steps, its image."""

    origin: npt.NDArray[np.float64]
    along_columns: npt.NDArray[np.float64]
    along_rows: npt.NDArray[np.float64]
    image: bytes


def make_structure_set(
    context: ResultContext, analysis: Analysis, made: Made
) -> tuple[Document, ...]:
    """One, where the form asks for it and anything was found.

    Raises:
        ResultError: the label map does not fit the volume or the manifest, or the source has no
            frame of reference.
    """
    if not context.form.structure_set:
        return ()
    found = find_structures(context, analysis.labels)
    if not found:
        return ()
    if not context.reference.get("FrameOfReferenceUID"):
        raise ResultError(
            "The source has no Frame of Reference UID, so nothing can be laid over it."
        )
    header = begin(context, Companion(RTSTRUCT, STRUCTURE_SET_STORAGE, "RTSTRUCT", "outlines"))
    # A contour may have more text than an element of explicit VR holds (PS3.5 7.1.2).
    header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    said = header.get("SpecificCharacterSet")
    header.set_original_encoding(True, True, convert_encodings(said) if said else default_encoding)
    slices = read_slices(context.analysed, context.sources)
    _name_set(header, context)
    _list_sources(header, context, slices)
    names = _name_rois(context.manifest.labels)
    header.StructureSetROISequence = [
        _list_roi(context, label, names[label.value], made) for label in found
    ]
    header[_ROI_CONTOURS] = raw_sequence(
        _ROI_CONTOURS, _encode_contours(found, analysis.labels, slices)
    )
    header.RTROIObservationsSequence = [_observe(label) for label in found]
    header.ApprovalStatus = "UNAPPROVED"
    return (WholeDocument(RTSTRUCT, RTSTRUCT, header),)


def _name_set(header: Dataset, context: ResultContext) -> None:
    source = context.reference
    header.OperatorsName = None
    header.FrameOfReferenceUID = source.FrameOfReferenceUID
    header.PositionReferenceIndicator = source.get("PositionReferenceIndicator")
    header.StructureSetLabel = _LABEL
    header.StructureSetName = context.model_title
    title = plain(context.manifest.title)
    header.StructureSetDescription = f"{title}. {RESEARCH_NOTICE}" if context.is_research else title
    header.StructureSetDate, header.StructureSetTime = header.ContentDate, header.ContentTime
    # Of this class no module has them; the Structure Set module has its own.
    del header.ContentDate, header.ContentTime


def _list_sources(header: Dataset, context: ResultContext, slices: Sequence[SliceGeometry]) -> None:
    """Referenced Frame of Reference: frame, study, series and every image (PS3.3 C.8.8.5)."""
    used = {one.sop_instance_uid for one in slices}
    series: dict[str, list[Dataset]] = {}
    for one in context.sources:
        if str(one.SOPInstanceUID) in used:
            image = refer(one.SOPClassUID, one.SOPInstanceUID)
            series.setdefault(str(one.SeriesInstanceUID), []).append(image)
    items = []
    for uid, images in series.items():
        item = Dataset()
        item.SeriesInstanceUID = uid
        item.ContourImageSequence = images
        items.append(item)
    study = refer(_STUDY_COMPONENT, str(context.reference.StudyInstanceUID))
    study.RTReferencedSeriesSequence = items
    frame = Dataset()
    frame.FrameOfReferenceUID = context.reference.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    header.ReferencedFrameOfReferenceSequence = [frame]


def _name_rois(labels: Sequence[Label]) -> dict[int, str]:
    """A name for people, or the manifest's own where two labels share one."""
    meanings = {label.value: plain(label.meaning, _LONG_STRING) for label in labels}
    often = Counter(meanings.values())
    return {
        label.value: meanings[label.value] if often[meanings[label.value]] == 1 else label.name
        for label in labels
    }


def _list_roi(context: ResultContext, label: Label, name: str, made: Made) -> Dataset:
    """A region; its number is the label's value, the same in every result of the model."""
    item = Dataset()
    item.ROINumber = label.value
    item.ReferencedFrameOfReferenceUID = context.reference.FrameOfReferenceUID
    item.ROIName = name
    item.ROIDescription = context.tracking_id(label)
    for measured in made.measured:
        if measured.label.value == label.value:
            item.ROIVolume = format_number_as_ds(round(measured.volume_ml, 6))
    item.ROIGenerationAlgorithm = "AUTOMATIC"
    item.ROIGenerationDescription = context.model_title
    if shown := made.find_segment(label):
        document, number = shown
        header = document.header
        source = refer(str(header.SOPClassUID), str(header.SOPInstanceUID))
        source.ReferencedSegmentNumber = number
        item.DefinitionSourceSequence = [source]
    return item


def _observe(label: Label) -> Dataset:
    """What a region is (PS3.3 C.8.8.8): an organ where its category is a place in the body."""
    kind = coding.concept(label.type)
    modifiers = [coding.concept(code) for code in label.type_modifiers]
    if label.laterality:
        modifiers.insert(0, CodedConcept.from_code(coding.LATERALITY[label.laterality]))
    if modifiers:
        kind.SegmentedPropertyTypeModifierCodeSequence = modifiers
    item = Dataset()
    item.ObservationNumber = item.ReferencedROINumber = label.value
    item.ROIObservationLabel = plain(label.meaning, _SHORT_STRING)
    item.SegmentedPropertyCategoryCodeSequence = [coding.concept(label.category)]
    item.RTROIIdentificationCodeSequence = [kind]
    item.RTROIInterpretedType = "ORGAN" if label.category.value in coding.ANATOMY else None
    item.ROIInterpreter = None
    return item


def _encode_contours(
    found: Sequence[Label], labels: npt.NDArray[np.uint8], slices: Sequence[SliceGeometry]
) -> bytes:
    """The items of the ROI Contour Sequence (PS3.3 C.8.8.6); there may be ten thousand contours."""
    planes = [_read_slice(one) for one in slices]
    contours: Mapping[int, list[bytes]] = {label.value: [] for label in found}
    for contour in find_contours(labels):
        own = contours[contour.value]
        own.append(_encode_contour(contour, planes[contour.slice_index], len(own) + 1))
    return b"".join(
        encode_item(
            encode_text(0x3006_002A, "\\".join(map(str, label.color_rgb)))
            + encode_items(0x3006_0040, contours[label.value])
            + encode_text(0x3006_0084, str(label.value))
        )
        for label in found
    )


def _read_slice(one: SliceGeometry) -> _Slice:
    orientation = np.array([float(value) for value in one.orientation])
    between_rows, between_columns = (float(value) for value in one.pixel_spacing)
    image = encode_text(0x0008_1150, one.sop_class_uid, b"\0")
    image += encode_text(0x0008_1155, one.sop_instance_uid, b"\0")
    if one.frame:
        image += encode_text(0x0008_1160, str(one.frame))
    return _Slice(
        np.array([float(value) for value in one.position]),
        orientation[:3] * between_columns,
        orientation[3:] * between_rows,
        encode_items(0x3006_0016, [encode_item(image)]),
    )


def _encode_contour(contour: Contour, plane: _Slice, number: int) -> bytes:
    # Position is that of a pixel's centre, half a pixel from its edges (PS3.3 C.7.6.2.1.1).
    columns, rows = (contour.corners - 0.5).T
    points = (
        plane.origin + np.outer(columns, plane.along_columns) + np.outer(rows, plane.along_rows)
    )
    # Zero is added for the sake of minus zero.
    values = (np.round(points, _DECIMALS) + 0.0).ravel().tolist()
    return encode_item(
        plane.image
        + encode_text(0x3006_0042, _CLOSED_PLANAR)
        + encode_text(0x3006_0046, str(len(contour.corners)))
        + encode_text(0x3006_0048, str(number))
        + encode_text(0x3006_0050, "\\".join(["%.9g"] * len(values)) % tuple(values))
    )
