"""``destination``: how deliveries stand, and what a person can do about them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from secondread.cli.main import execute
from secondread.delivery.numbers import METRICS_FILE, Reporter, collect_numbers
from secondread.domain.clock import SystemClock
from secondread.domain.destination import Destination
from secondread.domain.instance import Instance
from secondread.domain.job import PlannedJob
from secondread.domain.line import Line, LineState
from secondread.domain.result import OutboxItem, ResultObject
from secondread.domain.states import DeliveryState, JobState
from secondread.errors import EXIT_NO_INPUT, EXIT_OK, EXIT_USAGE
from secondread.store import Ledger, Spool
from secondread.store.outbox import Stored

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
HOUR_S = 3600.0
REFUSAL = "It answered 0x0124 (not authorised)."


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A configuration with a PACS, a folder and two senders."""
    path = tmp_path / "secondread.toml"
    path.write_text(
        '[node]\ndata_dir = "data"\n'
        '[[peers]]\nname = "ct"\nae_title = "CT"\naddresses = ["10.0.0.1"]\n'
        'host = "ct"\nport = 104\n'
        '[[peers]]\nname = "mr"\nae_title = "MR"\naddresses = ["10.0.0.2"]\n'
        '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "pacs"\nport = 104\n'
        '[[destinations]]\nname = "back"\nkind = "sender"\n'
        '[[destinations]]\nname = "share"\nkind = "folder"\n[destinations.folder]\npath = "drop"\n'
    )
    return path


@pytest.fixture
def ledger(node: Path) -> Iterator[Ledger]:
    """A job of which the PACS has four objects: ready, sent, safe and dead; another place one."""
    with closing(Ledger.open(node.parent / "data")) as ledger:
        planned_at = time.time() - 3 * HOUR_S
        with ledger.begin() as change:
            seen = Instance("2.25.5", "1.1", "2.25.1", "2.25.2", "1.2", "x", 1, "a", "ct", 100.0)
            change.instances.add([seen])
            change.studies.add_instances([seen], lambda _: 5.0)
            planned = PlannedJob("heads", "brain", "1", "2.25.2", "digest", 0, "", ())
            job = change.jobs.add(1, planned, [], planned_at)
            assert job is not None
            for state in (JobState.PREPARED, JobState.INFERRED, JobState.WRITTEN):
                change.jobs.move(change.jobs.get(job.id), state, 100.0, "Moved.")
            made = [
                ResultObject("seg", f"2.25.7{number}", SEGMENTATION, f"{number}.dcm")
                for number in range(4)
            ]
            change.outbox.add(job.id, "pacs", made, 100.0)
            change.outbox.add(job.id, "old", made[:1], 100.0)
            _, sent, safe, dead = pacs(change.outbox.of_job(job.id))
            answer = Stored(0, "", 1e10)
            change.outbox.keep_sent(sent, answer, time.time() - 60)
            change.outbox.keep_sent(safe, answer, 200.0)
            moved = change.outbox.of_ids([safe.id])[safe.id]
            change.outbox.keep_safe(moved, "commitment", 300.0, "It is safe.")
            change.outbox.move(dead, DeliveryState.DEAD, 200.0, REFUSAL)
        yield ledger


def pacs(items: Sequence[OutboxItem]) -> list[OutboxItem]:
    return [item for item in items if item.destination == "pacs"]


def ask(capsys: pytest.CaptureFixture[str], node: Path, *words: str) -> Any:
    assert execute(["destination", *words, "-c", str(node), "--json"]) == EXIT_OK
    return json.loads(capsys.readouterr().out)


def tell(capsys: pytest.CaptureFixture[str], node: Path, *words: str) -> str:
    assert execute(["destination", *words, "-c", str(node)]) == EXIT_OK
    return capsys.readouterr().out


def test_before_the_node_ran_the_destinations_are_those_of_the_configuration(
    node: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = ask(capsys, node, "list")["destinations"]
    assert [one["name"] for one in listed] == ["pacs", "back/ct", "back/mr", "share"]
    assert {one["line"]["state"] for one in listed} == {"closed"}
    assert listed[2]["where"] == "MR; host or port is not known"
    assert not (node.parent / "data").exists()
    assert "Nothing waits for a person." in tell(capsys, node, "dead")


def test_the_list_counts_what_waits_and_what_is_safe(
    node: Path, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    by_name = {one["name"]: one for one in ask(capsys, node, "list")["destinations"]}
    counted = by_name["pacs"]["objects"]
    assert [counted[state] for state in ("ready", "sent", "safe", "dead")] == [1, 1, 1, 1]
    assert by_name["pacs"]["proofs"] == {"commitment": 1}
    assert by_name["share"]["oldest_waiting_at"] is None
    assert (by_name["old"]["configured"], by_name["old"]["kind"]) == (False, None)
    text = tell(capsys, node, "list")
    assert "not configured" in text
    assert "3 h" in text


def test_a_line_that_is_down_says_since_when_and_why(
    node: Path, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    line = Line("pacs", LineState.OPEN, False, 4, time.time(), time.time() + 60, "Nobody listens.")
    with ledger.begin() as change:
        change.lines.keep(line, "Down.")
    assert "down since 20" in tell(capsys, node, "list")
    text = tell(capsys, node, "show", "pacs")
    assert "Nobody listens." in text
    assert "after 4 failures in a row" in text
    assert REFUSAL in text
    assert "1, the oldest for 3 h" in text
    (shown,) = ask(capsys, node, "show", "pacs")["destinations"]
    assert shown["line"]["reason"] == "Nobody listens."
    assert shown["reasons"] == [{"state": "dead", "reason": REFUSAL, "objects": 1}]


def test_dead_letters_name_study_and_reason(
    node: Path, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    (letter,) = ask(capsys, node, "dead")["dead"]
    assert (letter["destination"], letter["study"], letter["reason"]) == ("pacs", 1, REFUSAL)
    assert ask(capsys, node, "dead", "share")["dead"] == []
    assert "destination resend" in tell(capsys, node, "dead")


def test_a_pause_is_kept_with_who_did_it_and_ends_with_resume(
    node: Path, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(capsys, node, "pause", "pacs")["changed"] == ["pacs"]
    assert ask(capsys, node, "pause", "pacs")["changed"] == []
    with ledger.read() as view:
        assert view.lines.get("pacs").paused
        (row,) = view.trail.of_event("line")
    assert row.text.startswith("Deliveries to 'pacs' were paused by ")
    assert row.detail == {"destination": "pacs", "paused": True}
    assert "paused" in tell(capsys, node, "list")
    assert "are resumed" in tell(capsys, node, "resume", "pacs")
    with ledger.read() as view:
        assert not view.lines.get("pacs").paused


def test_a_pause_leaves_a_line_that_is_down_down(
    node: Path, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    line = Line("pacs", LineState.OPEN, False, 4, 1000.0, 1e10, "Nobody listens.")
    with ledger.begin() as change:
        change.lines.keep(line)
    ask(capsys, node, "pause", "pacs")
    with ledger.read() as view:
        assert view.lines.get("pacs") == replace(line, paused=True)


def test_the_name_of_a_sender_means_each_of_them(
    node: Path, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(capsys, node, "pause", "back")["changed"] == ["back/ct", "back/mr"]
    assert ask(capsys, node, "resume", "back/ct")["changed"] == ["back/ct"]


@pytest.mark.parametrize("words", [("pacs",), ("--study", "1")])
def test_dead_letters_are_sent_again_by_one_command(
    node: Path, ledger: Ledger, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert ask(capsys, node, "resend", *words) == {"resent": 1, "purged": 0}
    with ledger.read() as view:
        assert [item.state for item in pacs(view.outbox.of_job(1))].count(DeliveryState.READY) == 2
        (row,) = view.trail.of_event("resent")
        assert view.deliveries.dead() == ()
    assert row.text.startswith("1 object is to be sent again, says ")
    assert execute(["destination", "resend", *words, "-c", str(node)]) == EXIT_USAGE
    assert "that was given up" in capsys.readouterr().err


def test_one_object_is_sent_again(
    node: Path, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    with ledger.read() as view:
        (letter,) = view.deliveries.dead()
    assert execute(["destination", "resend", "--object", "9999", "-c", str(node)]) == EXIT_NO_INPUT
    number = str(letter.item.id)
    assert "1 object is on the way again." in tell(capsys, node, "resend", "--object", number)


def test_what_cannot_be_done_is_said(
    node: Path, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["destination", "resend", "-c", str(node)]) == EXIT_USAGE
    assert execute(["destination", "pause", "nobody", "-c", str(node)]) == EXIT_NO_INPUT
    assert "there are: pacs, back/ct, back/mr, share, old" in capsys.readouterr().err


def test_the_numbers_are_those_of_the_list(node: Path, ledger: Ledger) -> None:
    data_dir = node.parent / "data"
    now = time.time()
    with ledger.begin() as change:
        change.lines.keep(replace(change.lines.get("pacs"), paused=True))
    (numbers, *_) = [one for one in collect_numbers(ledger, ["pacs"], now) if one.is_paused]
    assert numbers.objects["dead"] == 1
    assert 3 * HOUR_S <= numbers.oldest_waiting_s < 3 * HOUR_S + 60
    assert 60 <= numbers.oldest_unproven_s < 120
    there = {name: Destination(name=name) for name in ("pacs", "share")}
    Reporter(ledger, Spool(data_dir), lambda: there, SystemClock()).tell()
    text = (data_dir / METRICS_FILE).read_text()
    assert 'secondread_delivery_objects{destination="pacs",state="dead"} 1.0' in text
    assert 'secondread_delivery_line_paused{destination="pacs"} 1.0' in text
    assert 'secondread_delivery_line_open{destination="share"} 0.0' in text
    assert "secondread_delivery_disk_free_bytes " in text
