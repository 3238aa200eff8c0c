"""``[destinations.results]``: in which form a destination wants its results."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from secondread.config.section import Section
from secondread.domain.form import Compression, Form, Language, Overlay, SegmentationKind

_USUAL = Form()
_Segmentation = Literal["binary", "labelmap", "fractional", "none"]
_Compression = Literal["none", "rle", "jpeg-ls", "jpeg-2000", "deflated"]
_Overlay = Literal["none", "presentation-state", "secondary-capture"]
_Language = Literal["en", "zh"]


class DestinationResults(Section):
    """In which form this destination wants its results; docs/destinations.md explains it."""

    segmentation: _Segmentation = Field(
        _USUAL.segmentation.value,
        description="'binary' is one bit per voxel and structure, which nearly every viewer shows; "
        "'labelmap' one number per voxel, far smaller; 'fractional' a probability per voxel, where "
        "the model gives one; 'none' sends the report alone.",
    )
    fallback: list[_Segmentation] = Field(
        default_factory=lambda: [kind.value for kind in _USUAL.fallback],
        description="What is sent instead, one after the other, if it refuses the segmentation; "
        "'none' is the report alone. Empty: nothing, and a person has to look.",
    )
    compression: _Compression = Field(
        _USUAL.compression.value,
        description="How the segmentation's pixels are encoded, without loss: 'none', 'rle', "
        "'jpeg-ls', 'jpeg-2000' or 'deflated'; 'binary' can only be deflated. If the encoding is "
        "refused, the same goes uncompressed.",
    )
    empty_frames: bool = Field(
        _USUAL.empty_frames,
        description="Whether slices without a structure get frames, too; some viewers need them.",
    )
    one_segment_each: bool = Field(
        _USUAL.one_segment_each,
        description="Whether each structure becomes a segmentation of its own.",
    )
    key_objects: bool = Field(
        _USUAL.key_objects,
        description="Whether a Key Object Selection names the slices worth opening.",
    )
    overlay: _Overlay = Field(
        _USUAL.overlay.value,
        description="Outlines for a viewer that shows no segmentations, besides, never instead: "
        "'none', 'presentation-state' or 'secondary-capture'.",
    )
    summary: bool = Field(
        _USUAL.summary,
        description="Whether one page of pictures and numbers goes as a Secondary Capture.",
    )
    pdf: bool = Field(_USUAL.pdf, description="Whether the report goes as Encapsulated PDF, too.")
    parametric_maps: bool = Field(
        _USUAL.parametric_maps,
        description="Whether maps that the model makes go as Parametric Maps.",
    )
    structure_set: bool = Field(
        _USUAL.structure_set, description="Whether the outlines go as an RT Structure Set."
    )
    language: _Language = Field(
        _USUAL.language.value,
        description="Language of code meanings and sentences: 'en' or 'zh'.",
    )


def to_form(table: DestinationResults) -> Form:
    """What ``[destinations.results]`` says.

    A fallback that nobody has set is not one where there is no segmentation to refuse.
    """
    segmentation = SegmentationKind(table.segmentation)
    wanted = () if segmentation is SegmentationKind.NONE else table.fallback
    return Form(
        segmentation=segmentation,
        fallback=tuple(SegmentationKind(kind) for kind in wanted),
        compression=Compression(table.compression),
        empty_frames=table.empty_frames,
        one_segment_each=table.one_segment_each,
        key_objects=table.key_objects,
        overlay=Overlay(table.overlay),
        summary=table.summary,
        pdf=table.pdf,
        parametric_maps=table.parametric_maps,
        structure_set=table.structure_set,
        language=Language(table.language),
    )
