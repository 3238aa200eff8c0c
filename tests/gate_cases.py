"""A job whose model answers everything, and its results on disk in each form."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from secondread.bundles.output import (
    DeclaredFinding,
    DeclaredMap,
    DeclaredNumber,
    DeclaredPlace,
    Output,
)
from secondread.domain.answer import AnsweredFinding, AnsweredNumber, AnsweredPlace, ModelAnswer
from secondread.domain.code import Code
from secondread.domain.form import Form, Overlay, SegmentationKind
from secondread.results.analysis import Analysis
from secondread.results.context import Predecessor, ResultContext
from secondread.results.made import Made
from secondread.results.write import make_documents, write_refusal, write_results
from tests.defects.seeding import SOURCE_SERIES
from tests.result_cases import make_case, make_manifest

REASON = "It is a pear."
SIZE = (9, 16, 20)
FORMS = {
    "BINARY": Form(),
    "LABELMAP": Form(segmentation=SegmentationKind.LABELMAP),
    "FRACTIONAL": Form(segmentation=SegmentationKind.FRACTIONAL),
    "all": Form(
        key_objects=True,
        overlay=Overlay.PRESENTATION_STATE,
        summary=True,
        pdf=True,
        structure_set=True,
    ),
    "capture": Form(overlay=Overlay.SECONDARY_CAPTURE),
}
_RATIO = Code("118586006", "SCT", "Ratio")
_NO_UNITS = Code("1", "UCUM", "no units")
_ATROPHY = Code("13331008", "SCT", "Atrophy")
_PRESENT, _ABSENT = Code("52101004", "SCT", "Present"), Code("2667000", "SCT", "Absent")
_CENTER = Code("371504005", "SCT", "Center of mass")
_DIFFUSION = Code("113041", "DCM", "Apparent Diffusion Coefficient")
_SQUARE = Code("um2/s", "UCUM", "um2/s")
OUTPUT = Output(
    probabilities=True,
    statistics=(
        "volume",
        "mean",
        "deviation",
        "median",
        "longest_diameter",
        "perpendicular_diameter",
        "voxels",
    ),
    numbers=(DeclaredNumber("asymmetry", _RATIO, _NO_UNITS, low=0.9, high=1.1),),
    findings=(DeclaredFinding("atrophy", _ATROPHY, {"yes": _PRESENT, "no": _ABSENT}),),
    places=(DeclaredPlace("centre", _CENTER, "point"),),
    maps=(DeclaredMap("diffusion", _DIFFUSION, _SQUARE, 0.0, 3000.0),),
)
ANSWER = ModelAnswer(
    numbers=(AnsweredNumber("asymmetry", 0.8125),),
    findings=(AnsweredFinding("atrophy", "yes", 0.75),),
    places=(AnsweredPlace("centre", ((3.0, 6.5, 7.25),)),),
)


@dataclass(frozen=True)
class Written:
    """The results of one form, made and on disk by the names of their files."""

    context: ResultContext
    analysis: Analysis
    made: Made
    paths: dict[str, Path]


@dataclass(frozen=True)
class Job:
    """A job and the model's answer, not yet written."""

    context: ResultContext
    analysis: Analysis
    sources: list[Path]

    def write(self, form: Form, folder: Path) -> Written:
        """Write everything in one form."""
        context = replace(self.context, form=form)
        made = make_documents(context, self.analysis)
        results = write_results(context, self.analysis, folder)
        paths = {Path(one.path).stem: folder / one.path for one in results}
        return Written(context, self.analysis, made, paths)

    def refuse(self, folder: Path) -> tuple[ResultContext, Path]:
        """Write the report on what was not analysed."""
        context = replace(self.context, volume=None)
        (one,) = write_refusal(context, REASON, folder)
        return context, folder / one.path


def make_job(folder: Path) -> Job:
    """A second version of a job with five structures, probabilities, a map, and all else."""
    case = make_case(folder, "oblique", SIZE)
    assert str(case.context.reference.SeriesInstanceUID) == SOURCE_SERIES
    rng = np.random.default_rng(11)
    labels = case.context.manifest.labels
    probabilities = np.zeros((len(labels), *SIZE), np.uint8)
    for row, label in enumerate(labels):
        mask = case.labels == label.value
        probabilities[row][mask] = rng.integers(128, 256, int(mask.sum()))
    values = rng.uniform(0.0, 3000.0, SIZE).astype(np.float32)
    analysis = Analysis(case.labels, probabilities, {"diffusion": values}, ANSWER)
    context = case.context
    before = Predecessor(
        str(context.reference.StudyInstanceUID),
        context.uid("before series"),
        "1.2.840.10008.5.1.4.1.1.88.34",
        context.uid("before"),
    )
    context = replace(
        context,
        manifest=make_manifest(output=OUTPUT),
        predecessor=before,
        job=replace(context.job, version=2),
    )
    return Job(context, analysis, case.paths)
