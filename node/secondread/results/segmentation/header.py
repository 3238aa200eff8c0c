"""Everything of a segmentation before its frames: whose it is, what it shows and where it lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from highdicom.content import (
    PixelMeasuresSequence,
    PlaneOrientationSequence,
    PlanePositionSequence,
)
from highdicom.seg import Segmentation, SegmentsOverlapValues
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from secondread.bundles.manifest import Label
from secondread.domain.form import SegmentationKind
from secondread.errors import ResultError
from secondread.results.context import (
    NODE_MANUFACTURER,
    NODE_MODEL,
    RESEARCH_NOTICE,
    SEG,
    ResultContext,
)
from secondread.results.elements import (
    encode_item,
    encode_sequence,
    encode_text,
    raw_sequence,
)
from secondread.results.equipment import mark_lossy, sign, stand_in
from secondread.results.segmentation.segments import describe_segment
from secondread.results.segmentation.stacks import FrameStack
from secondread.results.slices import SliceGeometry
from secondread.results.wording import plain

_CONTENT_LABEL = "SECONDREAD"
_LONG_STRING = 64
_EXAMPLE_SIDE = 8
_REFERENCED_SERIES = 0x0008_1115
_FIRST_OF_THE_FRAMES = 0x5200_9230


@dataclass(frozen=True, slots=True)
class ObjectPlan:
    """What one object of the segmentation's series will be.

    Attributes:
        kind: how its pixels are to be understood.
        segments: segment number to label.
        name: of its file.
        instance_number: its place in the series, from 1.
        sop_instance_uid: its own.
        stack: its frames.
        transfer_syntax_uid: how they are encoded.
    """

    kind: SegmentationKind
    segments: Mapping[int, Label]
    name: str
    instance_number: int
    sop_instance_uid: str
    stack: FrameStack
    transfer_syntax_uid: str


def make_header(
    context: ResultContext, plan: ObjectPlan, slices: tuple[SliceGeometry, ...]
) -> Dataset:
    """Let highdicom make a segmentation of a few pixels, and keep all of it but the frames.

    Raises:
        ResultError: the source has no frame of reference.
    """
    first, step_mm = slices[0], context.analysed.step_mm
    made = Segmentation(
        source_images=[_source_of(context, first)],
        pixel_array=np.zeros((1, _EXAMPLE_SIDE, _EXAMPLE_SIDE), np.uint8),
        segmentation_type=plan.kind.value.upper(),
        segment_descriptions=[
            describe_segment(context, number, label) for number, label in plan.segments.items()
        ],
        series_instance_uid=context.object_uid("series", SEG),
        series_number=context.series_number(SEG),
        sop_instance_uid=plan.sop_instance_uid,
        instance_number=plan.instance_number,
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
    header.update({tag: item for tag, item in made.items() if tag < _FIRST_OF_THE_FRAMES})
    header.file_meta = made.file_meta
    header.file_meta.TransferSyntaxUID = UID(plan.transfer_syntax_uid)
    header.NumberOfFrames = len(plan.stack.places)
    header.Rows, header.Columns = plan.stack.size
    # It would name the one slice that highdicom was shown; each frame names its own.
    del header.SourceImageSequence
    _name_dimensions(header, context.object_uid("dimensions", SEG))
    _keep_plane(header, first, step_mm)
    _put_background_last(header)
    _mark_overlap(header, plan)
    mark_lossy(header, context.reference)
    if body_part := context.reference.get("BodyPartExamined"):
        header.BodyPartExamined = body_part
    sign(header, context)
    # Last, for whatever looks at it makes a data set of each source.
    header[_REFERENCED_SERIES] = raw_sequence(_REFERENCED_SERIES, _encode_sources(context))
    return header


def _put_background_last(header: Dataset) -> None:
    """In a label map, segment 0 is the background that Pixel Padding Value names (PS3.3 C.8.20.2).

    highdicom puts it first. Viewers that count the items instead of reading their numbers, as OHIF
    did until 2026, then give each segment the colour of the one before. The items of a label map
    may stand in any order.
    """
    segments = list(header.SegmentSequence)
    header.SegmentSequence = sorted(segments, key=lambda item: int(item.SegmentNumber) == 0)


def _describe_content(context: ResultContext) -> str:
    if context.is_research:
        return RESEARCH_NOTICE
    return plain(context.manifest.title, _LONG_STRING)


def _source_of(context: ResultContext, first: SliceGeometry) -> Dataset:
    """One source object for highdicom, as a classic image of the first slice."""
    brief = stand_in(context.reference)
    brief.Rows = brief.Columns = _EXAMPLE_SIDE
    brief.ImagePositionPatient = list(first.position)
    brief.ImageOrientationPatient = list(first.orientation)
    brief.PixelSpacing = list(first.pixel_spacing)
    brief.SliceThickness = format_number_as_ds(first.thickness_mm)
    if "FrameOfReferenceUID" not in brief:
        raise ResultError(
            "The source has no Frame of Reference UID, so nothing can be laid over it."
        )
    return brief


def _encode_sources(context: ResultContext) -> bytes:
    """Referenced Series Sequence: every source object, by series (PS3.3 C.12.5)."""
    series: dict[str, list[bytes]] = {}
    for header in context.sources:
        instance = encode_text(0x0008_1150, b"UI", str(header.SOPClassUID))
        instance += encode_text(0x0008_1155, b"UI", str(header.SOPInstanceUID))
        series.setdefault(str(header.SeriesInstanceUID), []).append(encode_item(instance))
    return b"".join(
        encode_item(
            encode_sequence(0x0008_114A, b"".join(instances)) + encode_text(0x0020_000E, b"UI", uid)
        )
        for uid, instances in series.items()
    )


def _name_dimensions(header: Dataset, uid: str) -> None:
    for item in (*header.DimensionOrganizationSequence, *header.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid


def _keep_plane(header: Dataset, first: SliceGeometry, step_mm: float) -> None:
    """The source's own decimal strings, so that no digit is lost on the way through floats.

    highdicom replaces the distance between slices by 1 mm, because it is shown one slice, and lets
    all frames share the segment where there is only one, which each of ours names itself.
    """
    shared = header.SharedFunctionalGroupsSequence[0]
    if "SegmentIdentificationSequence" in shared:
        del shared.SegmentIdentificationSequence
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = list(first.orientation)
    measures = shared.PixelMeasuresSequence[0]
    measures.PixelSpacing = list(first.pixel_spacing)
    measures.SpacingBetweenSlices = format_number_as_ds(step_mm)
    measures.SliceThickness = format_number_as_ds(first.thickness_mm or step_mm)


def _mark_overlap(header: Dataset, plan: ObjectPlan) -> None:
    """Two probabilities above 0 in a voxel may be called an overlap or not (PS3.3 C.8.20.2)."""
    if plan.kind is SegmentationKind.FRACTIONAL and len(plan.segments) > 1:
        header.SegmentsOverlap = SegmentsOverlapValues.UNDEFINED.value
