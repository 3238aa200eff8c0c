"""``destination`` beside a node that delivers: what it changes holds without a restart."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from secondread.cli.main import execute
from secondread.domain.destination import Destination
from secondread.errors import EXIT_OK
from tests.lying_pacs import LyingPacs, lying_pacs
from tests.outbox_cases import Outbox, running

UNDISTURBED_S = 1.5


@pytest.fixture
def pacs() -> Iterator[LyingPacs]:
    with lying_pacs() as found:
        yield found


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    made = Outbox(tmp_path / "data")
    yield made
    made.close()


@pytest.fixture
def node(tmp_path: Path, pacs: LyingPacs) -> Path:
    path = tmp_path / "secondread.toml"
    path.write_text(
        '[node]\ndata_dir = "data"\n[[destinations]]\nname = "pacs"\n'
        f'ae_title = "{pacs.ae_title}"\nhost = "{pacs.host}"\nport = {pacs.port}\n'
    )
    return path


def to(pacs: LyingPacs) -> Destination:
    return Destination(
        name="pacs",
        ae_title=pacs.ae_title,
        host=pacs.host,
        port=pacs.port,
        calling_ae_title="SECONDREAD",
        timeout_s=2.0,
    )


def do(node: Path, *words: str) -> None:
    assert execute(["destination", *words, "-c", str(node)]) == EXIT_OK


def test_a_pause_holds_what_comes_until_it_is_resumed(
    outbox: Outbox, pacs: LyingPacs, node: Path
) -> None:
    with running(outbox.courier(to(pacs))):
        first = outbox.fill("pacs")
        outbox.wait_until(lambda: set(outbox.states()) == {"sent"})
        do(node, "pause", "pacs")
        more = outbox.fill("pacs", jobs=5)
        time.sleep(UNDISTURBED_S)
        assert pacs.uids("stored") == first
        do(node, "resume", "pacs")
        outbox.wait_until(lambda: set(outbox.states()) == {"sent"})
    assert pacs.uids("stored") == first + more


def test_dead_letters_go_out_once_what_was_wrong_is_mended(
    outbox: Outbox, pacs: LyingPacs, node: Path
) -> None:
    pacs.behave(status=lambda number: 0x0124)
    with running(outbox.courier(to(pacs))):
        uids = outbox.fill("pacs")
        outbox.wait_until(lambda: set(outbox.states()) == {"dead"})
        with outbox.ledger.read() as view:
            assert view.jobs.get(1).state == "failed"
        pacs.behave(status=lambda number: 0)
        do(node, "resend", "pacs")
        outbox.wait_until(lambda: set(outbox.states()) == {"sent"})
    assert pacs.uids("stored")[-len(uids) :] == uids
    with outbox.ledger.read() as view:
        assert view.jobs.get(1).state == "delivered"
