"""Answers with everything that a report can say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom

from secondread.bundles.output import (
    STATISTICS,
    DeclaredFinding,
    DeclaredNumber,
    DeclaredPlace,
    Output,
)
from secondread.domain.answer import AnsweredFinding, AnsweredNumber, AnsweredPlace, ModelAnswer
from secondread.domain.code import Code
from secondread.domain.form import Form
from secondread.results.analysis import Analysis
from secondread.results.context import ResultContext
from secondread.results.earlier import EarlierReport
from secondread.results.made import Made
from secondread.results.measurement.measurements import measure
from secondread.results.reading.transcript import Transcript, read_report
from secondread.results.report.document import (
    COMPREHENSIVE_3D_SR_STORAGE,
    ReportDocument,
    make_report,
)
from secondread.results.segmentation.documents import make_segmentations
from tests.result_cases import LABELS, Case, make_case

PRESENT = Code("52101004", "SCT", "Present")
ABSENT = Code("2667000", "SCT", "Absent")
LESION = Code("52988006", "SCT", "Lesion")
MILLIMETRE = Code("mm", "UCUM", "mm")
THICKNESS = Code("7J51", "IBSI", "Least Axis in 3D Length")
CHINESE_NAMES = ("左侧海马", "右侧海马", "脑干", "第三脑室", "左侧丘脑")
OUTPUT = Output(
    statistics=STATISTICS,
    numbers=(
        DeclaredNumber(
            "age",
            Code("397669002", "SCT", "Age"),
            Code("a", "UCUM", "year"),
            low=20.0,
            high=60.0,
            meanings={"zh": "脑龄"},
        ),
        DeclaredNumber("thickness", THICKNESS, MILLIMETRE, label="left_hippocampus"),
        DeclaredNumber("width", THICKNESS, MILLIMETRE, label="third_ventricle"),
    ),
    findings=(
        DeclaredFinding(
            "bleeding", Code("50960005", "SCT", "Hemorrhage"), {"yes": PRESENT, "no": ABSENT}
        ),
        DeclaredFinding(
            "atrophy", Code("13331008", "SCT", "Atrophy"), {"yes": PRESENT}, label="brain_stem"
        ),
    ),
    places=(
        DeclaredPlace("spot", LESION, "point"),
        DeclaredPlace("line", LESION, "polyline", label="left_hippocampus"),
        DeclaredPlace("area", LESION, "polygon"),
    ),
)
ANSWER = ModelAnswer(
    numbers=(
        AnsweredNumber("age", 71.5),
        AnsweredNumber("thickness", 3.25),
        AnsweredNumber("width", 0.5),
    ),
    findings=(
        AnsweredFinding("bleeding", "no", 0.0173),
        AnsweredFinding("atrophy", "yes"),
    ),
    places=(
        AnsweredPlace("spot", ((3.0, 4.5, 5.0),), 0.93),
        AnsweredPlace("spot", ((2.0, 4.5, 6.0),)),
        AnsweredPlace("line", ((1.0, 2.0, 3.0), (2.0, 3.0, 4.0), (3.0, 5.0, 5.0)), 0.5),
        AnsweredPlace("area", ((4.0, 2.0, 2.0), (4.0, 2.0, 8.0), (4.0, 7.0, 8.0))),
    ),
)


def make_earlier(**changes: Any) -> EarlierReport:
    """A report of another study, by an older version of the model."""
    volumes_ml = {
        ("5366008", "SCT", "left"): 2.0475,
        ("5366008", "SCT", "right"): 2.5,
        ("49841001", "SCT", ""): 0.7,
    }
    earlier = EarlierReport(
        study_instance_uid="2.25.71",
        series_instance_uid="2.25.72",
        sop_class_uid=COMPREHENSIVE_3D_SR_STORAGE,
        sop_instance_uid="2.25.73",
        study_date="20230704",
        model_id="toy_head",
        model_version="1.1.0",
        volumes_ml=volumes_ml,
    )
    return replace(earlier, **changes)


def make_rich_case(folder: Path, form: Form | None = None, **fields: str) -> Case:
    """A model that measures, finds and points at things, with names in Chinese."""
    case = make_case(folder, fields.pop("plane", "oblique"), **fields)
    labels = tuple(
        replace(
            label, reference_ml=(1.5, 3.0) if label.value == 1 else None, meanings={"zh": chinese}
        )
        for label, chinese in zip(LABELS, CHINESE_NAMES, strict=True)
    )
    manifest = replace(case.context.manifest, output=OUTPUT, labels=labels)
    context = replace(case.context, manifest=manifest, form=form or Form())
    return replace(case, context=context)


def make_rich_analysis(case: Case) -> Analysis:
    """The answer, and a report to compare it with."""
    return Analysis(case.labels, answer=ANSWER, earlier=make_earlier())


def make_parts(context: ResultContext, analysis: Analysis) -> Made:
    """What a report is made from."""
    segmentations = make_segmentations(context, analysis)
    manifest = context.manifest
    measured = measure(
        context.analysed, analysis.labels, manifest.labels, manifest.output.statistics
    )
    return Made(segmentations, measured, segmentations)


def make_alone(context: ResultContext, analysis: Analysis) -> ReportDocument:
    """A report that passed no gate."""
    return make_report(context, analysis, make_parts(context, analysis))


def write_alone(document: ReportDocument, folder: Path) -> Path:
    """Its file."""
    path = folder / "report.dcm"
    with path.open("wb") as file:
        document.write(file)
    return path


def read_alone(document: ReportDocument, folder: Path) -> Transcript:
    """What it says."""
    return read_report(write_alone(document, folder))


def give(headers: Sequence[pydicom.Dataset], **values: Any) -> None:
    """Set attributes of every header."""
    for header in headers:
        for keyword, value in values.items():
            setattr(header, keyword, value)
