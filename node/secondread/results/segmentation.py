"""A label map as a DICOM Segmentation (PS3.3 A.51), one bit per voxel and structure."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from highdicom.color import CIELabColor
from highdicom.content import (
    PixelMeasuresSequence,
    PlaneOrientationSequence,
    PlanePositionSequence,
)
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr.coding import CodedConcept
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from secondread.bundles.manifest import Label
from secondread.domain.form import SegmentationKind
from secondread.domain.volume import Volume
from secondread.errors import ResultError
from secondread.results import coding
from secondread.results.analysis import Analysis
from secondread.results.context import (
    NODE_MANUFACTURER,
    NODE_MODEL,
    RESEARCH_NOTICE,
    SEG,
    ResultContext,
)
from secondread.results.equipment import name_algorithm, sign, stand_in
from secondread.results.frames import Plane, encode_frames, encode_sequence
from secondread.results.slices import SliceGeometry, read_slices
from secondread.results.wording import plain

SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
_CONTENT_LABEL = "SECONDREAD"
_LONG_STRING = 64


@dataclass(frozen=True, slots=True)
class SegmentationDocument:
    """A segmentation, encoded but for the writing.

    Attributes:
        name: of its file.
        header: everything before the per-frame functional groups.
        tail: the bytes of everything after.
        segments: segment number to label, from 1 without gaps; empty structures have none.
    """

    header: Dataset
    tail: bytes
    segments: Mapping[int, Label]
    name: str = SEG

    @property
    def kind(self) -> str:
        """Its kind among the results."""
        return SEG

    @property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID."""
        return str(self.header.SOPInstanceUID)

    def write(self, file: BinaryIO) -> None:
        """Write it as a DICOM file (PS3.10 7)."""
        buffer = io.BytesIO()
        self.header.save_as(buffer, enforce_file_format=True)
        file.write(buffer.getvalue())
        file.write(self.tail)


def find_structures(context: ResultContext, labels: npt.NDArray[np.uint8]) -> tuple[Label, ...]:
    """Structures with at least one voxel, in the order of the manifest.

    Raises:
        ResultError: the label map is not of the volume's shape or holds an undeclared value.
    """
    if labels.shape != context.analysed.voxels.shape or labels.dtype != np.uint8:
        raise ResultError(
            f"The label map has shape {labels.shape} and type {labels.dtype}; the volume has "
            f"shape {context.analysed.voxels.shape} and needs uint8."
        )
    found = set(np.flatnonzero(np.bincount(labels.ravel(), minlength=1)).tolist()) - {0}
    declared = {label.value for label in context.manifest.labels}
    if unknown := sorted(found - declared):
        raise ResultError(f"The label map holds values that the model does not declare: {unknown}.")
    return tuple(label for label in context.manifest.labels if label.value in found)


def make_segmentations(
    context: ResultContext, analysis: Analysis
) -> tuple[SegmentationDocument, ...]:
    """Make the segmentation of a label map, in the form that the context asks for.

    Args:
        context: the job; its volume's slices become the frames' planes.
        analysis: its label map.

    Returns:
        One document, or one for each structure; none where the map is empty or none is wanted.

    Raises:
        ResultError: the map does not fit the volume or the manifest.
    """
    labels = analysis.labels
    found = find_structures(context, labels)
    if not found or context.form.segmentation is SegmentationKind.NONE:
        return ()
    slices = read_slices(context.analysed, context.sources)
    header = _make_header(context, found, slices)
    encoded = encode_frames(labels, [label.value for label in found], _encode_planes(slices))
    header.NumberOfFrames = encoded.count
    return (SegmentationDocument(header, encoded.tail, dict(enumerate(found, start=1))),)


def _make_header(
    context: ResultContext, found: tuple[Label, ...], slices: tuple[SliceGeometry, ...]
) -> Dataset:
    """Let highdicom make a segmentation of one slice, and keep all of it but the frames."""
    first, rows, columns = slices[0], *context.analysed.voxels.shape[1:]
    example = np.zeros((1, rows, columns), np.uint8)
    example.flat[: len(found)] = np.arange(1, len(found) + 1)
    step_mm = _find_step_mm(context.analysed)
    made = Segmentation(
        source_images=[_source_of(context, first)],
        pixel_array=example,
        segmentation_type="BINARY",
        segment_descriptions=[
            _describe(context, number, label) for number, label in enumerate(found, start=1)
        ],
        series_instance_uid=context.object_uid("series", SEG),
        series_number=context.series_number(SEG),
        sop_instance_uid=context.object_uid("instance", SEG),
        instance_number=1,
        manufacturer=NODE_MANUFACTURER,
        manufacturer_model_name=NODE_MODEL,
        software_versions=plain(context.software_version, _LONG_STRING),
        device_serial_number=plain(context.device_serial, _LONG_STRING),
        content_label=_CONTENT_LABEL,
        content_description=_describe_content(context),
        content_creator_name=f"{NODE_MANUFACTURER}^{plain(context.manifest.id, 48)}",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        pixel_measures=PixelMeasuresSequence(
            pixel_spacing=[float(length) for length in first.pixel_spacing],
            slice_thickness=float(format_number_as_ds(first.thickness_mm or step_mm)),
        ),
        plane_orientation=PlaneOrientationSequence(
            "PATIENT", [float(cosine) for cosine in first.orientation]
        ),
        plane_positions=[PlanePositionSequence("PATIENT", [float(mm) for mm in first.position])],
        omit_empty_frames=False,
        content_qualification=context.qualification,
        series_description=context.series_description("segmentation"),
        specific_character_set=None,
    )
    header = Dataset()
    header.update({tag: element for tag, element in made.items() if tag < 0x5200_9230})
    header.file_meta = made.file_meta
    header.ReferencedSeriesSequence = _list_sources(context)
    _name_dimensions(header, context.object_uid("dimensions", SEG))
    _keep_plane(header, first, step_mm)
    _mark_lossy(header, context.reference)
    if body_part := context.reference.get("BodyPartExamined"):
        header.BodyPartExamined = body_part
    sign(header, context)
    return header


def _find_step_mm(volume: Volume) -> float:
    """Distance between neighbouring slices along their normal, which a tilted stack leans from."""
    along_slices, along_rows, along_columns = volume.affine_lps[:3, :3].T
    normal = np.cross(along_columns, along_rows)
    return float(abs(along_slices @ normal) / np.linalg.norm(normal))


def _describe(context: ResultContext, number: int, label: Label) -> SegmentDescription:
    description = SegmentDescription(
        segment_number=number,
        segment_label=plain(label.meaning, _LONG_STRING),
        segmented_property_category=coding.concept(label.category),
        segmented_property_type=coding.concept(label.type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=name_algorithm(context),
        tracking_uid=context.tracking_uid(label),
        tracking_id=context.tracking_id(label),
        display_color=CIELabColor.from_rgb(*label.color_rgb),
    )
    if label.laterality:
        side = CodedConcept.from_code(coding.LATERALITY[label.laterality])
        structure = description.SegmentedPropertyTypeCodeSequence[0]
        structure.SegmentedPropertyTypeModifierCodeSequence = [side]
    return description


def _describe_content(context: ResultContext) -> str:
    if context.is_research:
        return RESEARCH_NOTICE
    return plain(context.manifest.title, _LONG_STRING)


def _source_of(context: ResultContext, first: SliceGeometry) -> Dataset:
    """One source object for highdicom, as a classic image of the first slice."""
    brief = stand_in(context.reference)
    brief.Rows, brief.Columns = context.analysed.voxels.shape[1:]
    brief.ImagePositionPatient = list(first.position)
    brief.ImageOrientationPatient = list(first.orientation)
    brief.PixelSpacing = list(first.pixel_spacing)
    brief.SliceThickness = format_number_as_ds(first.thickness_mm)
    if "FrameOfReferenceUID" not in brief:
        raise ResultError(
            "The source has no Frame of Reference UID, so nothing can be laid over it."
        )
    return brief


def _encode_planes(slices: tuple[SliceGeometry, ...]) -> list[Plane]:
    purpose = CodedConcept(*coding.SOURCE_PURPOSE, "Source image for image processing operation")
    segmentation = CodedConcept(*coding.SEGMENTATION_DERIVATION, "Segmentation")
    planes = []
    for one in slices:
        image = Dataset()
        image.ReferencedSOPClassUID = one.sop_class_uid
        image.ReferencedSOPInstanceUID = one.sop_instance_uid
        if one.frame:
            image.ReferencedFrameNumber = one.frame
        image.SpatialLocationsPreserved = "YES"
        image.PurposeOfReferenceCodeSequence = [purpose]
        derivation = Dataset()
        derivation.SourceImageSequence = [image]
        derivation.DerivationCodeSequence = [segmentation]
        position = Dataset()
        position.ImagePositionPatient = list(one.position)
        planes.append(
            Plane(
                encode_sequence("DerivationImageSequence", derivation),
                encode_sequence("PlanePositionSequence", position),
            )
        )
    return planes


def _list_sources(context: ResultContext) -> list[Dataset]:
    """Referenced Series Sequence: every source object, by series (PS3.3 C.12.5)."""
    series: dict[str, list[Dataset]] = {}
    for header in context.sources:
        instance = Dataset()
        instance.ReferencedSOPClassUID = header.SOPClassUID
        instance.ReferencedSOPInstanceUID = header.SOPInstanceUID
        series.setdefault(str(header.SeriesInstanceUID), []).append(instance)
    items = []
    for uid, instances in series.items():
        item = Dataset()
        item.SeriesInstanceUID = uid
        item.ReferencedInstanceSequence = instances
        items.append(item)
    return items


def _name_dimensions(header: Dataset, uid: str) -> None:
    for item in (*header.DimensionOrganizationSequence, *header.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid


def _keep_plane(header: Dataset, first: SliceGeometry, step_mm: float) -> None:
    """The source's own decimal strings, so that no digit is lost on the way through floats.

    highdicom replaces the distance between slices by 1 mm, because it is shown one slice.
    """
    shared = header.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = list(first.orientation)
    measures = shared.PixelMeasuresSequence[0]
    measures.PixelSpacing = list(first.pixel_spacing)
    measures.SpacingBetweenSlices = format_number_as_ds(step_mm)
    measures.SliceThickness = format_number_as_ds(first.thickness_mm or step_mm)


def _mark_lossy(header: Dataset, source: Dataset) -> None:
    """What was derived from a lossy image is lossy too (PS3.3 C.7.6.1.1.5)."""
    if source.get("LossyImageCompression") != "01":
        return
    for keyword in (
        "LossyImageCompression",
        "LossyImageCompressionRatio",
        "LossyImageCompressionMethod",
    ):
        if keyword in source:
            header[keyword] = source[keyword]
