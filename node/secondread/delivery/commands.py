"""C-STORE and C-ECHO as bytes: what is asked, and the answer (PS3.7 9.3, annex E).

Command sets are in Implicit VR Little Endian whatever the context (PS3.7 6.3.1).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydicom.datadict import keyword_for_tag

from secondread.delivery.link import DATA, RELEASE_ASKED, ConversationError, Ending, Link, garbage
from secondread.domain.network import Urgency

C_STORE_RQ, C_ECHO_RQ = 0x0001, 0x0030
_RESPONSE = 0x8000
_NO_DATA_SET, _DATA_SET = 0x0101, 0x0001

_AFFECTED_CLASS, _COMMAND_FIELD, _MESSAGE_ID, _RESPONDED_ID = 0x0002, 0x0100, 0x0110, 0x0120
_PRIORITY, _DATA_SET_TYPE, _STATUS, _ERROR_COMMENT = 0x0700, 0x0800, 0x0900, 0x0902
_OFFENDING = 0x0901
_AFFECTED_INSTANCE = 0x1000
_PRIORITIES = {Urgency.MEDIUM: 0x0000, Urgency.HIGH: 0x0001, Urgency.LOW: 0x0002}

_ELEMENT = struct.Struct("<HHI")
_US = struct.Struct("<H")
PDV_HEADER = struct.Struct(">BxIIBB")
"""The header of a P-DATA-TF and of the one PDV in it (PS3.8 9.3.5): lengths, context and flags."""
PDV_OVERHEAD_BYTES = 6
"""How much of a PDU's length is not the fragment itself."""
OF_COMMAND, LAST = 0x01, 0x02
"""Flags of a fragment (PS3.8 E.2)."""
# An answer has about 300 bytes; whoever sends it byte by byte gets no further than this.
_ANSWER_BYTES_MAX = 1 << 14
_ANSWER_PDUS_MAX = 64
_COMMENT_MAX = 64
_TAG = struct.Struct("<HH")
_OFFENDING_MAX = 8


@dataclass(frozen=True, slots=True)
class Request:
    """A request on an accepted context; one for C-STORE is followed by its data set."""

    command: int
    message_id: int
    sop_class_uid: str
    context_id: int
    sop_instance_uid: str = ""
    urgency: Urgency = Urgency.MEDIUM


@dataclass(frozen=True, slots=True)
class Answer:
    """What the peer answered.

    Attributes:
        status: (0000,0900).
        comment: its own (0000,0902). It may quote the object, so that it is for whoever sends by
            hand, never for a log or the trail.
        offending: the keywords of the attributes that it finds fault with or has changed
            (0000,0901), as far as they have one.
    """

    status: int
    comment: str = ""
    offending: tuple[str, ...] = ()


def encode_request(request: Request) -> bytes:
    """The command as one P-DATA-TF; a few hundred bytes, which every peer takes."""
    is_store = request.command == C_STORE_RQ
    body = b"".join(
        (
            _text(_AFFECTED_CLASS, request.sop_class_uid),
            _short(_COMMAND_FIELD, request.command),
            _short(_MESSAGE_ID, request.message_id),
            _short(_PRIORITY, _PRIORITIES[request.urgency]) if is_store else b"",
            _short(_DATA_SET_TYPE, _DATA_SET if is_store else _NO_DATA_SET),
            _text(_AFFECTED_INSTANCE, request.sop_instance_uid) if is_store else b"",
        )
    )
    command = _element(0, struct.pack("<I", len(body))) + body
    header = PDV_HEADER.pack(
        DATA,
        len(command) + PDV_OVERHEAD_BYTES,
        len(command) + 2,
        request.context_id,
        OF_COMMAND | LAST,
    )
    return header + command


def send_request(link: Link, request: Request) -> None:
    """Send a request that has no data set.

    Raises:
        ConversationError: the peer does not take it.
    """
    link.send(encode_request(request))


def receive_answer(link: Link, request: Request) -> Answer:
    """Wait for the response to a request.

    Raises:
        ConversationError: none came, or what came is none: another message's, another object's,
            in pieces without end, or no command set.
    """
    command = b""
    for _ in range(_ANSWER_PDUS_MAX):
        kind, content = link.receive()
        if kind == RELEASE_ASKED:
            raise ConversationError(Ending.RELEASED)
        if kind != DATA:
            raise garbage("a PDU that is no answer")
        for context_id, flags, piece in fragments(content):
            if context_id != request.context_id or not flags & OF_COMMAND:
                raise garbage("something else than the response to the request")
            command += piece
            if len(command) > _ANSWER_BYTES_MAX:
                raise garbage("a command that does not end")
            if flags & LAST:
                return _read_answer(_elements(command), request)
    raise garbage("a command that does not end")


def fragments(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Context id, flags and bytes of each PDV (PS3.8 9.3.5.1)."""
    at = 0
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        at += 4
        if length < 2 or length > len(content) - at:
            raise garbage("a fragment whose length leads outside its PDU")
        yield content[at], content[at + 1], content[at + 2 : at + length]
        at += length


def _elements(command: bytes) -> dict[int, bytes]:
    """The values of a command set by their element number."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(command):
        if len(command) - at < _ELEMENT.size:
            raise garbage("a command that is cut short")
        group, element, length = _ELEMENT.unpack_from(command, at)
        at += _ELEMENT.size
        if group or length > len(command) - at:
            raise garbage("a command that is cut short, or none")
        found[element] = command[at : at + length]
        at += length
    return found


def _read_answer(elements: Mapping[int, bytes], request: Request) -> Answer:
    if _number(elements, _COMMAND_FIELD) != request.command | _RESPONSE:
        raise garbage("another message than the response to the request")
    if _number(elements, _RESPONDED_ID) != request.message_id:
        raise garbage("the response to a message that was not sent")
    if _number(elements, _DATA_SET_TYPE) not in {None, _NO_DATA_SET}:
        raise garbage("a response with a data set, which this one never has")
    named = elements.get(_AFFECTED_INSTANCE, b"").rstrip(b"\0 ")
    # PS3.7 9.1.1.1.7: where the response names an instance, it is that of the request.
    if named and named != request.sop_instance_uid.encode():
        raise garbage("the response for another object")
    status = _number(elements, _STATUS)
    if status is None:
        raise garbage("a response without a status")
    comment = elements.get(_ERROR_COMMENT, b"")[:_COMMENT_MAX].decode("latin-1").strip("\0 ")
    told = "".join(sign if sign.isprintable() else "?" for sign in comment)
    return Answer(status, told, _keywords(elements.get(_OFFENDING, b"")))


def _keywords(tags: bytes) -> tuple[str, ...]:
    """The names of some tags, each of two unsigned shorts (PS3.5 6.2, AT)."""
    whole = len(tags) // _TAG.size * _TAG.size
    found = (keyword_for_tag(tag) for tag in _TAG.iter_unpack(tags[:whole]))
    return tuple(dict.fromkeys(name for name in found if name))[:_OFFENDING_MAX]


def _number(elements: Mapping[int, bytes], element: int) -> int | None:
    value = elements.get(element, b"")
    return int(_US.unpack(value)[0]) if len(value) == _US.size else None


def _element(element: int, value: bytes) -> bytes:
    return _ELEMENT.pack(0, element, len(value)) + value


def _short(element: int, value: int) -> bytes:
    return _element(element, _US.pack(value))


def _text(element: int, value: str) -> bytes:
    encoded = value.encode("ascii", "replace")
    return _element(element, encoded + b"\0" * (len(encoded) % 2))
