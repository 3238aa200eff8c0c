"""A TLS server that keeps what it met, and callers good and bad."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from queue import Queue

from secondread.access.handshake import describe_failure
from tests.certificates import Certificates, Pair

TIMEOUT_S = 10.0
TLS = ssl.TLSVersion


@dataclass(frozen=True)
class Met:
    """What the server saw of one caller."""

    failure: str = ""
    version: str = ""
    cipher: str = ""
    certificate: bytes = b""
    first_bytes: bytes = b""


class TlsServer:
    """Takes one TLS connection after the other, keeps what it met, and answers one byte."""

    def __init__(self, context: Callable[[], ssl.SSLContext]) -> None:
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.met: Queue[Met] = Queue()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(TIMEOUT_S)

    def _run(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            plain.settimeout(TIMEOUT_S)
            with plain:
                self.met.put(self._serve(plain))

    def _serve(self, plain: socket.socket) -> Met:
        try:
            with self._context().wrap_socket(plain, server_side=True) as secure:
                cipher = secure.cipher()
                assert cipher is not None
                first = secure.recv(6)
                secure.sendall(b"!")
                certificate = secure.getpeercert(binary_form=True)
                with contextlib.suppress(OSError):  # a caller that hung up without a word
                    secure.unwrap()
                return Met("", cipher[1], cipher[0], certificate or b"", first)
        except OSError as error:
            return Met(describe_failure(error))


def weak_context(
    certificates: Certificates, pair: Pair | None, ciphers: str = "DEFAULT", **limits: TLS
) -> ssl.SSLContext:
    """A caller that knows the right CA and else does what it likes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(certificates.ca.certificate)
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TLS 1.1 is meant
        for name, version in limits.items():
            setattr(context, name, version)
    if pair is not None:
        context.load_cert_chain(pair.certificate, pair.key)
    return context


def call(context: ssl.SSLContext, port: int) -> bytes:
    """Say something by TLS and take leave; returns the server's certificate."""
    with (
        socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        secure.sendall(b"hello!")
        assert secure.recv(1) == b"!"
        certificate = secure.getpeercert(binary_form=True)
        secure.unwrap()
        return certificate or b""


def meet(server: TlsServer, context: ssl.SSLContext) -> Met:
    """What the server saw of a caller that may well be refused."""
    with contextlib.suppress(OSError):
        call(context, server.port)
    return server.met.get(timeout=TIMEOUT_S)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
