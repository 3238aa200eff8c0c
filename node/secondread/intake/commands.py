"""DIMSE command sets as bytes (PS3.7 6.3.1, annex E): implicit VR little endian, group 0000."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from secondread.domain.network import Urgency
from secondread.intake.dimse import NO_DATA_SET, RESPONSE, Answer, Request

COMMAND_BYTES_MAX = 64 * 1024

_AFFECTED_CLASS, _REQUESTED_CLASS, _COMMAND_FIELD = 0x0002, 0x0003, 0x0100
_MESSAGE_ID, _RESPONDED_ID, _PRIORITY, _DATA_SET_TYPE = 0x0110, 0x0120, 0x0700, 0x0800
_STATUS, _ERROR_COMMENT, _ERROR_ID = 0x0900, 0x0902, 0x0903
_AFFECTED_INSTANCE, _REQUESTED_INSTANCE = 0x1000, 0x1001
_EVENT_TYPE, _ACTION_TYPE = 0x1002, 0x1008
_COMMENT_MAX = 64
_ELEMENT = struct.Struct("<HHI")
_US = struct.Struct("<H")
_URGENCIES = {0x0000: Urgency.MEDIUM, 0x0001: Urgency.HIGH, 0x0002: Urgency.LOW}
# PS3.7 10.1: these name the SOP instance they act on 'Requested', the others 'Affected'.
_REQUESTED = frozenset({0x0110, 0x0120, 0x0130, 0x0150})


class MalformedCommandError(Exception):
    """The bytes are not a command set."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command set.

    ``type_id`` is the Action or Event Type ID, ``responded_id`` the message that a response is to.
    """

    field: int
    message_id: int
    responded_id: int
    sop_class_uid: str
    sop_instance_uid: str
    type_id: int
    status: int
    urgency: Urgency
    has_data_set: bool


def read_command(data: bytes | bytearray) -> Command:
    """Read a command set.

    Raises:
        MalformedCommandError: a length leads outside, or a command field is missing.
    """
    elements: dict[int, bytes] = {}
    data = bytes(data)
    at, end = 0, len(data)
    while at < end:
        if end - at < 8:
            raise MalformedCommandError("The command set is cut short.")
        group, element, length = _ELEMENT.unpack_from(data, at)
        at += 8
        if group or length > end - at:
            raise MalformedCommandError("The command set holds something else, or is cut short.")
        elements[element] = data[at : at + length]
        at += length
    if _COMMAND_FIELD not in elements or _DATA_SET_TYPE not in elements:
        raise MalformedCommandError("The command set lacks Command Field or Command Data Set Type.")
    return Command(
        field=_number(elements, _COMMAND_FIELD),
        message_id=_number(elements, _MESSAGE_ID),
        responded_id=_number(elements, _RESPONDED_ID),
        sop_class_uid=_uid(elements, _AFFECTED_CLASS) or _uid(elements, _REQUESTED_CLASS),
        sop_instance_uid=_uid(elements, _AFFECTED_INSTANCE) or _uid(elements, _REQUESTED_INSTANCE),
        type_id=_number(elements, _ACTION_TYPE) or _number(elements, _EVENT_TYPE),
        status=_number(elements, _STATUS),
        urgency=_URGENCIES.get(_number(elements, _PRIORITY), Urgency.MEDIUM),
        has_data_set=_number(elements, _DATA_SET_TYPE) != NO_DATA_SET,
    )


def _number(elements: Mapping[int, bytes], element: int) -> int:
    value = elements.get(element, b"")
    return int(_US.unpack(value)[0]) if len(value) == 2 else 0


def _uid(elements: Mapping[int, bytes], element: int) -> str:
    # 64 characters are the most (PS3.5 9.1); one more is enough to tell that it is none.
    return elements.get(element, b"")[:65].rstrip(b"\0 ").decode("latin-1")


def encode_response(command: Command, answer: Answer) -> bytes:
    """The command set of a response (PS3.7 9.3, 10.3)."""
    parts = [
        _text(_AFFECTED_CLASS, command.sop_class_uid),
        _short(_COMMAND_FIELD, command.field | RESPONSE),
        _short(_RESPONDED_ID, command.message_id),
        _short(_DATA_SET_TYPE, NO_DATA_SET if answer.data is None else 0x0001),
        _short(_STATUS, answer.status),
    ]
    if answer.comment:
        # An LO: at most 64 characters, no backslash.
        safe = answer.comment.encode("ascii", "replace").replace(b"\\", b"/")[:_COMMENT_MAX]
        parts.append(_element(_ERROR_COMMENT, safe + b" " * (len(safe) % 2)))
    if answer.error_id:
        parts.append(_short(_ERROR_ID, answer.error_id))
    uid = answer.sop_instance_uid or command.sop_instance_uid
    parts.append(_text(_AFFECTED_INSTANCE, uid))
    if command.type_id:
        event = command.field == 0x0100
        parts.append(_short(_EVENT_TYPE if event else _ACTION_TYPE, command.type_id))
    return _with_group_length(b"".join(parts))


def encode_request(request: Request) -> bytes:
    """The command set of a request that the node makes."""
    requested = request.command in _REQUESTED
    event = request.command == 0x0100
    return _with_group_length(
        b"".join(
            (
                _text(_REQUESTED_CLASS if requested else _AFFECTED_CLASS, request.sop_class_uid),
                _short(_COMMAND_FIELD, request.command),
                _short(_MESSAGE_ID, request.message_id),
                _short(_DATA_SET_TYPE, 0x0001 if request.data is not None else NO_DATA_SET),
                _text(
                    _REQUESTED_INSTANCE if requested else _AFFECTED_INSTANCE,
                    request.sop_instance_uid,
                ),
                _short(_EVENT_TYPE if event else _ACTION_TYPE, request.type_id)
                if request.type_id
                else b"",
            )
        )
    )


def _with_group_length(body: bytes) -> bytes:
    return _ELEMENT.pack(0, 0, 4) + struct.pack("<I", len(body)) + body


def _element(element: int, value: bytes) -> bytes:
    return _ELEMENT.pack(0, element, len(value)) + value


def _short(element: int, value: int) -> bytes:
    return _ELEMENT.pack(0, element, 2) + _US.pack(value)


def _text(element: int, value: str) -> bytes:
    if not value:
        return b""
    encoded = value.encode("latin-1", "replace")
    return _element(element, encoded + b"\0" * (len(encoded) % 2))


def encode_message(
    context_id: int, command: bytes, data: bytes | None, maximum_length: int
) -> bytes:
    """A message as P-DATA-TF PDUs (PS3.8 9.3.5), none longer than the peer takes; 0 is no limit."""
    most = min(maximum_length, 1 << 20) if maximum_length else 1 << 20
    most = max(most, 64) - 6
    pieces: list[bytes] = []
    for content, flag in ((command, 0x01), (data, 0x00)):
        if content is None:
            continue
        for at in range(0, max(len(content), 1), most):
            piece = content[at : at + most]
            flags = flag | (0x02 if at + most >= len(content) else 0x00)
            pieces.append(
                struct.pack(">BxIIBB", 0x04, len(piece) + 6, len(piece) + 2, context_id, flags)
                + piece
            )
    return b"".join(pieces)
