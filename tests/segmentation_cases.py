"""Segmentations of every kind as documents, as files, and read back by what did not write them."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import FileDataset
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from secondread.domain.form import Compression, Form, SegmentationKind
from secondread.results.analysis import Analysis
from secondread.results.segmentation.compression import DEFLATED_FRAMES
from secondread.results.segmentation.documents import SegmentationDocument, make_segmentations
from secondread.results.slices import read_slices
from tests.result_cases import Case

Frames = dict[tuple[int, int], npt.NDArray[np.uint8]]

# No whole number of bytes in a frame of one bit.
SIZE = (9, 34, 37)
KINDS = (SegmentationKind.BINARY, SegmentationKind.LABELMAP, SegmentationKind.FRACTIONAL)
SYNTAXES = {
    Compression.NONE: str(ExplicitVRLittleEndian),
    Compression.RLE: str(RLELossless),
    Compression.JPEG_LS: str(JPEGLSLossless),
    Compression.JPEG_2000: str(JPEG2000Lossless),
    Compression.DEFLATED: DEFLATED_FRAMES,
}


def make_probabilities(case: Case) -> npt.NDArray[np.uint8]:
    """High where the label map shows a structure, and low beside it."""
    rng = np.random.default_rng(8)
    values = [label.value for label in case.context.manifest.labels]
    shown = np.stack([case.labels == value for value in values])
    beside = np.stack([np.roll(one, 3, axis=2) for one in shown])
    noise = rng.integers(0, 100, shown.shape)
    return np.where(shown, 150 + noise, np.where(beside, noise, 0)).astype(np.uint8)


def make(
    case: Case, kind: SegmentationKind = SegmentationKind.BINARY, **form: Any
) -> tuple[SegmentationDocument, ...]:
    """The documents of a case in a form, with its probabilities."""
    context = replace(case.context, form=Form(segmentation=kind, **form))
    return make_segmentations(context, Analysis(case.labels, make_probabilities(case)))


def written(document: SegmentationDocument, folder: Path) -> Path:
    path = folder / f"{document.name}.dcm"
    with path.open("wb") as file:
        document.write(file)
    return path


def inflated(found: FileDataset) -> FileDataset:
    """What pydicom cannot decode yet, in a transfer syntax that it can."""
    if found.file_meta.TransferSyntaxUID != DEFLATED_FRAMES:
        return found
    frames = generate_frames(found.PixelData, number_of_frames=int(found.NumberOfFrames))
    pixels = [np.frombuffer(zlib.decompress(one, -zlib.MAX_WBITS), np.uint8) for one in frames]
    if found.BitsAllocated == 1:
        size = found.Rows * found.Columns
        bits = [np.unpackbits(one, bitorder="little")[:size] for one in pixels]
        pixels = [np.packbits(np.concatenate(bits), bitorder="little")]
    data = b"".join(one.tobytes() for one in pixels)
    found.PixelData = data + b"\0" * (len(data) % 2)
    found["PixelData"].is_undefined_length = False
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return found


def read(path: Path, case: Case) -> Frames:
    """Frames by segment number and slice, as pydicom has them; a label map's by 0 and slice.

    The slice is found by position alone.
    """
    found = inflated(pydicom.dcmread(path))
    slices = read_slices(case.context.volume, case.context.sources)
    positions = [one.position for one in slices]
    pixels = found.pixel_array.reshape(-1, found.Rows, found.Columns)
    frames = {}
    for group, frame in zip(found.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        place = group.PlanePositionSequence[0].ImagePositionPatient
        index = positions.index(tuple(str(number) for number in place))
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        assert source.ReferencedSOPInstanceUID == slices[index].sop_instance_uid
        assert int(source.get("ReferencedFrameNumber") or 0) == slices[index].frame
        identified = group.get("SegmentIdentificationSequence")
        segment = int(identified[0].ReferencedSegmentNumber) if identified else 0
        values = group.FrameContentSequence[0].DimensionIndexValues
        assert values == ([segment, index + 1] if segment else index + 1)
        assert (segment, index) not in frames
        frames[segment, index] = frame
    return frames


def expected(
    case: Case, kind: SegmentationKind, document: SegmentationDocument, *, keep: bool = False
) -> Frames:
    """The same from the answer."""
    frames = {}
    probabilities = dict(
        zip(
            (label.value for label in case.context.manifest.labels),
            make_probabilities(case),
            strict=True,
        )
    )
    whole = np.zeros_like(case.labels)
    for number, label in document.segments.items():
        shown = case.labels == label.value
        whole[shown] = number
        volume = probabilities[label.value] if kind is SegmentationKind.FRACTIONAL else shown
        frames |= {(number, index): plane for index, plane in enumerate(volume)}
    if kind is SegmentationKind.LABELMAP:
        frames = {(0, index): plane for index, plane in enumerate(whole)}
    return {at: plane for at, plane in frames.items() if keep or plane.any()}
