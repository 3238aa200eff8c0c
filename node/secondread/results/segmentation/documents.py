"""A label map as DICOM Segmentations: BINARY and FRACTIONAL (PS3.3 A.51) or LABELMAP (A.90)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info

from secondread.bundles.manifest import Label
from secondread.domain.form import SegmentationKind
from secondread.errors import ResultError
from secondread.results.analysis import Analysis
from secondread.results.context import SEG, ResultContext
from secondread.results.elements import encode_dataset
from secondread.results.segmentation.compression import choose_transfer_syntax, write_pixels
from secondread.results.segmentation.frames import Plane, encode_groups, encode_planes
from secondread.results.segmentation.header import ObjectPlan, make_header
from secondread.results.segmentation.stacks import (
    FrameStack,
    LabelledSlices,
    Presence,
    find_presence,
    stack_binary,
    stack_fractional,
    stack_label_map,
)
from secondread.results.slices import read_slices

SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
_PREAMBLE = bytes(128) + b"DICM"


@dataclass(frozen=True, slots=True)
class SegmentationDocument:
    """A segmentation whose frames are made while it is written.

    Its header says of which kind it is: by Segmentation Type, and a label map by its SOP class. The
    frames of a label map name no segment.

    Attributes:
        header: everything before the per-frame functional groups.
        stack: its frames; they are views of the answer, which must not change before the writing.
        planes: what the frames of each slice share.
        segments: segment number to label, from 1 without gaps; empty structures have none.
        name: of its file; 'seg', or 'seg-1', 'seg-2' … where each segment has one.
    """

    header: Dataset
    stack: FrameStack
    planes: tuple[Plane, ...]
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
        """Write it as a DICOM file (PS3.10 7), frame after frame.

        Args:
            file: seekable where the frames are compressed.

        Raises:
            ResultError: the frames are more than one object can hold, or cannot be compressed.
        """
        # Not by save_as, which refuses a transfer syntax that pydicom does not know.
        meta = DicomBytesIO()
        write_file_meta_info(meta, self.header.file_meta)
        file.write(_PREAMBLE)
        file.write(meta.getvalue())
        file.write(encode_dataset(self.header))
        file.write(encode_groups(self.stack.places, self.planes))
        write_pixels(file, self.stack, str(self.header.file_meta.TransferSyntaxUID))


def find_structures(context: ResultContext, labels: npt.NDArray[np.uint8]) -> tuple[Label, ...]:
    """Structures with at least one voxel, in the order of the manifest.

    Raises:
        ResultError: the label map is not of the volume's shape or holds an undeclared value.
    """
    return _examine(context, labels)[1]


def make_segmentations(
    context: ResultContext, analysis: Analysis
) -> tuple[SegmentationDocument, ...]:
    """Make the segmentation of an answer, in the form that the context asks for.

    Where probabilities are wanted and the model gives none, the segmentation is BINARY: 0 and 255
    would be read as certainty that nobody has claimed. The segments are the same in every kind:
    the structures that the label map shows.

    Args:
        context: the job; its volume's slices become the frames' planes.
        analysis: its label map, and its probabilities where they are wanted.

    Returns:
        One document, or one for each structure; none where the map is empty or none is wanted.

    Raises:
        ResultError: the answer does not fit the volume or the manifest.
    """
    presence, found = _examine(context, analysis.labels)
    if not found or context.form.segmentation is SegmentationKind.NONE:
        return ()
    slices = read_slices(context.analysed, context.sources)
    planes = encode_planes(slices)
    return tuple(
        SegmentationDocument(
            make_header(context, plan, slices), plan.stack, planes, plan.segments, plan.name
        )
        for plan in _plan(context, analysis, presence, found)
    )


def _examine(
    context: ResultContext, labels: npt.NDArray[np.uint8]
) -> tuple[Presence, tuple[Label, ...]]:
    """Which values each slice holds, and the structures that they are."""
    if labels.shape != context.analysed.voxels.shape or labels.dtype != np.uint8:
        raise ResultError(
            f"The label map has shape {labels.shape} and type {labels.dtype}; the volume has "
            f"shape {context.analysed.voxels.shape} and needs uint8."
        )
    presence = find_presence(labels)
    found = set(np.flatnonzero(presence.any(axis=0)).tolist()) - {0}
    declared = {label.value for label in context.manifest.labels}
    if unknown := sorted(found - declared):
        raise ResultError(f"The label map holds values that the model does not declare: {unknown}.")
    return presence, tuple(label for label in context.manifest.labels if label.value in found)


def _plan(
    context: ResultContext, analysis: Analysis, presence: Presence, found: tuple[Label, ...]
) -> Iterator[ObjectPlan]:
    """The objects of the series: one with all structures, or one for each."""
    form = context.form
    kind = form.segmentation
    if kind is SegmentationKind.FRACTIONAL and analysis.probabilities is None:
        kind = SegmentationKind.BINARY
    slices = LabelledSlices(analysis.labels, presence, form.empty_frames)
    groups = [(label,) for label in found] if form.one_segment_each else [found]
    for number, group in enumerate(groups, start=1):
        own = (group[0].name,) if form.one_segment_each else ()
        segments = dict(enumerate(group, start=1))
        stack = _stack(context, analysis, slices, kind, segments)
        yield ObjectPlan(
            kind=kind,
            segments=segments,
            name=f"{SEG}-{number}" if form.one_segment_each else SEG,
            instance_number=number,
            sop_instance_uid=context.object_uid("instance", SEG, *own),
            stack=stack,
            transfer_syntax_uid=choose_transfer_syntax(stack, form.compression),
        )


def _stack(
    context: ResultContext,
    analysis: Analysis,
    slices: LabelledSlices,
    kind: SegmentationKind,
    segments: Mapping[int, Label],
) -> FrameStack:
    values = {number: label.value for number, label in segments.items()}
    if kind is SegmentationKind.LABELMAP:
        return stack_label_map(slices, values)
    if kind is SegmentationKind.BINARY or analysis.probabilities is None:
        return stack_binary(slices, values)
    probabilities, labels = analysis.probabilities, context.manifest.labels
    if probabilities.shape != (len(labels), *slices.labels.shape) or (
        probabilities.dtype != np.uint8
    ):
        raise ResultError(
            f"The probabilities have shape {probabilities.shape} and type {probabilities.dtype}; "
            f"{len(labels)} labels on the volume's grid need "
            f"{(len(labels), *slices.labels.shape)} and uint8."
        )
    places = {label.value: place for place, label in enumerate(labels)}
    by_number = {number: probabilities[places[value]] for number, value in values.items()}
    return stack_fractional(slices, values, by_number)
