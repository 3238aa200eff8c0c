"""The data sets of a performer: keys of a search, claims, progress, ends (PS3.4 table CC.2.5-3).

Each is a list of elements, which goes out either encoded (PS3.5) or as JSON (PS3.18 F).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from secondread.delivery.telling.worklist.tags import (
    CANCELLED_AT,
    CHARACTER_SET,
    CODE_MEANING,
    CODE_SCHEME,
    CODE_VALUE,
    DICOM_RETRIEVAL,
    DISCONTINUATION_REASON,
    INPUT_INFORMATION,
    INPUT_READINESS,
    OUTPUT_INFORMATION,
    PERFORMED_DESCRIPTION,
    PERFORMED_ENDED,
    PERFORMED_PROCEDURE,
    PERFORMED_STARTED,
    PERFORMED_STATION,
    PERFORMED_WORKITEM,
    PRIORITY,
    PROGRESS,
    PROGRESS_DESCRIPTION,
    PROGRESS_INFORMATION,
    REASON_FOR_CANCELLATION,
    RETRIEVE_AE_TITLE,
    RETRIEVE_URL,
    SCHEDULED_STARTS,
    SCHEDULED_STATION,
    SCHEDULED_WORKITEM,
    SERIES,
    SOP_CLASS,
    SOP_INSTANCE,
    STATE,
    STUDY,
    TYPE_OF_INSTANCES,
    WADO_RS_RETRIEVAL,
)
from secondread.delivery.telling.worklist.workitem import (
    Cancellation,
    Claim,
    Output,
    Performed,
    Progress,
    State,
)
from secondread.dicom.commitment_report import (
    REFERENCED_CLASS,
    REFERENCED_INSTANCE,
    REFERENCED_SOPS,
    TRANSACTION_UID,
)
from secondread.dicom.messages import Element, Value, write_message
from secondread.domain.code import Code

DataElements = Sequence[Element]

READY = "READY"
_UTF_8 = "ISO_IR 192"


def search_keys(workitem: Code | None, station: Code | None) -> list[Element]:
    """What is searched for, and what is to be returned of it."""
    return [
        (SOP_CLASS, "UI", ""),
        (SOP_INSTANCE, "UI", ""),
        (STUDY, "UI", ""),
        (SCHEDULED_STARTS, "DT", ""),
        (SCHEDULED_WORKITEM, "SQ", [_key(workitem)]),
        (INPUT_INFORMATION, "SQ", ()),
        (SCHEDULED_STATION, "SQ", [_key(station)]),
        (INPUT_READINESS, "CS", READY),
        (STATE, "CS", str(State.SCHEDULED)),
        (PRIORITY, "CS", ""),
    ]


def state_change(claim: Claim, state: State) -> list[Element]:
    """Action Information of Change UPS State (PS3.4 table CC.2.1-1)."""
    return [(TRANSACTION_UID, "UI", claim.transaction_uid), (STATE, "CS", str(state))]


def progress_of(claim: Claim, progress: Progress) -> list[Element]:
    """How far the work is; replaces what was said before."""
    said: list[Element] = [(PROGRESS, "DS", f"{progress.percent:.4g}")]
    if progress.description:
        said.append((PROGRESS_DESCRIPTION, "ST", progress.description))
    return [_lock(claim), (PROGRESS_INFORMATION, "SQ", [said])]


def completion_of(claim: Claim, performed: Performed) -> list[Element]:
    """What COMPLETED demands (final state 'P')."""
    outputs = [_output(output) for output in performed.outputs]
    done: list[Element] = [
        (PERFORMED_STATION, "SQ", [_code(performed.station)]),
        (PERFORMED_STARTED, "DT", moment(performed.started_at)),
        (PERFORMED_WORKITEM, "SQ", [_code(performed.workitem)]),
        (PERFORMED_ENDED, "DT", moment(performed.ended_at)),
        (OUTPUT_INFORMATION, "SQ", outputs),
    ]
    if performed.description:
        done.append((PERFORMED_DESCRIPTION, "LO", performed.description))
    return [_lock(claim), (PERFORMED_PROCEDURE, "SQ", [_sorted(done)])]


def cancellation_of(claim: Claim, cancellation: Cancellation) -> list[Element]:
    """What CANCELED demands (final state 'X')."""
    said: list[Element] = [
        (CANCELLED_AT, "DT", moment(cancellation.at)),
        (DISCONTINUATION_REASON, "SQ", [_code(cancellation.reason)]),
    ]
    if cancellation.description:
        said.append((REASON_FOR_CANCELLATION, "LT", cancellation.description))
    return [_lock(claim), (PROGRESS_INFORMATION, "SQ", [_sorted(said)])]


def encode(elements: DataElements, transfer_syntax_uid: str) -> bytes:
    """A data set for DIMSE; texts beyond ASCII make it one in UTF-8."""
    if not _is_ascii(elements):
        elements = [(CHARACTER_SET, "CS", _UTF_8), *elements]
    return write_message(_in_utf_8(elements), transfer_syntax_uid)


def as_json(elements: DataElements) -> dict[str, Any]:
    """The same as DICOM JSON (PS3.18 F.2)."""
    return {f"{tag:08X}": _json_element(vr, value) for tag, vr, value in elements}


def moment(at: float) -> str:
    """A time as DT in UTC (PS3.5 6.2)."""
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y%m%d%H%M%S.%f+0000")


def _lock(claim: Claim) -> Element:
    return TRANSACTION_UID, "UI", claim.transaction_uid


def _key(code: Code | None) -> DataElements:
    """A code to be matched and returned; of any code where there is none."""
    return (
        (CODE_VALUE, "SH", code.value if code else ""),
        (CODE_SCHEME, "SH", code.scheme if code else ""),
        (CODE_MEANING, "LO", ""),
    )


def _code(code: Code) -> DataElements:
    return (
        (CODE_VALUE, "SH", code.value),
        (CODE_SCHEME, "SH", code.scheme),
        (CODE_MEANING, "LO", code.meaning),
    )


def _output(output: Output) -> DataElements:
    """Referenced Instances and Access Macro (PS3.4 table CC.2.5-2c)."""
    objects = [
        (
            (REFERENCED_CLASS, "UI", one.sop_class_uid),
            (REFERENCED_INSTANCE, "UI", one.sop_instance_uid),
        )
        for one in output.objects
    ]
    made: list[Element] = [
        (REFERENCED_SOPS, "SQ", objects),
        (STUDY, "UI", output.study_instance_uid),
        (SERIES, "UI", output.series_instance_uid),
        (TYPE_OF_INSTANCES, "CS", "DICOM"),
    ]
    if output.retrieve_ae_title:
        title: Element = (RETRIEVE_AE_TITLE, "AE", output.retrieve_ae_title)
        made.append((DICOM_RETRIEVAL, "SQ", [[title]]))
    if output.retrieve_url:
        url: Element = (RETRIEVE_URL, "UR", output.retrieve_url)
        made.append((WADO_RS_RETRIEVAL, "SQ", [[url]]))
    return made


def _sorted(elements: DataElements) -> DataElements:
    return sorted(elements, key=lambda element: element[0])


def _is_ascii(elements: DataElements) -> bool:
    return all(
        value.isascii()
        if isinstance(value, str)
        else isinstance(value, int | bytes) or all(map(_is_ascii, value))
        for _, _, value in elements
    )


def _in_utf_8(elements: DataElements) -> DataElements:
    return [(tag, vr, _value_in_utf_8(value)) for tag, vr, value in elements]


def _value_in_utf_8(value: Value) -> Value:
    if isinstance(value, str):
        return value if value.isascii() else value.encode()
    return value if isinstance(value, int | bytes) else [_in_utf_8(item) for item in value]


def _json_element(vr: str, value: Value) -> dict[str, Any]:
    if vr == "SQ" and not isinstance(value, str | bytes | int):
        found: list[Any] = [as_json(item) for item in value]
    elif value in ("", b""):
        found = []
    else:
        found = [float(str(value)) if vr == "DS" else value]
    return {"vr": vr, "Value": found} if found else {"vr": vr}
