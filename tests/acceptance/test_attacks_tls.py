"""Attacks on the TLS port, while an honest peer must be served as ever."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from deploy.demo.pacs import free_port
from tests.certificates import Certificates, Pair, fingerprint

from .attacking import AT_ONCE_S, LATE_S, check_reasons, last_word
from .hostile import Client, EndedError
from .intake_node import (
    ATTACKER,
    HONEST,
    HONEST_ADDRESS,
    VERIFY,
    IntakeNode,
    honest_store,
    running_intake,
    under_attack,
)
from .wire import (
    ASSOCIATE_AC,
    STORE,
    STORE_DEFLATED,
    AssociationRequest,
    MrObject,
    bomb,
    echo_rq,
    message,
    pdu,
    store_rq,
)

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

UID = "1.2.826.0.1.3680043.10.511.6"
SURE = "SURE"
"""A peer that must come by TLS, with one certificate and no other."""
NO_REASON_GIVEN = (1, 1, 1)
"""The log says why; a thief is not told that he has the right title."""
NO_ROOM = 0xA700
TLS_REFUSALS = {"tls-required", "wrong-certificate"}


class TlsNode:
    """An intake process with a TLS port, and the certificates of its peers."""

    def __init__(self, intake: IntakeNode, port: int, certificates: Certificates) -> None:
        self.intake, self.port, self.certificates = intake, port, certificates


def client_context(node: TlsNode, pair: Pair | None = None) -> ssl.SSLContext:
    """A client that trusts anybody and shows this certificate, if any."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if pair is not None:
        context.load_cert_chain(pair.certificate, pair.key)
    return context


def is_served(node: TlsNode, context: ssl.SSLContext, calling: str = SURE) -> bool:
    """Whether a C-ECHO by TLS is answered; a refusal at any stage is False."""
    try:
        with Client(node.port, tls=context) as client:
            answer = client.associate(AssociationRequest(calling, contexts=VERIFY))
            return answer.kind == ASSOCIATE_AC and client.echo() == 0
    except (EndedError, ssl.SSLError, ConnectionError):
        return False


def rejection(node: TlsNode, context: ssl.SSLContext, calling: str) -> tuple[int, int, int]:
    """How an association by TLS is rejected."""
    with Client(node.port, tls=context) as client:
        return client.associate(AssociationRequest(calling, contexts=VERIFY)).rejection


# --- who may come ---


def good_certificate(node: TlsNode) -> None:
    """No attack: what the others are compared with."""
    context = client_context(node, node.certificates.client)
    assert is_served(node, context)
    uid = f"{UID}.1.{time.time_ns()}"
    data = MrObject(uid, rows=400).encode()
    with Client(node.port, tls=context) as client:
        assert client.associate(AssociationRequest(SURE)).kind == ASSOCIATE_AC
        assert client.store(uid, data) == 0
        client.release()
    row = node.intake.row(uid)
    assert row.data() == data


def no_certificate(node: TlsNode) -> None:
    assert not is_served(node, client_context(node))


def another_authority(node: TlsNode) -> None:
    assert not is_served(node, client_context(node, node.certificates.other_client))


def self_signed(node: TlsNode) -> None:
    assert not is_served(node, client_context(node, node.certificates.self_signed))


def expired_certificate(node: TlsNode) -> None:
    assert not is_served(node, client_context(node, node.certificates.expired_client))


def stolen_title_with_another_certificate(node: TlsNode) -> None:
    """Signed by the right authority, but not the certificate of that peer."""
    other = node.certificates.issue("thief")
    assert rejection(node, client_context(node, other), SURE) == NO_REASON_GIVEN


def stolen_title_without_tls(node: TlsNode) -> None:
    with Client(node.intake.port) as client:
        assert client.associate(AssociationRequest(SURE)).rejection == NO_REASON_GIVEN


def right_certificate_for_another_title(node: TlsNode) -> None:
    context = client_context(node, node.certificates.client)
    assert rejection(node, context, "NOBODY") == (1, 1, 3)


# --- which TLS ---


def old_protocol(node: TlsNode) -> None:
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        context = client_context(node, node.certificates.client)
        context.set_ciphers("ALL:@SECLEVEL=0")
        with _deprecated():
            context.minimum_version = context.maximum_version = version
        assert not is_served(node, context)


@contextlib.contextmanager
def _deprecated() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def weak_ciphers(node: TlsNode) -> None:
    """NULL, anonymous, RC4, 3DES, CBC with SHA-1 and no forward secrecy (PS3.15 B.12)."""
    offered = 0
    for ciphers in ("NULL", "aNULL", "RC4", "3DES", "EXPORT", "AES128-SHA", "AES256-SHA"):
        context = client_context(node, node.certificates.client)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
        except ssl.SSLError:
            continue  # this OpenSSL cannot even offer it
        offered += 1
        assert not is_served(node, context), ciphers
    assert offered >= 3


def null_cipher_of_openssl(node: TlsNode) -> None:
    """The same with OpenSSL's own client, which can offer NULL ciphers."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("no openssl: install the package openssl")
    pair = node.certificates.client
    done = subprocess.run(
        [
            *(program, "s_client", "-connect", f"127.0.0.1:{node.port}", "-tls1_2"),
            *("-cipher", "NULL-SHA256:eNULL:@SECLEVEL=0"),
            *("-cert", str(pair.certificate), "-key", str(pair.key)),
        ],
        input=b"",
        capture_output=True,
        timeout=30,
    )
    assert done.returncode != 0
    assert b"Cipher is (NONE)" in done.stdout + done.stderr


# --- handshakes ---


def plain_bytes_on_the_tls_port(node: TlsNode) -> None:
    with Client(node.port) as client:
        client.send(AssociationRequest(ATTACKER).encode())
        # An alert record of TLS may come; an association may not.
        assert not client.drain_raw(AT_ONCE_S).startswith(b"\x02")


def tls_on_the_plain_port(node: TlsNode) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError, OSError)):
        Client(node.intake.port, tls=client_context(node, node.certificates.client)).close()


def silent_before_the_handshake(node: TlsNode) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(node.port)) for _ in range(100)]
        until = time.monotonic() + LATE_S
        for client in clients:
            client.drain(max(until - time.monotonic(), 0.1))


def slow_handshake(node: TlsNode) -> None:
    """A good ClientHello, byte by byte."""
    hello = client_hello(node)
    with Client(node.port) as client:
        assert client.send_slowly(hello, 0.1, LATE_S) < LATE_S
    with Client(node.port) as client:
        client.send(hello)
        assert client.receive_raw(1) == b"\x16"
        client.drain_raw(LATE_S)


def client_hello(node: TlsNode) -> bytes:
    """What a TLS client says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    machine = client_context(node).wrap_bio(incoming, outgoing)
    with contextlib.suppress(ssl.SSLWantReadError):
        machine.do_handshake()
    return outgoing.read()


def broken_handshakes(node: TlsNode) -> None:
    hello = client_hello(node)
    for content in (
        b"\x16\x03\x01\xff\xff" + bytes(70000),
        b"\x16\x03\x01\x00\x00" * 2000,
        hello[:-40] + bytes(40),
        hello[:60] + b"\xff" * 200,
        b"\x80\x2e\x01\x03\x01" + bytes(60),
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x00" * 5000,
        b"GET / HTTP/1.0\r\n\r\n",
    ):
        with Client(node.port) as client:
            with contextlib.suppress(EndedError):
                client.send(content)
            client.drain_raw(LATE_S)


def silent_after_the_handshake(node: TlsNode) -> None:
    with Client(node.port, tls=client_context(node, node.certificates.client)) as client:
        client.drain(LATE_S)


def resets_in_the_handshake(node: TlsNode) -> None:
    hello = client_hello(node)
    for number in range(100):
        client = Client(node.port)
        client.send(hello[: 3 * number])
        client.reset()


def broken_records_within(node: TlsNode) -> None:
    """Bytes that are no TLS, in the middle of an association by TLS."""
    context = client_context(node, node.certificates.client)
    with Client(node.port, tls=context) as client:
        assert client.associate(AssociationRequest(SURE, contexts=VERIFY)).kind == ASSOCIATE_AC
        raw = socket.socket(fileno=client.socket.detach())
        with raw:
            raw.sendall(message(1, echo_rq()))
            raw.settimeout(LATE_S)
            with contextlib.suppress(ConnectionError):
                while raw.recv(4096):
                    continue


def giant_pdu_within(node: TlsNode) -> None:
    context = client_context(node, node.certificates.client)
    with Client(node.port, tls=context) as client:
        client.send(pdu(1, bytes(100), length=0xFFFFFFF0))
        last_word(client, AT_ONCE_S)


def ends_without_a_goodbye(node: TlsNode) -> None:
    """The connection breaks in the middle of an object, without TLS's close_notify."""
    context = client_context(node, node.certificates.client)
    uid = f"{UID}.2.{time.time_ns()}"
    content = message(STORE, store_rq(uid), MrObject(uid, rows=200).encode())
    for end in (Client.close, Client.reset):
        client = Client(node.port, tls=context)
        assert client.associate(AssociationRequest(SURE)).kind == ASSOCIATE_AC
        client.send(content[:50000])
        end(client)
    node.intake.expect_absent(uid)


def deflate_bomb_by_tls(node: TlsNode) -> None:
    """Many records wait at once, and each becomes a thousand times as much."""
    uid = f"{UID}.3.{time.time_ns()}"
    data = bomb(uid, 900)
    context = client_context(node, node.certificates.client)
    with Client(node.port, tls=context) as client:
        assert client.associate(AssociationRequest(SURE)).kind == ASSOCIATE_AC
        client.send(message(STORE_DEFLATED, store_rq(uid), data))
        assert client.answer().status == NO_ROOM
        client.release()
    node.intake.expect_absent(uid)


def handshake_flood(node: TlsNode) -> None:
    context = client_context(node, node.certificates.client)
    until = time.monotonic() + 3.0
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            Client(node.port, tls=context).close()


def tls_attack(run: Callable[[TlsNode], None], *codes: str) -> tuple[Callable[..., None], set[str]]:
    """A row of the table."""
    return run, set(codes)


TLS_ATTACKS: Mapping[str, tuple[Callable[[TlsNode], None], set[str]]] = {
    "good certificate": tls_attack(good_certificate),
    "no certificate": tls_attack(no_certificate, "tls-handshake"),
    "certificate of another CA": tls_attack(another_authority, "tls-handshake"),
    "self-signed certificate": tls_attack(self_signed, "tls-handshake"),
    "expired certificate": tls_attack(expired_certificate, "tls-handshake"),
    "stolen AE title with another certificate": tls_attack(
        stolen_title_with_another_certificate, "wrong-certificate"
    ),
    "stolen AE title without TLS": tls_attack(stolen_title_without_tls, *TLS_REFUSALS),
    "certificate of a peer under another title": tls_attack(
        right_certificate_for_another_title, "unknown-calling-ae"
    ),
    "TLS 1.0 and 1.1": tls_attack(old_protocol, "tls-handshake"),
    "weak ciphers": tls_attack(weak_ciphers, "tls-handshake"),
    "NULL cipher": tls_attack(null_cipher_of_openssl, "tls-handshake"),
    "plain bytes on the TLS port": tls_attack(plain_bytes_on_the_tls_port, "tls-handshake"),
    "TLS on the plain port": tls_attack(tls_on_the_plain_port),
    "silent before the handshake": tls_attack(silent_before_the_handshake),
    "slow handshake": tls_attack(slow_handshake),
    "broken handshakes": tls_attack(broken_handshakes, "tls-handshake"),
    "silent after the handshake": tls_attack(silent_after_the_handshake),
    "resets in the handshake": tls_attack(resets_in_the_handshake),
    "broken TLS records on an association": tls_attack(broken_records_within),
    "giant PDU by TLS": tls_attack(giant_pdu_within),
    "deflate bomb by TLS": tls_attack(deflate_bomb_by_tls),
    "TLS connection that breaks": tls_attack(ends_without_a_goodbye),
    "handshake flood": tls_attack(handshake_flood),
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[TlsNode]:
    """A node with a TLS port; the honest peer may come by either."""
    port = free_port()
    peers = (
        {"name": "honest", "ae_title": HONEST, "addresses": [HONEST_ADDRESS], "quiet_s": 3600.0},
        {"name": "attacker", "ae_title": ATTACKER, "addresses": ["127.0.0.1"]},
        {
            "name": "sure",
            "ae_title": SURE,
            "addresses": ["127.0.0.1"],
            "quiet_s": 3600.0,
            "tls": True,
            "certificate_sha256": fingerprint(certificates.client.certificate),
        },
    )
    tls = {
        "port": port,
        "certificate": str(certificates.server.certificate),
        "key": str(certificates.server.key),
        "ca": str(certificates.ca.certificate),
    }
    folder: Path = tmp_path_factory.mktemp("tls")
    with running_intake(folder, {"tls": tls}, peers) as running:
        served = TlsNode(running, port, certificates)
        good_certificate(served)
        yield served


@pytest.mark.parametrize("name", TLS_ATTACKS)
def test_attack(node: TlsNode, name: str) -> None:
    run, codes = TLS_ATTACKS[name]
    with under_attack(node.intake) as since:
        run(node)
    check_reasons(node.intake, since, codes)
    honest_store(node.intake, f"{UID}.9.{time.time_ns()}")
    node.intake.check_absent()
    assert is_served(node, client_context(node, node.certificates.client))
