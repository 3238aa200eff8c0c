"""Results on disk: made, checked at the gate, and put in place in one step."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from secondread.domain.result import ResultObject
from secondread.results.context import SEG, SR, ResultContext
from secondread.results.gate import check_segmentation
from secondread.results.gate_report import Expectation, check_report
from secondread.results.measurements import measure
from secondread.results.report import make_refusal_report, make_report
from secondread.results.segmentation import (
    SEGMENTATION_STORAGE,
    SegmentationDocument,
    make_segmentation,
)

RESULTS_FOLDER = "results"
REPORT_NAME = f"{SR}.dcm"


def write_results(
    context: ResultContext, labels: npt.NDArray[np.uint8], data_dir: Path
) -> tuple[ResultObject, ...]:
    """Write the segmentation, if anything was found, and the report; the segmentation comes first.

    The same job and label map give the same bytes, so doing it again after a crash is harmless.

    Args:
        context: the job and its volume.
        labels: ``(slice, row, column)`` uint8, values of the manifest.
        data_dir: the files go to ``results/<job key>/`` under it.

    Raises:
        ResultError: the label map does not fit the volume or the manifest.
        GateError: an object is not what it should be; nothing is left in place.
    """
    segmentation = make_segmentation(context, labels)
    measured = measure(context.analysed, labels, context.manifest.labels)
    report = make_report(context, measured, segmentation)
    objects = []
    if segmentation is not None:
        made = segmentation

        def pass_gate(path: Path) -> None:
            check_segmentation(path, context, labels, made.segments)

        objects.append(_place_segmentation(context, made, data_dir, pass_gate))
    expected = Expectation(
        measured=measured,
        segments=segmentation.segments if segmentation else {},
        segmentation_uid=segmentation.sop_instance_uid if segmentation else "",
        refusal="",
    )
    objects.append(_place_report(context, report, data_dir, expected))
    return tuple(objects)


def write_refusal(context: ResultContext, reason: str, data_dir: Path) -> tuple[ResultObject, ...]:
    """Write the report that says why the study was not analysed.

    Args:
        context: the job; its volume is not used.
        reason: a sentence without anything that identifies the patient.
        data_dir: as for ``write_results``.

    Raises:
        ResultError: the study has no object at all.
        GateError: the report is not what it should be.
    """
    report = make_refusal_report(context, reason)
    expected = Expectation(measured=(), segments={}, segmentation_uid="", refusal=reason)
    return (_place_report(context, report, data_dir, expected),)


def _place_segmentation(
    context: ResultContext,
    made: SegmentationDocument,
    data_dir: Path,
    pass_gate: Callable[[Path], None],
) -> ResultObject:
    relative = _relative_path(context, SEG)
    _place(data_dir / relative, made.write, pass_gate)
    return ResultObject(SEG, made.sop_instance_uid, SEGMENTATION_STORAGE, str(relative))


def _place_report(
    context: ResultContext, report: Dataset, data_dir: Path, expected: Expectation
) -> ResultObject:
    relative = _relative_path(context, SR)
    _place(
        data_dir / relative,
        lambda file: report.save_as(file, enforce_file_format=True),
        lambda path: check_report(path, context, expected),
    )
    return ResultObject(SR, str(report.SOPInstanceUID), str(report.SOPClassUID), str(relative))


def _relative_path(context: ResultContext, kind: str) -> Path:
    return Path(RESULTS_FOLDER, context.job.key, f"{kind}.dcm")


def _place(
    path: Path, write: Callable[[BinaryIO], None], pass_gate: Callable[[Path], None]
) -> None:
    """Write beside, check what was written, flush, then rename: no reader sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        pass_gate(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
