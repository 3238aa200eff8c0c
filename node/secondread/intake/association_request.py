"""Reading an A-ASSOCIATE-RQ without trust (PS3.8 9.3.2, annex D; PS3.7 annex D).

pynetdicom's own decoder builds an object for every item: a request with 128 contexts costs it
20 ms, in which one thread could serve nobody else, and it sets no bounds. This one takes what the
node needs, and checks every length before it follows it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from secondread.access.peers import Identity
from secondread.errors import SecondReadError

REQUEST_BYTES_MAX = 256 * 1024
_FIXED_BYTES = 68
_CONTEXTS_MAX = 128
_SYNTAXES_MAX = 128
_USER_ITEMS_MAX = 1024
_APPLICATION_CONTEXT, _PRESENTATION_CONTEXT, _USER_INFORMATION = 0x10, 0x20, 0x50
_ABSTRACT_SYNTAX, _TRANSFER_SYNTAX = 0x30, 0x40
_MAXIMUM_LENGTH, _IMPLEMENTATION_CLASS = 0x51, 0x52
_ASYNC_WINDOW, _ROLE_SELECTION, _IMPLEMENTATION_VERSION = 0x53, 0x54, 0x55
_USER_IDENTITY = 0x58
_USERNAME, _USERNAME_AND_PASSCODE = 1, 2


class MalformedRequestError(SecondReadError):
    """The bytes are not an association request."""

    audit_code = "malformed-request"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposed presentation context; the syntaxes in the order of the request."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationRequest:
    """What a caller asks for.

    Attributes:
        protocol_version: bit 0 must be set (PS3.8 9.3.2).
        called, calling: AE titles as they stand on the wire, spaces included.
        titles: the bytes of both, to be sent back unchanged (PS3.8 table 9-17).
        maximum_length: the largest P-DATA-TF the caller takes, in bytes; 0 is no limit.
        roles: (SCU, SCP) that the caller proposes for itself, by SOP class.
        window: asynchronous operations the caller would like to invoke and perform; 0 is no limit.
        identity: user name and passcode (PS3.7 D.3.3.7), or None.
        wants_identity_answer: whether it asks for a positive response.
    """

    protocol_version: int
    called: str
    calling: str
    titles: bytes
    application_context: str
    contexts: tuple[Proposal, ...]
    maximum_length: int = 0
    implementation_class_uid: str = ""
    implementation_version: str = ""
    roles: Mapping[str, tuple[bool, bool]] = field(default_factory=dict)
    window: tuple[int, int] | None = None
    identity: Identity | None = None
    wants_identity_answer: bool = False


def read_request(body: bytes) -> AssociationRequest:
    """Read the variable part of an A-ASSOCIATE-RQ, that is, what follows type and length.

    Raises:
        MalformedRequestError: a length leads outside, or an item breaks a rule of PS3.8.
    """
    if len(body) < _FIXED_BYTES:
        raise MalformedRequestError("The association request is shorter than its fixed part.")
    contexts: dict[int, Proposal] = {}
    user: dict[str, object] = {}
    application_context = ""
    for kind, content in _items(body, _FIXED_BYTES, _CONTEXTS_MAX + 16):
        if kind == _PRESENTATION_CONTEXT:
            proposal = _read_context(content)
            if proposal.id in contexts:
                raise MalformedRequestError(
                    f"The association request proposes context {proposal.id} twice."
                )
            contexts[proposal.id] = proposal
        elif kind == _APPLICATION_CONTEXT:
            application_context = _uid(content)
        elif kind == _USER_INFORMATION:
            user.update(_read_user_information(content))
    if not contexts:
        raise MalformedRequestError("The association request proposes no presentation context.")
    if len(contexts) > _CONTEXTS_MAX:
        raise MalformedRequestError(f"The association request proposes {len(contexts)} contexts.")
    return AssociationRequest(
        protocol_version=int.from_bytes(body[0:2], "big"),
        called=body[4:20].decode("latin-1"),
        calling=body[20:36].decode("latin-1"),
        titles=body[4:36],
        application_context=application_context,
        contexts=tuple(contexts.values()),
        **user,  # type: ignore[arg-type]
    )


def _items(body: bytes, at: int, most: int) -> Iterator[tuple[int, bytes]]:
    """Items of type, reserved byte, length and value, which must fill the body exactly."""
    count = 0
    while at < len(body):
        count += 1
        if count > most:
            raise MalformedRequestError(f"The association request has more than {most} items.")
        if len(body) - at < 4:
            raise MalformedRequestError("An item of the association request is cut short.")
        kind, length = struct.unpack_from(">BxH", body, at)
        at += 4
        if length > len(body) - at:
            raise MalformedRequestError(
                "An item of the association request is longer than what is left."
            )
        yield kind, body[at : at + length]
        at += length


def _read_context(content: bytes) -> Proposal:
    if len(content) < 4:
        raise MalformedRequestError("A presentation context is cut short.")
    number = content[0]
    if number % 2 == 0:
        raise MalformedRequestError(
            f"Presentation context {number} has an even id (PS3.8 9.3.2.2)."
        )
    abstract = ""
    syntaxes: list[str] = []
    for kind, value in _items(content, 4, _SYNTAXES_MAX):
        if kind == _ABSTRACT_SYNTAX:
            abstract = _uid(value)
        elif kind == _TRANSFER_SYNTAX:
            syntaxes.append(_uid(value))
    if not abstract or not syntaxes:
        raise MalformedRequestError(
            f"Presentation context {number} lacks its abstract or transfer syntax."
        )
    return Proposal(number, abstract, tuple(syntaxes))


def _read_user_information(content: bytes) -> Iterator[tuple[str, object]]:
    roles: dict[str, tuple[bool, bool]] = {}
    for kind, value in _items(content, 0, _USER_ITEMS_MAX):
        if kind == _MAXIMUM_LENGTH and len(value) == 4:
            yield "maximum_length", int.from_bytes(value, "big")
        elif kind == _IMPLEMENTATION_CLASS:
            yield "implementation_class_uid", _uid(value)
        elif kind == _IMPLEMENTATION_VERSION:
            yield "implementation_version", value[:16].decode("latin-1")
        elif kind == _ASYNC_WINDOW and len(value) == 4:
            yield "window", struct.unpack(">HH", value)
        elif kind == _ROLE_SELECTION:
            length = int.from_bytes(value[:2], "big")
            if len(value) != length + 4:
                raise MalformedRequestError("A role selection item has a wrong length.")
            roles[_uid(value[2:-2])] = (bool(value[-2]), bool(value[-1]))
        elif kind == _USER_IDENTITY:
            identity, wants_answer = _read_identity(value)
            yield "identity", identity
            yield "wants_identity_answer", wants_answer
    yield "roles", roles


def _read_identity(value: bytes) -> tuple[Identity | None, bool]:
    """PS3.7 table D.3-14; Kerberos, SAML and JWT are not understood and count as no identity."""
    if len(value) < 6:
        raise MalformedRequestError("The user identity item is cut short.")
    kind, wants_answer, length = struct.unpack_from(">BBH", value)
    rest = value[4 + length :]
    if len(value) < 6 + length or len(rest) != 2 + int.from_bytes(rest[:2], "big"):
        raise MalformedRequestError("The user identity item has a wrong length.")
    if kind not in {_USERNAME, _USERNAME_AND_PASSCODE}:
        return None, bool(wants_answer)
    passcode = rest[2:] if kind == _USERNAME_AND_PASSCODE else b""
    return (
        Identity(
            value[4 : 4 + length].decode("utf-8", "replace"), passcode.decode("utf-8", "replace")
        ),
        bool(wants_answer),
    )


def _uid(value: bytes) -> str:
    # A UID may be padded with NUL to even length although PS3.8 annex F forbids it.
    return value[:65].rstrip(b"\0 ").decode("latin-1")
