"""Cases for the results that go besides segmentation and report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset

from secondread.bundles.output import DeclaredPlace, Output
from secondread.domain.answer import AnsweredPlace, ModelAnswer
from secondread.domain.code import Code
from secondread.domain.volume import SourceSlice, Volume
from secondread.results.analysis import Analysis
from secondread.results.context import ResultContext
from secondread.results.write import write_results
from tests.result_cases import Case

NODULE = DeclaredPlace("nodule", Code("27925004", "SCT", "Nodule"), "point")
WITH_PLACES = Output(places=(NODULE,))


def ask(context: ResultContext, **wanted: Any) -> ResultContext:
    """The same job for a destination that wants these things."""
    return replace(context, form=replace(context.form, **wanted))


def write(case: Case, folder: Path, **wanted: Any) -> dict[str, Dataset]:
    """The objects of a case as they were written, by the names of their files."""
    return write_analysis(ask(case.context, **wanted), Analysis(case.labels), folder)


def write_analysis(context: ResultContext, analysis: Analysis, folder: Path) -> dict[str, Dataset]:
    """As ``write``, of any answer."""
    objects = write_results(context, analysis, folder)
    return {Path(one.path).stem: pydicom.dcmread(folder / one.path) for one in objects}


def with_place(case: Case, *points: tuple[float, float, float]) -> tuple[ResultContext, Analysis]:
    """The case with a nodule at each of these places."""
    manifest = replace(case.context.manifest, output=WITH_PLACES)
    places = tuple(AnsweredPlace("nodule", (point,), 0.8) for point in points)
    analysis = Analysis(case.labels, answer=ModelAnswer(places=places))
    return replace(case.context, manifest=manifest), analysis


def as_multi_frame(case: Case) -> Case:
    """The same volume from one enhanced object, whose frames are in the order of the slices."""
    volume, first = case.context.analysed, case.context.sources[0]
    header = Dataset()
    header.update(
        {
            element.tag: element
            for element in first
            if element.keyword not in {"ImagePositionPatient", "ImageOrientationPatient"}
        }
    )
    header.file_meta = first.file_meta
    header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    header.SOPInstanceUID = "2.25.4711"
    header.NumberOfFrames = len(volume.sources)
    shared = Dataset()
    shared.PlaneOrientationSequence = [_only(first, "ImageOrientationPatient")]
    shared.PixelMeasuresSequence = [_only(first, "PixelSpacing", "SliceThickness")]
    shared.FrameVOILUTSequence = [_item(WindowCenter="300", WindowWidth="700")]
    header.SharedFunctionalGroupsSequence = [shared]
    header.PerFrameFunctionalGroupsSequence = [
        _item(
            PlanePositionSequence=[_only(source, "ImagePositionPatient")],
            PixelValueTransformationSequence=[
                _item(RescaleIntercept="0", RescaleSlope="1", RescaleType="US")
            ],
        )
        for source in case.context.sources
    ]
    del header.PixelSpacing, header.SliceThickness
    sources = tuple(
        SourceSlice("2.25.4711", str(header.SOPClassUID), frame)
        for frame in range(1, len(volume.sources) + 1)
    )
    context = replace(
        case.context,
        sources=(header,),
        volume=Volume(volume.voxels, volume.affine_lps, sources),
    )
    return Case(context, case.labels, case.paths)


def change_sources(case: Case, **values: Any) -> Case:
    """The case with other values in the headers; a list of a value for each slice is dealt out."""
    headers = []
    for index, source in enumerate(case.context.sources):
        header = Dataset()
        header.update({element.tag: element for element in source})
        for keyword, value in values.items():
            is_dealt = isinstance(value, list) and len(value) == len(case.context.sources)
            setattr(header, keyword, value[index] if is_dealt else value)
        headers.append(header)
    return Case(replace(case.context, sources=tuple(headers)), case.labels, case.paths)


def colour_at(pixels: npt.NDArray[np.uint8], row: int, column: int) -> tuple[int, ...]:
    """The colour of one pixel."""
    return tuple(int(part) for part in pixels[row, column])


def _only(source: Dataset, *keywords: str) -> Dataset:
    item = Dataset()
    for keyword in keywords:
        if keyword in source:
            item[keyword] = source[keyword]
    return item


def _item(**values: Any) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
