"""Webhooks: receivers that check, refuse, hang and break off, with TLS and without."""

from __future__ import annotations

import inspect
import json
import re
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from secondread.access.tls import server_context
from secondread.delivery.telling.event import Announcement, Job
from secondread.delivery.telling.signature import REPLAY_WINDOW_S
from secondread.delivery.telling.webhook import Webhook, post
from secondread.delivery.web_wording import PeerBusyError
from secondread.domain.telling import Event
from secondread.domain.web_target import Credentials, Scheme, WebTarget
from secondread.errors import PeerRefusedError, PeerUnreachableError
from tests.certificates import Certificates
from tests.conftest import REPOSITORY
from tests.echo_peers import LIVENESS_S
from tests.web_peers import PATIENT, QUICK, Asked, Conversation, WebPeer, server_side, web_peer

SECRET = b"a secret that both sides know"
STUDY = "1.2.826.0.1.3680043.8.498.1"
EVENT = Announcement(
    "job-delivered/99",
    Event.JOB_DELIVERED,
    1_700_000_000.0,
    study_number=5,
    study_key="0123456789ab",
    job=Job(17, "delivered", "Kopf", "brain-mr", "1.2.0"),
    destinations=("pacs",),
    study_instance_uid=STUDY,
    result_uids=(f"{STUDY}.9",),
)
PATH = "/hooks/T0PSECRET"


def _recipe() -> Callable[..., bool]:
    """The check as the documentation gives it, which knows nothing of our code."""
    text = (REPOSITORY / "docs" / "telling.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    found: dict[str, Any] = {}
    exec(code, found)
    return found["is_genuine"]


is_genuine = _recipe()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "webhook.secret"
    path.write_bytes(SECRET + b"\n")
    return path


def webhook(peer: WebPeer, secret: Path, path: str = PATH, **more: Any) -> Webhook:
    with_uids = more.pop("with_uids", False)
    url = f"{peer.scheme}://127.0.0.1:{peer.port}{path}"
    there = WebTarget("ris", url, **{"limits": PATIENT, **more})
    return Webhook(there, secret, with_uids)


def check(talk: Conversation, asked: Asked) -> None:
    """A receiver that takes what is genuine."""
    talk.say(204 if is_genuine(asked.headers, asked.body, SECRET) else 401)


def test_receiver_finds_the_signature_good(secret: Path) -> None:
    with web_peer(check) as peer:
        post(webhook(peer, secret), EVENT, time.time())
        post(webhook(peer, secret, with_uids=True), EVENT, time.time())
    plain, full = peer.asked
    assert (plain.method, plain.path) == ("POST", PATH)
    assert plain.headers["Content-Type"] == "application/json"
    assert plain.headers["Idempotency-Key"] == json.loads(plain.body)["id"] == EVENT.id
    assert STUDY.encode() not in plain.body
    assert json.loads(full.body)["result_sop_instance_uids"] == [f"{STUDY}.9"]
    assert STUDY not in str(full.headers)


def test_receiver_finds_a_forgery_out(secret: Path) -> None:
    with web_peer(lambda talk, _: talk.say(200)) as peer:
        post(webhook(peer, secret), EVENT, time.time())
    (asked,) = peer.asked
    assert is_genuine(asked.headers, asked.body, SECRET)
    assert not is_genuine(asked.headers, asked.body.replace(b"delivered", b"discarded"), SECRET)
    assert not is_genuine(asked.headers, asked.body, b"another secret of that length")
    later = {**asked.headers, "SecondRead-Timestamp": str(int(time.time()) + 1)}
    assert not is_genuine(later, asked.body, SECRET)
    assert not is_genuine({}, asked.body, SECRET)


@pytest.mark.parametrize("ago_s", [301, -302])
def test_recorded_request_is_too_old(secret: Path, ago_s: int) -> None:
    with web_peer(check) as peer, pytest.raises(PeerRefusedError, match="clocks"):
        post(webhook(peer, secret), EVENT, time.time() - ago_s)


def test_window_of_the_recipe_is_the_one_that_is_promised() -> None:
    assert inspect.signature(is_genuine).parameters["window_s"].default == REPLAY_WINDOW_S


def test_wrong_secret_is_for_a_person(secret: Path) -> None:
    secret.write_bytes(b"one that nobody else knows")
    with web_peer(check) as peer, pytest.raises(PeerRefusedError, match="signing secret"):
        post(webhook(peer, secret), EVENT, time.time())


def test_secret_is_read_anew_for_each_try(secret: Path) -> None:
    secret.unlink()
    with web_peer(check) as peer:
        with pytest.raises(PeerUnreachableError, match="goes on by itself"):
            post(webhook(peer, secret), EVENT, time.time())
        assert peer.asked == []
        secret.write_bytes(SECRET)
        post(webhook(peer, secret), EVENT, time.time())
    assert len(peer.asked) == 1


def test_retries_have_one_key_one_document_and_signatures_of_their_own(secret: Path) -> None:
    def lose(talk: Conversation, _: Asked) -> None:
        if len(peer.asked) == 1:
            talk.hang_up()
        else:
            talk.say(200)

    with web_peer(lose) as peer:
        with pytest.raises(PeerUnreachableError, match="connection broke"):
            post(webhook(peer, secret), EVENT, time.time() - 10)
        post(webhook(peer, secret), EVENT, time.time())
    first, second = peer.asked
    assert first.body == second.body
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert first.headers["SecondRead-Signature"] != second.headers["SecondRead-Signature"]


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (302, PeerRefusedError, "sends on"),
        (400, PeerRefusedError, "does not understand the document"),
        (401, PeerRefusedError, "signature"),
        (403, PeerRefusedError, "signature"),
        (404, PeerRefusedError, "correct 'url'"),
        (405, PeerRefusedError, "correct 'url'"),
        (408, PeerUnreachableError, "took too long"),
        (409, PeerRefusedError, "idempotency key"),
        (410, PeerRefusedError, "told no more"),
        (413, PeerRefusedError, "raise its limit"),
        (415, PeerRefusedError, "JSON"),
        (422, PeerRefusedError, "does not understand"),
        (425, PeerUnreachableError, "not ready"),
        (429, PeerUnreachableError, "too often"),
        (500, PeerUnreachableError, "something broke"),
        (502, PeerUnreachableError, "proxy before it"),
        (503, PeerUnreachableError, "overloaded"),
        (599, PeerUnreachableError, "see its log"),
    ],
)
def test_answers_are_told_apart(
    secret: Path, status: int, error: type[Exception], words: str
) -> None:
    answering = web_peer(lambda talk, _: talk.say(status, SECRET))
    with answering as peer, pytest.raises(error, match=words) as raised:
        post(webhook(peer, secret), EVENT, time.time())
    assert type(raised.value) is error
    said = str(raised.value)
    assert str(status) in said
    assert not any(word in said for word in ("T0PSECRET", SECRET.decode(), STUDY, "STOW", "QIDO"))


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_every_success_is_a_receipt(secret: Path, status: int) -> None:
    with web_peer(lambda talk, _: talk.say(status)) as peer:
        post(webhook(peer, secret), EVENT, time.time())


@pytest.mark.parametrize("status", [408, 429, 503])
def test_receiver_says_when_to_come_again(secret: Path, status: int) -> None:
    answering = web_peer(lambda talk, _: talk.say(status, Retry_After="90"))
    with answering as peer, pytest.raises(PeerBusyError, match="90 s") as raised:
        post(webhook(peer, secret), EVENT, time.time())
    assert raised.value.retry_after_s == 90.0
    assert raised.value.retryable


def test_receiver_that_hangs_is_given_up(secret: Path) -> None:
    over, started = threading.Event(), time.monotonic()
    with web_peer(lambda *_: bool(over.wait(LIVENESS_S))) as peer:
        with pytest.raises(PeerUnreachableError, match="did not answer in time"):
            post(webhook(peer, secret, limits=QUICK), EVENT, time.time())
        assert time.monotonic() - started < LIVENESS_S
        over.set()


def test_receiver_that_drips_is_given_up(secret: Path) -> None:
    over = threading.Event()

    def drip(talk: Conversation, _: Asked) -> None:
        for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000:
            talk.wfile.write(bytes([byte]))
            if over.wait(0.05):
                return

    with web_peer(drip) as peer:
        limits = replace(QUICK, whole_s=1.0)
        with pytest.raises(PeerUnreachableError, match="did not answer in time"):
            post(webhook(peer, secret, limits=limits), EVENT, time.time())
        over.set()


def test_nobody_there(secret: Path, free_port: Callable[[], int]) -> None:
    peer = WebPeer(free_port(), "http")
    with pytest.raises(PeerUnreachableError, match="refuses connections") as raised:
        post(webhook(peer, secret), EVENT, time.time())
    assert "T0PSECRET" not in str(raised.value)


@pytest.mark.parametrize(
    ("path", "asked"),
    [("", "/"), ("/", "/"), ("/hook", "/hook"), ("/hook/", "/hook/"), ("/a%20b", "/a%20b")],
)
def test_path_is_asked_for_as_it_was_entered(secret: Path, path: str, asked: str) -> None:
    with web_peer(check) as peer:
        post(webhook(peer, secret, path), EVENT, time.time())
    assert peer.asked[0].path == asked


def test_bearer_token_goes_besides_the_signature(secret: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("abc.def\n")
    with web_peer(check) as peer:
        credentials = Credentials(Scheme.BEARER, file=token)
        post(webhook(peer, secret, credentials=credentials), EVENT, time.time())
    assert peer.asked[0].headers["Authorization"] == "Bearer abc.def"


def test_mutual_tls(secret: Path, certificates: Certificates) -> None:
    own = certificates.settings()
    with web_peer(check, context=server_context(own)) as peer:
        post(webhook(peer, secret, tls=own), EVENT, time.time())
        with pytest.raises((PeerRefusedError, PeerUnreachableError)):
            post(webhook(peer, secret, ca=certificates.ca.certificate), EVENT, time.time())
    assert len(peer.asked) == 1


def test_receiver_that_is_not_trusted_gets_nothing(
    secret: Path, certificates: Certificates
) -> None:
    context: ssl.SSLContext = server_side(certificates)
    with web_peer(check, context=context) as peer:
        with pytest.raises(PeerRefusedError, match="not signed by a CA"):
            post(webhook(peer, secret, ca=certificates.other_ca.certificate), EVENT, time.time())
        post(webhook(peer, secret, ca=certificates.ca.certificate), EVENT, time.time())
    assert len(peer.asked) == 1
