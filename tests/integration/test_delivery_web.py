"""Web servers that refuse, lie, hang and break off, with TLS and without."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secondread.access.tls import server_context
from secondread.delivery import stow
from secondread.delivery.web_wording import PeerBusyError
from secondread.domain.web_target import Credentials, Scheme, TimeLimits, WebTarget
from secondread.errors import KindRefusedError, PeerRefusedError, PeerUnreachableError
from tests.certificates import Certificates
from tests.web_peers import (
    JSON,
    PATIENT,
    QUICK,
    XML,
    Asked,
    Conversation,
    make_large,
    response,
    response_xml,
    server_side,
    store_all,
    target,
    uids_of,
    web_peer,
)


@pytest.fixture
def paths(head_series: Callable[..., Any]) -> list[Path]:
    """Three small objects."""
    return list(head_series(size=(3, 8, 8)).paths)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (302, PeerRefusedError, "follows nobody"),
        (307, PeerRefusedError, "follows nobody"),
        (400, PeerRefusedError, "does not understand"),
        (401, PeerRefusedError, "wants to know who calls"),
        (403, PeerRefusedError, "right to store"),
        (404, PeerRefusedError, "correct 'url'"),
        (405, PeerRefusedError, "switch STOW-RS on"),
        (409, PeerRefusedError, "does not say why"),
        (413, PeerRefusedError, "client_max_body_size"),
        (415, KindRefusedError, "kind or encoding"),
        (418, PeerRefusedError, "see its log"),
        (429, PeerUnreachableError, "too often"),
        (500, PeerUnreachableError, "something broke"),
        (502, PeerUnreachableError, "proxy before it"),
        (503, PeerUnreachableError, "overloaded"),
        (507, PeerUnreachableError, "no space"),
        (599, PeerUnreachableError, "see its log"),
        (202, PeerUnreachableError, "does not say what it stored"),
    ],
)
def test_refusals_are_told_apart(
    paths: list[Path], status: int, error: type[Exception], words: str
) -> None:
    answering = web_peer(lambda talk, _: talk.say(status))
    with answering as peer, pytest.raises(error, match=words) as raised:
        stow.store_one(paths[0], target(peer))
    assert type(raised.value) is error
    assert str(status) in str(raised.value) or status == 202
    assert not set(uids_of(paths)) & set(str(raised.value).split())


@pytest.mark.parametrize("status", [429, 503])
def test_server_says_when_to_come_again(paths: list[Path], status: int) -> None:
    answering = web_peer(lambda talk, _: talk.say(status, Retry_After="120"))
    with answering as peer, pytest.raises(PeerBusyError, match="120 s") as raised:
        stow.store(paths, target(peer))
    assert raised.value.retry_after_s == 120.0
    assert raised.value.retryable
    assert len(peer.asked) == 1


@pytest.mark.parametrize(("scheme", "retryable"), [(Scheme.BASIC, False), (Scheme.BEARER, True)])
def test_secret_that_is_not_taken_is_never_shown(
    paths: list[Path], tmp_path: Path, scheme: Scheme, retryable: bool
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    credentials = Credentials(scheme, "node", secret)
    with web_peer(lambda talk, asked: talk.say(401, str(asked.headers).encode())) as peer:
        there = target(peer, credentials=credentials)
        with pytest.raises((PeerRefusedError, PeerUnreachableError), match="401") as raised:
            stow.store(paths, there)
    assert raised.value.retryable is retryable
    assert "hunter2" not in f"{raised.value}{there!r}"
    assert len(peer.asked) == 1


def test_redirect_to_another_host_gets_nothing(paths: list[Path]) -> None:
    with web_peer(store_all) as other:

        def send_on(talk: Conversation, _: Asked) -> None:
            talk.say(307, Location=f"{other.url}/studies/1.2.3?token=secret")

        with web_peer(send_on) as peer, pytest.raises(PeerRefusedError) as raised:
            stow.store(paths, target(peer))
    assert other.asked == []
    assert f"http://127.0.0.1:{other.port}" in str(raised.value)
    assert "1.2.3" not in str(raised.value) and "token" not in str(raised.value)


@pytest.mark.parametrize("kind", ["text/html", "application/octet-stream"])
def test_success_of_another_kind_is_no_success(paths: list[Path], kind: str) -> None:
    body = b"<html>Welcome</html>"
    answering = web_peer(lambda talk, _: talk.say(200, body, Content_Type=kind))
    with answering as peer, pytest.raises(PeerRefusedError, match=f"{kind}.*portal"):
        stow.store(paths, target(peer))


@pytest.mark.parametrize("kind", [JSON, XML])
@pytest.mark.parametrize("declares", [True, False])
def test_half_an_answer_is_no_answer(paths: list[Path], kind: str, declares: bool) -> None:
    def half(talk: Conversation, asked: Asked) -> None:
        write = response_xml if kind == XML else response
        body = write(dict.fromkeys(asked.uids, 0))
        talk.send_response(200)
        talk.send_header("Content-Type", kind)
        if declares:
            talk.send_header("Content-Length", str(len(body)))
        talk.end_headers()
        talk.wfile.write(body[: len(body) // 2])
        talk.hang_up()

    with web_peer(half) as peer, pytest.raises(PeerUnreachableError, match="broke"):
        stow.store(paths, target(peer))


def test_chunks_that_break_off_are_no_answer(paths: list[Path]) -> None:
    def half(talk: Conversation, _: Asked) -> None:
        talk.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{")
        talk.hang_up()

    with web_peer(half) as peer, pytest.raises(PeerUnreachableError, match="broke"):
        stow.store(paths, target(peer))


def test_silence_ends_at_the_limit(paths: list[Path]) -> None:
    over = threading.Event()
    with web_peer(lambda talk, _: [over.wait(20), talk.hang_up()]) as peer:
        with pytest.raises(PeerUnreachableError, match=r"in time \(1 s\)"):
            stow.store(paths, target(peer, QUICK))
        over.set()


def test_answer_that_drips_ends_at_the_limit_of_the_whole(paths: list[Path]) -> None:
    def drip(talk: Conversation, _: Asked) -> None:
        for letter in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000:
            talk.wfile.write(bytes([letter]))
            time.sleep(0.05)

    limits = TimeLimits(connect_s=5.0, each_s=5.0, whole_s=1.5)
    with web_peer(drip) as peer, pytest.raises(PeerUnreachableError, match=r"in time \(1.5 s\)"):
        stow.store(paths, target(peer, limits))


def test_connection_that_drops_in_the_middle_of_the_body_is_retried(paths: list[Path]) -> None:
    def drop(talk: Conversation, _: Asked) -> None:
        talk.rfile.read(70_000)
        talk.hang_up()

    path = make_large(paths[0], 50 * 2**20)
    with web_peer(drop, reads=False) as peer, pytest.raises(PeerUnreachableError, match="broke"):
        stow.store_one(path, target(peer))


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("secure", [True, False])
def test_answer_before_the_end_of_the_body_is_heard(
    paths: list[Path], certificates: Certificates, ends: bool, secure: bool
) -> None:
    def too_large(talk: Conversation, _: Asked) -> None:
        talk.rfile.read(70_000)
        # No answer yet, and nobody asked for it.
        talk.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        talk.say(413, Connection="close")
        if ends:
            socket.socket.shutdown(talk.connection, socket.SHUT_WR)
        over.wait(20)
        talk.close_connection = True

    over = threading.Event()
    path = make_large(paths[0], 50 * 2**20)
    context = server_side(certificates) if secure else None
    with web_peer(too_large, context=context, reads=False) as peer:
        there = target(peer, ca=certificates.ca.certificate)
        with pytest.raises(PeerRefusedError, match="413"):
            stow.store_one(path, there)
        over.set()


def test_interim_answer_is_not_taken_for_one(paths: list[Path]) -> None:
    def patient(talk: Conversation, asked: Asked) -> None:
        talk.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.2)
        left = int(asked.headers["Content-Length"])
        while left:
            left -= len(talk.rfile.read(min(left, 2**20)))
        talk.say(200)

    path = make_large(paths[0], 50 * 2**20)
    with web_peer(patient, reads=False) as peer:
        assert stow.store([path], target(peer))[0].stored


def test_success_before_the_end_of_the_body_is_not_believed(paths: list[Path]) -> None:
    def hasty(talk: Conversation, _: Asked) -> None:
        talk.rfile.read(70_000)
        talk.say(200, Connection="close")
        over.wait(20)
        talk.close_connection = True

    over = threading.Event()
    path = make_large(paths[0], 50 * 2**20)
    with web_peer(hasty, reads=False) as peer:
        with pytest.raises(PeerUnreachableError, match="before it had everything"):
            stow.store_one(path, target(peer))
        over.set()


def test_answer_without_end_is_not_read(paths: list[Path]) -> None:
    def endless(talk: Conversation, _: Asked) -> None:
        talk.send_response(200)
        talk.send_header("Content-Type", JSON)
        talk.end_headers()
        while True:
            talk.wfile.write(b" " * 2**20)

    with web_peer(endless) as peer, pytest.raises(PeerUnreachableError, match="more than 16 MiB"):
        stow.store(paths, target(peer))


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x15\x03\x01\x00\x02\x02\x50"])
def test_what_is_no_web_server_is_said(paths: list[Path], said: bytes) -> None:
    def other(talk: Conversation, _: Asked) -> None:
        talk.wfile.write(said)
        talk.hang_up()

    with web_peer(other) as peer, pytest.raises(PeerRefusedError, match="does not answer in HTTP"):
        stow.store(paths, target(peer))


def test_nobody_there_and_nobody_of_that_name(
    paths: list[Path], free_port: Callable[[], int]
) -> None:
    for place, words in (
        (f"127.0.0.1:{free_port()}", "refuses"),
        ("a.invalid", "name"),
        ("a..b", "name"),
    ):
        with pytest.raises(PeerUnreachableError, match=words):
            stow.store(paths, WebTarget("pacs", f"http://{place}/dicom-web"))


def test_server_certificates_are_checked(certificates: Certificates, paths: list[Path]) -> None:
    ca = certificates.ca.certificate
    cases = [
        (certificates.expired_server, ca, PeerUnreachableError, "expired"),
        (certificates.server, certificates.other_ca.certificate, PeerRefusedError, "'ca'"),
        (certificates.self_signed, ca, PeerRefusedError, "signed by itself"),
    ]
    for pair, trusted, error, words in cases:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        with web_peer(store_all, context=context) as peer:
            with pytest.raises(error, match=words):
                stow.store(paths, target(peer, ca=trusted))
            assert peer.asked == []


@pytest.mark.parametrize("settle_s", [0.0, 1.0])
def test_server_that_wants_a_certificate_says_so_at_once_or_later(
    certificates: Certificates,
    paths: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    settle_s: float,
) -> None:
    # In TLS 1.3 the refusal of a certificate comes after the handshake.
    monkeypatch.setattr("secondread.delivery.handshake._SETTLE_S", settle_s)
    with web_peer(store_all, context=server_context(certificates.settings())) as peer:
        there = target(peer, ca=certificates.ca.certificate)
        with pytest.raises(PeerRefusedError, match="without a certificate of ours"):
            stow.store_one(make_large(paths[0], 50 * 2**20), there)


def test_server_must_be_who_the_address_says(
    certificates: Certificates, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with web_peer(store_all, context=server_side(certificates)) as peer:
        url = f"https://127.0.0.2:{peer.port}"
        monkeypatch.setattr(
            socket, "create_connection", to_loopback(socket.create_connection, peer.port)
        )
        with pytest.raises(PeerRefusedError, match="another name"):
            stow.store(paths, WebTarget("pacs", url, ca=certificates.ca.certificate))


def test_plain_and_tls_that_meet_each_other_are_told(
    certificates: Certificates, paths: list[Path]
) -> None:
    with web_peer(store_all) as peer:
        url = f"https://127.0.0.1:{peer.port}"
        there = WebTarget("pacs", url, ca=certificates.ca.certificate, limits=PATIENT)
        with pytest.raises(PeerUnreachableError, match="http://"):
            stow.store(paths, there)
    with web_peer(store_all, context=server_side(certificates)) as peer:
        there = WebTarget("pacs", f"http://127.0.0.1:{peer.port}", limits=PATIENT)
        with pytest.raises((PeerRefusedError, PeerUnreachableError)):
            stow.store(paths, there)


def test_silent_tls_server_ends_at_the_limit(certificates: Certificates, paths: list[Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        there = WebTarget("pacs", url, ca=certificates.ca.certificate, limits=QUICK)
        with pytest.raises(PeerUnreachableError, match=r"in time \(1 s\)"):
            stow.store(paths, there)


def test_missing_ca_is_a_sentence_and_heals_by_itself(
    certificates: Certificates, paths: list[Path], tmp_path: Path
) -> None:
    ca = tmp_path / "ca.pem"
    with web_peer(store_all, context=server_side(certificates)) as peer:
        there = target(peer, ca=ca)
        with pytest.raises(PeerUnreachableError, match="ca.pem.*not there"):
            stow.store(paths, there)
        ca.write_bytes(certificates.ca.certificate.read_bytes())
        assert all(answer.stored for answer in stow.store(paths, there))


def to_loopback(connect: Callable[..., socket.socket], port: int) -> Callable[..., socket.socket]:
    """Every address leads to this port, as a name server that was lied to would have it."""
    return lambda _, **options: connect(("127.0.0.1", port), **options)
