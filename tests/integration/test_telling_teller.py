"""The teller: what it draws from the trail, whom it tells, and what a listener can do to it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from secondread.delivery import teller as teller_module
from secondread.delivery.backoff import delay_s
from secondread.delivery.teller import Identity, Teller
from secondread.domain.destination import Destination, Way
from secondread.domain.line import LineState
from secondread.domain.states import StudyState
from secondread.domain.telling import Event, Listener, ListenerKind, Telling, TellingState
from secondread.domain.web_target import WebTarget
from tests.acceptance.intake_node import LEDGER, PEERS, IntakeNode, Place
from tests.integration.test_telling_webhook import is_genuine
from tests.proof_cases import NODE, Node, open_node
from tests.telling_peers import notice_taker
from tests.web_peers import PATIENT, QUICK, Asked, Conversation, WebPeer, web_peer

SECRET = b"a secret that both sides know"
PLANTED = "Doe^Jane"
LONG_S = 100_000.0
LIVENESS_S = 60.0


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with open_node(tmp_path / "data") as found:
        found.add_pacs(1)
        yield found


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "webhook.secret"
    path.write_bytes(SECRET + b"\n")
    return path


def hook(peer: WebPeer, secret: Path, name: str = "ris", **more: Any) -> Listener:
    limits = more.pop("limits", PATIENT)
    target = WebTarget(name, f"http://127.0.0.1:{peer.port}/hook", limits=limits)
    values = {"events": frozenset(Event), "web": target, "secret_file": secret, **more}
    return Listener(name=name, kind=ListenerKind.WEBHOOK, **values)


def availability(port: int, ae_title: str = "MANAGER", **more: Any) -> Listener:
    call = Destination(
        name="flow", ae_title=ae_title, host="127.0.0.1", port=port, calling_ae_title=NODE
    )
    events = frozenset({Event.JOB_SAFE})
    return Listener(name="flow", kind=ListenerKind.AVAILABILITY, events=events, call=call, **more)


def new_teller(node: Node, *listeners: Listener) -> Teller:
    """A teller that remembers nothing, as after a restart; its listeners are introduced."""
    identity = Identity("", b"s" * 32)
    made = Teller(node.ledger, node.spool, listeners, lambda: node.places, node.clock, identity)
    for one in listeners:
        made.draw(one)
    return made


def tell_all(made: Teller, listener: Listener) -> None:
    while made.draw(listener) or made.tell(listener):
        pass


def deliver(node: Node, count: int = 2, name: str = "pacs", *, is_safe: bool = True) -> list[str]:
    """A job whose objects come to their end; their UIDs."""
    uids = node.add_objects(count, name)
    with node.ledger.begin() as change:
        claimed = change.lines.claim(name, "deliver", node.clock.now(), 60.0, 1000)
    node.mark_sent([one.item for one in claimed])
    if is_safe:
        keep_safe(node, name)
    return uids


def keep_safe(node: Node, name: str = "pacs") -> None:
    items = [one for one in node.items(name) if one.state == "sent"]
    with node.ledger.begin() as change:
        change.outbox.keep_all_safe(items, "commitment", node.clock.now(), "Safe.")


def turn_line(node: Node, state: LineState, name: str = "pacs") -> None:
    with node.ledger.begin() as change:
        line = change.lines.get(name)
        changed = {"state": state, "since": node.clock.now()}
        change.lines.keep(type(line)(**{**_values(line), **changed}), "The line has changed.")


def _values(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def messages(node: Node, name: str = "ris") -> list[Telling]:
    with node.ledger.read() as view:
        return [*reversed(view.tellings.of_target(name))]


def check(talk: Conversation, asked: Asked) -> None:
    """A receiver that takes what is genuine."""
    talk.say(204 if is_genuine(asked.headers, asked.body, SECRET, 10**10) else 401)


def told(peer: WebPeer) -> list[dict[str, Any]]:
    return [json.loads(asked.body) for asked in peer.asked]


def keys(peer: WebPeer) -> list[str]:
    return [asked.headers["Idempotency-Key"] for asked in peer.asked]


# --- webhooks ---


def test_each_event_is_told_once_and_signed(node: Node, secret: Path) -> None:
    with web_peer(check) as peer:
        listener = hook(peer, secret)
        made = new_teller(node, listener)
        deliver(node, is_safe=False)
        tell_all(made, listener)
        assert [one["event"] for one in told(peer)] == ["job-delivered", "study-done"]
        keep_safe(node)
        turn_line(node, LineState.OPEN)
        turn_line(node, LineState.CLOSED)
        tell_all(made, listener)
        tell_all(new_teller(node, listener), listener)
        events = [one["event"] for one in told(peer)]
    assert events[2:] == ["job-safe", "destination-down", "destination-up"]
    assert len(set(keys(peer))) == 5
    assert {one.state for one in messages(node)} == {TellingState.TOLD}
    job = told(peer)[2]
    assert job["destinations"] == ["pacs"]
    assert (job["job"]["number"], job["job"]["state"], job["job"]["rule"]) == (
        1,
        "delivered",
        "heads",
    )
    assert {*job["times"]} == {"received", "planned"}


def test_a_listener_that_is_new_is_told_nothing_of_before(node: Node, secret: Path) -> None:
    deliver(node)
    with web_peer(check) as peer:
        listener = hook(peer, secret)
        tell_all(new_teller(node, listener), listener)
        assert peer.asked == []


def test_only_what_a_listener_asked_for_is_told(node: Node, secret: Path) -> None:
    node.add_pacs(2, "other")
    with web_peer(check) as peer:
        listener = hook(
            peer, secret, events=frozenset({Event.JOB_SAFE}), destinations=frozenset({"other"})
        )
        made = new_teller(node, listener)
        deliver(node)
        deliver(node, name="other")
        tell_all(made, listener)
    assert [(one["event"], one["destinations"]) for one in told(peer)] == [("job-safe", ["other"])]


def test_a_job_is_safe_when_its_last_object_is(node: Node, secret: Path) -> None:
    with web_peer(check) as peer:
        listener = hook(peer, secret, events=frozenset({Event.JOB_SAFE}))
        made = new_teller(node, listener)
        deliver(node, count=3, is_safe=False)
        for count in range(3):
            tell_all(made, listener)
            assert peer.asked == []
            with node.ledger.begin() as change:
                change.outbox.keep_safe(node.items()[count], "commitment", 1.0, "Safe.")
        tell_all(made, listener)
        assert len(peer.asked) == 1


def test_the_trail_is_not_read_again_for_what_is_of_no_interest(node: Node, secret: Path) -> None:
    with web_peer(check) as peer:
        listener = hook(peer, secret, events=frozenset({Event.DESTINATION_DOWN}))
        made = new_teller(node, listener)
        deliver(node, count=1200)
        made.draw(listener)
        with node.ledger.read() as view:
            assert view.tellings.unread_rows("ris") == 0


def test_who_is_down_is_told_later_with_the_same_key(node: Node, secret: Path) -> None:
    answers = [503, 503, 204, 204]

    def respond(talk: Conversation, _: Asked) -> None:
        talk.say(answers.pop(0))

    with web_peer(respond) as peer:
        listener = hook(peer, secret, events=frozenset({Event.JOB_DELIVERED}))
        made = new_teller(node, listener)
        deliver(node)
        deliver(node)
        tell_all(made, listener)
        assert len(peer.asked) == 1, "it was asked again at once, or by the second message"
        one, other = messages(node)
        assert (one.attempts, one.state, other.attempts) == (1, TellingState.READY, 0)
        assert one.next_at > node.clock.now()
        assert "503" in one.reason
        for _ in range(3):
            node.clock.at += 2 * delay_s(10)
            tell_all(made, listener)
    assert len(peer.asked) == 4
    assert len(set(keys(peer))) == 2
    assert len({asked.body for asked in peer.asked}) == 2
    assert {one.state for one in messages(node)} == {TellingState.TOLD}


def test_nobody_there_costs_a_message_nothing_but_tries(node: Node, secret: Path) -> None:
    gone = WebPeer(1, "http")
    listener = hook(gone, secret, events=frozenset({Event.JOB_DELIVERED}), attempts_max=3)
    made = new_teller(node, listener)
    deliver(node)
    for _ in range(4):
        tell_all(made, listener)
        node.clock.at += LONG_S
    (one,) = messages(node)
    assert one.state is TellingState.DEAD


def test_a_final_refusal_is_for_a_person_and_stands_in_the_trail(node: Node, secret: Path) -> None:
    with web_peer(lambda talk, _: talk.say(410)) as peer:
        listener = hook(peer, secret, events=frozenset({Event.JOB_DELIVERED}))
        made = new_teller(node, listener)
        deliver(node)
        tell_all(made, listener)
        node.clock.at += LONG_S
        tell_all(made, listener)
        assert len(peer.asked) == 1
    (one,) = messages(node)
    assert one.state is TellingState.DEAD
    with node.ledger.read() as view:
        (row,) = view.trail.of_event("telling")
    assert "wants to be told no more" in row.text
    assert (row.job_id, row.detail) == (1, {"listener": "ris", "event": "job-delivered"})


def test_one_message_that_a_listener_cannot_take_keeps_no_other_back(
    node: Node, secret: Path
) -> None:
    def respond(talk: Conversation, asked: Asked) -> None:
        talk.say(500 if json.loads(asked.body)["job"]["number"] == 1 else 204)

    with web_peer(respond) as peer:
        listener = hook(peer, secret, events=frozenset({Event.JOB_DELIVERED}))
        made = new_teller(node, listener)
        for _ in range(3):
            deliver(node)
        for _ in range(3):
            tell_all(made, listener)
            node.clock.at += 3.0
    states = [one.state for one in messages(node)]
    assert states == [TellingState.READY, TellingState.TOLD, TellingState.TOLD]


def test_nothing_of_a_patient_and_no_uid_gets_out(node: Node, secret: Path) -> None:
    with web_peer(check) as peer:
        listener = hook(peer, secret)
        made = new_teller(node, listener)
        uids = deliver(node)
        with node.ledger.begin() as change:
            study = change.studies.get(1)
            change.studies.move(study, StudyState.HELD, 1.0, f"Of {PLANTED}.")
        tell_all(made, listener)
        bodies = b"".join(asked.body for asked in peer.asked)
    assert "study-held" in [one["event"] for one in told(peer)]
    for word in (PLANTED, node.study().study_instance_uid, *uids):
        assert word.encode() not in bodies
    with node.ledger.read() as view:
        assert PLANTED not in json.dumps([dict(one.content) for one in messages(node)])
        assert view.tellings.counts()["ris"][TellingState.TOLD] == 4


def test_who_is_told_uids_gets_them(node: Node, secret: Path) -> None:
    with web_peer(check) as peer:
        listener = hook(peer, secret, with_uids=True, events=frozenset({Event.JOB_SAFE}))
        made = new_teller(node, listener)
        uids = deliver(node)
        tell_all(made, listener)
    (one,) = told(peer)
    assert one["study_instance_uid"] == node.study().study_instance_uid
    assert one["result_sop_instance_uids"] == uids


def test_who_hangs_keeps_nobody_else_waiting(node: Node, secret: Path) -> None:
    over = threading.Event()

    def hang(talk: Conversation, _: Asked) -> None:
        over.wait(LIVENESS_S)
        talk.hang_up()

    with web_peer(hang) as deaf, web_peer(check) as peer:
        quiet = hook(deaf, secret, "deaf", limits=QUICK)
        made = new_teller(node, quiet, hook(peer, secret))
        stop = threading.Event()
        thread = threading.Thread(target=made.run, args=(stop,))
        thread.start()
        try:
            deliver(node)
            wait_until(lambda: len(deaf.asked) > 0)
            deliver(node)
            wait_until(lambda: len(peer.asked) == 6)
        finally:
            over.set()
            stop.set()
            thread.join(LIVENESS_S)
        assert not thread.is_alive()


def wait_until(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + LIVENESS_S
    while not happened():
        assert time.monotonic() < until, "It did not happen."
        time.sleep(0.02)


# --- a node that is killed ---


@contextmanager
def deliver_role(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "secondread", "serve", "--role", "deliver"]
    with (config.parent / "deliver.log").open("ab") as out:
        process = subprocess.Popen([*command, "--config", str(config)], stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(LIVENESS_S)


def test_a_node_that_is_killed_while_it_tells_tells_the_same_again(
    node: Node, secret: Path, tmp_path: Path
) -> None:
    """Killed after the receiver has it and before the answer: the key tells that it is the same."""
    process: list[subprocess.Popen[bytes]] = []

    def respond(talk: Conversation, asked: Asked) -> None:
        if len(peer.asked) == 1:
            os.kill(process[0].pid, signal.SIGKILL)
            talk.hang_up()
            return
        check(talk, asked)

    with web_peer(respond) as peer:
        config = tmp_path / "secondread.toml"
        config.write_text(
            f'[node]\ndata_dir = "{node.folder}"\n'
            '[[notify]]\nname = "ris"\nevents = ["job-safe", "job-delivered"]\n[notify.web]\n'
            f'url = "http://127.0.0.1:{peer.port}/hook"\nsecret_file = "{secret.name}"\n'
        )
        introduced = hook(peer, secret)
        new_teller(node, introduced)
        deliver(node)
        with deliver_role(config) as first:
            process.append(first)
            assert first.wait(LIVENESS_S) == -signal.SIGKILL
        assert {one.state for one in messages(node)} == {TellingState.READY}
        with deliver_role(config):
            wait_until(lambda: {one.state for one in messages(node)} == {TellingState.TOLD})
    assert [one["event"] for one in told(peer)] == ["job-delivered", "job-delivered", "job-safe"]
    assert keys(peer)[0] == keys(peer)[1]
    assert peer.asked[0].body == peer.asked[1].body
    assert "T0P" not in (tmp_path / "deliver.log").read_text()


def test_a_restart_between_drawing_and_telling_neither_loses_nor_doubles(
    node: Node, secret: Path
) -> None:
    with web_peer(check) as peer:
        listener = hook(peer, secret, events=frozenset({Event.JOB_SAFE}))
        made = new_teller(node, listener)
        deliver(node)
        made.draw(listener)
        again = new_teller(node, listener)
        again.draw(listener)
        tell_all(again, listener)
        tell_all(new_teller(node, listener), listener)
    assert len(peer.asked) == 1


# --- notices of availability ---


def test_our_own_port_is_told_where_results_can_be_had(node: Node, tmp_path: Path) -> None:
    peer: Mapping[str, Any] = {
        "name": "other",
        "ae_title": NODE,
        "addresses": ["127.0.0.0/8"],
        "quiet_s": 3600.0,
        "may": ["echo", "notices"],
    }
    folder = tmp_path / "there"
    folder.mkdir()
    there = IntakeNode(Place(folder, folder / "data", peers=(*PEERS, peer)))
    there.start()
    try:
        listener = availability(there.port, "SECONDREAD")
        made = new_teller(node, listener)
        uids = deliver(node)
        tell_all(made, listener)
        with closing(sqlite3.connect(there.data_dir / LEDGER, timeout=10)) as ledger:
            ((status, objects),) = ledger.execute("SELECT status, objects FROM notice").fetchall()
    finally:
        there.stop()
    assert status == "ONLINE"
    assert all(uid in objects for uid in uids)


def test_many_objects_are_told_in_several_notices_that_a_retry_names_alike(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teller_module, "OBJECTS_MAX", 2)
    taken: list[tuple[str, list[str], str]] = []
    answers = [0x0000, 0x0110, 0x0111, 0x0000, 0x0000]

    def take(uid: str, content: Dataset) -> int:
        items = [item for series in content.ReferencedSeriesSequence for item in series[0x00081199]]
        (title,) = {str(item.RetrieveAETitle) for item in items}
        taken.append((uid, [str(item.ReferencedSOPInstanceUID) for item in items], title))
        return answers.pop(0)

    with notice_taker(take) as port:
        listener = availability(port)
        made = new_teller(node, listener)
        uids = deliver(node, count=5)
        tell_all(made, listener)
        assert len(taken) == 2
        node.clock.at += LONG_S
        tell_all(made, listener)
    assert [uid for uid, _, _ in taken[:2]] == [uid for uid, _, _ in taken[2:4]]
    assert [uid for _, objects, _ in taken[2:] for uid in objects] == uids
    assert {title for *_, title in taken} == {"PACS"}
    assert [one.state for one in messages(node, "flow")] == [TellingState.TOLD]


def test_a_destination_without_an_ae_title_is_no_news_for_notices(node: Node) -> None:
    node.places["web"] = Destination(name="web", way=Way.STOW)
    listener = availability(1)
    made = new_teller(node, listener)
    deliver(node, name="web")
    tell_all(made, listener)
    assert messages(node, "flow") == []


def test_results_that_are_gone_from_here_are_left_to_a_person(node: Node) -> None:
    with notice_taker(lambda *_: 0) as port:
        listener = availability(port)
        made = new_teller(node, listener)
        for uid in deliver(node):
            (node.folder / f"{uid}.dcm").unlink()
        tell_all(made, listener)
    (one,) = messages(node, "flow")
    assert one.state is TellingState.DEAD
    assert "not on disk any more" in one.reason
