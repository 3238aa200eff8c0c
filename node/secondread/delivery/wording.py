"""What can go wrong with a call, in words, and what to do about it."""

from __future__ import annotations

import errno
import socket
from enum import StrEnum

from secondread.delivery.address import Address
from secondread.delivery.handshake import alert_sentence
from secondread.delivery.link import ConversationError, Ending
from secondread.errors import DeliveryError, PeerRefusedError, PeerUnreachableError

TLS_PORT = "It speaks TLS on this port: call with TLS (--tls), or call its plain port."
WEB_SERVER = "A web server answers on this port, not DICOM: correct the port."
NOT_DICOM_SPOKEN = (
    "It answers with something that is not DICOM: correct the port, or see what runs there."
)

# PS3.8 table 9-21, by (source, reason): why, and what to do; {…} as in Address.
_REJECTIONS = {
    (1, 1): (
        "without a reason",
        "see its log; mostly '{calling}' or this machine's address is not entered there",
    ),
    (1, 2): ("because it does not support the application context", "it may not be DICOM"),
    (1, 3): (
        "because it does not know the calling AE title '{calling}'",
        "enter '{calling}' with this machine's address there, or call under a title it knows",
    ),
    (1, 7): (
        "because '{called}' is not the called AE title that it answers to",
        "correct the AE title here",
    ),
    (2, 1): ("without a reason", "see its log"),
    (2, 2): ("because it does not support the protocol version", "it may not be DICOM"),
    (3, 1): ("because of temporary congestion", "try again later"),
    (3, 2): (
        "because too many associations are open there",
        "try again later, or raise the limit there",
    ),
}
# PS3.8 table 9-26, reasons of the service provider.
_ABORT_REASONS = {
    1: "a PDU that it does not know",
    2: "a PDU that it did not expect",
    4: "a parameter that it does not know",
    5: "a parameter that it did not expect",
    6: "a parameter value that is not valid",
}
_SERVICE_PROVIDER = 2
_PERMANENT = 1
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})


class NobodyThereError(PeerUnreachableError):
    """Nobody listens there, or no way leads there: another try in this minute is of no use."""

    audit_code = "nobody-there"


def rejection(address: Address, result: int, source: int, reason: int) -> DeliveryError:
    """An A-ASSOCIATE-RJ (PS3.8 9.3.4) as an error."""
    why, remedy = _REJECTIONS.get(
        (source, reason), (f"for a reason that PS3.8 does not know ({reason})", "see its log")
    )
    lasting = result == _PERMANENT
    sentence = (
        f"It rejected the association {'for good' if lasting else 'for now'} {why}: {remedy} "
        f"(result {result}, source {source}, reason {reason})."
    ).format(called=address.called, calling=address.calling)
    return PeerRefusedError(sentence) if lasting else PeerUnreachableError(sentence)


def abortion(source: int, reason: int) -> DeliveryError:
    """An A-ABORT (PS3.8 9.3.8) as an error."""
    if source == _SERVICE_PROVIDER:
        why = _ABORT_REASONS.get(reason, "something that it does not name")
        return PeerUnreachableError(
            f"It aborted because of {why} (source {source}, reason {reason}): it may be another "
            "kind of service, or its software and ours do not understand each other; see its log."
        )
    return PeerUnreachableError(
        f"It aborted of its own will (source {source}, reason {reason}): it may not want this "
        "caller, or be overloaded; see its log."
    )


class Stage(StrEnum):
    """How far a delivery had come when it broke."""

    ASSOCIATION = "association"
    """The association was being asked for."""
    SENDING = "sending"
    """The object was not wholly sent, so that it cannot have been stored."""
    ANSWER = "answer"
    """All was sent and nothing answered: whether it was stored is not known."""
    ECHO = "echo"
    """An echo was asked for."""


_WHEN = {
    Stage.ASSOCIATION: "instead of answering the request for an association",
    Stage.SENDING: "while the object was being sent, so that it has not been stored",
    Stage.ANSWER: "before it answered, so that nobody knows whether it has stored the object",
    Stage.ECHO: "instead of answering a C-ECHO",
}
_AGAIN = "It may be tried again."


def broken_off(
    error: ConversationError, stage: Stage, address: Address, has_certificate: bool
) -> DeliveryError:
    """A delivery that broke, as an error that says whether it may be tried again."""
    when = _WHEN[stage]
    match error.ending:
        case Ending.REJECTED:
            return rejection(address, *error.detail)
        case Ending.TLS_ALERT:
            return PeerRefusedError(alert_sentence(str(error.detail[0]), has_certificate))
        case Ending.TLS_SPOKEN if stage is Stage.ASSOCIATION:
            return PeerRefusedError(TLS_PORT)
        case Ending.HTTP if stage is Stage.ASSOCIATION:
            return PeerRefusedError(WEB_SERVER)
        case Ending.ABORTED:
            why = str(abortion(*error.detail)).removesuffix(".")
            return PeerUnreachableError(f"{why}. That was {when}. {_AGAIN}")
        case Ending.STALLED:
            found = f"It stopped reading for {address.timeout_s:g} s {when}."
        case Ending.SILENT:
            half = f", {error.detail[0]}," if error.detail else ""
            found = f"It was silent for {address.timeout_s:g} s{half} {when}."
        case Ending.CLOSED:
            half = f", {error.detail[0]}," if error.detail else ""
            found = f"It closed the connection{half} {when}."
        case Ending.RELEASED:
            found = f"It asked to end the association {when}."
        case Ending.GARBAGE | Ending.HTTP | Ending.TLS_SPOKEN:
            what = error.detail[0] if error.detail else "something that is not DICOM"
            found = f"It sent {what} {when}; its software may be at fault: see its log."
    return PeerUnreachableError(f"{found} {_AGAIN}")


def unknown_name(host: str, error: OSError) -> str:
    """Why a name has no address."""
    if error.errno == socket.EAI_AGAIN:
        return (
            f"No name server could be asked who '{host}' is: mend name resolution on this "
            "machine, or give its address."
        )
    return f"The name '{host}' is not known: correct the host, or give its address."


def is_nobody_there(error: OSError) -> bool:
    """Whether a connection was refused, or there is no route."""
    return isinstance(error, ConnectionRefusedError) or error.errno in _NO_ROUTE


def connection_trouble(error: OSError, address: str, port: int) -> str:
    """Why there is no TCP connection."""
    shown = f"{address}:{port}"
    if isinstance(error, ConnectionRefusedError):
        return (
            f"{shown} refuses connections: the machine is there, but nobody listens on that port. "
            "Is its DICOM service running, and is the port right?"
        )
    if isinstance(error, TimeoutError):
        return (
            f"{shown} does not answer: the machine is off, the address is wrong, or a firewall "
            "between drops the connection."
        )
    if error.errno in _NO_ROUTE:
        return (
            f"There is no route to {address}: check the address, the network cable and the "
            "gateway or VLAN of this machine."
        )
    if error.errno in _FORBIDDEN:
        return f"This machine's own firewall does not let connections out to {shown}."
    return f"{shown} cannot be connected to: {error.strerror or 'no reason is given'}."
