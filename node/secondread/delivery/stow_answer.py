"""What a server says of each object that it was given (PS3.18 10.5.3, I.2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydicom.datadict import keyword_for_tag

from secondread.delivery.dicom_web import DataSet, items, number, read_data_sets, text
from secondread.delivery.statuses import is_refusal_of_kind, meaning_of
from secondread.delivery.web import Answer
from secondread.errors import (
    DeliveryError,
    KindRefusedError,
    PeerRefusedError,
    PeerUnreachableError,
)

_FAILED, _STORED, _OTHER_FAILURES = "00081198", "00081199", "0008119A"
_SOP_INSTANCE, _FAILURE_REASON, _WARNING_REASON = "00081155", "00081197", "00081196"
_ORIGINAL_ATTRIBUTES, _MODIFIED_ATTRIBUTES = "04000561", "04000550"
_MODULE = (_FAILED, _STORED, _OTHER_FAILURES, "00081190")
_DUPLICATE = 0x0111
_PASSING = frozenset({0x0110, 0x0213})
_CHANGED_SHOWN_MAX = 8
# PS3.18 table I.2-2, where DIMSE has no such status.
_MEANINGS = {0xC122: "it does not take the transfer syntax"}


class StoreStatus(StrEnum):
    """What became of one object."""

    STORED = "stored"
    """The server has it."""
    WARNING = "warning"
    """The server has it, and changed it or finds fault with it."""
    FAILED = "failed"
    """The server does not have it."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What became of one object.

    Attributes:
        sop_instance_uid: which; "" where its file was not sent.
        status: what became of it.
        remark: what there is to say besides, without an end; never a value of the object.
        refusal: where it failed, the error that says why and whether to try again.
    """

    sop_instance_uid: str
    status: StoreStatus
    remark: str = ""
    refusal: DeliveryError | None = None

    @property
    def stored(self) -> bool:
        """Whether the server has it."""
        return self.status is not StoreStatus.FAILED


def failed(sop_instance_uid: str, refusal: DeliveryError) -> StoredAnswer:
    """The answer for an object that was not stored."""
    return StoredAnswer(sop_instance_uid, StoreStatus.FAILED, str(refusal).rstrip("."), refusal)


def read_store_response(answer: Answer, shown: str) -> Mapping[str, StoredAnswer] | None:
    """The answers in a Store Instances Response, by SOP Instance UID; None where it is none.

    Not every object needs to be named in it. One that is named as stored and as failed has failed.
    """
    found = read_data_sets(answer)
    if not found or not any(tag in dataset for dataset in found for tag in _MODULE):
        return None
    told: dict[str, StoredAnswer] = {}
    for dataset in found:
        for item in items(dataset, _STORED):
            uid = text(item, _SOP_INSTANCE)
            told.setdefault(uid, _stored(uid, item))
        for item in items(dataset, _FAILED):
            uid = text(item, _SOP_INSTANCE)
            told[uid] = _failure(uid, number(item, _FAILURE_REASON), shown)
    return told


def _stored(uid: str, item: DataSet) -> StoredAnswer:
    reason = number(item, _WARNING_REASON)
    changed = _changed(item)
    if not reason and not changed:
        return StoredAnswer(uid, StoreStatus.STORED)
    meaning = meaning_of(reason) if reason else "stored, with changes"
    if meaning == "refused":  # a warning that PS3.18 does not know
        meaning = f"stored, with warning 0x{reason:04X}"
    return StoredAnswer(uid, StoreStatus.WARNING, f"{meaning}{changed}")


def _changed(item: DataSet) -> str:
    """Which attributes the server says that it has changed (PS3.3 C.12.1.1.9.1), by name alone."""
    tags = {
        tag.upper()
        for original in items(item, _ORIGINAL_ATTRIBUTES)
        for modified in items(original, _MODIFIED_ATTRIBUTES)
        for tag in modified
    }
    names = sorted(filter(None, map(_keyword, tags)))
    if not names:
        return ""
    more = len(names) - _CHANGED_SHOWN_MAX
    tail = f" and {more} more" if more > 0 else ""
    return f" ({', '.join(names[:_CHANGED_SHOWN_MAX])}{tail})"


def _keyword(tag: str) -> str:
    try:
        return keyword_for_tag(int(tag, 16))
    except (ValueError, OverflowError):
        return ""


def _failure(uid: str, reason: int | None, shown: str) -> StoredAnswer:
    if reason == _DUPLICATE:
        # Result UIDs follow from what is in the object: what is there is what was sent.
        return StoredAnswer(uid, StoreStatus.STORED, "it was there already")
    if reason is None:
        return failed(uid, PeerRefusedError(f"{shown} did not store the object, and says no why."))
    meaning = _MEANINGS.get(reason) or meaning_of(reason)
    sentence = f"{shown} answered 0x{reason & 0xFFFF:04X}: {meaning}."
    if 0xA700 <= reason <= 0xA7FF or reason in _PASSING:
        return failed(uid, PeerUnreachableError(sentence))
    if is_refusal_of_kind(reason):
        return failed(uid, KindRefusedError(sentence))
    return failed(uid, PeerRefusedError(sentence))
