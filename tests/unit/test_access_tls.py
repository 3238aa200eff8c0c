"""Mutual TLS as BCP 195 asks: who comes in, who does not, and files that are wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from secondread.access.handshake import describe_failure
from secondread.access.tls import client_context, server_context
from secondread.domain.network import TlsSettings
from secondread.errors import ConfigurationError
from tests.certificates import Certificates, Pair, fingerprint, issue, make_certificates
from tests.tls_calls import TIMEOUT_S, TLS, TlsServer, call, meet, sha256, weak_context

DCMTK_PROFILES = ("+py", "+px", "+pz")


@pytest.fixture
def serve() -> Iterator[Callable[[ssl.SSLContext], TlsServer]]:
    """``serve(context)`` starts a server."""
    servers: list[TlsServer] = []

    def start(context: ssl.SSLContext) -> TlsServer:
        servers.append(TlsServer(lambda: context))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def server(serve: Callable[..., TlsServer], certificates: Certificates) -> TlsServer:
    return serve(server_context(certificates.settings()))


@pytest.fixture(scope="module")
def kinds(
    certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Certificates]:
    """The same certificates with either kind of key."""
    return {
        "rsa": certificates,
        "ec": make_certificates(tmp_path_factory.mktemp("elliptic"), "ec"),
    }


@pytest.mark.parametrize("kind", ["rsa", "ec"])
@pytest.mark.parametrize("version", [TLS.TLSv1_2, TLS.TLSv1_3])
def test_a_known_client_comes_in(
    kind: str, version: TLS, kinds: dict[str, Certificates], serve: Callable[..., TlsServer]
) -> None:
    certificates = kinds[kind]
    server = serve(server_context(certificates.settings()))
    context = weak_context(certificates, certificates.client, maximum_version=version)
    assert fingerprint(certificates.server.certificate) == sha256(call(context, server.port))
    met = server.met.get(timeout=TIMEOUT_S)
    assert met.version == {TLS.TLSv1_2: "TLSv1.2", TLS.TLSv1_3: "TLSv1.3"}[version]
    assert sha256(met.certificate) == fingerprint(certificates.client.certificate)


@pytest.mark.parametrize("version", [TLS.TLSv1_2, TLS.TLSv1_3])
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "shows no certificate"),
        ("other_client", "a CA that is not in the CA file"),
        ("expired_client", "has expired"),
        ("self_signed", "signed by itself"),
    ],
)
def test_a_stranger_stays_outside(
    name: str, told: str, version: TLS, server: TlsServer, certificates: Certificates
) -> None:
    pair = getattr(certificates, name) if name else None
    met = meet(server, weak_context(certificates, pair, maximum_version=version))
    assert told in met.failure
    assert met.first_bytes == b""


def test_a_certificate_of_the_future_stays_outside(
    tmp_path: Path, server: TlsServer, certificates: Certificates
) -> None:
    future = issue(tmp_path, "future", ca=certificates.ca, days=(5, 10))
    assert "not valid yet" in meet(server, weak_context(certificates, future)).failure


def test_old_tls_stays_outside(server: TlsServer, certificates: Certificates) -> None:
    old = {"minimum_version": TLS.TLSv1_1, "maximum_version": TLS.TLSv1_1}
    met = meet(server, weak_context(certificates, certificates.client, "ALL", **old))
    assert "no TLS newer than 1.1" in met.failure


@pytest.mark.parametrize(
    "ciphers",
    ["NULL", "AES128-SHA", "AES256-GCM-SHA384", "ECDHE-RSA-AES256-SHA384", "DHE-RSA-AES128-SHA"],
)
def test_a_cipher_that_is_weak_stays_outside(
    ciphers: str, server: TlsServer, certificates: Certificates
) -> None:
    context = weak_context(certificates, certificates.client, ciphers, maximum_version=TLS.TLSv1_2)
    assert "no cipher that BCP 195 allows" in meet(server, context).failure


def test_the_server_prefers_its_own_order(server: TlsServer, certificates: Certificates) -> None:
    ciphers = "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384"
    context = weak_context(certificates, certificates.client, ciphers, maximum_version=TLS.TLSv1_2)
    assert meet(server, context).cipher == "ECDHE-RSA-AES256-GCM-SHA384"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\x01\0\0\0\0\xcd\0\x01\0\0" + b"SECONDREAD      MR1             ", "not speak TLS"),
        (b"GET / HTTP/1.1\r\n\r\n", "speaks HTTP"),
        (b"\x16\x03\x01", "hung up"),
    ],
)
def test_plain_bytes_stay_outside(content: bytes, told: str, server: TlsServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), TIMEOUT_S) as plain:
        plain.sendall(content)
        with contextlib.suppress(OSError):  # the server may have hung up already
            plain.shutdown(socket.SHUT_WR)
        assert told in server.met.get(timeout=TIMEOUT_S).failure


@pytest.mark.parametrize("kind", ["rsa", "ec"])
@pytest.mark.parametrize("profile", DCMTK_PROFILES)
def test_dcmtk_comes_in(
    kind: str,
    profile: str,
    kinds: dict[str, Certificates],
    serve: Callable[..., TlsServer],
    dcmtk: Callable[[str], str],
) -> None:
    certificates = kinds[kind]
    server = serve(server_context(certificates.settings()))
    echo_by_dcmtk(dcmtk("echoscu"), server, certificates, certificates.client, profile)
    met = server.met.get(timeout=TIMEOUT_S)
    assert met.failure == ""
    assert met.first_bytes[0] == 1  # A-ASSOCIATE-RQ, PS3.8 table 9-11
    assert sha256(met.certificate) == fingerprint(certificates.client.certificate)


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("client", ["+pa"], "no cipher that BCP 195 allows"),
        ("other_client", [], "a CA that is not in the CA file"),
        ("expired_client", [], "has expired"),
    ],
)
def test_dcmtk_is_refused(
    name: str,
    arguments: list[str],
    told: str,
    server: TlsServer,
    certificates: Certificates,
    dcmtk: Callable[[str], str],
) -> None:
    pair = getattr(certificates, name)
    echo_by_dcmtk(dcmtk("echoscu"), server, certificates, pair, *arguments)
    assert told in server.met.get(timeout=TIMEOUT_S).failure


def echo_by_dcmtk(
    program: str, server: TlsServer, certificates: Certificates, pair: Pair, *arguments: str
) -> None:
    subprocess.run(
        [
            *(program, "-ta", "5", "+tls", pair.key, pair.certificate),
            *("+cf", certificates.ca.certificate, *arguments, "127.0.0.1", str(server.port)),
        ],
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,  # the server does not answer the association
    )


def test_our_client_talks_to_our_server(server: TlsServer, certificates: Certificates) -> None:
    settings = dataclasses.replace(
        certificates.settings(),
        certificate=certificates.client.certificate,
        key=certificates.client.key,
    )
    assert sha256(call(client_context(settings), server.port))
    assert server.met.get(timeout=TIMEOUT_S).version == "TLSv1.3"


def test_our_client_checks_the_ca_of_the_peer(
    server: TlsServer, certificates: Certificates
) -> None:
    context = client_context(certificates.settings(), ca=certificates.other_ca.certificate)
    with pytest.raises(ssl.SSLCertVerificationError) as refused:
        call(context, server.port)
    assert "not in the CA file" in describe_failure(refused.value)
    assert "does not know the CA" in server.met.get(timeout=TIMEOUT_S).failure


@pytest.mark.parametrize("check_hostname", [True, False])
def test_our_client_checks_the_name_if_it_shall(
    check_hostname: bool, server: TlsServer, certificates: Certificates
) -> None:
    context = client_context(certificates.settings(), check_hostname=check_hostname)
    with socket.create_connection(("127.0.0.1", server.port), TIMEOUT_S) as plain:
        if check_hostname:
            with pytest.raises(ssl.SSLCertVerificationError) as refused:
                context.wrap_socket(plain, server_hostname="pacs.example")
            assert "names another host" in describe_failure(refused.value)
        else:
            context.wrap_socket(plain, server_hostname="pacs.example").close()


def test_our_client_learns_that_it_needs_a_certificate(
    server: TlsServer, certificates: Certificates
) -> None:
    settings = TlsSettings(ca=certificates.ca.certificate)
    with pytest.raises(OSError) as refused:
        call(client_context(settings), server.port)
    assert "certificate" in describe_failure(refused.value)


def test_only_the_named_ca_is_trusted_and_not_its_root(
    tmp_path: Path, serve: Callable[..., TlsServer]
) -> None:
    certificates = make_certificates(tmp_path, "ec")
    imaging_ca = certificates.issue("imaging-ca")
    scanner = certificates.issue("scanner", ca=imaging_ca)
    settings = dataclasses.replace(certificates.settings(), ca=imaging_ca.certificate)
    server = serve(server_context(settings))
    assert meet(server, weak_context(certificates, scanner)).failure == ""
    assert meet(server, weak_context(certificates, certificates.client)).failure


@pytest.mark.parametrize("field", ["certificate", "key", "ca"])
@pytest.mark.parametrize(
    ("content", "told"), [(None, "is not there"), (b"", "no PEM"), (b"\0\xff" * 50, "no PEM")]
)
def test_a_file_that_is_not_what_it_should_be(
    field: str, content: bytes | None, told: str, tmp_path: Path, certificates: Certificates
) -> None:
    path = tmp_path / "file.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=told) as refused:
        server_context(dataclasses.replace(certificates.settings(), **{field: path}))
    assert str(path) in str(refused.value)
    assert f"'{field}' in [tls]" in str(refused.value)


def test_a_key_that_may_not_be_read(tmp_path: Path, certificates: Certificates) -> None:
    key = tmp_path / "a.key"
    shutil.copy(certificates.server.key, key)
    key.chmod(0)
    if os.access(key, os.R_OK):
        pytest.skip("root may read every file")
    with pytest.raises(ConfigurationError, match="may not be read"):
        server_context(dataclasses.replace(certificates.settings(), key=key))


def test_a_folder_instead_of_a_file(tmp_path: Path, certificates: Certificates) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        server_context(dataclasses.replace(certificates.settings(), ca=tmp_path))


def test_a_key_of_another_certificate(certificates: Certificates) -> None:
    settings = dataclasses.replace(certificates.settings(), key=certificates.client.key)
    with pytest.raises(ConfigurationError, match="does not belong to the certificate"):
        server_context(settings)


def test_a_key_of_another_kind(kinds: dict[str, Certificates]) -> None:
    settings = dataclasses.replace(kinds["rsa"].settings(), key=kinds["ec"].server.key)
    with pytest.raises(ConfigurationError, match="does not belong to the certificate"):
        server_context(settings)


def test_a_key_with_a_password_does_not_wait_for_it(
    tmp_path: Path, certificates: Certificates
) -> None:
    key = tmp_path / "a.key"
    text = certificates.server.key.read_text()
    key.write_text(text.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"))
    with pytest.raises(ConfigurationError, match="has a password"):
        server_context(dataclasses.replace(certificates.settings(), key=key))


def test_a_broken_pem_block(tmp_path: Path, certificates: Certificates) -> None:
    key = tmp_path / "a.key"
    key.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    with pytest.raises(ConfigurationError, match="OpenSSL refuses"):
        server_context(dataclasses.replace(certificates.settings(), key=key))


def test_a_weak_certificate(tmp_path: Path, certificates: Certificates) -> None:
    weak = issue(tmp_path, "weak", "rsa-1024", ca=certificates.ca)
    settings = TlsSettings(0, weak.certificate, weak.key, certificates.ca.certificate)
    with pytest.raises(ConfigurationError, match="is too weak"):
        server_context(settings)


def test_an_expired_certificate_of_the_node_is_taken(
    serve: Callable[..., TlsServer], certificates: Certificates
) -> None:
    settings = dataclasses.replace(
        certificates.settings(),
        certificate=certificates.expired_server.certificate,
        key=certificates.expired_server.key,
    )
    server = serve(server_context(settings))
    with pytest.raises(ssl.SSLCertVerificationError) as refused:
        call(weak_context(certificates, certificates.client), server.port)
    assert "its certificate has expired" in describe_failure(refused.value)
    assert "the node's certificate has expired" in server.met.get(timeout=TIMEOUT_S).failure


def test_tls_1_3_gives_no_tickets(server: TlsServer, certificates: Certificates) -> None:
    context = weak_context(certificates, certificates.client)
    with (
        socket.create_connection(("127.0.0.1", server.port), TIMEOUT_S) as plain,
        context.wrap_socket(plain) as secure,
    ):
        secure.sendall(b"hello!")
        assert secure.recv(1) == b"!"
        assert secure.session is None or not secure.session.has_ticket
