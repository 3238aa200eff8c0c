"""Presentation states (PS3.3 A.33)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset

from secondread.results.context import ResultContext
from secondread.results.gate.evidence import find_existence_faults, list_objects
from secondread.results.gate.opened import Opened
from secondread.results.gate.origin import is_marked
from secondread.results.gate.required import GRAYSCALE_STATE

_WHAT = "presentation state"
_UNITS = {"PIXEL", "DISPLAY", "MATRIX"}


def find_presentation_faults(opened: Opened, context: ResultContext) -> Iterator[str]:
    """Faults of a presentation state that the node made, but for those of its origin."""
    header = opened.header
    yield from find_faults(header)
    there = list_objects(context.sources)
    named = {
        str(image.ReferencedSOPInstanceUID): str(image.ReferencedSOPClassUID)
        for series in header.ReferencedSeriesSequence
        for image in series.ReferencedImageSequence
    }
    yield from find_existence_faults(named, there, _WHAT)
    for series in header.ReferencedSeriesSequence:
        for image in series.ReferencedImageSequence:
            listed = there.get(str(image.ReferencedSOPInstanceUID))
            if listed is not None and listed[1] != str(series.SeriesInstanceUID):
                yield f"The {_WHAT} names an image in a series that it is not in."
                return
    if context.is_research and not is_marked(str(header.get("ContentDescription", ""))):
        yield f"The {_WHAT} does not say that it is for research only."
    yield from _find_bound_faults(header, context)


def _find_bound_faults(header: Dataset, context: ResultContext) -> Iterator[str]:
    rows, columns = context.analysed.voxels.shape[1:]
    for annotation in header.get("GraphicAnnotationSequence") or ():
        for line in annotation.get("GraphicObjectSequence") or ():
            if line.GraphicAnnotationUnits != "PIXEL":
                continue
            points = np.array(line.GraphicData, float).reshape(-1, 2)
            # A pixel's corner is half a pixel from its centre, and 1 is the first centre.
            if (points < 0).any() or (points > [columns + 1, rows + 1]).any():
                yield f"The {_WHAT} draws beside the image."
                return


def find_faults(header: Dataset) -> Iterator[str]:
    """Faults of anybody's presentation state, as far as it can be judged by itself."""
    listed = {
        str(image.ReferencedSOPInstanceUID)
        for series in header.get("ReferencedSeriesSequence") or ()
        for image in series.get("ReferencedImageSequence") or ()
    }
    if not listed:
        yield f"The {_WHAT} does not say for which images it is."
    for keyword in (
        "GraphicAnnotationSequence",
        "DisplayedAreaSelectionSequence",
        "SoftcopyVOILUTSequence",
    ):
        named = {
            str(image.ReferencedSOPInstanceUID)
            for item in header.get(keyword) or ()
            for image in item.get("ReferencedImageSequence") or ()
        }
        if not named <= listed:
            yield f"The {_WHAT} draws on an image that it does not list."
    is_grey = header.get("SOPClassUID") == GRAYSCALE_STATE
    if is_grey and not (
        header.get("PresentationLUTShape") or header.get("PresentationLUTSequence")
    ):
        yield f"The {_WHAT} does not say how grey its values are."
    yield from _find_graphic_faults(header)


def _find_graphic_faults(header: Dataset) -> Iterator[str]:
    layers = {str(item.GraphicLayer) for item in header.get("GraphicLayerSequence") or ()}
    for annotation in header.get("GraphicAnnotationSequence") or ():
        if str(annotation.get("GraphicLayer", "")) not in layers:
            yield f"The {_WHAT} draws on a layer that it does not describe."
            return
        for line in annotation.get("GraphicObjectSequence") or ():
            data = line.get("GraphicData")
            count = len(data) if data is not None and not isinstance(data, float) else 0
            if count != 2 * int(line.NumberOfGraphicPoints):
                yield f"The {_WHAT} has a line with another number of points than it says."
                return
            if str(line.GraphicAnnotationUnits) not in _UNITS:
                yield f"The {_WHAT} has a line in units that the standard does not know."
                return
