"""From a name to a connection: name, TCP and TLS, each within its time."""

from __future__ import annotations

import queue
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

from secondread.delivery.handshake import NotTlsError, mistrust, shake_hands
from secondread.delivery.wording import (
    NobodyThereError,
    connection_trouble,
    is_nobody_there,
    unknown_name,
)
from secondread.errors import PeerRefusedError, PeerUnreachableError

Place = tuple[int, str]
"""An address family and a numeric address."""


@dataclass(frozen=True, slots=True)
class Security:
    """TLS for a call.

    Attributes:
        context: with the node's certificate, the CA of the peer, and whether names are checked.
        has_certificate: whether ``context`` has a certificate to show (mutual TLS).
        certificate_sha256: fingerprint of the one certificate that the peer may show, 64 hex
            digits; '' for any that ``context`` trusts.
    """

    context: ssl.SSLContext
    has_certificate: bool = True
    certificate_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Reached:
    """A connection, where it leads, and what the addresses before that one said."""

    connection: socket.socket
    place: Place
    troubles: tuple[str, ...]


def look_up(host: str, port: int, timeout_s: float) -> list[Place]:
    """The addresses of a name, in the order in which the system would try them.

    The system's own patience with a dead name server has no limit that could be set, so the
    question is asked in a thread that is left behind.

    Raises:
        PeerUnreachableError: it has none.
    """
    answers: queue.SimpleQueue[list[Place] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            answers.put(error if isinstance(error, OSError) else OSError(str(error)))
        else:
            answers.put(list(dict.fromkeys((entry[0], str(entry[4][0])) for entry in found)))

    threading.Thread(target=ask, daemon=True, name="name look-up").start()
    try:
        answer = answers.get(timeout=timeout_s)
    except queue.Empty:
        raise PeerUnreachableError(
            f"No name server tells who '{host}' is within {timeout_s:g} s: give its address, or "
            "mend name resolution on this machine."
        ) from None
    if isinstance(answer, OSError):
        raise PeerUnreachableError(unknown_name(host, answer))
    return answer


def open_connection(place: Place, port: int, patience_s: float, timeout_s: float) -> socket.socket:
    """A new connection; it may take ``patience_s``, and has ``timeout_s`` afterwards.

    Raises:
        OSError: there is none.
    """
    family, address = place
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(patience_s)
        connection.connect((address, port))
        connection.settimeout(timeout_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A peer that loses power says nothing more; the system finds out, and the link ends.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except BaseException:
        connection.close()
        raise
    return connection


def connect(places: Sequence[Place], port: int, timeout_s: float) -> Reached:
    """Open a TCP connection to the first address that takes one.

    Raises:
        PeerUnreachableError: none does; says why, address by address. ``NobodyThereError`` where
            all of them say so themselves.
    """
    troubles: list[str] = []
    nobody = True
    deadline = time.monotonic() + timeout_s
    for index, place in enumerate(places):
        patience_s = (deadline - time.monotonic()) / (len(places) - index)
        if patience_s <= 0:
            nobody = False
            break
        try:
            connection = open_connection(place, port, patience_s, timeout_s)
        except OSError as error:
            troubles.append(connection_trouble(error, place[1], port))
            nobody = nobody and is_nobody_there(error)
            continue
        return Reached(connection, place, tuple(troubles))
    raise (NobodyThereError if nobody else PeerUnreachableError)(" ".join(troubles))


def reach(host: str, port: int, timeout_s: float, security: Security | None) -> socket.socket:
    """A connection to a peer, with TLS on it where there is ``security``.

    Name, TCP and TLS may each take ``timeout_s``.

    Raises:
        PeerUnreachableError: nobody answers.
        PeerRefusedError: it will not talk TLS with us, or is not whom we trust.
    """
    connection = connect(look_up(host, port, timeout_s), port, timeout_s).connection
    if security is None:
        return connection
    try:
        return _secure(connection, host, security)
    except BaseException:
        with suppress(OSError):
            connection.close()
        raise


def _secure(connection: socket.socket, host: str, security: Security) -> ssl.SSLSocket:
    try:
        secure = shake_hands(connection, security.context, host, security.has_certificate)
    except ssl.SSLCertVerificationError as error:
        raise PeerRefusedError(mistrust(error, host, None)) from None
    except NotTlsError:
        raise PeerUnreachableError(
            "It broke off at the first TLS message: it does not speak TLS on this port, refuses "
            "our versions and ciphers, or is just starting."
        ) from None
    known = security.certificate_sha256
    if known and sha256(secure.getpeercert(binary_form=True) or b"").hexdigest() != known.lower():
        secure.close()
        raise PeerRefusedError(
            "It does not show the certificate which certificate_sha256 names: if it has a new one, "
            "ask its owner for the fingerprint and enter that."
        )
    return secure
