"""Peers for the diagnosing echo: real ones, broken ones, and things that are none."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.sop_class import MRImageStorage, Verification

from deploy.demo.pacs import free_port
from secondread.delivery.address import Address
from secondread.delivery.diagnosis import Call, conclude, diagnose
from secondread.delivery.steps import Outcome, Step, is_sound
from secondread.domain.network import TlsSettings
from tests.certificates import Certificates, Pair

TIMEOUT_S = 1.0
LIVENESS_S = 10.0
VERIFICATION = str(Verification)
NAMES = ["name", "tcp", "tls", "association", "contexts", "storage", "echo"]


def call(port: int, host: str = "127.0.0.1", **more: Any) -> Call:
    """A call that gives up soon."""
    titles = {"called": more.pop("called", "PACS"), "calling": more.pop("calling", "SECONDREAD")}
    timeout_s = more.pop("timeout_s", TIMEOUT_S)
    return Call(Address(host, port, **titles, timeout_s=timeout_s), **more)


def examine(asked: Call) -> dict[str, Step]:
    """All steps by name; each in its order, and within its time."""
    started = time.monotonic()
    steps = list(diagnose(asked))
    assert time.monotonic() - started < LIVENESS_S
    assert [step.name for step in steps] == NAMES
    failed = [step.outcome for step in steps].count(Outcome.FAILED)
    assert failed == (0 if is_sound(steps) else 1)
    assert all(step.sentence.endswith((".", "?")) for step in steps)
    return {step.name: step for step in steps}


def failure(asked: Call) -> tuple[str, str]:
    """Which step failed, and what it says."""
    steps = examine(asked).values()
    (failed,) = (step for step in steps if step.outcome is Outcome.FAILED)
    after = list(steps)[NAMES.index(failed.name) + 1 :]
    assert all(step.outcome is Outcome.SKIPPED for step in after)
    assert failed.sentence[1:] in conclude(asked, tuple(steps))
    return failed.name, failed.sentence


@contextmanager
def tcp_server(serve: Callable[[socket.socket], None], host: str = "127.0.0.1") -> Iterator[int]:
    """Something on a port that does with each connection what the test says."""
    with socket.create_server((host, 0)) as listener:
        held = []

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                held.append(connection)
                with suppress(OSError):
                    serve(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(LIVENESS_S)
        for connection in held:
            connection.close()


@contextmanager
def scp(
    *,
    classes: tuple[str, ...] = (Verification, MRImageStorage),
    echo: Callable[[Any], int] = lambda event: 0x0000,
    context: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    **settings: Any,
) -> Iterator[int]:
    """A pynetdicom SCP."""
    entity = AE("PACS")
    for name, value in settings.items():
        setattr(entity, name, value)
    for sop_class in classes:
        entity.add_supported_context(sop_class)
    handlers = [(evt.EVT_C_ECHO, echo)]
    server: Any = entity.start_server(
        (host, 0), block=False, evt_handlers=handlers, ssl_context=context
    )
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        entity.shutdown()


@contextmanager
def storescp(program: str, folder: Path, *options: str) -> Iterator[int]:
    """DCMTK's storescp on a free port."""
    port = free_port()
    command = [program, *options, "-aet", "PACS", str(port)]
    with listening(command, port, folder, folder / "storescp.log"):
        yield port


@contextmanager
def listening(command: list[str], port: int, folder: Path, log: Path) -> Iterator[None]:
    """A program in a folder that listens on a port of loopback, until the end of the block.

    Raises:
        AssertionError: it ended, or does not listen in time; with what it said.
    """
    with log.open("wb") as said:
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + LIVENESS_S
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            ended = process.poll()
            assert ended is None, f"{command[0]} ended with {ended}: {log.read_text()}"
            assert time.monotonic() < deadline, f"{command[0]} does not listen: {log.read_text()}"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(LIVENESS_S)


def server_side(certificates: Certificates, own: Pair, *, wants: bool = True) -> ssl.SSLContext:
    """A peer's TLS context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.certificate, own.key)
    if wants:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificates.ca.certificate)
    return context


def ours(certificates: Certificates, own: Pair | None = None) -> TlsSettings:
    """Our files for TLS."""
    own = own or certificates.client
    return TlsSettings(certificate=own.certificate, key=own.key, ca=certificates.ca.certificate)


def nothing(connection: socket.socket) -> None:
    """Say nothing."""


def saying(content: bytes) -> Callable[[socket.socket], None]:
    """Read what comes, say that, and close."""

    def serve(connection: socket.socket) -> None:
        connection.settimeout(TIMEOUT_S)
        connection.recv(65536)
        connection.sendall(content)
        connection.shutdown(socket.SHUT_RDWR)

    return serve


def shaking_hands(context: ssl.SSLContext) -> Callable[[socket.socket], None]:
    """Do a TLS handshake and say nothing more; pynetdicom stumbles over one that fails."""

    def serve(connection: socket.socket) -> None:
        connection.settimeout(TIMEOUT_S)
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(1)

    return serve
