"""RT structure sets (PS3.3 A.19.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from secondread.bundles.manifest import Label
from secondread.results.analysis import Analysis
from secondread.results.context import ResultContext
from secondread.results.gate.evidence import find_existence_faults, list_objects
from secondread.results.gate.opened import Opened
from secondread.results.made import Made
from secondread.results.wording import plain

_WHAT = "structure set"
_OFF_SLICE = 0.1
_LONG_STRING = 64

Points = npt.NDArray[np.float64]


def find_structure_faults(
    opened: Opened, context: ResultContext, analysis: Analysis, made: Made
) -> Iterator[str]:
    """Faults of a structure set that the node made, but for those of its origin."""
    header = opened.header
    yield from find_faults(header)
    wanted = context.reference.get("FrameOfReferenceUID")
    named = [
        *(item.FrameOfReferenceUID for item in header.ReferencedFrameOfReferenceSequence),
        *(item.ReferencedFrameOfReferenceUID for item in header.StructureSetROISequence),
    ]
    if any(uid != wanted for uid in named):
        yield f"The {_WHAT}'s Frame of Reference is not the source's."
    sources = {str(one.SOPInstanceUID): str(one.SOPClassUID) for one in context.sources}
    for uid, sop_class_uid in list_images(header):
        if sources.get(uid) != sop_class_uid:
            yield f"The {_WHAT} refers to an image that is not a source."
            break
    objects = list_objects(one.header for one in made.documents)
    defined = {
        str(one.ReferencedSOPInstanceUID): str(one.ReferencedSOPClassUID)
        for item in header.StructureSetROISequence
        for one in item.get("DefinitionSourceSequence") or ()
    }
    yield from find_existence_faults(defined, objects, _WHAT)
    labels = _match(header, context)
    for item in header.StructureSetROISequence:
        if int(item.ROINumber) not in labels:
            yield f"The {_WHAT} has a structure that the model does not declare."
            return
    found = {label.value for label in labels.values()}
    if set(np.unique(analysis.labels).tolist()) - {0} - found:
        yield f"The {_WHAT} leaves out a structure that was found."
    for roi in header.ROIContourSequence:
        label = labels.get(int(roi.ReferencedROINumber))
        if label is not None:
            yield from _find_outline_faults(roi, label, context, analysis)


def _match(header: Dataset, context: ResultContext) -> dict[int, Label]:
    names = {plain(label.meaning, _LONG_STRING): label for label in context.manifest.labels}
    names.update({label.name: label for label in context.manifest.labels})
    return {
        int(item.ROINumber): names[str(item.ROIName)]
        for item in header.StructureSetROISequence
        if str(item.get("ROIName", "")) in names
    }


def list_images(header: Dataset) -> Iterator[tuple[str, str]]:
    """SOP Instance and Class UID of each image that a structure set refers to."""
    for frame in header.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for series in study.get("RTReferencedSeriesSequence") or ():
                for image in series.get("ContourImageSequence") or ():
                    yield str(image.ReferencedSOPInstanceUID), str(image.ReferencedSOPClassUID)
    for roi in header.get("ROIContourSequence") or ():
        for contour in roi.get("ContourSequence") or ():
            for image in contour.get("ContourImageSequence") or ():
                yield str(image.ReferencedSOPInstanceUID), str(image.ReferencedSOPClassUID)


def _find_outline_faults(
    roi: Dataset, label: Label, context: ResultContext, analysis: Analysis
) -> Iterator[str]:
    """The outlines, filled again, are the structure but for voxels at its edge."""
    volume = context.analysed
    inverse = np.linalg.inv(volume.affine_lps)
    polygons: dict[int, list[Points]] = {}
    for contour in roi.get("ContourSequence") or ():
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        indices = points @ inverse[:3, :3].T + inverse[:3, 3]
        place = round(float(np.median(indices[:, 0])))
        if not 0 <= place < len(analysis.labels) or (
            np.abs(indices[:, 0] - place).max() > _OFF_SLICE
        ):
            yield f"An outline of '{label.name}' does not lie on a slice of the source."
            return
        images = {
            (str(image.ReferencedSOPInstanceUID), int(image.get("ReferencedFrameNumber") or 1))
            for image in contour.get("ContourImageSequence") or ()
        }
        source = volume.sources[place]
        if images and (source.sop_instance_uid, source.frame) not in images:
            yield f"An outline of '{label.name}' names another image than it lies on."
            return
        polygons.setdefault(place, []).append(indices[:, 1:])
    yield from _find_fill_faults(polygons, label, analysis)


def _find_fill_faults(
    polygons: Mapping[int, Sequence[Points]], label: Label, analysis: Analysis
) -> Iterator[str]:
    for place, plane in enumerate(analysis.labels):
        mask = plane == label.value
        lines = polygons.get(place, ())
        if not lines:
            if mask.any():
                yield f"'{label.name}' has no outline on a slice that shows it."
                return
            continue
        if (_fill(lines, mask.shape) & ~_widen(mask)).any() or (
            _shrink(mask) & ~_fill(lines, mask.shape)
        ).any():
            yield f"The outlines of '{label.name}', filled again, are not the structure."
            return


def _fill(lines: Sequence[Points], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Pixels whose centre is inside an odd number of the polygons ``(row, column)``."""
    turns = np.zeros((shape[0], shape[1] + 1), np.int64)
    for points in lines:
        following = np.roll(points, -1, axis=0)
        for (row, column), (next_row, next_column) in zip(points, following, strict=True):
            low, high = sorted((row, next_row))
            first, last = max(int(np.ceil(low)), 0), min(int(np.ceil(high)), shape[0])
            if first >= last:
                continue
            rows = np.arange(first, last)
            slope = (next_column - column) / (next_row - row)
            crossing = np.ceil(column + (rows - row) * slope).astype(int)
            np.add.at(turns, (rows, np.clip(crossing, 0, shape[1])), 1)
    filled: npt.NDArray[np.bool_] = np.cumsum(turns, axis=1)[:, :-1] % 2 == 1
    return filled


def _widen(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The mask and every pixel beside it, corners too."""
    padded = np.pad(mask, 1)
    rows, columns = mask.shape
    wide = np.zeros_like(mask)
    for row in range(3):
        for column in range(3):
            wide |= padded[row : row + rows, column : column + columns]
    return wide


def _shrink(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The mask without every pixel that touches its outside."""
    return ~_widen(~np.pad(mask, 1))[1:-1, 1:-1]


def find_faults(header: Dataset) -> Iterator[str]:
    """Faults of anybody's structure set, as far as it can be judged by itself."""
    rois = list(header.get("StructureSetROISequence") or ())
    numbers = [int(item.ROINumber) for item in rois]
    if len(set(numbers)) != len(numbers):
        yield f"Two structures of the {_WHAT} have the same number."
    for keyword in ("ROIContourSequence", "RTROIObservationsSequence"):
        named = [int(item.ReferencedROINumber) for item in header.get(keyword) or ()]
        if not set(named) <= set(numbers):
            yield f"The {_WHAT} has outlines or observations of a structure that it does not list."
    frames = {
        str(item.FrameOfReferenceUID)
        for item in header.get("ReferencedFrameOfReferenceSequence") or ()
    }
    if not all(str(item.get("ReferencedFrameOfReferenceUID", "")) in frames for item in rois):
        yield f"A structure of the {_WHAT} lies in a Frame of Reference that is not listed."
    for roi in header.get("ROIContourSequence") or ():
        for contour in roi.get("ContourSequence") or ():
            data = contour.get("ContourData") or ()
            if len(data) != 3 * int(contour.NumberOfContourPoints):
                yield f"The {_WHAT} has an outline with another number of points than it says."
                return
