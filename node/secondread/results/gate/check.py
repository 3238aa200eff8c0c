"""One object of a job, as it would leave, against everything that is known of the job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from secondread.errors import GateError, ResultError
from secondread.results.analysis import Analysis
from secondread.results.context import (
    KO,
    PDF,
    PM,
    PR,
    RTSTRUCT,
    SC,
    SEG,
    SR,
    SUMMARY,
    ResultContext,
)
from secondread.results.document import Document
from secondread.results.gate import report, segmentation
from secondread.results.gate.faults import guard, raise_first
from secondread.results.gate.key_objects import find_key_object_faults
from secondread.results.gate.measurements import Expectation
from secondread.results.gate.opened import Opened, open_object
from secondread.results.gate.origin import find_origin_faults
from secondread.results.gate.parametric_map import find_map_faults
from secondread.results.gate.pictures import find_capture_faults, find_pdf_faults
from secondread.results.gate.presentation import find_presentation_faults
from secondread.results.gate.required import MODULES
from secondread.results.gate.structure_set import find_structure_faults
from secondread.results.made import Made
from secondread.results.segmentation.documents import SegmentationDocument


def check(
    path: Path, context: ResultContext, analysis: Analysis, made: Made, document: Document
) -> None:
    """Let one object pass or raise.

    Args:
        path: the file as it would leave.
        context: the job that it belongs to.
        analysis: what the model answered.
        made: everything that was made of it.
        document: which of them this is.

    Raises:
        GateError: with what is wrong, in one sentence.
    """
    opened = _open(path)
    name = MODULES[str(opened.header.SOPClassUID)].name
    raise_first(guard(name, _find_faults(opened, context, analysis, made, document)))


def check_refusal(path: Path, context: ResultContext, reason: str) -> None:
    """Let the report on what was not analysed pass or raise.

    Raises:
        GateError: with what is wrong, in one sentence.
    """
    opened = _open(path)
    expected = Expectation(refusal=reason)
    raise_first(guard("report", _find_report_faults(opened, context, expected)))


def _open(path: Path) -> Opened:
    try:
        opened = open_object(path)
    except ResultError as error:
        raise GateError(f"The object cannot be read back. {error}") from None
    if str(opened.header.get("SOPClassUID", "")) not in MODULES:
        raise GateError("The object is of a SOP class that the node does not write.")
    return opened


def _find_report_faults(
    opened: Opened, context: ResultContext, expected: Expectation
) -> Iterator[str]:
    module = MODULES[str(opened.header.SOPClassUID)]
    yield from find_origin_faults(opened.header, context, module, SR)
    yield from report.find_own_faults(opened, context, expected)


def _find_faults(
    opened: Opened, context: ResultContext, analysis: Analysis, made: Made, document: Document
) -> Iterator[str]:
    kind = document.kind
    if kind == SR:
        yield from _find_report_faults(opened, context, Expectation(analysis, made))
        yield from _find_uid_faults(made, document, opened)
        return
    module = MODULES[str(opened.header.SOPClassUID)]
    yield from find_origin_faults(opened.header, context, module, kind)
    if kind == SEG:
        segments = document.segments if isinstance(document, SegmentationDocument) else {}
        shown = segmentation.Shown(segments, made.measured, len(made.segmentations) == 1)
        yield from segmentation.find_own_faults(opened, context, analysis, shown)
    elif kind == KO:
        yield from find_key_object_faults(opened, context, made)
    elif kind == PR:
        yield from find_presentation_faults(opened, context)
    elif kind in {SC, SUMMARY}:
        yield from find_capture_faults(opened, context)
    elif kind == PDF:
        yield from find_pdf_faults(opened, context, made)
    elif kind == PM:
        yield from find_map_faults(opened, context, analysis)
    elif kind == RTSTRUCT:
        yield from find_structure_faults(opened, context, analysis, made)
    else:
        yield f"There is no gate for objects of the kind '{kind}'."
    yield from _find_uid_faults(made, document, opened)


def _find_uid_faults(made: Made, document: Document, opened: Opened) -> Iterator[str]:
    """No other object of the job has the same UID, nor is of this series and another kind."""
    uid, series = str(opened.header.SOPInstanceUID), str(opened.header.SeriesInstanceUID)
    if uid != str(document.header.SOPInstanceUID):
        yield "The object on disk is another than the one that was made."
    for one in made.documents:
        if one is document:
            continue
        if str(one.header.SOPInstanceUID) == uid:
            yield "Two objects of the job have the same SOP Instance UID."
        if one.kind != document.kind and str(one.header.SeriesInstanceUID) == series:
            yield "Objects of two kinds would share a series."
