"""Just enough of PS3.8 and PS3.7, packed by hand, for the bench's own senders and its raw loop."""

from __future__ import annotations

import struct

ASSOCIATE_RQ, ASSOCIATE_AC, P_DATA, RELEASE_RQ, RELEASE_RP = 0x01, 0x02, 0x04, 0x05, 0x06
COMMAND, LAST = 0x01, 0x02
"""Bits of the message control header (PS3.8 E.2)."""

C_STORE_RQ, C_STORE_RSP, C_ECHO_RQ = 0x0001, 0x8001, 0x0030
DATA_SET, NO_DATA_SET = 0x0000, 0x0101
MAXIMUM_PDU_BYTES = 131072
PDU_HEADER_BYTES, PDV_HEADER_BYTES = 6, 6

VERIFICATION_UID = "1.2.840.10008.1.1"
EXPLICIT_LITTLE_UID = "1.2.840.10008.1.2.1"
IMPLICIT_LITTLE_UID = "1.2.840.10008.1.2"
_APPLICATION_CONTEXT_UID = "1.2.840.10008.3.1.1.1"
_IMPLEMENTATION_CLASS_UID = "2.25.302043790172249692526321623266752743501"
_FIXED_BYTES = 68
"""Version, titles and reserved bytes at the start of an A-ASSOCIATE-RQ or -AC."""

RELEASE_REQUEST = struct.pack(">BxI4x", RELEASE_RQ, 4)
RELEASE_REPLY = struct.pack(">BxI4x", RELEASE_RP, 4)


def associate_request(titles: tuple[str, str], context: int, uid: str, syntax: str) -> bytes:
    """An A-ASSOCIATE-RQ with one context; ``titles`` are the calling and the called one."""
    calling, called = titles
    names = _item(0x30, uid.encode()) + _item(0x40, syntax.encode())
    proposed = _item(0x20, bytes((context, 0, 0, 0)) + names)
    return _associate(ASSOCIATE_RQ, f"{called:<16}{calling:<16}".encode(), proposed)


def accept_everything(request: bytes) -> bytes:
    """The A-ASSOCIATE-AC that takes every context, in Explicit VR Little Endian where offered."""
    accepted = b""
    for kind, content in _items(request, PDU_HEADER_BYTES + _FIXED_BYTES):
        if kind == 0x20:
            offered = [value for sub, value in _items(content, 4) if sub == 0x40]
            explicit = EXPLICIT_LITTLE_UID.encode()
            chosen = explicit if explicit in offered else offered[0]
            accepted += _item(0x21, bytes((content[0], 0, 0, 0)) + _item(0x40, chosen))
    return _associate(ASSOCIATE_AC, request[10:42], accepted)


def accepted_contexts(answer: bytes) -> tuple[dict[int, str], int]:
    """Context id → transfer syntax of an A-ASSOCIATE-AC, and the largest PDU it takes."""
    if answer[0] != ASSOCIATE_AC:
        raise RuntimeError(f"The association was answered by a PDU of type {answer[0]}: {answer!r}")
    contexts, maximum = {}, 0
    for kind, content in _items(answer, PDU_HEADER_BYTES + _FIXED_BYTES):
        if kind == 0x21 and content[2] == 0:
            contexts[content[0]] = dict(_items(content, 4))[0x40].rstrip(b"\0").decode()
        elif kind == 0x50:
            (maximum,) = struct.unpack(">I", dict(_items(content, 0))[0x51])
    return contexts, maximum


def echo_request(context: int, message: int) -> bytes:
    """A whole C-ECHO-RQ (PS3.7 9.3.5)."""
    return _command(context, C_ECHO_RQ, message, _text(0x0002, VERIFICATION_UID))


def store_request(context: int, message: int, uids: tuple[str, str], data: bytes) -> bytes:
    """A whole C-STORE-RQ of (SOP class, SOP instance) with its data set (PS3.7 9.3.1)."""
    named = _text(0x0002, uids[0]), _number(0x0700, 0), _text(0x1000, uids[1])
    room = MAXIMUM_PDU_BYTES - PDV_HEADER_BYTES
    parts = [_command(context, C_STORE_RQ, message, *named, data_set=DATA_SET)]
    for at in range(0, len(data), room):
        last = LAST if at + room >= len(data) else 0
        parts.append(p_data(context, last, data[at : at + room]))
    return b"".join(parts)


def store_response(context: int, message: int) -> bytes:
    """A C-STORE-RSP that says Success."""
    return _command(context, C_STORE_RSP, message, message_tag=0x0120, status=0)


def p_data(context: int, control: int, fragment: bytes) -> bytes:
    """A P-DATA-TF with one presentation data value."""
    size = len(fragment)
    return struct.pack(">BxIIBB", P_DATA, size + 6, size + 2, context, control) + fragment


def value_of(command: bytes, element: int) -> int:
    """A number (US) of a command set, by the element of its (0000,eeee) tag."""
    at = 0
    while at + 8 <= len(command):
        _, found, size = struct.unpack_from("<HHI", command, at)
        if found == element:
            return int(struct.unpack_from("<H", command, at + 8)[0])
        at += 8 + size
    raise RuntimeError(f"A command set has no element (0000,{element:04X}).")


def _associate(kind: int, titles: bytes, contexts: bytes) -> bytes:
    user = _item(0x51, struct.pack(">I", MAXIMUM_PDU_BYTES))
    user += _item(0x52, _IMPLEMENTATION_CLASS_UID.encode())
    body = struct.pack(">H2x32s32x", 1, titles)
    body += _item(0x10, _APPLICATION_CONTEXT_UID.encode()) + contexts + _item(0x50, user)
    return struct.pack(">BxI", kind, len(body)) + body


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content


def _items(data: bytes, at: int) -> list[tuple[int, bytes]]:
    found = []
    while at + 4 <= len(data):
        kind, size = struct.unpack_from(">BxH", data, at)
        found.append((kind, data[at + 4 : at + 4 + size]))
        at += 4 + size
    return found


def _command(
    context: int,
    field: int,
    message: int,
    *more: bytes,
    message_tag: int = 0x0110,
    data_set: int = NO_DATA_SET,
    status: int | None = None,
) -> bytes:
    elements = [_number(0x0100, field), _number(message_tag, message), _number(0x0800, data_set)]
    if status is not None:
        elements.append(_number(0x0900, status))
    # Elements ascend by tag; all tags are of group 0, so the second two bytes order them.
    body = b"".join(sorted((*more, *elements), key=lambda e: struct.unpack_from("<HH", e)))
    length = struct.pack("<HHII", 0, 0, 4, len(body))
    return p_data(context, COMMAND | LAST, length + body)


def _number(element: int, value: int) -> bytes:
    return struct.pack("<HHIH", 0, element, 2, value)


def _text(element: int, value: str) -> bytes:
    encoded = value.encode() + b"\0" * (len(value) % 2)
    return struct.pack("<HHI", 0, element, len(encoded)) + encoded
