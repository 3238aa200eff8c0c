"""Reading the items that a search brings, from messages and from JSON alike.

What a manager writes is not trusted: UIDs that are none are left out, and an item without a UID of
its own is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from secondread.delivery.dicom_web import DataSet, items, text
from secondread.delivery.telling.worklist.content import READY
from secondread.delivery.telling.worklist.tags import (
    CODE_MEANING,
    CODE_SCHEME,
    CODE_VALUE,
    DICOM_RETRIEVAL,
    INPUT_INFORMATION,
    INPUT_READINESS,
    LONG_CODE_VALUE,
    PRIORITY,
    RETRIEVE_AE_TITLE,
    RETRIEVE_URL,
    SCHEDULED_STARTS,
    SCHEDULED_STATION,
    SCHEDULED_WORKITEM,
    SERIES,
    SOP_INSTANCE,
    STATE,
    STUDY,
    URN_CODE_VALUE,
    WADO_RS_RETRIEVAL,
)
from secondread.delivery.telling.worklist.workitem import Criteria, Input, State, Workitem
from secondread.dicom.commitment_report import (
    REFERENCED_CLASS,
    REFERENCED_INSTANCE,
    REFERENCED_SOPS,
)
from secondread.dicom.messages import Item, is_uid, read_message
from secondread.domain.code import Code
from secondread.domain.commitment import Reference

_SEQUENCES = (
    SCHEDULED_STATION,
    SCHEDULED_WORKITEM,
    INPUT_INFORMATION,
    REFERENCED_SOPS,
    DICOM_RETRIEVAL,
    WADO_RS_RETRIEVAL,
)
_TEXTS = (
    SOP_INSTANCE,
    STUDY,
    SERIES,
    SCHEDULED_STARTS,
    INPUT_READINESS,
    STATE,
    PRIORITY,
    CODE_VALUE,
    CODE_SCHEME,
    CODE_MEANING,
    LONG_CODE_VALUE,
    URN_CODE_VALUE,
    REFERENCED_CLASS,
    REFERENCED_INSTANCE,
    RETRIEVE_AE_TITLE,
    RETRIEVE_URL,
)
_CODE_VALUES = (CODE_VALUE, LONG_CODE_VALUE, URN_CODE_VALUE)
_URGENCY = ("HIGH", "MEDIUM", "LOW")
_MEDIUM = "MEDIUM"
_TEXT_LENGTH_MAX = 1024


def decode(identifier: bytes, transfer_syntax_uid: str) -> DataSet:
    """A match of C-FIND as JSON would have it, with what is looked at alone.

    Raises:
        CannotUnderstandError: it is no data set.
    """
    return _as_json(read_message(identifier, transfer_syntax_uid, _SEQUENCES))


def pick(matches: Iterable[DataSet], criteria: Criteria) -> list[Workitem]:
    """The items that are wanted, each once: the urgent ones first, then those that start first.

    Not every manager heeds all keys, so that each item is looked at again.
    """
    found = {
        item.sop_instance_uid: item
        for match in matches
        if (item := _read(match)) is not None and _is_wanted(item, match, criteria)
    }
    return sorted(found.values(), key=_order)


def state_of(match: DataSet) -> str:
    """Procedure Step State of an item; '' where it has none."""
    return _text(match, STATE)


def _as_json(item: Item) -> DataSet:
    found: DataSet = {
        f"{tag:08X}": {"Value": [_as_json(one) for one in item.items(tag)]}
        for tag in _SEQUENCES
        if item.items(tag)
    }
    found |= {f"{tag:08X}": {"Value": list(item.texts(tag))} for tag in _TEXTS if item.text(tag)}
    return found


def _read(match: DataSet) -> Workitem | None:
    uid = _text(match, SOP_INSTANCE)
    if not is_uid(uid):
        return None
    priority = _text(match, PRIORITY)
    return Workitem(
        sop_instance_uid=uid,
        state=state_of(match),
        priority=priority if priority in _URGENCY else _MEDIUM,
        starts=_text(match, SCHEDULED_STARTS),
        workitem_codes=tuple(_codes(match, SCHEDULED_WORKITEM)),
        station_codes=tuple(_codes(match, SCHEDULED_STATION)),
        study_instance_uid=_uid(match, STUDY),
        inputs=tuple(map(_input, items(match, f"{INPUT_INFORMATION:08X}"))),
    )


def _input(item: DataSet) -> Input:
    objects = (
        Reference(_uid(one, REFERENCED_CLASS), _uid(one, REFERENCED_INSTANCE))
        for one in items(item, f"{REFERENCED_SOPS:08X}")
    )
    titles = (_text(one, RETRIEVE_AE_TITLE) for one in items(item, f"{DICOM_RETRIEVAL:08X}"))
    urls = (_text(one, RETRIEVE_URL) for one in items(item, f"{WADO_RS_RETRIEVAL:08X}"))
    return Input(
        study_instance_uid=_uid(item, STUDY),
        series_instance_uid=_uid(item, SERIES),
        objects=tuple(one for one in objects if one.sop_class_uid and one.sop_instance_uid),
        ae_titles=tuple(filter(None, titles)),
        urls=tuple(filter(None, urls)),
    )


def _codes(item: DataSet, tag: int) -> Iterator[Code]:
    for one in items(item, f"{tag:08X}"):
        value = next(filter(None, (_text(one, number) for number in _CODE_VALUES)), "")
        meaning = _text(one, CODE_MEANING)
        if value:
            yield Code(value, _text(one, CODE_SCHEME), meaning if meaning.isascii() else "")


def _is_wanted(item: Workitem, match: DataSet, criteria: Criteria) -> bool:
    return (
        item.state in ("", State.SCHEDULED)
        and _text(match, INPUT_READINESS) in ("", READY)
        and _has(item.workitem_codes, criteria.workitem_codes)
        and _has(item.station_codes, criteria.station_codes)
    )


def _has(found: Iterable[Code], wanted: Iterable[Code]) -> bool:
    """Whether one of the codes is wanted; the meaning of a code does not count (PS3.3 8.3)."""
    keys = {(code.value, code.scheme) for code in wanted}
    return not keys or any((code.value, code.scheme) in keys for code in found)


def _order(item: Workitem) -> tuple[int, str, str]:
    return _URGENCY.index(item.priority), item.starts, item.sop_instance_uid


def _uid(item: DataSet, tag: int) -> str:
    uid = _text(item, tag)
    return uid if is_uid(uid) else ""


def _text(item: DataSet, tag: int) -> str:
    return text(item, f"{tag:08X}")[:_TEXT_LENGTH_MAX]
