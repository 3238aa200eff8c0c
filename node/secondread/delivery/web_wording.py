"""What can go wrong with a web server, in words, and which setting or person can mend it."""

from __future__ import annotations

import ssl
from http import HTTPStatus

from secondread.delivery.handshake import NotTlsError, alert_sentence
from secondread.errors import (
    DeliveryError,
    KindRefusedError,
    PeerRefusedError,
    PeerUnreachableError,
)

# X.509 verify codes of OpenSSL (x509_vfy.h).
_PASSING: dict[int, str] = {
    9: "its certificate is not valid yet: compare the clocks of both machines",
    10: "its certificate, or that of its CA, has expired: it needs a new one there",
}
_LASTING = {
    62: "its certificate is for another name: write a name that it is for in 'url', or get it "
    "a certificate for this one",
    18: "its certificate is signed by itself: if it is the right one, name it in 'ca'",
}
_LASTING[64] = _LASTING[62]
_UNKNOWN_CA = (
    "its certificate is not signed by a CA that is trusted: if it is the right one, name its CA "
    "in 'ca'"
)

_REFUSALS: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "it does not understand the request; see its log",
    HTTPStatus.FORBIDDEN: "the node may not do this there: give its user the right to store and "
    "to query, or correct 'username'",
    HTTPStatus.NOT_FOUND: "there is no such service: correct 'url', which ends where '/studies' "
    "begins",
    HTTPStatus.METHOD_NOT_ALLOWED: "it does not take this kind of request: switch STOW-RS on "
    "there, or correct 'url'",
    HTTPStatus.NOT_ACCEPTABLE: "it answers neither in JSON nor in XML; it is too old, or no "
    "DICOMweb server",
    HTTPStatus.CONFLICT: "it will not store this, and does not say why; see its log",
    HTTPStatus.GONE: "the service has gone from there: correct 'url'",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "the request is too large for it: raise the limit of "
    "the server, or of the proxy before it, such as nginx's client_max_body_size",
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: "the proxy wants a password, which the node does "
    "not give: let the node through without one",
    HTTPStatus.NOT_IMPLEMENTED: "it cannot do this: switch STOW-RS on there, or correct 'url'",
}
_MOMENTS: dict[int, str] = {
    HTTPStatus.REQUEST_TIMEOUT: "the request took too long for it",
    HTTPStatus.TOO_EARLY: "it is not ready",
    HTTPStatus.TOO_MANY_REQUESTS: "the node asks too often for it",
    HTTPStatus.INTERNAL_SERVER_ERROR: "something broke there; see its log",
    HTTPStatus.BAD_GATEWAY: "the proxy before it gets no sound answer from it",
    HTTPStatus.SERVICE_UNAVAILABLE: "it is overloaded, or is being maintained",
    HTTPStatus.GATEWAY_TIMEOUT: "the proxy before it gets no answer from it",
    HTTPStatus.INSUFFICIENT_STORAGE: "it has no space left",
}


_SERVER_ERRORS = 500
_KNOWN = frozenset(int(status) for status in HTTPStatus)


class PeerBusyError(PeerUnreachableError):
    """The server asks to be left alone for a while.

    Attributes:
        retry_after_s: seconds, as it says itself (RFC 9110 10.2.3).
    """

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def describe_status(
    shown: str, status: int, *, retry_after_s: float | None = None, location: str = ""
) -> DeliveryError:
    """An answer that is no success as an error; 401 is ``describe_unauthorised``'s.

    Of the body nothing is told: it may quote the object.
    """
    said = f"{shown} answered {_named(status)}"
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        onward = f" to {location}" if location else ""
        return PeerRefusedError(
            f"{said}: it sends on{onward}, and the node follows nobody with a patient's data; "
            "write the final address in 'url'."
        )
    if status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
        return KindRefusedError(f"{said}: it does not take objects of this kind or encoding.")
    if status in _MOMENTS or (status >= _SERVER_ERRORS and status not in _REFUSALS):
        sentence = f"{said}: {_MOMENTS.get(status, 'see its log')}."
        if retry_after_s is not None:
            return PeerBusyError(
                f"{sentence[:-1]}; it wants to be asked again in {retry_after_s:.0f} s.",
                retry_after_s,
            )
        return PeerUnreachableError(sentence)
    return PeerRefusedError(f"{said}: {_REFUSALS.get(status, 'see its log')}.")


def describe_unauthorised(shown: str, scheme: str) -> DeliveryError:
    """A 401 as an error.

    A token may be renewed by what provides it, so it is tried again; a password that is tried again
    and again locks the account.
    """
    if scheme == "bearer":
        return PeerUnreachableError(
            f"{shown} does not take the bearer token (401): it has ended, or is for something "
            "else. Put a new one into its file, and delivery goes on by itself."
        )
    if scheme == "basic":
        return PeerRefusedError(
            f"{shown} does not take the user name and password (401): correct 'username' or the "
            "file with the password, then retry."
        )
    return PeerRefusedError(
        f"{shown} wants to know who calls (401): give it a user name with a password, or a token."
    )


def describe_wrong_answer(shown: str, media_type: str, has_body: bool) -> DeliveryError:
    """A success of which the body does not speak as an error."""
    if not has_body:
        return PeerUnreachableError(f"{shown} took the request, but does not say what it stored.")
    if media_type.endswith(("json", "xml")):
        return PeerUnreachableError(
            f"{shown} says that all is well, but the rest of its answer cannot be read; it may "
            "have broken off."
        )
    kind = _printable(media_type) or "no type that it names"
    return PeerRefusedError(
        f"{shown} says that all is well, but in {kind}, which DICOMweb does not speak: a portal or "
        "another service answers there. Correct 'url'."
    )


def describe_tls_trouble(error: Exception, shown: str, has_certificate: bool) -> DeliveryError:
    """What ended TLS as an error; ``has_certificate`` says whether the node shows one."""
    if isinstance(error, ssl.SSLCertVerificationError):
        code = error.verify_code
        if code in _PASSING:
            return PeerUnreachableError(f"{shown}: {_PASSING[code]}.")
        return PeerRefusedError(f"{shown}: {_LASTING.get(code, _UNKNOWN_CA)}.")
    if isinstance(error, NotTlsError):
        return PeerUnreachableError(
            f"{shown} broke off the TLS handshake, or does not speak TLS on this port: if so, "
            "write http:// in 'url', or correct the port."
        )
    if isinstance(error, ssl.SSLError):
        if "ALERT" in (error.reason or ""):
            return PeerRefusedError(f"{shown}: {alert_sentence(error.reason, has_certificate)}")
        return PeerUnreachableError(f"{shown}: the TLS connection broke.")
    return PeerRefusedError(f"{shown}: {error}")


def _named(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}" if status in _KNOWN else str(status)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)[:64]
