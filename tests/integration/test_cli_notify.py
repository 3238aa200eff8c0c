"""``notify``: how telling stands, and a trial of each kind of listener."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from secondread.cli.main import execute
from secondread.domain.telling import Event, TellingState
from secondread.errors import EXIT_NO_INPUT, EXIT_OK, EXIT_UNAVAILABLE
from secondread.store import Ledger
from secondread.store.tellings import Message
from tests.integration.test_telling_webhook import is_genuine
from tests.web_peers import Asked, Conversation, web_peer

SECRET = b"a secret that both sides know"
Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A configuration with a webhook and a taker of notices at these ports."""

    def write(web_port: int = 1, port: int = 1) -> str:
        (tmp_path / "ris.secret").write_bytes(SECRET)
        path = tmp_path / "secondread.toml"
        path.write_text(
            '[node]\ndata_dir = "data"\n'
            '[[notify]]\nname = "ris"\n[notify.web]\nsecret_file = "ris.secret"\n'
            f'url = "http://127.0.0.1:{web_port}/hooks/T0PSECRET"\n'
            '[[notify]]\nname = "flow"\nkind = "availability"\nae_title = "FLOW"\n'
            f'host = "127.0.0.1"\nport = {port}\n'
        )
        return str(path)

    return write


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_list_tells_what_waits_and_why(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write()
    assert execute(["notify", "list", "--config", config]) == EXIT_OK
    assert "availability" in capsys.readouterr().out
    ledger = Ledger.open(tmp_path / "data")
    with ledger.begin() as change:
        for number in range(3):
            content = {"event": "destination-up", "at": 1.0}
            new = Message(Event.DESTINATION_UP, f"up/{number}", None, None, content)
            change.tellings.add("ris", new, 1.0)
        one = change.tellings.claim("ris", "tell:ris", 1.0, 1.0)
        assert one is not None
        change.tellings.close(one, TellingState.DEAD, "It wants to be told no more.")
    ledger.close()
    assert execute(["notify", "list", "--config", config, "--json"]) == EXIT_OK
    ris, flow = document(capsys)["listeners"]  # type: ignore[misc]
    assert (ris["ready"], ris["told"], ris["dead"]) == (2, 0, 1)
    assert ris["reason"] == "It wants to be told no more."
    assert flow["events"] == ["job-safe"]
    assert "test" not in ris["events"]


def test_a_webhook_is_tried_with_a_signed_message(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    def check(talk: Conversation, asked: Asked) -> None:
        talk.say(204 if is_genuine(asked.headers, asked.body, SECRET) else 401)

    with web_peer(check) as peer:
        config = write(peer.port)
        assert execute(["notify", "test", "ris", "--config", config, "--json"]) == EXIT_OK
        assert execute(["notify", "test", "ris", "--config", config]) == EXIT_OK
    first, second = (json.loads(asked.body) for asked in peer.asked)
    assert (first["event"], "study" in first, "job" in first) == ("test", False, False)
    assert first["id"] != second["id"]
    assert "T0PSECRET" not in capsys.readouterr().out


def test_a_webhook_that_is_not_there_fails_in_a_sentence(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write()
    asked = ["notify", "test", "ris", "--config", config]
    assert execute([*asked, "--json"]) == EXIT_UNAVAILABLE
    told = document(capsys)
    assert told["ok"] is False
    assert execute(asked) == EXIT_UNAVAILABLE
    assert str(told["sentence"])[:20] in capsys.readouterr().err


def test_a_taker_of_notices_is_tried_with_an_echo(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    entity = AE("FLOW")
    entity.add_supported_context(Verification)
    server = entity.start_server(("127.0.0.1", 0), block=False)
    try:
        config = write(port=server.server_address[1])
        assert execute(["notify", "test", "flow", "--config", config, "--json"]) == EXIT_OK
    finally:
        server.shutdown()
    assert document(capsys)["ok"] is True


def test_a_listener_that_nobody_knows_is_told_with_those_there_are(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["notify", "test", "rsi", "--config", write()]) == EXIT_NO_INPUT
    assert "'ris', 'flow'" in capsys.readouterr().err
