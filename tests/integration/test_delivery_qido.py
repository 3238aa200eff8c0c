"""Reading back over the web: until all is told, and never nothing for an error."""

from __future__ import annotations

import json

import pytest

from secondread.delivery import qido
from secondread.errors import PeerRefusedError, PeerUnreachableError
from tests.web_peers import (
    JSON,
    Asked,
    Conversation,
    target,
    web_peer,
)


def page(uids: list[str]) -> bytes:
    return json.dumps([{"00080018": {"vr": "UI", "Value": [uid]}} for uid in uids]).encode()


@pytest.mark.parametrize("knows_pages", [True, False])
def test_read_back_goes_on_until_all_is_told(knows_pages: bool) -> None:
    def tell(talk: Conversation, asked: Asked) -> None:
        offset = int(asked.path.rpartition("offset=")[2])
        talk.say(200, page(uids[offset : offset + 3] if knows_pages else uids), Content_Type=JSON)

    uids = [f"1.2.{number}" for number in range(8)]
    with web_peer(tell) as peer:
        assert qido.find_instances(target(peer), "1.2", "1.3") == set(uids)
    assert peer.asked[0].path.startswith("/dicom-web/studies/1.2/series/1.3/instances?")
    assert len(peer.asked) == (4 if knows_pages else 2)


@pytest.mark.parametrize("served", [200, 204, 404])
def test_study_that_is_not_known_is_told_from_a_service_that_is_not_there(served: int) -> None:
    def unknown(talk: Conversation, asked: Asked) -> None:
        talk.say(404 if "/series/" in asked.path else served)

    with web_peer(unknown) as peer:
        if served == 404:
            with pytest.raises(PeerRefusedError, match="correct 'url'"):
                qido.find_instances(target(peer), "1.2", "1.3")
        else:
            assert qido.find_instances(target(peer), "1.2", "1.3") == frozenset()


@pytest.mark.parametrize(
    ("status", "body", "kind", "error"),
    [
        (200, b"[{", JSON, PeerUnreachableError),
        (200, b"<html/>", "text/html", PeerRefusedError),
        (503, b"", JSON, PeerUnreachableError),
        (403, b"", JSON, PeerRefusedError),
        (401, b"", JSON, PeerRefusedError),
    ],
)
def test_read_back_that_fails_is_not_taken_for_nothing(
    status: int, body: bytes, kind: str, error: type[Exception]
) -> None:
    answering = web_peer(lambda talk, _: talk.say(status, body, Content_Type=kind))
    with answering as peer, pytest.raises(error):
        qido.find_instances(target(peer), "1.2", "1.3")
