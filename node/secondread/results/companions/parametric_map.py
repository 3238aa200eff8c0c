"""A model's maps as Parametric Maps (PS3.3 A.75), 32-bit floating-point numbers as they are."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from highdicom.sr.coding import CodedConcept
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.sr.coding import Code

from secondread.bundles.output import DeclaredMap
from secondread.errors import ResultError
from secondread.results import coding
from secondread.results.analysis import Analysis
from secondread.results.companions.parametric_map_header import make_map_header
from secondread.results.context import PM, ResultContext
from secondread.results.document import Document
from secondread.results.elements import encode_dataset, encode_item, encode_sequence, encode_short
from secondread.results.made import Made
from secondread.results.slices import SliceGeometry, read_slices

_PREAMBLE = bytes(128) + b"DICM"
_FLOAT_PIXEL_DATA = struct.Struct("<HH2s2xI")
_BYTES_MAX = 0xFFFF_FFFE
_PER_FRAME_FUNCTIONAL_GROUPS = 0x5200_9230
_FRAME_CONTENT = 0x0020_9111
_DIMENSION_INDEX_VALUES = 0x0020_9157
_CALCULATED = Code("112187", "DCM", "Unspecified method of calculation")


@dataclass(frozen=True, slots=True)
class ParametricMapDocument:
    """A parametric map whose frames are made while it is written.

    Attributes:
        name: of its file.
        header: everything before the per-frame functional groups.
        groups: these, encoded.
        values: ``(slice, row, column)`` float32; must not change before the writing.
    """

    name: str
    header: Dataset
    groups: bytes
    values: npt.NDArray[np.float32]

    @property
    def kind(self) -> str:
        """Its kind among the results."""
        return PM

    def write(self, file: BinaryIO) -> None:
        """Write it as a DICOM file (PS3.10 7), frame after frame."""
        meta = DicomBytesIO()
        write_file_meta_info(meta, self.header.file_meta, enforce_standard=True)
        file.write(_PREAMBLE + meta.getvalue() + encode_dataset(self.header) + self.groups)
        file.write(_FLOAT_PIXEL_DATA.pack(0x7FE0, 0x0008, b"OF", self.values.nbytes))
        for plane in self.values:
            file.write(plane.astype("<f4", copy=False).tobytes())


def make_parametric_maps(
    context: ResultContext, analysis: Analysis, made: Made
) -> tuple[Document, ...]:
    """One for each map that the manifest declares and the model gave, in one series.

    Raises:
        ResultError: a map is not of the volume's shape, is not of finite float32, or is larger than
            one object can be; or the source has no frame of reference.
    """
    if not context.form.parametric_maps:
        return ()
    declared = [one for one in context.manifest.output.maps if one.id in analysis.maps]
    if not declared:
        return ()
    slices = read_slices(context.analysed, context.sources)
    groups = _encode_groups(slices)
    documents = []
    for number, one in enumerate(declared, start=1):
        values = analysis.maps[one.id]
        _check(context, one, values)
        name = PM if len(declared) == 1 else f"{PM}-{one.id}"
        header = make_map_header(context, one, number, slices)
        documents.append(ParametricMapDocument(name, header, groups, values))
    return tuple(documents)


def _check(context: ResultContext, declared: DeclaredMap, values: npt.NDArray[np.float32]) -> None:
    shape = context.analysed.voxels.shape
    if values.shape != shape or values.dtype != np.float32:
        raise ResultError(
            f"The map '{declared.id}' has shape {values.shape} and type {values.dtype}; the volume "
            f"has shape {shape} and needs float32."
        )
    if values.nbytes > _BYTES_MAX:
        raise ResultError(
            f"The map '{declared.id}' is larger than one DICOM object can be (4 GiB)."
        )
    # A sum over a slice is finite where all of it is, and costs no array of answers.
    if not all(np.isfinite(plane.sum(dtype=np.float64)) for plane in values):
        raise ResultError(f"The map '{declared.id}' holds values that are not finite numbers.")


def _encode_groups(slices: tuple[SliceGeometry, ...]) -> bytes:
    """Per-Frame Functional Groups: source image, place in the stack and position of each slice."""
    items = []
    for number, one in enumerate(slices, start=1):
        values = encode_short(_DIMENSION_INDEX_VALUES, b"UL", struct.pack("<I", number))
        position = Dataset()
        position.ImagePositionPatient = list(one.position)
        holder, place = Dataset(), Dataset()
        holder.DerivationImageSequence = [_derive(one)]
        place.PlanePositionSequence = [position]
        items.append(
            encode_item(
                encode_dataset(holder)
                + encode_sequence(_FRAME_CONTENT, encode_item(values))
                + encode_dataset(place)
            )
        )
    return encode_sequence(_PER_FRAME_FUNCTIONAL_GROUPS, b"".join(items))


def _derive(one: SliceGeometry) -> Dataset:
    image = Dataset()
    image.ReferencedSOPClassUID = one.sop_class_uid
    image.ReferencedSOPInstanceUID = one.sop_instance_uid
    if one.frame:
        image.ReferencedFrameNumber = one.frame
    image.SpatialLocationsPreserved = "YES"
    image.PurposeOfReferenceCodeSequence = [
        CodedConcept(*coding.SOURCE_PURPOSE, "Source image for image processing operation")
    ]
    derivation = Dataset()
    derivation.SourceImageSequence = [image]
    derivation.DerivationCodeSequence = [CodedConcept.from_code(_CALCULATED)]
    return derivation
