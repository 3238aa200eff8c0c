"""What the answers to a DIMSE-N request mean, and which of them may pass (PS3.7 C)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from secondread.errors import (
    DeliveryError,
    PeerRefusedError,
    PeerUnreachableError,
    ServiceMissingError,
)

SUCCESS = 0x0000
NOTHING: Mapping[int, str] = MappingProxyType({})

_MEANINGS = {
    0x0001: "optional attributes are not supported",
    0x0105: "no such attribute",
    0x0106: "invalid attribute value",
    0x0107: "attribute list error",
    0x0110: "processing failure",
    0x0111: "duplicate SOP instance",
    0x0112: "no such SOP instance",
    0x0114: "no such argument",
    0x0115: "invalid argument value",
    0x0116: "attribute value out of range",
    0x0117: "invalid SOP instance",
    0x0118: "no such SOP class",
    0x0119: "class and instance do not match",
    0x0120: "missing attribute",
    0x0121: "missing attribute value",
    0x0122: "SOP class not supported",
    0x0123: "no such action",
    0x0124: "not authorised",
    0x0210: "duplicate invocation",
    0x0211: "unrecognised operation",
    0x0212: "mistyped argument",
    0x0213: "resource limitation",
}
# PS3.7 C.4: carried out, with a remark.
_WARNINGS = frozenset({0x0001, 0x0107, 0x0116})
_PASSING = frozenset({0x0110, 0x0210, 0x0213})
# In these words a peer says that the whole service is not there.
_MISSING = frozenset({0x0118, 0x0122, 0x0211})


def is_done(status: int) -> bool:
    """Whether a request was carried out, be it with a remark."""
    return status == SUCCESS or status in _WARNINGS or 0xB000 <= status <= 0xBFFF


def meaning_of(status: int, own: Mapping[int, str] = NOTHING) -> str:
    """A status in words; ``own`` are those of the service itself."""
    if status in own:
        return own[status]
    if 0xA700 <= status <= 0xA7FF:
        return "out of resources"
    return _MEANINGS.get(status, "refused")


def describe_refusal(
    shown: str, what: str, status: int, own: Mapping[int, str] = NOTHING
) -> DeliveryError:
    """A status that is no success as an error.

    Args:
        shown: the peer.
        what: what was asked of it, with an article.
        status: what it answered.
        own: the statuses of the service itself; none of them passes.
    """
    sentence = f"{shown} answered {what} with 0x{status:04X}: {meaning_of(status, own)}."
    if status in _PASSING or 0xA700 <= status <= 0xA7FF:
        return PeerUnreachableError(sentence)
    if status in _MISSING:
        return ServiceMissingError(sentence)
    return PeerRefusedError(sentence)
