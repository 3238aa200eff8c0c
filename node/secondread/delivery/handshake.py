"""The TLS part of a diagnosis: the handshake, the other side's certificate, and what went wrong."""

from __future__ import annotations

import ipaddress
import math
import select
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from secondread.errors import PeerRefusedError, PeerUnreachableError

# After a TLS 1.3 handshake the server's refusal of our certificate is still on its way.
_SETTLE_S = 0.15
_DAY_S = 86400.0
_PATIENCE_S = 30.0
# X.509 verify codes of OpenSSL (x509_vfy.h).
_NOT_YET_VALID, _EXPIRED = 9, 10
_SELF_SIGNED = frozenset({18})
_UNKNOWN_CA = frozenset({2, 19, 20, 21, 27})
_WRONG_NAME = frozenset({62, 64})

# OpenSSL's names of the alerts with which a server turns a client away.
_WANTS_CERTIFICATE = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "NO_CERTIFICATE")
_NOT_ACCEPTED = "it does not accept our certificate: have it enter our CA or certificate"
_CERTIFICATE_ALERTS = {
    "UNKNOWN_CA": "it does not know the CA that signed our certificate: have it enter that CA",
    "CERTIFICATE_EXPIRED": "our certificate has expired: put a new one in its place",
    "CERTIFICATE_REVOKED": "our certificate was revoked: put a new one in its place",
    "BAD_CERTIFICATE": _NOT_ACCEPTED,
    "CERTIFICATE_UNKNOWN": _NOT_ACCEPTED,
    "UNSUPPORTED_CERTIFICATE": "it cannot use our certificate: ask which kinds it takes",
    "ACCESS_DENIED": "it does not let our certificate in: have it entered there",
    "DECRYPT_ERROR": _NOT_ACCEPTED,
}


class NotTlsError(Exception):
    """The other side broke off at the first TLS message, or answered in another protocol."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The other side's certificate, for people.

    Attributes:
        subject: whom it names, as RFC 4514 writes it.
        sha256: its fingerprint, 64 hex digits.
        days_left: until it ends; negative once it has.
        names: host names and addresses that it is for.
    """

    subject: str
    sha256: str
    days_left: float
    names: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Subject, life and fingerprint."""
        if self.days_left < 0:
            life = f"expired {math.ceil(-self.days_left)} days ago"
        else:
            life = f"{math.floor(self.days_left)} days left"
        return f"Its certificate: {self.subject}, {life}, SHA-256 {self.sha256}."


def shake_hands(
    connection: socket.socket, context: ssl.SSLContext, host: str, has_certificate: bool
) -> ssl.SSLSocket:
    """The connection with TLS on it; the connection's own time-out holds for the whole of it.

    Raises:
        ssl.SSLCertVerificationError: we do not trust its certificate; ``mistrust`` says why.
        NotTlsError: it does not speak TLS, or broke off without a word.
        PeerUnreachableError: it is silent.
        PeerRefusedError: it will not talk TLS with us, with what to do about it.
    """
    timeout_s = connection.gettimeout() or _PATIENCE_S
    try:
        secure = context.wrap_socket(
            connection, server_hostname=host, do_handshake_on_connect=False
        )
    except OSError:
        raise NotTlsError from None
    try:
        _handshake(secure, timeout_s)
    except OSError as error:
        secure.close()
        raise _handshake_error(error, has_certificate) from None
    return secure


def _handshake_error(error: OSError, has_certificate: bool) -> Exception:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error
    if isinstance(error, TimeoutError):
        return PeerUnreachableError(
            "It is silent at the TLS handshake; it may be waiting for plain DICOM, or hang."
        )
    reason = (error.reason or "") if isinstance(error, ssl.SSLError) else "EOF"
    if "ALERT" in reason:
        return PeerRefusedError(alert_sentence(reason, has_certificate))
    if "WRONG_VERSION" in reason or "EOF" in reason or "RECORD" in reason:
        return NotTlsError()
    return PeerRefusedError(
        f"The TLS handshake failed ({_plain(reason) or 'OpenSSL does not say why'}): the two "
        "sides may have no protocol version or cipher in common."
    )


def _handshake(secure: ssl.SSLSocket, timeout_s: float) -> None:
    """The handshake within a time-out, however slowly the bytes drip in."""
    deadline = time.monotonic() + timeout_s
    secure.setblocking(False)
    while True:
        left = max(deadline - time.monotonic(), 0.0)
        try:
            secure.do_handshake()
            break
        except ssl.SSLWantReadError:
            ready = select.select([secure], [], [], left)[0]
        except ssl.SSLWantWriteError:
            ready = select.select([], [secure], [], left)[1]
        if not ready:
            raise TimeoutError
    _settle(secure)
    secure.settimeout(timeout_s)


def _settle(secure: ssl.SSLSocket) -> None:
    """Wait a moment for a refusal of our certificate, which TLS 1.3 sends after the handshake."""
    if secure.version() != "TLSv1.3" or not select.select([secure], [], [], _SETTLE_S)[0]:
        return
    # No server speaks first in DICOM: there is an alert to be read, a ticket, or nothing.
    with suppress(ssl.SSLWantReadError):
        secure.recv(1)


def alert_sentence(reason: str, has_certificate: bool) -> str:
    """What a TLS alert of the other side means, and what to do."""
    if not has_certificate and (
        any(name in reason for name in _WANTS_CERTIFICATE) or "CERTIFICATE" in reason
    ):
        return (
            "It refuses TLS without a certificate of ours: give one, with its key "
            "(certificate and key in [tls], or --certificate and --key)."
        )
    for name, sentence in _CERTIFICATE_ALERTS.items():
        if name in reason:
            return f"It refuses TLS: {sentence}."
    if "PROTOCOL_VERSION" in reason:
        return "It refuses TLS 1.2 and 1.3, and older versions are not safe: update it."
    if "HANDSHAKE_FAILURE" in reason or "INSUFFICIENT_SECURITY" in reason:
        return (
            "It refuses TLS: the two sides have no cipher in common, or it wants another "
            "certificate of ours."
        )
    return f"It refuses TLS ({_plain(reason)}); its log says why."


def mistrust(error: ssl.SSLCertVerificationError, host: str, shown: Shown | None) -> str:
    """Why we do not trust its certificate, and what to do."""
    after = f" {shown.sentence}" if shown else ""
    code = error.verify_code
    if code == _EXPIRED:
        return f"Its certificate, or that of its CA, has expired: it needs a new one there.{after}"
    if code == _NOT_YET_VALID:
        return f"Its certificate is not valid yet: compare the clocks of both machines.{after}"
    if code in _WRONG_NAME:
        names = ", ".join(shown.names) if shown and shown.names else "no name at all"
        return (
            f"Its certificate is not for '{host}' but for {names}: call it by such a name, or get "
            f"it a certificate for this one.{after}"
        )
    if code in _SELF_SIGNED:
        return (
            "Its certificate is signed by itself, and we do not trust it: if it is the right one, "
            f"name that certificate as the CA.{after}"
        )
    if code in _UNKNOWN_CA:
        return (
            "Its certificate is signed by a CA that we do not trust: if it is the right one, add "
            f"its CA (ca in [tls], or --ca).{after}"
        )
    return f"We do not trust its certificate ({error.verify_message}).{after}"


def peek_certificate(connection: socket.socket) -> Shown | None:
    """Its certificate without any check, to show whom we do not trust; None if it shows none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with context.wrap_socket(connection) as secure:
            return read_shown(secure)
    except OSError:
        return None


def speaks_tls(connection: socket.socket) -> bool:
    """Whether the other side answers TLS with TLS, be it a refusal."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with context.wrap_socket(connection):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except OSError:
        return False


def read_shown(secure: ssl.SSLSocket) -> Shown | None:
    """The certificate that the other side has shown."""
    content = secure.getpeercert(binary_form=True)
    if content is None:
        return None
    try:
        certificate = x509.load_der_x509_certificate(content)
        return Shown(
            _safe(certificate.subject.rfc4514_string()) or "without a name",
            certificate.fingerprint(SHA256()).hex(),
            (certificate.not_valid_after_utc.timestamp() - time.time()) / _DAY_S,
            _names(certificate),
        )
    except ValueError:
        return None


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    dns = names.get_values_for_type(x509.DNSName)
    addresses: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = [
        address
        for address in names.get_values_for_type(x509.IPAddress)
        if isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address)
    ]
    return tuple(_safe(str(name)) for name in (*dns, *addresses))


def _safe(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)[:128]


def _plain(reason: str) -> str:
    return reason.replace("_", " ").lower()
