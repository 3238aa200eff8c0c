"""The gate before the door, for segmentations: what no validator sees is asserted here.

Each check reads the file that is about to leave, not the objects that made it, and fails with one
sentence. The checks on reports are in ``gate_report``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset

from secondread.bundles.manifest import Label
from secondread.domain.volume import Volume
from secondread.errors import GateError, ResultError
from secondread.results import coding
from secondread.results.context import ResultContext
from secondread.results.identity import find_differences
from secondread.results.reading import Frame, decode, read_frames
from secondread.results.slices import SliceGeometry, read_slices
from secondread.results.wording import plain

_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
_POSITION_TOLERANCE_MM = 1e-3
_DIRECTION_TOLERANCE = 1e-6
_LEAN_TOLERANCE = 1e-4
_PROCESSING_ALGORITHM = "Processing Algorithm"

COMMON_TYPE_1 = [
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "Modality",
    "Manufacturer",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
    "ContentDate",
    "ContentTime",
    "InstanceNumber",
    "SeriesDescription",
    "ContributingEquipmentSequence",
]
_SEGMENTATION_TYPE_1 = [
    "ImageType",
    "FrameOfReferenceUID",
    "SegmentSequence",
    "SegmentationType",
    "ContentLabel",
    "Rows",
    "Columns",
    "ContentCreatorName",
    "ContentQualification",
    "NumberOfFrames",
    "PixelData",
    "ReferencedSeriesSequence",
    "DimensionOrganizationSequence",
    "DimensionIndexSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]


def check_segmentation(
    path: Path,
    context: ResultContext,
    labels: npt.NDArray[np.uint8],
    segments: Mapping[int, Label],
) -> None:
    """Let the segmentation pass or raise.

    Args:
        path: the file as it would leave.
        context: the job it belongs to.
        labels: the model's answer, ``(slice, row, column)``.
        segments: what each segment number should be.

    Raises:
        GateError: with what is wrong, in one sentence.
    """
    found = pydicom.dcmread(path)
    require(found, (*COMMON_TYPE_1, *_SEGMENTATION_TYPE_1), "segmentation")
    if found.SOPClassUID != _SEGMENTATION_STORAGE or found.SegmentationType != "BINARY":
        raise GateError("The segmentation is not a binary segmentation.")
    check_origin(found, context, "segmentation")
    check_algorithm(found, context, "segmentation")
    if found.FrameOfReferenceUID != context.reference.get("FrameOfReferenceUID"):
        raise GateError("The segmentation's Frame of Reference is not the source's.")
    if found.ContentQualification != context.qualification:
        raise GateError(
            f"The segmentation is qualified {found.ContentQualification}, "
            f"the configuration says {context.qualification}."
        )
    _check_segments(found, context, segments)
    _check_references(found, context)
    try:
        frames = read_frames(found)
        _check_frames(found, frames, segments, read_slices(context.analysed, context.sources))
        decoded, affine = decode(found, frames)
    except (ResultError, AttributeError) as error:
        if isinstance(error, GateError):
            raise
        raise GateError(f"The segmentation cannot be read back: {error}") from None
    _check_voxels(decoded, affine, context, labels, segments)


def require(found: Dataset, keywords: Sequence[str], what: str) -> None:
    """Raise ``GateError`` unless every attribute is there and has a value."""
    # The raw element: to ask the parsed one would parse thousands of functional groups.
    missing = [word for word in keywords if word not in found or not found.get_item(word).value]
    if missing:
        raise GateError(f"The {what} lacks {', '.join(missing)}.")


def check_origin(found: Dataset, context: ResultContext, what: str) -> None:
    """The object joins the source's patient and study, as a series of its own."""
    source = context.reference
    if differences := find_differences(source, found):
        raise GateError(
            f"The {what}'s patient or study is not the source's: {', '.join(differences)}."
        )
    if any(
        found.SeriesInstanceUID == header.get("SeriesInstanceUID") for header in context.sources
    ):
        raise GateError(f"The {what} would join a series of the scanner.")
    if any(found.SOPInstanceUID == header.get("SOPInstanceUID") for header in context.sources):
        raise GateError(f"The {what} would replace a source image.")


def check_algorithm(found: Dataset, context: ResultContext, what: str) -> None:
    """Contributing Equipment names the algorithm as IHE AI Results wants it."""
    for item in found.ContributingEquipmentSequence:
        purpose = item.PurposeOfReferenceCodeSequence[0]
        if purpose.CodeMeaning == _PROCESSING_ALGORITHM:
            if item.get("DeviceUID") != context.model_uid:
                raise GateError(f"The {what} names another training of the model.")
            if item.get("SoftwareVersions") != plain(context.manifest.version, 64):
                raise GateError(f"The {what} names another version of the model.")
            return
    raise GateError(f"The {what} does not name its algorithm as contributing equipment.")


def _check_segments(found: Dataset, context: ResultContext, segments: Mapping[int, Label]) -> None:
    numbers = [int(item.SegmentNumber) for item in found.SegmentSequence]
    if numbers != list(range(1, len(segments) + 1)):
        raise GateError(f"The segments are not numbered 1 to {len(segments)} without gaps.")
    tracking = {str(item.get("TrackingUID", "")) for item in found.SegmentSequence}
    if len(tracking) != len(numbers):
        raise GateError("Two segments share a Tracking UID.")
    for item in found.SegmentSequence:
        label = segments[int(item.SegmentNumber)]
        try:
            _check_segment(item, context, label)
        except (AttributeError, IndexError) as error:
            raise GateError(f"Segment '{label.name}' is not complete: {error}.") from None


def _check_segment(item: Dataset, context: ResultContext, label: Label) -> None:
    manifest, whose = context.manifest, f"Segment '{label.name}'"
    algorithm = item.SegmentationAlgorithmIdentificationSequence[0]
    if item.SegmentAlgorithmType != "AUTOMATIC" or not item.SegmentAlgorithmName:
        raise GateError(f"{whose} does not say that an algorithm made it.")
    if algorithm.AlgorithmVersion != plain(manifest.version, 64) or not len(
        algorithm.AlgorithmFamilyCodeSequence
    ):
        raise GateError(f"{whose} lacks its algorithm's family or names another version.")
    kind = item.SegmentedPropertyTypeCodeSequence[0]
    category = item.SegmentedPropertyCategoryCodeSequence[0]
    if (kind.CodeValue, category.CodeValue) != (label.type.value, label.category.value):
        raise GateError(f"{whose} has other codes than the model's manifest.")
    if category.CodeValue not in coding.categories():
        raise GateError(f"{whose} has a category that is not in DICOM's CID 7150.")
    if not coding.is_known(kind.CodeValue, kind.CodingSchemeDesignator):
        raise GateError(
            f"{whose} has the type {kind.CodeValue} ({kind.CodingSchemeDesignator}), which none of "
            "DICOM's context groups lists."
        )
    sides = [side.CodeValue for side in kind.get("SegmentedPropertyTypeModifierCodeSequence") or ()]
    if sides != ([coding.LATERALITY[label.laterality].value] if label.laterality else []):
        raise GateError(f"{whose} is on the wrong side or does not say on which.")
    if (item.get("TrackingID"), item.get("TrackingUID")) != (
        context.tracking_id(label),
        context.tracking_uid(label),
    ):
        raise GateError(f"{whose} has a wrong or no tracking identifier.")
    if "RecommendedDisplayCIELabValue" not in item:
        raise GateError(f"{whose} has no colour.")


def _check_references(found: Dataset, context: ResultContext) -> None:
    listed = {
        str(instance.ReferencedSOPInstanceUID)
        for series in found.ReferencedSeriesSequence
        for instance in series.ReferencedInstanceSequence
    }
    if listed != {str(header.SOPInstanceUID) for header in context.sources}:
        raise GateError("The Referenced Series Sequence does not list exactly the source images.")


def _check_frames(
    found: Dataset,
    frames: Sequence[Frame],
    segments: Mapping[int, Label],
    slices: Sequence[SliceGeometry],
) -> None:
    """Every frame lies on the very slice that its derivation names."""
    if len(frames) != int(found.NumberOfFrames):
        raise GateError("The number of frames is not that of the functional groups.")
    if {frame.segment for frame in frames} != set(segments):
        raise GateError("The frames and the segments do not belong together.")
    by_source = {(one.sop_instance_uid, one.frame): one for one in slices}
    seen: set[tuple[object, ...]] = set()
    for frame in frames:
        facts = (frame.position, frame.sources, frame.derivations)
        if facts in seen:
            continue
        seen.add(facts)
        if not frame.sources or not frame.derivations:
            raise GateError("A frame does not say from which source image it derives.")
        if coding.SEGMENTATION_DERIVATION not in frame.derivations or any(
            source.purpose != coding.SOURCE_PURPOSE for source in frame.sources
        ):
            raise GateError("A frame's derivation has the wrong code or purpose.")
        for source in frame.sources:
            slice_of = by_source.get((source.sop_instance_uid, source.frame))
            if slice_of is None:
                raise GateError("A frame derives from an image that is not a source.")
            _check_plane(frame, slice_of)


def _check_plane(frame: Frame, source: SliceGeometry) -> None:
    pairs = (
        (frame.position, source.position, _POSITION_TOLERANCE_MM),
        (frame.orientation, source.orientation, _DIRECTION_TOLERANCE),
        (frame.pixel_spacing, source.pixel_spacing, _POSITION_TOLERANCE_MM),
    )
    for ours, theirs, tolerance in pairs:
        if not np.allclose(ours, [float(value) for value in theirs], rtol=0, atol=tolerance):
            raise GateError("A frame does not lie on its source slice.")


def _leans(volume: Volume) -> bool:
    """Whether the slices are not at right angles to their stack, as with a tilted gantry."""
    along_slices, along_rows, along_columns = volume.affine_lps[:3, :3].T
    normal = np.cross(along_columns, along_rows)
    sine = np.linalg.norm(np.cross(along_slices, normal))
    return bool(sine > _LEAN_TOLERANCE * np.linalg.norm(along_slices) * np.linalg.norm(normal))


def _check_voxels(
    decoded: npt.NDArray[np.uint8],
    affine: npt.NDArray[np.float64],
    context: ResultContext,
    labels: npt.NDArray[np.uint8],
    segments: Mapping[int, Label],
) -> None:
    """What a viewer will draw is what the model said, voxel for voxel in patient space."""
    volume = context.analysed
    step = np.linalg.solve(volume.affine_lps, affine)
    offset = np.rint(step[:3, 3]).astype(int)
    # A single slice does not say which way the stack leans, so it is not followed to the next.
    depth = decoded.shape[0] if decoded.shape[0] > 1 or not _leans(volume) else 0
    far = np.array([[0, *decoded.shape[1:]], [depth, *decoded.shape[1:]]])
    ends = step @ np.column_stack([far, [1, 1]]).T
    wanted = far.T + offset[:, None]
    if np.abs(ends[:3] - wanted).max() > 0.01 or offset[1:].any():
        raise GateError("The segmentation's grid is not the volume's: it would be drawn elsewhere.")
    first, last = int(offset[0]), int(offset[0]) + decoded.shape[0]
    if decoded.shape[1:] != labels.shape[1:] or first < 0 or last > labels.shape[0]:
        raise GateError("The segmentation's grid is not the volume's: it would be drawn elsewhere.")
    names = np.zeros(256, np.uint8)
    for number, label in segments.items():
        names[number] = label.value
    if labels[:first].any() or labels[last:].any() or (names[decoded] != labels[first:last]).any():
        raise GateError("The segmentation, read back, is not the model's answer.")
