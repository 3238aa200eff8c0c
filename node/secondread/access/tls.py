"""TLS on both sides of an association, as BCP 195 asks (RFC 8996, RFC 9325; PS3.15 B.12, B.13).

TLS 1.2 and 1.3 only; in TLS 1.2 only ephemeral elliptic curves with an AEAD cipher. Both sides
show a certificate. OpenSSL's own groups stay (X25519, P-256, X448, P-521, P-384): Python can only
name a single one, which would shut out half of the devices.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

from secondread.access.certificates import read_certificates, read_file
from secondread.domain.network import TlsSettings
from secondread.errors import ConfigurationError

# RFC 9325 4.2, and ChaCha20-Poly1305 for devices without AES in hardware. SECLEVEL=2 keeps out
# RSA below 2048 bits and signatures with SHA-1, which BCP 195 forbids too.
_CIPHERS = ":".join(
    (
        "@SECLEVEL=2",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
    )
)
_CERTIFICATE = "'certificate' in [tls]"
_KEY = "'key' in [tls]"
_CA = "'ca' in [tls]"

_LOOK_EVERY_S = 1.0
# OpenSSL remembers each TLS 1.2 session that ended with a close_notify, with its certificates: 11
# KiB each, up to 20480 of them, for two hours; Python cannot switch that off. A new context forgets
# them, and with them the callers whose certificates have ended meanwhile.
_SESSIONS_MAX = 256
_SESSIONS_AGE_S = 300.0

Tell = Callable[[str], None]


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """A context for the node's TLS port: whoever calls must show a certificate signed by ``ca``.

    A certificate of the node that has expired is taken, for a plain port may serve peers still;
    ``access.certificates`` warns about it.

    Raises:
        ConfigurationError: a file is missing, unreadable or not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    context.verify_mode = ssl.CERT_REQUIRED
    # A session that is resumed skips the check of the certificate, so there are no tickets.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0
    _load_pair(context, settings.certificate, settings.key)
    _load_ca(context, settings.ca, _CA)
    return context


def client_context(
    settings: TlsSettings, *, ca: Path | None = None, check_hostname: bool = True
) -> ssl.SSLContext:
    """A context to call a peer with: the node shows its own certificate, and checks the peer's.

    ``ca`` is the file of the peer's CA, where it is not the one in ``settings``. With
    ``check_hostname`` the peer's certificate must also name the host that is called, which many
    modalities' certificates do not.

    Raises:
        ConfigurationError: a file is missing, unreadable or not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context)
    context.check_hostname = check_hostname
    if settings.certificate != Path():
        _load_pair(context, settings.certificate, settings.key)
    if ca is None:
        _load_ca(context, settings.ca, _CA)
    else:
        _load_ca(context, ca, "'certificate_ca' of the peer")
    return context


class ServerCertificates:
    """The server's context, made anew when one of its files has changed; safe between threads.

    ``current()`` is for each new connection; those that are open keep what they began with. New
    files that do not work leave the context in use as it was: ``trouble`` holds the sentence that
    says why, and is empty once all is well again. ``on_trouble`` is told that sentence once for
    each change of the files, ``on_renewal`` a sentence after each success; both are called by
    the thread that asks for the context.

    Raises:
        ConfigurationError: when made, if the files do not work from the start.
    """

    def __init__(
        self,
        settings: TlsSettings,
        *,
        on_trouble: Tell | None = None,
        on_renewal: Tell | None = None,
        clock_monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trouble = ""
        self._settings = settings
        self._on_trouble, self._on_renewal = on_trouble, on_renewal
        self._clock = clock_monotonic
        self._lock = threading.RLock()
        # Before the files are read: a change in between is then seen at the next look.
        self._seen = self._signature()
        self._context = server_context(settings)
        self._made_at = self._looked_at = self._clock()

    def current(self) -> ssl.SSLContext:
        """The context for a new connection; looks at the files at most once a second."""
        with self._lock:
            now = self._clock()
            if now - self._looked_at >= _LOOK_EVERY_S:
                self._looked_at = now
                self._look(now)
            return self._context

    def _look(self, now: float) -> None:
        signature = self._signature()
        if signature != self._seen:
            self._seen = signature
            if self._make(now) and self._on_renewal is not None:
                self._on_renewal("The TLS certificates were read again; new connections use them.")
        elif self._remembers_too_much(now) and not self.trouble:
            self._make(now)

    def _make(self, now: float) -> bool:
        try:
            self._context = server_context(self._settings)
        except ConfigurationError as error:
            self.trouble = (
                f"{error} The node goes on with the certificates that it has read before."
            )
            if self._on_trouble is not None:
                self._on_trouble(self.trouble)
            return False
        self.trouble = ""
        self._made_at = now
        return True

    def _remembers_too_much(self, now: float) -> bool:
        sessions = self._context.session_stats()["number"]
        old = now - self._made_at >= _SESSIONS_AGE_S
        return sessions > _SESSIONS_MAX or (sessions > 0 and old)

    def _signature(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(
            _identify(path)
            for path in (self._settings.certificate, self._settings.key, self._settings.ca)
        )


def _identify(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is written or replaced; links are followed."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # The CA file is the whole trust: a hospital that names its imaging CA does not mean its root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def _load_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    read_certificates(certificate, _CERTIFICATE)
    content = read_file(key, _KEY)
    if b"PRIVATE KEY-----" not in content:
        raise ConfigurationError(f"The file '{key}' holds no PEM private key. Correct {_KEY}.")
    if b"ENCRYPTED" in content:
        # OpenSSL would ask for the password on the terminal, and wait.
        raise ConfigurationError(
            f"The private key '{key}' has a password, but nobody is there to type it when the node "
            "starts. Store it without one, readable by the node's user alone."
        )
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        reason = error.reason or "unknown reason"
        if "MISMATCH" in reason or reason == "NO_CERTIFICATE_ASSIGNED":  # the other kind of key
            told = f"The private key '{key}' does not belong to the certificate '{certificate}'."
        elif "TOO_SMALL" in reason or "TOO_WEAK" in reason:
            told = (
                f"The certificate '{certificate}' is too weak: it needs RSA of 2048 bits or more, "
                "or an elliptic curve, and a signature with SHA-256 or better."
            )
        else:
            told = f"OpenSSL refuses '{certificate}' with '{key}' ({_plain(reason)})."
        raise ConfigurationError(f"{told} Correct {_CERTIFICATE} or {_KEY}.") from None


def _load_ca(context: ssl.SSLContext, path: Path, where: str) -> None:
    read_certificates(path, where)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        reason = _plain(error.reason or "unknown reason")
        raise ConfigurationError(
            f"OpenSSL refuses the CA certificates in '{path}' ({reason}). Correct {where}."
        ) from None


def _plain(reason: str) -> str:
    return reason.replace("_", " ").lower()
