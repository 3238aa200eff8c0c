"""In which form a destination wants its results."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from types import MappingProxyType


class SegmentationKind(StrEnum):
    """How a segmentation is written."""

    BINARY = "binary"
    """One bit per voxel and segment (PS3.3 A.51)."""
    LABELMAP = "labelmap"
    """One number per voxel (PS3.3 A.90)."""
    FRACTIONAL = "fractional"
    """A probability per voxel and segment, 0 to 255 (PS3.3 A.51)."""
    NONE = "none"
    """No segmentation: the report alone says what was found."""


class Compression(StrEnum):
    """How the pixels of a result are encoded; every one is lossless."""

    NONE = "none"
    RLE = "rle"
    JPEG_LS = "jpeg-ls"
    JPEG_2000 = "jpeg-2000"
    DEFLATED = "deflated"
    """Each frame deflated (PS3.5 A.4.12)."""


class Overlay(StrEnum):
    """What is sent to a viewer that shows no segmentations; always besides, never instead."""

    NONE = "none"
    PRESENTATION_STATE = "presentation-state"
    """Outlines as a Grayscale Softcopy Presentation State (PS3.3 A.33.1)."""
    SECONDARY_CAPTURE = "secondary-capture"
    """Colour pictures of the slices with outlines, marked as burned in (PS3.3 A.8.5)."""


class Language(StrEnum):
    """The language of code meanings and sentences, as RFC 5646 names it."""

    ENGLISH = "en"
    CHINESE = "zh"


COMPRESSIONS: Mapping[SegmentationKind, frozenset[Compression]] = MappingProxyType(
    {
        # PS3.5 8.2.16; RLE and JPEG 2000 are allowed, but few programs read single bits in them.
        SegmentationKind.BINARY: frozenset({Compression.NONE, Compression.DEFLATED}),
        SegmentationKind.LABELMAP: frozenset(Compression),
        SegmentationKind.FRACTIONAL: frozenset(Compression),
        SegmentationKind.NONE: frozenset({Compression.NONE}),
    }
)
"""Which encodings a kind can have; one that it cannot have is left out."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a destination gets of each result, and how.

    Attributes:
        segmentation: how the segmentation is written.
        fallback: what is sent instead, one after the other, where the destination refuses the
            kind before; ``NONE`` is the report alone.
        compression: of the segmentation's pixels, where its kind allows it.
        empty_frames: whether slices without a structure get frames, too.
        one_segment_each: whether each segment is an object of its own.
        key_objects: whether a Key Object Selection names the slices worth opening.
        overlay: what a viewer gets that shows no segmentations.
        summary: whether one page of pictures and numbers goes as a Secondary Capture.
        pdf: whether the report goes as Encapsulated PDF besides.
        parametric_maps: whether the model's maps go as Parametric Maps.
        structure_set: whether the outlines go as an RT Structure Set.
        language: of code meanings and sentences.
    """

    segmentation: SegmentationKind = SegmentationKind.BINARY
    fallback: tuple[SegmentationKind, ...] = (SegmentationKind.NONE,)
    compression: Compression = Compression.NONE
    empty_frames: bool = False
    one_segment_each: bool = False
    key_objects: bool = False
    overlay: Overlay = Overlay.NONE
    summary: bool = False
    pdf: bool = False
    parametric_maps: bool = True
    structure_set: bool = False
    language: Language = Language.ENGLISH

    @property
    def mark(self) -> str:
        """Tells the objects of one form from those of another; '' for the usual form.

        The fallback says nothing about the objects themselves and is left out.
        """
        if replace(self, fallback=()) == Form(fallback=()):
            return ""
        told = {**asdict(self), "fallback": ()}
        text = " ".join(f"{name}={told[name]}" for name in sorted(told))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def levels(self) -> tuple[Form, ...]:
        """The form itself, and what is sent instead of it after each refusal.

        A destination may refuse the encoding and not the kind, so each kind that is compressed is
        followed by itself uncompressed.
        """
        kinds = dict.fromkeys((self.segmentation, *self.fallback))
        return tuple(dict.fromkeys(form for kind in kinds for form in self._of_kind(kind)))

    def without_segmentation(self) -> Form:
        """The same with the report alone; what is said of a segmentation's pixels is as usual."""
        return replace(
            self,
            segmentation=SegmentationKind.NONE,
            fallback=(),
            compression=Compression.NONE,
            empty_frames=False,
            one_segment_each=False,
        )

    def _of_kind(self, kind: SegmentationKind) -> Iterator[Form]:
        if kind is SegmentationKind.NONE:
            yield self.without_segmentation()
            return
        plain = replace(self, segmentation=kind, fallback=(), compression=Compression.NONE)
        if self.compression in COMPRESSIONS[kind]:
            yield replace(plain, compression=self.compression)
        yield plain
