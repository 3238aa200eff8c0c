"""From 'sent' to 'safe', step by step: what the archive says, and what it does not say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
)

from secondread.delivery.judging import LOOKS, SENDINGS_MAX
from secondread.delivery.proof_desk import UNREPORTED_MAX
from secondread.domain.destination import Proof
from secondread.domain.enquiry import EnquiryState, StoredEnquiry
from secondread.domain.line import Line, LineState
from secondread.domain.states import JobState, StudyState
from secondread.intake.commitment_reports import recorder
from tests.lying_manners import By, Commit, Hang
from tests.lying_pacs import LyingPacs, lying_pacs
from tests.proof_cases import DEAD, NODE, READY, SAFE, SENT, Node, delivered, open_node
from tests.report_door import Door, open_door

NO_COMMITMENT = frozenset({StorageCommitmentPushModel})
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


def asked(node: Node, uid: str) -> StoredEnquiry:
    with node.ledger.read() as view:
        found = view.enquiries.find(uid)
    assert found is not None
    return found


# --- what leads to safe ---


@pytest.mark.parametrize("by", [By.SAME, By.SAME_FIRST])
def test_report_on_the_same_association_makes_safe(node: Node, pacs: LyingPacs, by: By) -> None:
    delivered(node, pacs)
    pacs.behave(by=by)
    assert node.prove()
    assert node.states() == {SAFE: 4}
    assert {(item.proof, item.safe_at, item.prove_at) for item in node.items()} == {
        ("commitment", node.clock.at, None)
    }
    assert "'pacs' has committed to keep it." in node.said()
    assert not node.prove()
    assert pacs.count("asked") == 1


def test_nothing_is_asked_before_the_delay_and_all_goes_into_one_question(
    node: Node, pacs: LyingPacs
) -> None:
    delivered(node, pacs, delay_s=30.0)
    assert not node.prove(29.0)
    assert node.prove(1.0)
    assert (pacs.count("asked"), node.states()) == (1, {SAFE: 4})


@pytest.mark.parametrize("by", [By.NEW, By.LATER])
def test_report_at_the_port_of_the_node_makes_safe(
    node: Node, pacs: LyingPacs, door: Door, by: By
) -> None:
    delivered(node, pacs, wait_s=0.0)
    pacs.behave(by=by)
    assert node.prove()
    if by is By.LATER:
        assert node.states() == {SENT: 4}
        assert not node.prove(30 * 60)
        assert pacs.report_owed() == [0x0000]
    door.next()
    node.prove(1.0)
    assert (node.states(), pacs.count("asked")) == ({SAFE: 4}, 1)


def test_report_that_comes_twice_counts_once(node: Node, pacs: LyingPacs) -> None:
    delivered(node, pacs, wait_s=0.0)
    pacs.behave(by=By.LATER)
    node.prove()
    owed = list(pacs.owed)
    assert pacs.report_owed() == [0x0000]
    node.prove(1.0)
    first = node.items()
    pacs.owed = owed
    assert pacs.report_owed() == [0x0000]
    node.prove(1.0)
    assert node.items() == first
    assert [item.state for item in first] == [SAFE] * 4


def test_report_after_the_question_expired_still_counts(node: Node, pacs: LyingPacs) -> None:
    delivered(node, pacs, wait_s=0.0, report_timeout_s=600.0)
    pacs.behave(by=By.LATER)
    node.prove()
    node.prove(600.0)
    assert asked(node, pacs.uids("asked")[0]).state is EnquiryState.EXPIRED
    assert node.states() == {SENT: 4}
    assert pacs.report_owed() == [0x0000]
    node.prove(1.0)
    assert node.states() == {SAFE: 4}


# --- what does not ---


def test_no_report_is_asked_for_again_with_a_new_transaction(node: Node, pacs: LyingPacs) -> None:
    terms = {"wait_s": 0.0, "report_timeout_s": 600.0, "tries_max": 3}
    delivered(node, pacs, proof=Proof.COMMITMENT, **terms)
    pacs.behave(commit=Commit.NEVER)
    for _ in range(3):
        node.prove()
        node.prove(605.0)
        node.prove(60.0)
    transactions = pacs.uids("asked")
    assert len(transactions) == len(set(transactions)) == 3
    assert node.states() == {DEAD: 4}
    assert {item.reason.partition(". ")[0] for item in node.items()} == {
        "'pacs' took the commitment request on and did not report in time"
    }
    assert "[[peers]]" in node.items()[0].reason
    assert node.items()[0].reason.endswith("It was asked 3 times.")
    assert node.job().state is JobState.FAILED
    assert node.study().state is StudyState.HELD
    assert not node.prove(DAY_S)


def test_who_never_reports_is_read_back_besides(node: Node, pacs: LyingPacs) -> None:
    """It may know nothing of the node's port; what it has lost is not taken for safe."""
    uids = delivered(node, pacs, wait_s=0.0, report_timeout_s=600.0)
    del pacs.kept[uids[0]]
    pacs.behave(commit=Commit.NEVER)
    for _ in range(UNREPORTED_MAX):
        node.prove(60.0)
        assert node.states() == {SENT: 4}
        node.prove(600.0)
    node.prove(60.0)
    assert node.states() == {SAFE: 3, SENT: 1}
    assert pacs.count("asked") == UNREPORTED_MAX + 1
    pacs.behave()
    node.prove(600.0)
    node.prove(120.0)
    assert node.states() == {SAFE: 3, READY: 1}


def test_without_commitment_it_is_read_back(node: Node, pacs: LyingPacs) -> None:
    uids = delivered(node, pacs)
    pacs.behave(refused=NO_COMMITMENT)
    del pacs.kept[uids[0]]
    node.prove()
    assert node.states() == {SAFE: 3, SENT: 1}
    for _ in range(LOOKS - 1):
        node.prove(60.0)
    assert node.states() == {SAFE: 3, READY: 1}
    node.deliver()
    node.prove()
    assert node.states() == {SAFE: 4}
    assert pacs.doubled == {}


def test_who_refuses_to_commit_for_this_node_is_read_back_besides(
    node: Node, pacs: LyingPacs
) -> None:
    uids = delivered(node, pacs)
    del pacs.kept[uids[0]]
    pacs.behave(action_status=0x0124)
    node.prove()
    assert node.states() == {SAFE: 3, SENT: 1}
    [left] = [item for item in node.items() if item.state is SENT]
    assert (left.proof_tries, "0x0124" in left.reason) == (1, True)


@pytest.mark.parametrize("commit", [Commit.NOTHING, Commit.HALF])
def test_what_it_does_not_commit_to_is_asked_about_again(
    node: Node, pacs: LyingPacs, commit: Commit
) -> None:
    delivered(node, pacs)
    pacs.behave(commit=commit)
    node.prove()
    half = commit is Commit.HALF
    assert node.states() == ({SAFE: 2, SENT: 2} if half else {SENT: 4})
    waiting = [item for item in node.items() if item.state is SENT]
    assert {item.proof_tries for item in waiting} == {1}
    assert "a general failure" in waiting[0].reason
    pacs.behave()
    node.prove(60.0)
    assert node.states() == {SAFE: 4}
    assert (pacs.count("asked"), pacs.doubled) == (2, {})


def test_what_it_has_lost_is_sent_again_and_then_safe(node: Node, pacs: LyingPacs) -> None:
    uids = delivered(node, pacs)
    del pacs.kept[uids[1]]
    node.prove()
    assert node.states() == {SAFE: 3, READY: 1}
    again = next(item for item in node.items() if item.state is READY)
    assert again.sop_instance_uid == uids[1]
    assert again.reason == (
        "'pacs' does not commit to it: it has not got the object (0x0112). It is sent again."
    )
    node.deliver()
    node.prove()
    assert node.states() == {SAFE: 4}
    assert (pacs.doubled, pacs.conflicting, set(pacs.kept)) == ({}, set(), set(uids))
    assert {item.sendings for item in node.items()} == {1, 2}


def test_what_it_loses_each_time_ends_with_a_person(node: Node, pacs: LyingPacs) -> None:
    delivered(node, pacs, 1)
    for sending in range(1, SENDINGS_MAX + 1):
        assert node.items()[0].sendings == sending
        pacs.kept.clear()
        node.prove()
        node.deliver()
    assert node.states() == {DEAD: 1}
    assert f"It was sent {SENDINGS_MAX} times" in node.items()[0].reason
    assert node.job().state is JobState.FAILED


@pytest.mark.parametrize("reason", [0x0119, 0x0122])
def test_reason_that_neither_asking_nor_sending_mends_waits_for_a_person(
    node: Node, pacs: LyingPacs, reason: int
) -> None:
    delivered(node, pacs)
    pacs.behave(commit=Commit.HALF, failure_reason=reason)
    node.prove()
    assert node.states() == {SAFE: 2, DEAD: 2}
    assert f"0x{reason:04X}" in node.job().reason


def test_strangers_count_for_nothing(node: Node, pacs: LyingPacs) -> None:
    delivered(node, pacs)
    pacs.behave(commit=Commit.STRANGERS)
    node.prove()
    assert node.states() == {SAFE: 4}


def test_wrong_transaction_is_refused_and_makes_nothing_safe(node: Node, pacs: LyingPacs) -> None:
    delivered(node, pacs, wait_s=0.5)
    pacs.behave(commit=Commit.WRONG_TRANSACTION)
    node.prove()
    assert node.states() == {SENT: 4}
    pacs.wait_for("confirmed")
    assert [event.status for event in pacs.events if event.kind == "confirmed"] == [0x0115]


def test_transaction_of_another_archive_is_refused(node: Node, door: Door) -> None:
    where = ("127.0.0.1", door.port, NODE)
    with lying_pacs(node=where) as pacs, lying_pacs(ae_title="OTHER", node=where) as other:
        delivered(node, pacs, wait_s=0.0)
        pacs.behave(by=By.LATER)
        node.prove()
        other.owed = list(pacs.owed)
        assert other.report_owed() == [0x0115]
        node.prove(1.0)
        assert node.states() == {SENT: 4}
        assert pacs.report_owed() == [0x0000]
        node.prove(1.0)
        assert node.states() == {SAFE: 4}


def test_report_on_what_was_sent_again_since_counts_for_nothing(
    node: Node, pacs: LyingPacs
) -> None:
    """The archive committed to what it then lost."""
    delivered(node, pacs, 1, wait_s=0.0)
    pacs.behave(by=By.LATER)
    node.prove()
    with node.ledger.begin() as change:
        change.outbox.move(node.items()[0], READY, node.clock.at, "Sent again by a person.")
    node.clock.at += 1.0
    node.deliver()
    assert pacs.report_owed() == [0x0000]
    node.prove(1.0)
    assert node.states() == {SENT: 1}
    node.prove()
    assert pacs.report_owed() == [0x0000]
    node.prove(1.0)
    assert (node.states(), pacs.count("asked")) == ({SAFE: 1}, 2)


def test_commitment_to_what_it_never_got_is_believed_of_what_was_sent_alone(
    node: Node, pacs: LyingPacs
) -> None:
    """It cannot be told from the truth; docs/commitment.md says so."""
    delivered(node, pacs)
    node.add_objects(2)
    pacs.behave(commit=Commit.EVERYTHING)
    node.prove()
    assert node.states() == {SAFE: 4, READY: 2}


# --- who does not answer ---


def test_down_costs_time_and_no_try(node: Node, pacs: LyingPacs) -> None:
    delivered(node, pacs, tries_max=2)
    pacs.go_down()
    for _ in range(20):
        node.prove(HOUR_S)
    assert node.states() == {SENT: 4}
    assert {item.proof_tries for item in node.items()} == {0}
    assert "refuses connections" in node.items()[0].reason
    pacs.come_up()
    node.prove(2 * HOUR_S)
    assert node.states() == {SAFE: 4}


def test_who_hangs_is_left_alone_for_longer_each_time(node: Node, pacs: LyingPacs) -> None:
    delivered(node, pacs, timeout_s=0.2)
    pacs.behave(hang=Hang.ASSOCIATION)
    for _ in range(100):
        node.prove(5.0)
    assert 2 <= pacs.count("hangs") <= 8
    assert node.states() == {SENT: 4}


def test_open_or_paused_line_is_not_asked(node: Node, pacs: LyingPacs) -> None:
    delivered(node, pacs)
    for line in (
        Line("pacs", LineState.OPEN),
        Line("pacs", LineState.HALF_OPEN),
        Line("pacs", paused=True),
    ):
        with node.ledger.begin() as change:
            change.lines.keep(line)
        assert not node.prove()
    assert pacs.count("asked") == 0
    with node.ledger.begin() as change:
        change.lines.keep(Line("pacs"))
    node.prove()
    assert node.states() == {SAFE: 4}


def test_turned_down_for_now_is_counted(node: Node, pacs: LyingPacs) -> None:
    delivered(node, pacs, tries_max=3)
    pacs.behave(action_status=0x0213)
    node.prove()
    assert {item.proof_tries for item in node.items()} == {1}
    for _ in range(2):
        node.prove(HOUR_S)
    assert node.states() == {DEAD: 4}
    assert "0x0213" in node.items()[0].reason


def test_restart_between_question_and_report_loses_nothing(node: Node, pacs: LyingPacs) -> None:
    delivered(node, pacs, wait_s=0.0)
    pacs.behave(by=By.LATER)
    node.prove()
    node.prover = node.new_prover()
    assert not node.prove()
    assert pacs.report_owed() == [0x0000]
    node.prove()
    assert (node.states(), pacs.count("asked")) == ({SAFE: 4}, 1)
