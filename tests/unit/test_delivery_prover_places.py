"""Proof, place by place: without commitment, in folders, over TLS, and many at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
)

from secondread.delivery.judging import LOOKS
from secondread.domain.destination import CallSecurity, Destination, Proof, UserIdentity, Way
from secondread.domain.drop_folder import DropFolder, Layout
from secondread.domain.states import JobState
from secondread.intake.commitment_reports import recorder
from tests.certificates import Certificates
from tests.echo_peers import server_side
from tests.lying_manners import By, Commit, Hang, always
from tests.lying_pacs import LyingPacs, lying_pacs
from tests.proof_cases import NODE, READY, SAFE, SENT, Node, delivered, open_node
from tests.report_door import Door, open_door

NO_COMMITMENT = frozenset({StorageCommitmentPushModel})
NO_PROOF = NO_COMMITMENT | {StudyRootQueryRetrieveInformationModelFind}
HOUR_S, DAY_S = 3600.0, 86400.0


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with open_node(tmp_path / "node") as found:
        yield found


@pytest.fixture
def door(tmp_path: Path, node: Node, free_port) -> Iterator[Door]:
    with open_door(tmp_path / "door", free_port(), "PACS", "OTHER") as found:
        found.recorder = recorder(node.ledger)
        yield found


@pytest.fixture
def pacs(door: Door) -> Iterator[LyingPacs]:
    with lying_pacs(node=("127.0.0.1", door.port, NODE)) as found:
        yield found


# --- no commitment ---


def test_who_has_no_proof_at_all_keeps_it_sent_and_says_so(node: Node, pacs: LyingPacs) -> None:
    delivered(node, pacs)
    pacs.behave(refused=NO_PROOF)
    node.prove()
    assert node.states() == {SENT: 4}
    item = node.items()[0]
    assert item.reason.startswith("'pacs' offers no proof that it has what it was sent: neither")
    assert "[destinations.proof]" in item.reason
    assert item.prove_at == pytest.approx(node.clock.at + DAY_S)
    assert item.proof_tries == 0
    assert node.job().state is JobState.DELIVERED
    pacs.behave()
    node.prove(DAY_S + 1)
    assert node.states() == {SAFE: 4}


def test_commitment_that_is_demanded_and_missing_is_asked_for_at_long_intervals(
    node: Node, pacs: LyingPacs
) -> None:
    delivered(node, pacs, proof=Proof.COMMITMENT, tries_max=2)
    pacs.behave(refused=NO_COMMITMENT)
    for _ in range(4):
        node.prove(HOUR_S + 1)
    assert node.states() == {SENT: 4}
    assert "accepts no presentation context for Storage Commitment" in node.items()[0].reason
    pacs.behave()
    node.prove(HOUR_S + 1)
    assert node.states() == {SAFE: 4}


def test_without_commitment_it_is_not_asked_to_commit_for_a_day(
    node: Node, pacs: LyingPacs
) -> None:
    delivered(node, pacs)
    pacs.behave(refused=NO_PROOF)
    node.prove()
    before = pacs.count("connected")
    node.add_objects(1)
    node.deliver()
    node.prove()
    # One to send, one to query; none to ask for commitment.
    assert pacs.count("connected") == before + 2


def test_nothing_is_asked_where_no_proof_is_wanted(node: Node, pacs: LyingPacs) -> None:
    delivered(node, pacs, proof=Proof.NONE)
    node.prove()
    assert not node.prove(DAY_S)
    assert node.states() == {SENT: 4}
    assert pacs.count("asked") == 0


def test_destination_that_was_taken_out_of_the_configuration_is_told(
    node: Node, pacs: LyingPacs
) -> None:
    delivered(node, pacs)
    place = node.places.pop("pacs")
    node.prove()
    assert "is not in the configuration any more" in node.items()[0].reason
    node.places["pacs"] = place
    node.prove(HOUR_S + 1)
    assert node.states() == {SAFE: 4}


def test_folder_is_read_back(node: Node, tmp_path: Path) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    target = DropFolder("drop", folder, Layout.FLAT)
    node.places["drop"] = Destination(name="drop", way=Way.FOLDER, folder=target)
    uids = node.add_objects(3, "drop")
    for uid in uids[:2]:
        (folder / f"{uid}.dcm").write_bytes((node.folder / f"{uid}.dcm").read_bytes())
    node.mark_sent(node.items("drop"))
    node.prove()
    assert node.states("drop") == {SAFE: 2, SENT: 1}
    for _ in range(LOOKS - 1):
        node.prove(60.0)
    assert node.states("drop") == {SAFE: 2, READY: 1}


def test_local_file_that_is_gone_makes_nothing_safe(node: Node, tmp_path: Path) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    node.places["drop"] = Destination(
        name="drop", way=Way.FOLDER, folder=DropFolder("drop", folder)
    )
    [uid] = node.add_objects(1, "drop")
    node.mark_sent(node.items("drop"))
    (node.folder / f"{uid}.dcm").unlink()
    node.prove()
    assert node.states("drop") == {SENT: 1}
    assert "The local file cannot be read" in node.items("drop")[0].reason


# --- several destinations ---


def test_one_that_hangs_keeps_nobody_waiting(node: Node) -> None:
    with lying_pacs() as slow, lying_pacs() as quick:
        node.add_pacs(slow.port, "slow", timeout_s=30.0)
        node.add_pacs(quick.port, "quick")
        node.add_objects(2, "slow", "quick")
        for name in ("slow", "quick"):
            node.deliver(name)
        slow.behave(hang=Hang.ASSOCIATION)
        node.clock.at += 10.0
        stop = threading.Event()
        thread = threading.Thread(target=node.prover.run, args=(stop,))
        thread.start()
        try:
            deadline = time.monotonic() + 20.0
            while node.states("quick") != {SAFE: 2} and time.monotonic() < deadline:
                time.sleep(0.05)
            slow.wait_for("hangs")
            assert (node.states("quick"), node.states("slow")) == ({SAFE: 2}, {SENT: 2})
        finally:
            slow.close()
            stop.set()
            thread.join(20.0)
        assert not thread.is_alive()


def test_over_tls_and_as_a_user(node: Node, certificates: Certificates, tmp_path: Path) -> None:
    passcode = tmp_path / "passcode"
    passcode.write_text("open sesame")
    own = certificates.client
    with lying_pacs(tls=server_side(certificates, certificates.server)) as pacs:
        node.places["pacs"] = replace(
            node.add_pacs(pacs.port),
            security=CallSecurity(certificates.ca.certificate, own.certificate, own.key),
            identity=UserIdentity("node", passcode),
        )
        node.add_objects(1)
        node.mark_sent(node.items())
        pacs.behave(commit=Commit.EVERYTHING)
        node.prove()
        assert node.states() == {SAFE: 1}
        # Without trust nothing is asked, and a person is told.
        node.places["pacs"] = replace(
            node.places["pacs"], security=CallSecurity(certificates.other_ca.certificate)
        )
        node.add_objects(1)
        node.mark_sent([item for item in node.items() if item.state is READY])
        node.prove()
        assert node.states() == {SAFE: 1, SENT: 1}
        assert node.items()[1].proof_tries == 1


def test_run_judges_what_comes_and_stops_when_told(node: Node, pacs: LyingPacs, door: Door) -> None:
    delivered(node, pacs, 2, wait_s=0.0)
    pacs.behave(by=By.LATER)
    node.clock.at += 10.0
    stop = threading.Event()
    thread = threading.Thread(target=node.prover.run, args=(stop,))
    thread.start()
    try:
        # The first was that on which the objects went.
        pacs.wait_for("released", 2)
        assert pacs.report_owed() == [0x0000]
        deadline = time.monotonic() + 20.0
        while node.states() != {SAFE: 2} and time.monotonic() < deadline:
            time.sleep(0.05)
        assert node.states() == {SAFE: 2}
    finally:
        stop.set()
        thread.join(20.0)
    assert not thread.is_alive()


def test_archive_that_changed_something_is_not_hidden_by_another_place(
    node: Node, pacs: LyingPacs
) -> None:
    """A warning without queries to tell what was changed is still a delivery."""
    node.add_pacs(pacs.port)
    pacs.behave(status=always(0xB000))
    node.add_objects(2)
    node.deliver()
    node.prove()
    assert node.states() == {SAFE: 2}
    assert {item.status for item in node.items()} == {0xB000}


def test_new_address_of_a_destination_is_asked_to_commit_at_once(
    node: Node, pacs: LyingPacs
) -> None:
    delivered(node, pacs)
    pacs.behave(refused=NO_COMMITMENT)
    node.prove()
    with lying_pacs() as other:
        other.behave(commit=Commit.EVERYTHING)
        node.places["pacs"] = replace(node.places["pacs"], port=other.port)
        node.add_objects(1)
        node.deliver()
        node.prove()
        assert other.count("asked") == 1
