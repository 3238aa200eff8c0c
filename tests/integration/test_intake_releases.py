"""The release of an association, over a real intake and with real senders."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.sop_class import MRImageStorage

from secondread.app.intake import run_intake
from secondread.config.settings import Settings
from secondread.domain.completeness import Completeness
from secondread.domain.network import Peer, Rule
from secondread.domain.study import Study
from secondread.store import Ledger, Spool
from tests.store_scu import c_store

WAIT_S = 15.0
QUIET_S = 600.0


@dataclass
class Node:
    """A running intake role, and its ledger."""

    port: int
    ledger: Ledger

    def study(self, holds: Callable[[Study], bool]) -> Study | None:
        """The only study, once this holds of it; None if that does not come to pass."""
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            with self.ledger.read() as view:
                for found in view.studies.list():
                    if holds(found):
                        return found
            time.sleep(0.02)
        return None

    def associate(self) -> Any:
        """An association as a scanner opens it."""
        entity = AE("CT1")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 10
        entity.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
        association = entity.associate("127.0.0.1", self.port, ae_title="SECONDREAD")
        assert association.is_established
        return association


@pytest.fixture
def node(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Node]:
    """An intake with a long quiet time, of which a rule has a short one."""
    peer = Peer("ct", "CT1", ("127.0.0.0/8",), QUIET_S, complete=Completeness(counts=False))
    rule = Rule(name="fast", model="m", destinations=(), complete={"quiet_s": 300.0})
    settings = Settings(
        data_dir=tmp_path,
        host="127.0.0.1",
        port=free_port(),
        minimum_free_bytes=0,
        peers=(peer,),
        rules=(rule,),
    )
    ledger, spool = Ledger.open(tmp_path), Spool(tmp_path)
    spool.prepare()
    stop = threading.Event()
    thread = threading.Thread(target=run_intake, args=(settings, ledger, spool, stop))
    thread.start()
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", settings.port)):
                break
        time.sleep(0.02)
    try:
        yield Node(settings.port, ledger)
    finally:
        stop.set()
        thread.join()
        ledger.close()


def store(association: Any, paths: list[Path]) -> None:
    """Send files; all of them get Success."""
    for path in paths:
        assert c_store(association, dcmread(path)).Status == 0x0000


def test_a_release_is_entered_behind_the_rows(
    node: Node, dcmtk: Callable[[str], str], head_series: Callable[..., Any]
) -> None:
    paths = head_series(size=(12, 16, 16)).paths
    began = time.time()
    command = [dcmtk("storescu"), "-aet", "CT1", "-aec", "SECONDREAD", "127.0.0.1", str(node.port)]
    environment = {**os.environ, "TCP_NODELAY": "1"}
    subprocess.run([*command, *map(str, paths)], check=True, capture_output=True, env=environment)
    found = node.study(lambda one: one.released_at is not None)
    assert found is not None
    assert found.instances == 12
    assert found.released_at is not None
    assert began <= found.last_at <= found.released_at == found.due_at


def test_without_a_release_the_shortest_quiet_time_says_when_to_look(
    node: Node, head_series: Callable[..., Any]
) -> None:
    association = node.associate()
    store(association, head_series(size=(3, 16, 16)).paths)
    found = node.study(lambda one: one.instances == 3)
    assert found is not None
    assert found.released_at is None
    assert found.quiet_s == QUIET_S
    assert found.due_at == pytest.approx(found.last_at + 300)
    association.release()
    assert node.study(lambda one: one.released_at is not None) is not None


def test_an_abort_is_no_release_and_the_next_association_is(
    node: Node, head_series: Callable[..., Any]
) -> None:
    paths = head_series(size=(4, 16, 16)).paths
    association = node.associate()
    store(association, paths[:2])
    association.abort()
    assert node.study(lambda one: one.instances == 2) is not None
    time.sleep(1.5)
    again = node.associate()
    store(again, paths[2:])
    found = node.study(lambda one: one.instances == 4)
    assert found is not None
    assert found.released_at is None
    again.release()
    assert node.study(lambda one: one.released_at is not None) is not None


def test_a_study_is_not_released_while_another_association_brings_it(
    node: Node, head_series: Callable[..., Any]
) -> None:
    paths = head_series(size=(4, 16, 16)).paths
    one, two = node.associate(), node.associate()
    store(one, paths[:2])
    store(two, paths[2:])
    one.release()
    found = node.study(lambda found: found.instances == 4)
    time.sleep(1.5)
    found = node.study(lambda found: found.instances == 4)
    assert found is not None
    assert found.released_at is None
    two.release()
    assert node.study(lambda found: found.released_at is not None) is not None
