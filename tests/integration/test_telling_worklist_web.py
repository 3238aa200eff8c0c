"""A worklist over the web: refusals, answers that are none, and TLS."""

from __future__ import annotations

import threading

import pytest

from secondread.delivery.telling.worklist.performer import (
    claim,
    complete,
    find_work,
)
from secondread.delivery.telling.worklist.web import WebWorklist
from secondread.delivery.telling.worklist.workitem import (
    Criteria,
)
from secondread.delivery.web_wording import PeerBusyError
from secondread.domain.web_target import WebTarget
from secondread.errors import PeerRefusedError, PeerUnreachableError
from tests.certificates import Certificates
from tests.echo_peers import LIVENESS_S, server_side
from tests.telling_peers import (
    COMPLETED,
    DONE,
    ITEM,
    OURS,
    SEGMENT,
    Manager,
    scheduled,
    uids,
    web_manager,
)
from tests.web_peers import QUICK, Asked, Conversation, target, web_peer


@pytest.fixture
def manager() -> Manager:
    found = Manager()
    found.add(scheduled(ITEM))
    return found


def test_web_with_mutual_tls(manager: Manager, certificates: Certificates) -> None:
    context = server_side(certificates, certificates.server)
    with web_manager(manager, context=context) as peer:
        there = WebTarget("ris", peer.url, tls=certificates.settings(), limits=QUICK)
        worklist = WebWorklist(there)
        assert uids(worklist, Criteria((SEGMENT,))) == [ITEM]
        claim(worklist, OURS)
        complete(worklist, OURS, DONE)
    assert manager.state(ITEM) == COMPLETED


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (302, PeerRefusedError, "follows nobody"),
        (401, PeerRefusedError, "wants to know who calls"),
        (403, PeerRefusedError, "right to perform work"),
        (404, PeerRefusedError, "'/workitems' begins"),
        (405, PeerRefusedError, "switch UPS-RS on"),
        (413, PeerRefusedError, "ask for fewer"),
        (415, PeerRefusedError, "DICOM JSON"),
        (429, PeerBusyError, "12 s"),
        (500, PeerUnreachableError, "something broke"),
        (503, PeerBusyError, "12 s"),
    ],
)
def test_web_refusals_are_told_apart(status: int, error: type[Exception], words: str) -> None:
    def respond(talk: Conversation, _: Asked) -> None:
        more = {"Retry_After": "12"} if status in (429, 503) else {}
        talk.say(status, **more)

    with web_peer(respond) as peer, pytest.raises(error, match=words) as raised:
        find_work(WebWorklist(target(peer)), Criteria((SEGMENT,)))
    assert type(raised.value) is error
    assert "STOW" not in str(raised.value)


@pytest.mark.parametrize("body", [b"<html>Welcome</html>", b'[{"00741000":'])
def test_web_answers_that_are_none(body: bytes) -> None:
    def respond(talk: Conversation, _: Asked) -> None:
        talk.say(200, body, Content_Type="application/dicom+json")

    with web_peer(respond) as peer, pytest.raises(PeerUnreachableError, match="cannot be read"):
        find_work(WebWorklist(target(peer)), Criteria())


def test_web_that_hangs_is_given_up() -> None:
    over = threading.Event()
    with web_peer(lambda *_: over.wait(LIVENESS_S)) as peer:
        with pytest.raises(PeerUnreachableError, match="did not answer in time"):
            find_work(WebWorklist(target(peer, QUICK)), Criteria())
        over.set()


def test_a_data_set_goes_out_bare_where_the_server_wants_it_so() -> None:
    with web_peer(lambda talk, _: talk.say(200)) as peer:
        claim(WebWorklist(target(peer), in_array=False), OURS)
        claim(WebWorklist(target(peer)), OURS)
    bare, array = (asked.body for asked in peer.asked)
    assert b"[" + bare + b"]" == array
