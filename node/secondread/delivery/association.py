"""Setting up an association: the request, and what the peer makes of it (PS3.8 9.3.2 to 9.3.4).

The PDUs are packed and read here and not by pynetdicom: its reader warns through a table that all
threads share, and takes milliseconds for what these few lines do in microseconds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from secondread.delivery.link import (
    ACCEPTED,
    REJECTED,
    RELEASE_PDU,
    ConversationError,
    Ending,
    Link,
    garbage,
)
from secondread.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

CONTEXTS_MAX = 128
"""Context ids are odd and fit in a byte (PS3.8 9.3.2.2)."""
MAXIMUM_LENGTH_BYTES = 131072
"""The longest P-DATA-TF that we take, and that we send."""

_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_REQUEST = 0x01
# PS3.8 9.3.2 and PS3.7 D.3.3: types of items.
_APPLICATION, _PROPOSED, _ANSWERED, _ABSTRACT, _TRANSFER, _USER = 0x10, 0x20, 0x21, 0x30, 0x40, 0x50
_LENGTH, _CLASS_UID, _ROLES, _VERSION, _IDENTITY = 0x51, 0x52, 0x54, 0x55, 0x58
_FIXED = struct.Struct(">HH16s16s32x")
_ITEM = struct.Struct(">BxH")
_USERNAME, _USERNAME_AND_PASSCODE = 1, 2
_NO_REASON = 2
# PS3.8 table 9-18.
_REFUSALS = {
    1: "it is not wanted",
    2: "no reason is given",
    3: "the SOP class is not supported",
    4: "the transfer syntax is not supported",
}
_RELEASE_S = 2.0


class Titles(Protocol):
    """Who calls whom."""

    @property
    def called(self) -> str:
        """The AE title that is called."""

    @property
    def calling(self) -> str:
        """The AE title that calls."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A presentation context: a SOP class and the transfer syntaxes, best first.

    With ``as_scp`` it is the peer that will use the service (PS3.7 D.3.3.4), as in C-GET.
    """

    sop_class_uid: str
    transfer_syntax_uids: tuple[str, ...]
    as_scp: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, for peers that want to know more than an AE title (PS3.7 D.3.3.7).

    The passcode is sent as it is, so that this is for TLS only.
    """

    username: str
    passcode: str = ""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a peer said to each offer.

    Attributes:
        contexts: the context id of those that it accepts.
        refused: PS3.8 table 9-18's reason for the others.
        maximum_length: the longest P-DATA-TF that it takes, in bytes; 0 is no limit.
    """

    contexts: Mapping[Offer, int]
    refused: Mapping[Offer, int]
    maximum_length: int


def why_refused(reason: int) -> str:
    """A refused presentation context in words (PS3.8 table 9-18)."""
    return _REFUSALS.get(reason, _REFUSALS[_NO_REASON])


def negotiate(
    link: Link, titles: Titles, offers: Sequence[Offer], identity: Identity | None = None
) -> Agreement:
    """Ask for an association with a context for each offer.

    Raises:
        ConversationError: there is none.
    """
    link.begin()
    link.send(request_pdu(titles, offers, identity))
    kind, content = link.receive()
    if kind == REJECTED and len(content) == 4:
        raise ConversationError(Ending.REJECTED, *content[1:])
    if kind != ACCEPTED:
        raise garbage("a PDU that is no answer to the request for an association")
    return _read_acceptance(content, offers)


def release(link: Link) -> None:
    """End an association in order; whether the peer answers is not looked at for long."""
    link.begin(at_most_s=_RELEASE_S)
    try:
        link.send(RELEASE_PDU)
        link.receive()
    except ConversationError:
        return


def request_pdu(titles: Titles, offers: Sequence[Offer], identity: Identity | None = None) -> bytes:
    """An A-ASSOCIATE-RQ with a context for each offer; ids 1, 3 and on.

    Raises:
        ValueError: there are more than ``CONTEXTS_MAX`` of them.
    """
    if len(offers) > CONTEXTS_MAX:
        raise ValueError(f"{len(offers)} contexts do not go into one association.")
    contexts = (
        _item(
            _PROPOSED,
            bytes([2 * index + 1, 0, 0, 0])
            + _item(_ABSTRACT, offer.sop_class_uid.encode())
            + b"".join(_item(_TRANSFER, uid.encode()) for uid in offer.transfer_syntax_uids),
        )
        for index, offer in enumerate(offers)
    )
    reversed_uids = dict.fromkeys(offer.sop_class_uid for offer in offers if offer.as_scp)
    user = (
        _item(_LENGTH, struct.pack(">I", MAXIMUM_LENGTH_BYTES))
        + _item(_CLASS_UID, IMPLEMENTATION_CLASS_UID.encode())
        + b"".join(_item(_ROLES, _roles(uid)) for uid in reversed_uids)
        + _item(_VERSION, IMPLEMENTATION_VERSION_NAME.encode())
        + (b"" if identity is None else _item(_IDENTITY, _identity(identity)))
    )
    content = (
        _FIXED.pack(1, 0, _title(titles.called), _title(titles.calling))
        + _item(_APPLICATION, _APPLICATION_CONTEXT.encode())
        + b"".join(contexts)
        + _item(_USER, user)
    )
    return struct.pack(">BxI", _REQUEST, len(content)) + content


def _title(title: str) -> bytes:
    return title.encode("ascii", "replace")[:16].ljust(16)


def _roles(sop_class_uid: str) -> bytes:
    """That we are SCP of it and not SCU (PS3.7 D.3.3.4.1)."""
    uid = sop_class_uid.encode()
    return struct.pack(">H", len(uid)) + uid + bytes((0, 1))


def _identity(identity: Identity) -> bytes:
    kind = _USERNAME_AND_PASSCODE if identity.passcode else _USERNAME
    name, passcode = identity.username.encode(), identity.passcode.encode()
    # The second byte would ask for an answer, which not everybody gives.
    parts = bytes([kind, 0]), struct.pack(">H", len(name)), name
    return b"".join((*parts, struct.pack(">H", len(passcode)), passcode))


def _item(kind: int, content: bytes) -> bytes:
    return _ITEM.pack(kind, len(content)) + content


def _items(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The items of a PDU or of an item.

    Raises:
        ConversationError: a length leads outside.
    """
    at = 0
    while at < len(content):
        if len(content) - at < _ITEM.size:
            raise garbage("an acceptance that is cut short")
        kind, length = _ITEM.unpack_from(content, at)
        at += _ITEM.size
        if length > len(content) - at:
            raise garbage("an acceptance that is cut short")
        yield kind, content[at : at + length]
        at += length


def _read_acceptance(content: bytes, offers: Sequence[Offer]) -> Agreement:
    asked = {2 * index + 1: offer for index, offer in enumerate(offers)}
    contexts: dict[Offer, int] = {}
    refused = dict.fromkeys(offers, _NO_REASON)
    length = None
    for kind, value in _items(content[_FIXED.size :]):
        if kind == _USER:
            length = _read_length(value)
        if kind != _ANSWERED or len(value) < 4 or value[0] not in asked:
            continue
        offer, result = asked[value[0]], value[2]
        if result == 0 and _transfer_syntax(value[4:]) in offer.transfer_syntax_uids:
            contexts[offer] = value[0]
            refused.pop(offer, None)
        elif offer in refused:
            refused[offer] = result or 4
    if length is None:  # mandatory (PS3.8 9.3.3), so this is something else
        raise garbage("an acceptance without user information")
    return Agreement(contexts, refused, length)


def _read_length(user: bytes) -> int:
    for kind, value in _items(user):
        if kind == _LENGTH and len(value) == 4:
            return int.from_bytes(value, "big")
    return 0


def _transfer_syntax(items: bytes) -> str:
    for kind, value in _items(items):
        if kind == _TRANSFER:
            return value.decode("latin-1").strip("\0 ")
    return ""
