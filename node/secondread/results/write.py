"""Results on disk: made, checked at the gate, and put in place in one step."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from secondread.domain.result import ResultObject
from secondread.errors import GateError
from secondread.results.analysis import Analysis
from secondread.results.companions.capture import make_captures
from secondread.results.companions.encapsulated import make_pdf
from secondread.results.companions.key_objects import make_key_objects
from secondread.results.companions.parametric_map import make_parametric_maps
from secondread.results.companions.presentation import make_presentation_states
from secondread.results.companions.structure_set import make_structure_set
from secondread.results.companions.summary import make_summary
from secondread.results.context import SR, ResultContext
from secondread.results.document import Document
from secondread.results.gate import check, check_refusal
from secondread.results.gate.quarantine import keep
from secondread.results.made import Made
from secondread.results.measurement.measurements import measure
from secondread.results.report.document import make_refusal_report, make_report
from secondread.results.segmentation.documents import make_segmentations

RESULTS_FOLDER = "results"
REPORT_NAME = f"{SR}.dcm"

_BEFORE_THE_REPORT = (make_parametric_maps, make_structure_set)
# The key objects name all the others, so they come last.
_AFTER_THE_REPORT = (
    make_presentation_states,
    make_captures,
    make_summary,
    make_pdf,
    make_key_objects,
)


def write_results(
    context: ResultContext, analysis: Analysis, data_dir: Path
) -> tuple[ResultObject, ...]:
    """Write all objects of one form, each before those that refer to it.

    The same job and answer give the same bytes, so doing it again after a crash is harmless.

    Args:
        context: the job, its volume and the form.
        analysis: what the model answered.
        data_dir: the files go to ``results/<job key>/`` under it, those of another form than the
            usual one to a folder of its own in there.

    Raises:
        ResultError: the answer does not fit the volume or the manifest.
        GateError: an object is not what it should be; nothing is left in place.
    """
    made = make_documents(context, analysis)
    return tuple(_place(context, analysis, made, one, data_dir) for one in made.documents)


def make_documents(context: ResultContext, analysis: Analysis) -> Made:
    """Make all objects of one form, in the order in which they are sent.

    Raises:
        ResultError: the answer does not fit the volume or the manifest.
    """
    segmentations = make_segmentations(context, analysis)
    measured = measure(
        context.analysed,
        analysis.labels,
        context.manifest.labels,
        context.manifest.output.statistics,
    )
    made = Made(segmentations, measured, segmentations)
    for make in _BEFORE_THE_REPORT:
        made = made.with_documents(make(context, analysis, made))
    made = made.with_documents([make_report(context, analysis, made)])
    for make in _AFTER_THE_REPORT:
        made = made.with_documents(make(context, analysis, made))
    return made


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
    relative = relative_path(context, report)
    place_file(data_dir, relative, report.write, lambda path: check_refusal(path, context, reason))
    return (_result_object(report, relative),)


def _place(
    context: ResultContext, analysis: Analysis, made: Made, document: Document, data_dir: Path
) -> ResultObject:
    relative = relative_path(context, document)
    place_file(
        data_dir,
        relative,
        document.write,
        lambda path: check(path, context, analysis, made, document),
    )
    return _result_object(document, relative)


def _result_object(document: Document, relative: Path) -> ResultObject:
    header = document.header
    return ResultObject(
        document.kind, str(header.SOPInstanceUID), str(header.SOPClassUID), str(relative)
    )


def relative_path(context: ResultContext, document: Document) -> Path:
    """Where a document lies under the data folder."""
    return Path(RESULTS_FOLDER, context.job.key, context.form.mark, f"{document.name}.dcm")


def place_file(
    data_dir: Path,
    relative: Path,
    write: Callable[[BinaryIO], None],
    pass_gate: Callable[[Path], None],
) -> None:
    """Write beside, check what was written, flush, then rename: no reader sees half a file.

    What does not pass the gate is kept in the quarantine, and the error says where.
    """
    path = data_dir / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        pass_gate(partial)
        partial.replace(path)
    except GateError as error:
        try:
            kept = keep(partial, data_dir, relative, str(error))
        except OSError:
            # The sentence matters more than the object, which can be made again.
            raise error from None
        raise GateError(f"{error} The object is kept as '{kept}' in the data folder.") from None
    finally:
        partial.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
